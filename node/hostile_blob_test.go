package node_test

import (
	"bytes"
	"net/http"
	"testing"

	"golang.org/x/mod/module"

	"registry-node/events"
)

// fill is what h states to have got from the upstream: these bytes with this hash.
func (h *hostile) fill(mv module.Version, files tree, data []byte, h1 events.H1) events.VersionFilled {
	mod := []byte("module " + mv.Path + "\n")
	if text, ok := files["go.mod"]; ok {
		mod = []byte(text)
	}
	return events.VersionFilled{
		ModuleVersion: events.ModuleVersion{Repo: h.w.repoID("public"), Module: mv.Path, Version: mv.Version},
		Content: events.Content{
			ModH1: events.HashMod(mod), Mod: mod, Info: []byte(`{"Version":"` + mv.Version + `","Time":"2024-01-02T03:04:05Z"}`),
			ZipH1: h1, Zip: events.Blob{Digest: events.DigestOf(data), Size: int64(len(data))}, Sumdb: dbName,
		},
		Upstream: "https://proxy.test",
	}
}

// What a member says of bytes is a claim: hashes that the checksum database
// contradicts, a hash that is not that of the bytes, and bytes that are not those
// of the digest never reach a client, and are reported.
func TestFalseFillsAreNeverServed(t *testing.T) {
	t.Parallel()
	up := newProxy(t)
	w, h := besieged(t, up)
	files := func(path, text string) tree { return goMod(path).with("a.go", text) }
	good := func(mv module.Version) []byte { return zipOf(t, mv, files(mv.Path, "package good\n")) }
	evil := func(mv module.Version) []byte { return zipOf(t, mv, files(mv.Path, "package evil\n")) }
	version := func(path string) module.Version { return up.add(path, "v1.0.0", files(path, "package good\n")) }

	contradicted := version("sum.example/contradicted") // evil bytes, with their own hash, "checked"
	otherBytes := version("sum.example/bytes")          // the true hash, with evil bytes under the digest
	falseHash := version("nosum.example/hash")          // no database says otherwise: a hash that is not that of the bytes
	wrongBlob := version("nosum.example/blob")          // all is true, but what it gives for the digest
	owned := moduleVersion("corp.example/owned", "v1.0.0")
	given := map[events.Digest][]byte{}
	state := func(mv module.Version, data []byte, h1 events.H1, give []byte) events.Body {
		given[events.DigestOf(data)] = give
		return h.fill(mv, goMod(mv.Path), data, h1)
	}
	bodies := []events.Body{
		state(contradicted, evil(contradicted), h1Of(t, evil(contradicted)), evil(contradicted)),
		state(otherBytes, evil(otherBytes), h1Of(t, good(otherBytes)), evil(otherBytes)),
		state(falseHash, evil(falseHash), h1Of(t, good(falseHash)), evil(falseHash)),
		state(wrongBlob, good(wrongBlob), h1Of(t, good(wrongBlob)), bytes.Repeat([]byte("x"), len(good(wrongBlob)))),
		state(owned, evil(owned), h1Of(t, evil(owned)), evil(owned)),
	}
	h.mu.Lock()
	h.blobs = func(w http.ResponseWriter, r *http.Request) {
		d, err := events.ParseDigest("sha256:" + r.URL.Path[len("/peer/blobs/sha256/"):])
		if data, ok := given[d]; err == nil && ok {
			w.Write(data)
			return
		}
		http.NotFound(w, r)
	}
	h.mu.Unlock()
	h.state(bodies...)
	for _, mv := range []module.Version{contradicted, otherBytes, falseHash, wrongBlob, owned} {
		// Of several sites' zips that of the first by name is read first: what a got
		// itself would keep c from those of b.
		for _, at := range []string{"c", "a"} {
			data, err := w.zip(at, "public", mv)
			if err == nil && !bytes.Equal(data, good(mv)) {
				t.Errorf("site %s serves %v as b gave it", at, mv)
			}
			if err != nil && (mv == contradicted || mv == otherBytes || mv == wrongBlob) { // the upstream has it
				t.Errorf("site %s does not serve %v, since b lied about it: %v", at, mv, err)
			}
			t.Logf("%v at %s: %d bytes, %v", mv, at, len(data), err)
		}
	}
	for at := range w.sites {
		w.reported(at, "site b", contradicted.String(), "the checksum database says")
		w.reported(at, "site b", falseHash.String(), "it is refused")
		w.reported(at, "site b gave other bytes than those of blob")
	}
	h.mu.Lock()
	h.blobs = nil
	h.mu.Unlock()
	w.goesOn("v1.0.0")
}
