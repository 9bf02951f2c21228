package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	backlog   = 10_000  // versions published while a link is cut
	joinLog   = 200_000 // versions that a new site learns of
	blobCount = 16
	blobSize  = 64 << 20
	oneWay    = 25 * time.Millisecond // on a link with a round trip of 50 ms
)

// sites measures two sites: how soon one shows what the other appends, how soon
// they are equal after a link was cut, and how fast a new one joins.
func (b *bench) sites(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return errors.Join(b.twoSites(ctx), b.joinFar(ctx), b.blobsFar(ctx))
}

// pair is two sites, of which the second reaches the first over a link.
type pair struct {
	first, second *served
	link, back    *link
}

func (p *pair) stop() {
	p.second.stop()
	p.first.stop()
}

// first starts a registry's first site, which others reach over a link.
func (b *bench) first(ctx context.Context, data, network string, delay time.Duration) (*served, *link, error) {
	l, err := newLink(ctx, network+".1:0", network+".2:0", delay)
	if err != nil {
		return nil, nil, err
	}
	s, err := b.start(ctx, data, nil, append([]string{"serve", "--init"}, l.peerFlags()...)...)
	return s, l, err
}

// peerFlags have a site listen behind the link.
func (l *link) peerFlags() []string {
	return []string{"--peer-listen", l.to, "--advertise", strings.Split(l.listener.Addr().String(), ":")[0]}
}

// join has a site join that of data, and returns it with how long that took.
func (b *bench) join(ctx context.Context, inviter, data string, flags ...string) (*served, time.Duration, error) {
	token, err := exec.CommandContext(ctx, b.bin, "invite", filepath.Base(data), "--data", inviter).Output()
	if err != nil {
		return nil, 0, fmt.Errorf("invite: %w", err)
	}
	begin := time.Now()
	s, err := b.start(ctx, data, nil, append([]string{"join", strings.TrimSpace(string(token))}, flags...)...)
	return s, time.Since(begin), err
}

// twoSites measures two sites on a good link, and after it was cut.
func (b *bench) twoSites(ctx context.Context) error {
	var p pair
	var err error
	data := filepath.Join(b.dir, "near")
	if p.first, p.link, err = b.first(ctx, data, "127.90.0", 0); err != nil {
		return err
	}
	if p.back, err = newLink(ctx, "127.90.1.1:0", "127.90.1.2:0", 0); err != nil {
		return err
	}
	if p.second, _, err = b.join(ctx, data, filepath.Join(b.dir, "near-b"), p.back.peerFlags()...); err != nil {
		return err
	}
	defer p.stop()
	if err := b.command(ctx, data, "repo", "set", "local", "--owns", "corp.example/**"); err != nil {
		return err
	}
	if err := b.visible(ctx, &p); err != nil {
		return err
	}
	return b.heal(ctx, &p)
}

// visible measures from an acknowledgement at one site to the answer of another
// that shows the version.
func (b *bench) visible(ctx context.Context, p *pair) error {
	var times []time.Duration
	for i, begin := 0, time.Now(); time.Since(begin) < b.duration; i++ {
		path, version := "corp.example/seen", fmt.Sprintf("v1.%d.0", i)
		z, err := moduleZip(path, version, 1<<10)
		if err != nil {
			return err
		}
		at, err := putAt(ctx, p.first.addr, path, version, z)
		if err != nil {
			return err
		}
		acked := time.Now()
		if _, err := get(ctx, p.second.addr+"/at-least/"+at+"/go/local/"+path+"/@v/"+version+".info"); err != nil {
			return err
		}
		times = append(times, time.Since(acked))
	}
	slices.Sort(times)
	b.add("append at one site, visible at another, p99", times[len(times)*99/100].Round(10*time.Microsecond).String(),
		"p50 "+times[len(times)/2].Round(10*time.Microsecond).String(), "", "≤ 50ms")
	return nil
}

// putAt publishes a zip and returns the position of its entry, SITE/EPOCH/SEQ.
func putAt(ctx context.Context, base, path, version string, zip []byte) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, base+"/api/v1/repos/local/modules/"+path+"/@v/"+version, strings.NewReader(string(zip)))
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("PUT %s: %s: %s, %w", path, resp.Status, body, err)
	}
	at := strings.Split(resp.Header.Get("Registry-Position"), "/")
	if len(at) < 3 {
		return "", fmt.Errorf("PUT %s: the answer names no position: %v", path, at)
	}
	return strings.Join(at[:3], "/"), nil
}

// heal measures how long two sites take to be equal after one has published a
// backlog while the link was cut.
func (b *bench) heal(ctx context.Context, p *pair) error {
	p.link.setCut(true)
	p.back.setCut(true)
	before, err := standing(ctx, p.first)
	if err != nil {
		return err
	}
	d := b.duration
	defer func() { b.duration = d }()
	for b.duration = time.Second; ; {
		if _, _, err := b.publishers(ctx, p.first.addr, "backlog"+time.Now().Format("150405"), 8); err != nil {
			return err
		}
		now, err := standing(ctx, p.first)
		if err != nil {
			return err
		}
		if n := now.entries() - before.entries(); n >= backlog {
			p.link.setCut(false)
			p.back.setCut(false)
			return b.equal(ctx, p, n)
		}
	}
}

