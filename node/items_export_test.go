package node

import "registry-node/events"

// HasBlob reports whether a blob is here.
func (n *Node) HasBlob(d events.Digest) bool {
	_, ok, err := n.blobs.store.Has(d)
	return ok && err == nil
}

// LoseBlob removes a blob, as a disk might.
func (n *Node) LoseBlob(d events.Digest) error {
	_, err := n.blobs.store.Erase(d)
	return err
}

// RoomForProperties reports why a record of properties takes no change.
var RoomForProperties = roomForProperties

// HasSums reports whether checksums of a blob are kept.
func (n *Node) HasSums(d events.Digest) bool {
	_, ok, err := n.index.Load().Local(sumsSpace).Get(d.Hex())
	return ok && err == nil
}
