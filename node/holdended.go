package node

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Who has uploaded a zip of which nothing came may still send the go.mod that
// belongs to it. Meanwhile somebody else may have published the version with another
// zip and the same go.mod. So for a while after a hold has ended without a
// publication, the node remembers whose zip it was: rows of local state by version.
// A row is written before that of the hold goes. It names the blob, too, so that it
// is removed soon after a crash.

const (
	endedSpace = "endedholds" // of local state, see partsKey
	endedTime  = time.Hour    // at most; maxEnded is for the holds that end within it
	maxEnded   = 20_000       // versions
	maxEndedOf = 8            // zips of one version; the first ones go
)

// endedZip is a zip of a hold that ended without a publication.
type endedZip struct {
	Zip   heldZip   `json:"zip"`
	Until time.Time `json:"until"` // when it is forgotten
}

// loadEnded reads what had ended when the node stopped.
func (n *Node) loadEnded() error {
	for r, err := range n.index.Load().Local(endedSpace).All("") {
		var list []endedZip
		if err == nil {
			list, err = readEnded(r.Value)
		}
		if err != nil {
			return err
		}
		for _, e := range list {
			n.parts.ended[r.Key] = e.Until
			if n.blobs.held(e.Zip.Blob) {
				n.parts.loose[e.Zip.Blob.Digest] = e.Zip.sum()
			}
		}
	}
	return nil
}

func readEnded(row []byte) (list []endedZip, err error) {
	if err := json.Unmarshal(row, &list); err != nil {
		return nil, fmt.Errorf("index: ended uploads: %w", err)
	}
	return list, nil
}

// endedZips returns the ended zips of a version, the last one last. The caller has
// the lock of the version, as for all that follows.
func (n *Node) endedZips(key string) ([]endedZip, error) {
	n.parts.mu.Lock()
	_, any := n.parts.ended[key]
	n.parts.mu.Unlock()
	if !any {
		return nil, nil
	}
	row, ok, err := n.index.Load().Local(endedSpace).Get(key)
	if err != nil || !ok {
		return nil, err
	}
	return readEnded(row)
}

// endedOf returns the ended zip that a caller sent, if it sent none since.
func (n *Node) endedOf(key string, by holder) (z heldZip, ok bool, err error) {
	list, err := n.endedZips(key)
	i := slices.IndexFunc(list, func(e endedZip) bool { return e.Zip.sentBy(by) && time.Now().Before(e.Until) })
	if err != nil || i < 0 {
		return z, false, err
	}
	return list[i].Zip, true, nil
}

// rememberEnded puts down that nothing came of a zip.
func (n *Node) rememberEnded(key string, z heldZip) error {
	list, err := n.endedZips(key)
	if err != nil {
		return err
	}
	list = append(list, endedZip{z, time.Now().Add(endedTime).UTC()})
	return n.putEnded(key, list[max(len(list)-maxEndedOf, 0):])
}

// forgetEnded is told that a caller has sent a zip which counts now.
func (n *Node) forgetEnded(key string, by holder) error {
	list, err := n.endedZips(key)
	if err != nil || !slices.ContainsFunc(list, func(e endedZip) bool { return e.Zip.sentBy(by) }) {
		return err
	}
	var rest []endedZip
	for _, e := range list {
		if z, ok := e.Zip.without(by); ok {
			rest = append(rest, endedZip{z, e.Until})
		}
	}
	return n.putEnded(key, rest)
}

// expireEnded forgets what is old.
func (n *Node) expireEnded(key string, now time.Time) error {
	list, err := n.endedZips(key)
	if err != nil || len(list) == 0 || now.Before(list[0].Until) {
		return err
	}
	return n.putEnded(key, slices.DeleteFunc(list, func(e endedZip) bool { return !now.Before(e.Until) }))
}

func (n *Node) putEnded(key string, list []endedZip) error {
	local := n.index.Load().Local(endedSpace)
	n.parts.mu.Lock()
	_, has := n.parts.ended[key]
	full := !has && len(n.parts.ended) >= maxEnded
	n.parts.mu.Unlock()
	if full {
		n.logger.Warn("too many uploads came to nothing: it is not remembered whose another one was", "version", key)
		return nil
	}
	if len(list) == 0 {
		if err := local.Delete(key); err != nil {
			return storeFailed(err, "forget an ended upload")
		}
		n.parts.mu.Lock()
		defer n.parts.mu.Unlock()
		delete(n.parts.ended, key)
		return nil
	}
	b, err := json.Marshal(list)
	if err != nil {
		return err
	}
	if err := local.Set(key, b); err != nil {
		return storeFailed(err, "remember an ended upload")
	}
	n.parts.mu.Lock()
	defer n.parts.mu.Unlock()
	n.parts.ended[key] = list[len(list)-1].Until
	return nil
}
