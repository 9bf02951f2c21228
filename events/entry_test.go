package events_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"registry-node/events"
)

var noSig = base64.StdEncoding.EncodeToString(make([]byte, ed25519.SignatureSize))

// entryFields are the fields of a well-formed entry before its events.
var entryFields = fmt.Sprintf(`{"v":1,"registry":"%v","site":"a","epoch":1,"seq":5,"time":"2026-03-01T12:00:00.250Z","prev":"%v"`, events.DigestOf(nil), events.DigestOf(nil))

// entryWith returns the bytes of an entry with these events, unsigned.
func entryWith(list string) []byte {
	return []byte(entryFields + `,"events":` + list + `,"sig":"` + noSig + `"}`)
}

const oneEvent = `[{"type":"x.unknown","data":{"a":1}}]`

func TestDecodeEntryTakesWhatItDoesNotKnow(t *testing.T) {
	raw := entryWith(`[{"type":"x.unknown","data":{"a":[true,false,-7,0,{"b":{}},[],"\n\u0000\u2028\"é😀/"]},"later":1},` +
		`{"type":"feature.raised","data":{"level":2,"later":["x"]}}]`)
	raw = bytes.Replace(raw, []byte(`"epoch"`), []byte(`"later":{},"epoch"`), 1)
	e, err := events.DecodeEntry(raw)
	if err != nil {
		t.Fatal(err)
	}
	if typ, unknown := e.Unknown(); !unknown || typ != "x.unknown" {
		t.Errorf("Unknown() = %q, %t", typ, unknown)
	}
	if _, _, err := events.Apply(nil, e.Events[0]); err == nil {
		t.Error("an event of an unknown type was applied")
	}
	c, changed, err := events.Apply(nil, e.Events[1])
	if err != nil || !changed {
		t.Fatalf("changed %t, %v", changed, err)
	}
	if got := string(c.Encode()); !strings.Contains(got, `"later":["x"]`) {
		t.Errorf("a field this version doesn't know is lost from %s", got)
	}
}

