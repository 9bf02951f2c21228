package events_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"registry-node/events"
)

var update = flag.Bool("update", false, "write golden files that are missing; those that exist are for ever")

// golden returns what testdata holds under a name. If there is nothing and
// -update is given, it writes what want returns.
func golden(t *testing.T, name string, want []byte) []byte {
	t.Helper()
	file := filepath.Join("testdata", name)
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && *update {
		b, err = append(bytes.Clone(want), '\n'), os.WriteFile(file, append(bytes.Clone(want), '\n'), 0o644)
	}
	if err != nil {
		t.Fatalf("%v; go test ./events -run Golden -update writes it", err)
	}
	return bytes.TrimSuffix(b, []byte("\n"))
}

// Each type's golden file holds the data of an event. It decodes to the value
// that stands in the code, and that value is written as those very bytes.
func TestGoldenEventTypes(t *testing.T) {
	byType := map[events.Type]events.Body{}
	for _, b := range samples() {
		byType[b.Type()] = b
	}
	for _, typ := range events.Types() {
		t.Run(string(typ), func(t *testing.T) {
			want, ok := byType[typ]
			if !ok {
				t.Fatal("no sample of this type")
			}
			data, err := events.EncodeBody(want)
			if err != nil {
				t.Fatal(err)
			}
			stored := golden(t, string(typ)+".json", data)
			if !bytes.Equal(data, stored) {
				t.Errorf("written now:\n%s\nin logs:\n%s", data, stored)
			}
			if got := decodeData(t, typ, stored); !reflect.DeepEqual(got, want) {
				t.Errorf("decodes to\n%#v, want\n%#v", got, want)
			}
		})
	}
}

// decodeData decodes the data of an event by putting it into an entry.
func decodeData(t testing.TB, typ events.Type, data []byte) events.Body {
	t.Helper()
	e, err := events.DecodeEntry(entryWith(`[{"type":"` + string(typ) + `","data":` + string(data) + `}]`))
	if err != nil {
		t.Fatal(err)
	}
	return e.Events[0].Body
}

// A whole log of two entries: bytes, hashes, signatures and chain.
func TestGoldenEntries(t *testing.T) {
	founder := events.SiteJoined{Name: site("a"), PublicKey: public(1), Genesis: events.Genesis{Nonce: bytes.Repeat([]byte{5}, 32), Recovery: public(9)}}
	registry := events.RegistryID(founder)
	first, err := events.Draft{Registry: registry, Site: site("a"), Mark: mark("1/1"), Time: at(1), Prev: registry, Bodies: []events.Body{founder}}.Seal(signer(1))
	if err != nil {
		t.Fatal(err)
	}
	second, err := events.Draft{Registry: registry, Site: site("a"), Mark: mark("1/2"), Time: at(2), Prev: first.Position.Hash, Bodies: samples()[:28]}.Seal(signer(1)) // what there was when the file was written
	if err != nil {
		t.Fatal(err)
	}
	prev := events.Position{Site: site("a"), Hash: registry}
	prevTime := first.Time
	for name, e := range map[string]events.Entry{"entry.1.json": first, "entry.2.json": second} {
		stored := golden(t, name, e.Raw)
		if !bytes.Equal(e.Raw, stored) {
			t.Errorf("%s: written now:\n%s\nin logs:\n%s", name, e.Raw, stored)
		}
		got, err := events.DecodeEntry(stored)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, e) {
			t.Errorf("%s decodes to\n%+v, want\n%+v", name, got, e)
		}
		if err := got.Verify(signer(1).Public().(ed25519.PublicKey)); err != nil {
			t.Error(err)
		}
	}
	if err := first.Follows(registry, prev, prevTime); err != nil {
		t.Error(err)
	}
	if err := second.Follows(registry, first.Position, prevTime); err != nil {
		t.Error(err)
	}
	hashes := first.Position.Hash.String() + "\n" + second.Position.Hash.String()
	if want := golden(t, "entry.hashes.txt", []byte(hashes)); hashes != string(want) {
		t.Errorf("hashes of the entries\n%s, want\n%s", hashes, want)
	}
}

func TestGoldenContribution(t *testing.T) {
	var c events.Contribution
	for i, b := range []events.Body{samples()[6], events.VersionFilled{ModuleVersion: samples()[6].(events.VersionFilled).ModuleVersion, Content: content(4)}} {
		e := sealed(t, []string{"1/7", "1/8"}[i], events.FeatureRaised{Level: 1}, b)
		next, changed, err := events.Apply(c, e.Events[1])
		if err != nil || !changed {
			t.Fatalf("changed %t, %v", changed, err)
		}
		c = next
	}
	stored := golden(t, "contribution.json", c.Encode())
	if !bytes.Equal(c.Encode(), stored) {
		t.Errorf("written now:\n%s\nstored:\n%s", c.Encode(), stored)
	}
	got, err := events.DecodeContribution(stored)
	if err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("decodes to\n%+v, %v, want\n%+v", got, err, c)
	}
}

func TestGoldenCloudEvents(t *testing.T) {
	raw, err := json.MarshalIndent(sealed(t, "1/5", samples()[:28]...).CloudEvents(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if want := golden(t, "cloudevents.json", raw); !bytes.Equal(raw, want) {
		t.Errorf("got\n%s, want\n%s", raw, want)
	}
}
