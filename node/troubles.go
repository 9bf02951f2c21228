package node

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"registry-node/events"
)

// troubles are what a person should know of, until it is over: each has a key
// under which it is raised once and cleared.
type troubles struct {
	changed func()

	mu  sync.Mutex
	all map[string]trouble // guarded by mu
}

type trouble struct {
	text  string
	since time.Time
}

// maxTroubles bounds how many of a kind are kept, which is the first word of their
// keys; further ones wait for a place. So many of one kind keep out no other.
const maxTroubles = 64

func kindOfTrouble(key string) string {
	kind, _, _ := strings.Cut(key, " ")
	return kind
}

// raise says that there is trouble. It reports whether that is news.
func (t *troubles) raise(key, text string) bool {
	t.mu.Lock()
	old, has := t.all[key]
	news := has && old.text != text || !has && t.ofKind(kindOfTrouble(key)) < maxTroubles
	if news {
		since := old.since
		if !has {
			since = time.Now()
		}
		t.all[key] = trouble{text, since}
	}
	t.mu.Unlock()
	if news {
		t.changed()
	}
	return news
}

// clear says that it is over.
func (t *troubles) clear(key string) {
	t.mu.Lock()
	_, has := t.all[key]
	delete(t.all, key)
	t.mu.Unlock()
	if has {
		t.changed()
	}
}

// withSite are the kinds of trouble with a site itself, which is the second word of
// their keys.
var withSite = []string{"announce", "blob", "claim", "clock", "head", "source", "version"}

// left clears the trouble with a site that is no member any more.
func (t *troubles) left(site events.Site) {
	t.mu.Lock()
	before := len(t.all)
	for key := range t.all {
		if words := strings.Fields(key); len(words) > 1 && words[1] == site.String() && slices.Contains(withSite, words[0]) {
			delete(t.all, key)
		}
	}
	cleared := len(t.all) < before
	t.mu.Unlock()
	if cleared {
		t.changed()
	}
}

// ofKind returns how many troubles of a kind there are. The caller holds mu.
func (t *troubles) ofKind(kind string) (n int) {
	for key := range t.all {
		if kindOfTrouble(key) == kind {
			n++
		}
	}
	return n
}

// texts returns what there is: the oldest of each kind, then the second oldest of
// each, and so on, as who shows them may cut the list.
func (t *troubles) texts() []string {
	t.mu.Lock()
	kinds := map[string][]trouble{}
	for key, x := range t.all {
		kinds[kindOfTrouble(key)] = append(kinds[kindOfTrouble(key)], x)
	}
	t.mu.Unlock()
	type ranked struct {
		trouble
		rank int // among those of its kind
	}
	var list []ranked
	for _, of := range kinds {
		slices.SortFunc(of, trouble.compare)
		for rank, x := range of {
			list = append(list, ranked{x, rank})
		}
	}
	slices.SortFunc(list, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), a.compare(b.trouble))
	})
	texts := []string{}
	for _, x := range list {
		texts = append(texts, x.text)
	}
	return texts
}

// compare orders troubles by age.
func (t trouble) compare(u trouble) int {
	return cmp.Or(t.since.Compare(u.since), cmp.Compare(t.text, u.text))
}

// count returns how many troubles have a key that starts with prefix.
func (t *troubles) count(prefix string) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key := range t.all {
		if strings.HasPrefix(key, prefix) {
			n++
		}
	}
	return n
}