// Each row changes a well-formed entry in one place; it must be refused with an
// error that says what is wrong.
func TestDecodeEntryIsStrict(t *testing.T) {
	data := func(s string) [2]string { return [2]string{`{"a":1}`, s} }
	level := func(s string) [2]string { return [2]string{oneEvent, `[{"type":"feature.raised","data":` + s + `}]`} }
	sample := string(must(events.EncodeBody(events.VersionFilled{ModuleVersion: events.Of(repoID("a/1/1/0"), modVersion("m.test/a", "v1.0.0")), Content: content(1)})))
	filled := func(old, new string) [2]string {
		if !strings.Contains(sample, old) {
			t.Fatalf("%s is not in %s", old, sample)
		}
		return [2]string{oneEvent, `[{"type":"version.filled","data":` + strings.Replace(sample, old, new, 1) + `}]`}
	}
	mod64 := base64.StdEncoding.EncodeToString(content(1).Mod)
	joined := string(must(events.EncodeBody(events.SiteJoined{Name: site("a"), PublicKey: public(1)})))
	key64 := base64.StdEncoding.EncodeToString(public(1))
	site := func(old, new string) [2]string {
		return [2]string{oneEvent, `[{"type":"site.joined","data":` + strings.Replace(joined, old, new, 1) + `}]`}
	}
	tests := map[string]struct {
		change [2]string // old, new
		want   string    // in the error
	}{
		"another format":         {[2]string{`"v":1`, `"v":2`}, "format 2"},
		"no format":              {[2]string{`"v":1,`, ``}, "format 0"},
		"no registry":            {[2]string{`"registry":"` + events.DigestOf(nil).String(), `"registry":"`}, "no registry"},
		"zero registry":          {[2]string{`"registry":"` + events.DigestOf(nil).String(), `"registry":"sha256:` + strings.Repeat("0", 64)}, "nothing known"},
		"upper-case digest":      {[2]string{`sha256:e3`, `sha256:E3`}, "lower-case hex"},
		"no site":                {[2]string{`"site":"a"`, `"site":""`}, "no site"},
		"bad site":               {[2]string{`"site":"a"`, `"site":"A"`}, "may only have"},
		"number as a site":       {[2]string{`"site":"a"`, `"site":1`}, "a string is due"},
		"epoch 0":                {[2]string{`"epoch":1`, `"epoch":0`}, "start at 1"},
		"epoch too large":        {[2]string{`"epoch":1`, `"epoch":4294967296`}, "out of range"},
		"negative epoch":         {[2]string{`"epoch":1`, `"epoch":-1`}, "out of range"},
		"seq 0":                  {[2]string{`"seq":5`, `"seq":0`}, "start at 1"},
		"negative seq":           {[2]string{`"seq":5`, `"seq":-5`}, "out of range"},
		"seq too large":          {[2]string{`"seq":5`, `"seq":9007199254740992`}, "holds exactly"},
		"endless seq":            {[2]string{`"seq":5`, `"seq":` + strings.Repeat("9", 400)}, "holds exactly"},
		"seq as text":            {[2]string{`"seq":5`, `"seq":"5"`}, "a value is due"},
		"no seq":                 {[2]string{`"seq":5,`, ``}, "start at 1"},
		"no time":                {[2]string{`"time":"2026-03-01T12:00:00.250Z",`, ``}, "no time"},
		"time with offset":       {[2]string{`00.250Z`, `00.250+00:00`}, "not of the form"},
		"time without a zone":    {[2]string{`00.250Z`, `00.250`}, "not of the form"},
		"time in lower case":     {[2]string{`T12:00:00.250Z`, `t12:00:00.250z`}, "not of the form"},
		"time in microseconds":   {[2]string{`00.250Z`, `00.250000Z`}, "not of the form"},
		"time in seconds":        {[2]string{`00.250Z`, `00Z`}, "not of the form"},
		"time with a comma":      {[2]string{`00.250Z`, `00,250Z`}, "not of the form"},
		"no such day":            {[2]string{`2026-03-01`, `2026-02-30`}, "not of the form"},
		"no prev":                {[2]string{`"prev":"` + events.DigestOf(nil).String(), `"prev":"`}, "no hash"},
		"no events":              {[2]string{oneEvent, `[]`}, "no events"},
		"events as an object":    {[2]string{oneEvent, `{}`}, "an array is due"},
		"event as a text":        {[2]string{oneEvent, `["x"]`}, "an object is due"},
		"too many events":        {[2]string{oneEvent, `[` + strings.Repeat(oneEvent[1:len(oneEvent)-1]+",", 4096) + oneEvent[1:]}, "more than 4096"},
		"event without type":     {[2]string{`"type":"x.unknown",`, ``}, "event type"},
		"event without data":     {[2]string{`,"data":{"a":1}`, ``}, "data is not an object"},
		"data as an array":       {data(`[1]`), "data is not an object"},
		"upper-case type":        {[2]string{`x.unknown`, `X.unknown`}, "may only have"},
		"endless type":           {[2]string{`x.unknown`, strings.Repeat("x", 65)}, "longer than 64"},
		"escape in the type":     {[2]string{`x.unknown`, `\u0078.unknown`}, "stand for itself"},
		"repeated key":           {[2]string{`"seq":5`, `"seq":5,"seq":5`}, "stands twice"},
		"repeated key inside":    {data(`{"a":1,"b":2,"a":1}`), "stands twice"},
		"repeated events":        {[2]string{`"seq":5`, `"events":` + oneEvent + `,"seq":5`}, "stands twice"},
		"upper-case key":         {[2]string{`"seq":5`, `"Seq":5`}, "may only have"},
		"key that folds to s":    {[2]string{`"seq":5`, `"ſeq":5`}, "may only have"},
		"escape in a key":        {data(`{"\u0061":1}`), "stand for itself"},
		"needed escape in a key": {data(`{"a\n":1}`), "may only have"},
		"empty key":              {data(`{"":1}`), "empty key"},
		"too many keys":          {data(`{` + manyKeys(65) + `}`), "more than 64"},
		"space":                  {[2]string{`"seq":5`, `"seq": 5`}, "white space"},
		"space before a key":     {[2]string{`,"seq":5`, `, "seq":5`}, "white space"},
		"space before a comma":   {[2]string{`"seq":5`, `"seq":5 `}, "white space"},
		"space in front":         {[2]string{`{"v"`, ` {"v"`}, "white space"},
		"line break":             {[2]string{`,"seq":5`, ",\n\"seq\":5"}, "white space"},
		"space in an array":      {data(`{"a":[1, 2]}`), "white space"},
		"space in no array":      {data(`{"a":[ ]}`), "white space"},
		"bytes behind":           {[2]string{noSig + `"}`, noSig + `"}x`}, "behind the value"},
		"line break behind":      {[2]string{noSig + `"}`, noSig + "\"}\n"}, "behind the value"},
		"second value behind":    {[2]string{noSig + `"}`, noSig + `"}{}`}, "behind the value"},
		"cut short":              {[2]string{noSig + `"}`, noSig}, "within a string"},
		"cut shorter":            {[2]string{`,"sig":"` + noSig + `"}`, ``}, "ends where"},
		"comma too many":         {data(`{"a":1,}`), "a string is due"},
		"comma too many in list": {data(`{"a":[1,]}`), "a value is due"},
		"comma too few":          {data(`{"a":1"b":2}`), "a comma"},
		"colon too few":          {data(`{"a"1}`), "a colon"},
		"nothing":                {data(`{"a":}`), "a value is due"},
		"null":                   {data(`{"a":null}`), "null"},
		"null for a field":       {[2]string{`"seq":5`, `"seq":null`}, "a value is due"},
		"null in a body":         {level(`{"level":null}`), "null"},
		"unknown word":           {data(`{"a":truth}`), "a value is due"},
		"NaN":                    {data(`{"a":NaN}`), "a value is due"},
		"fraction":               {data(`{"a":1.0}`), "plain form"},
		"exponent":               {data(`{"a":1e3}`), "plain form"},
		"large exponent":         {data(`{"a":1E3}`), "plain form"},
		"leading zero":           {data(`{"a":01}`), "plain form"},
		"zeros":                  {data(`{"a":00}`), "plain form"},
		"minus zero":             {data(`{"a":-0}`), "plain form"},
		"minus alone":            {data(`{"a":-}`), "plain form"},
		"plus":                   {data(`{"a":+1}`), "a value is due"},
		"number too large":       {data(`{"a":-9007199254740992}`), "holds exactly"},
		"invalid UTF-8":          {data("{\"a\":\"\xff\"}"), "UTF-8"},
		"surrogate in UTF-8":     {data("{\"a\":\"\xed\xa0\x80\"}"), "UTF-8"},
		"half a surrogate pair":  {data(`{"a":"\ud83d"}`), "stand for itself"},
		"surrogate pair":         {data(`{"a":"\ud83d\ude00"}`), "stand for itself"},
		"needless escape":        {data(`{"a":"\u0041"}`), "stand for itself"},
		"escaped slash":          {data(`{"a":"\/"}`), "stand for itself"},
		"unknown escape":         {data(`{"a":"\x41"}`), "stand for itself"},
		"upper-case escape":      {data(`{"a":"\u000A"}`), "stand for itself"},
		"control character":      {data("{\"a\":\"\x01\"}"), "control character"},
		"NUL":                    {data("{\"a\":\x00}"), "ends where"},
		"byte order mark":        {[2]string{`{"v"`, "\ufeff{\"v\""}, "an object is due"},
		"nested too deeply":      {data(`{"a":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}`), "deep"},
		"endless nesting":        {data(`{"a":` + strings.Repeat(`[`, 700_000) + `}`), "deep"},
		"no signature":           {[2]string{`,"sig":"` + noSig + `"`, ``}, "signature"},
		"signature not last":     {[2]string{`,"sig":"` + noSig + `"`, `,"sig":"` + noSig + `","x":1`}, "signature"},
		"signature inside":       {[2]string{`,"sig":"` + noSig + `"`, `,"x":{"a":1,"sig":"` + noSig + `"}`}, "signature"},
		"short signature":        {[2]string{noSig, noSig[4:]}, "signature"},
		"stray bits":             {[2]string{noSig, noSig[:85] + `B==`}, "signature"},
		"base64 for URLs":        {[2]string{noSig, "-" + noSig[1:]}, "signature"},
		"known type, bad data":   {level(`{"level":0}`), "level 0"},
		"text for a number":      {level(`{"level":"2"}`), "feature.raised"},
		"bytes as numbers":       {filled(`"mod":"`+mod64+`"`, `"mod":[1,2]`), "a string is due"},
		"base64 without padding": {filled(`"zip_h1":"`, `"zip_h1":"h`), "h1:"},
		"info with line breaks":  {filled(`"info":"`, `"info":"\n`), "base64"},
		"key as numbers":         {site(`"`+key64+`"`, `[1,2]`), "site.joined"},
		"key with stray bits":    {site(key64, key64[:42]+"B="), "base64"},
		"key with line break":    {site(key64, `\n`+key64), "base64"},
		"short key":              {site(key64, key64[:40]), "32"},
		"another go.mod":         {filled(mod64, base64.StdEncoding.EncodeToString(content(2).Mod)), "mod_h1"},
		"version not canonical":  {filled(`v1.0.0`, `v1.0`), "v1.0"},
		"zip without its hash":   {filled(`"zip_h1":"`+content(1).ZipH1.String()+`",`, ``), "hash"},
		"negative size":          {filled(`"size":1001`, `"size":-1`), "size"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			good := string(entryWith(oneEvent))
			if n := strings.Count(good, tt.change[0]); n == 0 {
				t.Fatalf("%s is not in the entry", tt.change[0])
			}
			raw := strings.Replace(good, tt.change[0], tt.change[1], 1)
			_, err := events.DecodeEntry([]byte(raw))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q, for %.300s", err, tt.want, raw)
			}
		})
	}
}

