package node

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
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

// maxTroubles bounds how many are kept; further ones wait for a place.
const maxTroubles = 256

// raise says that there is trouble. It reports whether that is news.
func (t *troubles) raise(key, text string) bool {
	t.mu.Lock()
	old, has := t.all[key]
	news := !has && len(t.all) < maxTroubles || has && old.text != text
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

// texts returns what there is, oldest first.
func (t *troubles) texts() []string {
	t.mu.Lock()
	list := slices.Collect(maps.Values(t.all))
	t.mu.Unlock()
	slices.SortFunc(list, func(a, b trouble) int {
		return cmp.Or(a.since.Compare(b.since), cmp.Compare(a.text, b.text))
	})
	texts := []string{}
	for _, x := range list {
		texts = append(texts, x.text)
	}
	return texts
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
