package upstream

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// EntryHealth is what is known of one upstream of a list.
type EntryHealth struct {
	URL       string     `json:"url"` // without credentials
	State     EntryState `json:"state"`
	Since     time.Time  `json:"since"`               // of State
	Until     time.Time  `json:"until,omitzero"`      // of offline: then it is tried again
	Failures  int        `json:"failures"`            // in a row
	LastError string     `json:"last_error,omitzero"` // of the latest failure, which may be over
	LastOK    time.Time  `json:"last_ok,omitzero"`    // the latest answer, absence included
}

// Health returns what is known of the upstreams of the list, in its order, and
// then of the ways to the checksum database that were tried, which are judged
// apart: a proxy may serve modules while the database behind it is down. Entries
// on one host and port share their state. File trees have none.
func (c *Client) Health() []EntryHealth {
	var all []EntryHealth
	for _, e := range c.list.entries {
		if e.url.Scheme != "file" {
			all = append(all, c.breakers.of(Origin(e.url)).health(e.url.String()))
		}
	}
	return append(all, c.breakers.healthOf(forSumdb)...)
}

// forSumdb is the prefix of the keys of breakers for the checksum database.
const forSumdb = "checksum database at "

// breakerOf returns the breaker for a request.
func (c *Client) breakerOf(e entry, rq request) *breaker {
	if rq.op == opSumdb {
		return c.breakers.of(forSumdb + Origin(e.url))
	}
	return c.breakers.of(Origin(e.url))
}

// breakers are those of a client, whose number is bounded by its configuration, or
// those of a VCS.
type breakers struct {
	period time.Duration
	now    func() time.Time
	most   int // that are remembered; 0: all

	mu  sync.Mutex
	all map[string]*breaker // by origin, and for the checksum database; guarded by mu
}

func newBreakers(period time.Duration) *breakers {
	return &breakers{period: period, now: time.Now, all: make(map[string]*breaker)}
}

// of returns the breaker for key, a new one if there is none.
func (bs *breakers) of(key string) *breaker {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	b := bs.all[key]
	if b == nil {
		if bs.most > 0 && len(bs.all) >= bs.most {
			clear(bs.all) // what is down is soon noticed again
		}
		b = newBreaker(bs.period, bs.now)
		bs.all[key] = b
	}
	return b
}

// healthOf returns the health of those whose key has a prefix, without it.
func (bs *breakers) healthOf(prefix string) []EntryHealth {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	var all []EntryHealth
	for _, key := range slices.Sorted(maps.Keys(bs.all)) {
		if url, ok := strings.CutPrefix(key, prefix); ok {
			all = append(all, bs.all[key].health(url))
		}
	}
	return all
}

// health returns what b knows of what is at url.
func (b *breaker) health(url string) EntryHealth {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := EntryHealth{URL: url, State: b.state, Since: b.since, Failures: b.failures, LastError: b.lastError, LastOK: b.lastOK}
	if b.state == EntryOffline {
		h.Until = b.until
	}
	return h
}
