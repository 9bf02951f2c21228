package httpapi

// recent is a map of bounded size. It forgets what was not used for longest, in
// two generations: what neither is in the young one nor was looked up since that
// began goes when it is full. The zero value is not usable; the caller guards it.
type recent[K comparable, V any] struct {
	size       int // of a generation
	young, old map[K]V
}

// newRecent returns a map that holds at least the size keys used last, and at
// most twice as many.
func newRecent[K comparable, V any](size int) recent[K, V] {
	return recent[K, V]{size: size, young: map[K]V{}}
}

// get returns the value of k, which made makes if there is none.
func (t *recent[K, V]) get(k K, made func() V) V {
	v, ok := t.young[k]
	if ok {
		return v
	}
	if v, ok = t.old[k]; !ok {
		v = made()
	}
	if len(t.young) >= t.size {
		t.old, t.young = t.young, make(map[K]V, t.size)
	}
	t.young[k] = v
	return v
}

// peek returns the value of k, if there is one, and is no use of it.
func (t *recent[K, V]) peek(k K) (v V, ok bool) {
	if v, ok = t.young[k]; !ok {
		v, ok = t.old[k]
	}
	return v, ok
}