// equal waits until two sites have one state hash, and says how long it took.
func (b *bench) equal(ctx context.Context, p *pair, entries uint64) error {
	begin := time.Now()
	for ctx.Err() == nil {
		one, err := standing(ctx, p.first)
		if err != nil {
			return err
		}
		two, err := standing(ctx, p.second)
		if err != nil {
			return err
		}
		if one.own() == two.own() && one.Agreement == "equal" {
			b.add(fmt.Sprintf("equal after a heal, %d entries behind", entries), time.Since(begin).Round(10*time.Millisecond).String(), "", "", "≤ 5s for 10000")
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return ctx.Err()
}

// stand is what a site says of all sites.
type stand struct {
	Agreement string
	Sites     []struct {
		Self         bool
		StateHash    string `json:"state_hash"`
		BlobsMissing int    `json:"blobs_missing"`
		Logs         map[string]struct{ Seq uint64 }
	}
}

func standing(ctx context.Context, s *served) (st stand, err error) {
	body, err := get(ctx, s.addr+"/api/v1/replication")
	if err == nil {
		err = json.Unmarshal(body, &st)
	}
	return st, err
}

// own is the state hash of the site that answers.
func (s stand) own() string {
	for _, site := range s.Sites {
		if site.Self {
			return site.StateHash
		}
	}
	return ""
}

// entries is how many entries the site that answers has, of all logs.
func (s stand) entries() (n uint64) {
	for _, site := range s.Sites {
		for _, l := range site.Logs {
			if site.Self {
				n += l.Seq
			}
		}
	}
	return n
}

// missing is how many blobs the site that answers lacks.
func (s stand) missing() (n int) {
	for _, site := range s.Sites {
		if site.Self {
			n += site.BlobsMissing
		}
	}
	return n
}

// joinFar measures how fast a site joins over a link with a long round trip.
func (b *bench) joinFar(ctx context.Context) error {
	data := filepath.Join(b.dir, "far")
	if err := b.makeLog(ctx, data, joinLog); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(data, "index")); err != nil {
		return err
	}
	first, _, err := b.first(ctx, data, "127.90.2", oneWay)
	if err != nil {
		return err
	}
	defer first.stop()
	second, took, err := b.join(ctx, data, filepath.Join(b.dir, "far-b"))
	if err != nil {
		return err
	}
	defer second.stop()
	b.add("join over a round trip of 50 ms", fmt.Sprintf("%.0f events/s", joinLog/took.Seconds()), fmt.Sprintf("%d in %s", joinLog, took.Round(10*time.Millisecond)), "", "≥ 20000/s")
	return nil
}

// blobsFar measures how fast a new site fetches blobs over a link with a long
// round trip, beside plain HTTP downloads of the same bytes over such a link.
func (b *bench) blobsFar(ctx context.Context) error {
	data := filepath.Join(b.dir, "blobs")
	first, _, err := b.first(ctx, data, "127.90.3", oneWay)
	if err != nil {
		return err
	}
	defer first.stop()
	if err := b.command(ctx, data, "repo", "set", "local", "--owns", "corp.example/**"); err != nil {
		return err
	}
	for i := range blobCount {
		path := fmt.Sprintf("corp.example/large%d", i)
		z, err := moduleZip(path, "v1.0.0", blobSize)
		if err != nil {
			return err
		}
		if _, err := putAt(ctx, first.addr, path, "v1.0.0", z); err != nil {
			return err
		}
	}
	plain, err := b.download(ctx, first)
	if err != nil {
		return err
	}
	begin := time.Now()
	second, _, err := b.join(ctx, data, filepath.Join(b.dir, "blobs-b"))
	if err != nil {
		return err
	}
	defer second.stop()
	for {
		st, err := standing(ctx, second)
		if err != nil {
			return err
		}
		if st.missing() == 0 && st.own() != "" && st.entries() > blobCount {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	took := time.Since(begin)
	rate := func(d time.Duration) string { return fmt.Sprintf("%.0f MiB/s", blobCount*blobSize/d.Seconds()/(1<<20)) }
	b.add("blobs of a new site, round trip of 50 ms", rate(took), rate(plain)+" by plain HTTP", fmt.Sprintf("%.2f", plain.Seconds()/took.Seconds()), "≥ 0.80")
	return nil
}

// download downloads the large zips one after the other, each to a file.
func (b *bench) download(ctx context.Context, s *served) (time.Duration, error) {
	l, err := newLink(ctx, "127.90.3.3:0", strings.TrimPrefix(s.addr, "http://"), oneWay)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	for i := range blobCount {
		if err := downloadTo(ctx, filepath.Join(b.dir, "download"), fmt.Sprintf("http://%s/go/local/corp.example/large%d/@v/v1.0.0.zip", l.listener.Addr(), i)); err != nil {
			return 0, err
		}
	}
	return time.Since(begin), nil
}

func downloadTo(ctx context.Context, name, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(f, resp.Body)
	return errors.Join(err, f.Sync())
}
