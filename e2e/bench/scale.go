package main

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
	"registry-node/replication"
)

const (
	scaleVersions = 1_000_000
	perEntry      = 16 // events, as group commit makes of them under load
	perModule     = 20 // versions
)

// scale measures a node that holds a million versions: how fast the log replays
// into an empty index, and how much memory a node takes, with it and without.
func (b *bench) scale(ctx context.Context) error {
	idle, err := b.serve(ctx, filepath.Join(b.dir, "idle"))
	if err != nil {
		return err
	}
	rss, err := idle.rss()
	idle.stop()
	if err != nil {
		return err
	}
	b.add("resident memory, idle", fmt.Sprintf("%.0f MiB", rss), "", "", "≤ 100 MiB")

	data := filepath.Join(b.dir, "scale")
	if err := b.makeLog(ctx, data, scaleVersions); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(data, "index")); err != nil {
		return err
	}
	begin := time.Now()
	n, err := node.Open(ctx, data, node.Options{})
	if err != nil {
		return err
	}
	took := time.Since(begin)
	if err := n.Close(); err != nil {
		return err
	}
	b.add("replay into an empty index", fmt.Sprintf("%.0f events/s", scaleVersions/took.Seconds()), fmt.Sprintf("%d in %s", scaleVersions, took.Round(time.Second/10)), "", "≥ 50000/s")

	begin = time.Now()
	s, err := b.serve(ctx, data)
	if err != nil {
		return err
	}
	defer s.stop()
	b.add("start with 1 M versions", time.Since(begin).Round(10*time.Millisecond).String(), "", "", "")
	for range 20_000 {
		if _, err := get(ctx, s.addr+"/go/local/"+scalePath(rand.IntN(scaleVersions/perModule))+"/@v/list"); err != nil {
			return err
		}
	}
	if rss, err = s.rss(); err != nil {
		return err
	}
	b.add("resident memory, 1 M versions, 20,000 lists read", fmt.Sprintf("%.0f MiB", rss), "", "", "≤ 300 MiB")
	return nil
}

func scalePath(i int) string { return fmt.Sprintf("corp.example/group%d/module%d", i%100, i) }

// makeLog makes a registry whose log publishes so many versions. Their zips exist
// nowhere, so other sites are told to fetch them only when somebody asks.
func (b *bench) makeLog(ctx context.Context, data string, versions int) error {
	s, err := b.serve(ctx, data)
	if err != nil {
		return err
	}
	err = b.command(ctx, data, "repo", "set", "local", "--owns", "corp.example/**", "--blobs", "lazy")
	s.stop()
	if err != nil {
		return err
	}
	seed, err := os.ReadFile(filepath.Join(data, "keys", "site.key"))
	if err != nil {
		return err
	}
	block, _ := pem.Decode(seed)
	if block == nil {
		return errors.New("the site's key is not PEM")
	}
	site, err := events.ParseSite("main")
	if err != nil {
		return err
	}
	log, err := replication.Open(ctx, replication.Config{Dir: filepath.Join(data, "stream"), Site: site})
	if err != nil {
		return err
	}
	err = log.Rewrite(ctx, longLog(ctx, log, ed25519.NewKeyFromSeed(block.Bytes), versions), nil)
	return errors.Join(err, log.Close())
}

// longLog yields the entries of a fresh registry's log and then so many
// publications.
func longLog(ctx context.Context, log *replication.Log, key ed25519.PrivateKey, versions int) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var last events.Entry
		var repo events.RepoID
		for rec, err := range log.Read(ctx, 1) {
			if err == nil {
				last, err = events.DecodeEntry(rec.Data)
			}
			for _, ev := range last.Events {
				if b, ok := ev.Body.(events.RepoCreated); ok && b.Kind == events.Local {
					repo = events.RepoID{EventID: ev.ID}
				}
			}
			if !yield(rec.Data, err) || err != nil {
				return
			}
		}
		for i := 0; i < versions; i += perEntry {
			d := events.Draft{Registry: last.Registry, Site: last.Position.Site, Time: time.Now(), Prev: last.Position.Hash}
			d.Mark = events.Mark{Epoch: 1, Seq: last.Position.Mark.Seq + 1}
			for j := i; j < min(i+perEntry, versions); j++ {
				d.Bodies = append(d.Bodies, publication(repo, j))
			}
			var err error
			if last, err = d.Seal(key); !yield(last.Raw, err) || err != nil {
				return
			}
		}
	}
}

func publication(repo events.RepoID, i int) events.VersionPublished {
	mv := module.Version{Path: scalePath(i / perModule), Version: fmt.Sprintf("v1.%d.0", i%perModule)}
	mod := append(goMod(mv.Path), "\nrequire (\n\texample.com/a v1.2.3\n\texample.com/b/v2 v2.3.4\n)\n"...)
	return events.VersionPublished{
		ModuleVersion: events.Of(repo, mv),
		Content: events.Content{
			ModH1: events.HashMod(mod), Mod: mod,
			Info:  fmt.Appendf(nil, `{"Version":%q,"Time":"2024-01-02T03:04:05Z"}`, mv.Version),
			ZipH1: events.H1(events.DigestOf([]byte(mv.String()))),
			Zip:   events.Blob{Digest: events.DigestOf([]byte(mv.String() + "zip")), Size: 1 << 20},
		},
		Actor: "bench",
	}
}
