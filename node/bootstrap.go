package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"sync"

	"registry-node/events"
	"registry-node/replication"
)

// bootstrap is what a node needs to reach the other sites while its index does
// not tell: when it has just joined, or has lost the index. It is a copy of what
// the Directory said last, in the file peers.json.
type bootstrap struct {
	// First is the registry's first site: its log proves the registry's id and
	// leads to all other members.
	First events.Site `json:"first"`
	Peers []knownPeer `json:"peers"`

	mu sync.Mutex // guards what is above
}

type knownPeer struct {
	Site        events.Site   `json:"site"`
	Addresses   []string      `json:"addresses"`
	Certificate events.Digest `json:"certificate"`
}

const peersFile = "peers.json"

func readBootstrap(dir string) (*bootstrap, error) {
	b := &bootstrap{}
	text, err := os.ReadFile(filepath.Join(dir, peersFile))
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err == nil {
		err = json.Unmarshal(text, b)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, peersFile), err)
	}
	return b, nil
}

// others returns the peers but self.
func (b *bootstrap) others(self events.Site) []replication.Peer {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []replication.Peer
	for _, p := range b.Peers {
		if p.Site != self {
			list = append(list, replication.Peer{Site: p.Site, Addresses: p.Addresses, Certificates: []events.Digest{p.Certificate}})
		}
	}
	return list
}

// remember keeps what the Directory says of the other members, once it tells of
// this site, too.
func (b *bootstrap) remember(dir string, self events.Site, d *events.Directory) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !tellsOf(d, self) {
		return nil
	}
	var peers []knownPeer
	for _, m := range d.Sites() {
		if m.Name != self && d.MemberNow(m.Name) {
			peers = append(peers, knownPeer{m.Name, m.Addresses, m.Certificate})
		}
	}
	first := d.Homes[0].Site
	if len(peers) == 0 || first == b.First && reflect.DeepEqual(peers, b.Peers) {
		return nil
	}
	b.First, b.Peers = first, peers
	return b.write(dir)
}

func (b *bootstrap) write(dir string) error {
	text, err := json.Marshal(b)
	if err != nil {
		return err
	}
	return WriteFile(filepath.Join(dir, peersFile), text, 0o600)
}

// first returns the registry's first site, the zero Site if it is not known.
func (b *bootstrap) first() events.Site {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.First
}

// any reports whether there are other sites to speak to.
func (b *bootstrap) any() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.Peers) > 0
}