func manyKeys(n int) string {
	var keys []string
	for i := range n {
		keys = append(keys, fmt.Sprintf(`"k%d":1`, i))
	}
	return strings.Join(keys, ",")
}

// What is taken at the limit must not be refused for it.
func TestDecodeEntryAtItsLimits(t *testing.T) {
	for name, change := range map[string][2]string{
		"seq":    {`"seq":5`, `"seq":9007199254740991`},
		"epoch":  {`"epoch":1`, `"epoch":4294967295`},
		"keys":   {`{"a":1}`, `{` + manyKeys(64) + `}`},
		"events": {oneEvent, `[` + strings.Repeat(oneEvent[1:len(oneEvent)-1]+",", 4095) + oneEvent[1:]},
	} {
		if _, err := events.DecodeEntry(bytes.Replace(entryWith(oneEvent), []byte(change[0]), []byte(change[1]), 1)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSealRefuses(t *testing.T) {
	big := events.VersionHidden{ModuleVersion: events.Of(repoID("a/1/1/0"), modVersion("m.test/a", "v1.0.0")), Reason: strings.Repeat("x", 1000)}
	many := func(n int) (bodies []events.Body) {
		for range n {
			bodies = append(bodies, big)
		}
		return bodies
	}
	good := events.Draft{Registry: events.DigestOf(nil), Site: site("a"), Mark: mark("1/1"), Time: at(0), Prev: events.DigestOf(nil), Bodies: many(1)}
	for name, tt := range map[string]struct {
		change func(*events.Draft)
		want   error
	}{
		"too many bytes":  {func(d *events.Draft) { d.Bodies = many(800) }, events.ErrTooLarge},
		"too many events": {func(d *events.Draft) { d.Bodies = many(4097) }, events.ErrTooLarge},
		"no events":       {func(d *events.Draft) { d.Bodies = nil }, nil},
		"no time":         {func(d *events.Draft) { d.Time = time.Time{} }, nil},
		"year 10000":      {func(d *events.Draft) { d.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, nil},
		"no registry":     {func(d *events.Draft) { d.Registry = events.Digest{} }, nil},
		"no site":         {func(d *events.Draft) { d.Site = events.Site{} }, nil},
		"no mark":         {func(d *events.Draft) { d.Mark = events.Mark{} }, nil},
		"bad body":        {func(d *events.Draft) { d.Bodies = []events.Body{events.FeatureRaised{}} }, nil},
		"broken text": {func(d *events.Draft) {
			d.Bodies = []events.Body{events.VersionBlocked{Module: "m.test", Reason: "\xff"}}
		}, nil},
	} {
		d := good
		tt.change(&d)
		if _, err := d.Seal(signer(1)); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: error %v, want %v", name, err, tt.want)
		}
	}
	if _, err := good.Seal(signer(1)); err != nil {
		t.Error(err)
	}
}

// A time is kept to the millisecond, in UTC, whatever the clock gave.
func TestSealKeepsTimeInUTC(t *testing.T) {
	local := time.Date(2026, 3, 1, 14, 0, 0, 250_999_999, time.FixedZone("east", 2*3600))
	e, err := events.Draft{Registry: events.DigestOf(nil), Site: site("a"), Mark: mark("1/1"), Time: local, Prev: events.DigestOf(nil), Bodies: []events.Body{events.FeatureRaised{Level: 1}}}.Seal(signer(1))
	if err != nil {
		t.Fatal(err)
	}
	if want := at(0); !e.Time.Equal(want) || e.Time.Location() != time.UTC || !e.Events[0].Time.Equal(want) {
		t.Errorf("time %v, want %v", e.Time, want)
	}
}

func TestVerifyChecksEveryByte(t *testing.T) {
	e := sealed(t, "1/5", events.FeatureRaised{Level: 2})
	if err := e.Verify(ed25519.PublicKey(public(1))); err != nil {
		t.Fatal(err)
	}
	if err := e.Verify(ed25519.PublicKey(public(2))); err == nil {
		t.Error("verified with another site's key")
	}
	if err := e.Verify(nil); err == nil {
		t.Error("verified with no key")
	}
	for i := range e.Raw {
		raw := bytes.Clone(e.Raw)
		raw[i] ^= 1
		changed, err := events.DecodeEntry(raw)
		if err == nil && changed.Verify(ed25519.PublicKey(public(1))) == nil {
			t.Fatalf("byte %d changed, still verified: %s", i, raw)
		}
	}
}

func TestFollows(t *testing.T) {
	prev := events.Position{Site: site("a"), Mark: mark("2/4"), Hash: events.DigestOf([]byte("prev"))}
	start := events.Position{Site: site("a"), Hash: events.DigestOf([]byte("prev"))}
	good := sealed(t, "2/5", events.FeatureRaised{Level: 1})
	tests := map[string]struct {
		entry    events.Entry
		registry events.Digest
		prev     events.Position
		time     time.Time
		ok       bool
	}{
		"next":               {good, events.DigestOf(nil), prev, at(0), true},
		"next epoch":         {sealed(t, "3/5", events.FeatureRaised{Level: 1}), events.DigestOf(nil), prev, at(0), true},
		"first":              {sealed(t, "1/1", events.FeatureRaised{Level: 1}), events.DigestOf(nil), start, time.Time{}, true},
		"first in epoch 2":   {sealed(t, "2/1", events.FeatureRaised{Level: 1}), events.DigestOf(nil), start, time.Time{}, false},
		"second as first":    {sealed(t, "1/2", events.FeatureRaised{Level: 1}), events.DigestOf(nil), start, time.Time{}, false},
		"the same":           {sealed(t, "2/4", events.FeatureRaised{Level: 1}), events.DigestOf(nil), prev, at(0), false},
		"gap":                {sealed(t, "2/6", events.FeatureRaised{Level: 1}), events.DigestOf(nil), prev, at(0), false},
		"epoch skipped":      {sealed(t, "4/5", events.FeatureRaised{Level: 1}), events.DigestOf(nil), prev, at(0), false},
		"epoch back":         {sealed(t, "1/5", events.FeatureRaised{Level: 1}), events.DigestOf(nil), prev, at(0), false},
		"count begun anew":   {sealed(t, "3/1", events.FeatureRaised{Level: 1}), events.DigestOf(nil), prev, at(0), false},
		"another registry":   {good, events.DigestOf([]byte("x")), prev, at(0), false},
		"another site":       {good, events.DigestOf(nil), events.Position{Site: site("b"), Mark: prev.Mark, Hash: prev.Hash}, at(0), false},
		"another chain":      {good, events.DigestOf(nil), events.Position{Site: site("a"), Mark: prev.Mark, Hash: events.DigestOf(nil)}, at(0), false},
		"older than the one": {good, events.DigestOf(nil), prev, at(1), false},
	}
	for name, tt := range tests {
		if err := tt.entry.Follows(tt.registry, tt.prev, tt.time); (err == nil) != tt.ok {
			t.Errorf("%s: error %v, want none: %t", name, err, tt.ok)
		}
	}
}
