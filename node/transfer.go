package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/time/rate"

	"registry-node/events"
	"registry-node/node/blob"
	"registry-node/replication"
)

// A transfer brings the bytes of one blob from other sites into a stage. Bytes
// that have come stay when a source fails, and the next one goes on from there;
// if the whole has another digest in the end, nobody knows whose bytes were
// wrong, so it is fetched again from one source at a time.
type transfer struct {
	sites    *sites
	blob     events.Blob
	stage    *blob.Stage
	progress func(done int64)
}

const (
	// blobsPath is where a site serves blobs to others: Path + hex digest.
	blobsPath = "/peer/blobs/sha256/"
	// headTimeout bounds the wait for the header of a blob, and stallTimeout that
	// for its next leastBytes: who gives less holds up others.
	headTimeout  = 5 * time.Second
	stallTimeout = 10 * time.Second
	leastBytes   = 64 << 10
	// pushStart bounds the wait for the first bytes of a blob that a site which
	// can't be dialled was asked to send.
	pushStart = 15 * time.Second
	// maxErrorText is how much of a refusal is read, in bytes.
	maxErrorText = 4 << 10
	// pushTimeout bounds the wait for a site that can't be dialled to send a blob,
	// and for those who asked it for the same blob before.
	pushTimeout = 5 * time.Minute
)

// errNotThere: the site does not hold the blob.
var errNotThere = errors.New("does not hold it")

// from reads what is missing of the blob from one site.
func (t *transfer) from(ctx context.Context, site events.Site) error {
	m := t.sites.mesh.Load()
	if m == nil {
		return errors.New("this node speaks to no other site")
	}
	client, base, ok := m.HTTP(site)
	if !ok {
		return t.pushed(ctx, site)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stall := time.AfterFunc(headTimeout, cancel)
	defer stall.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+blobsPath+t.blob.Digest.Hex(), nil)
	if err != nil {
		return err
	}
	at := t.stage.Size()
	if at > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(at, 10)+"-")
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("site %s: %w", site, err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		io.Copy(io.Discard, io.LimitReader(resp.Body, maxErrorText)) // so that the connection can be used again
		return errNotThere
	case at > 0 && resp.StatusCode != http.StatusPartialContent, at == 0 && resp.StatusCode != http.StatusOK:
		return fmt.Errorf("site %s answers %s", site, resp.Status)
	case resp.ContentLength != t.blob.Size-at:
		return fmt.Errorf("site %s holds %d bytes of it, not %d", site, resp.ContentLength+at, t.blob.Size)
	}
	return t.copy(ctx, resp.Body, stall)
}

// copy appends a body to the stage, as fast as the limit for blobs allows.
func (t *transfer) copy(ctx context.Context, body io.Reader, stall *time.Timer) error {
	buf := make([]byte, 256<<10)
	stall.Reset(stallTimeout)
	due := t.stage.Size() + leastBytes
	for t.stage.Size() < t.blob.Size {
		if t.stage.Size() >= due {
			stall.Reset(stallTimeout)
			due = t.stage.Size() + leastBytes
		}
		n, err := body.Read(buf[:min(int64(len(buf)), t.blob.Size-t.stage.Size())])
		if n > 0 {
			if _, err := t.stage.Write(buf[:n]); err != nil {
				return err
			}
			if t.progress != nil {
				t.progress(t.stage.Size())
			}
			if err := t.pace(ctx, n, stall); err != nil {
				return err
			}
		}
		if err == io.EOF && t.stage.Size() < t.blob.Size {
			err = io.ErrUnexpectedEOF
		}
		if err != nil && err != io.EOF {
			return err
		}
	}
	return nil
}

// pace waits as the limit for blobs wants it, which is no fault of the source.
func (t *transfer) pace(ctx context.Context, n int, stall *time.Timer) error {
	w := t.sites.wants
	if w.limiter.Limit() == rate.Inf {
		return nil
	}
	stall.Reset(stallTimeout + time.Duration(float64(leastBytes)/float64(w.limiter.Limit())*float64(time.Second)))
	return w.limiter.WaitN(ctx, n)
}

// pushed asks a site that can't be dialled to send the blob, and takes it.
func (t *transfer) pushed(ctx context.Context, site events.Site) error {
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	arrived := make(chan sent)
	done := make(chan error, 1)
	key := pushKey{site, t.blob.Digest}
	if err := t.sites.wants.expect(ctx, key, &delivery{body: arrived, done: done, ended: make(chan struct{})}); err != nil {
		return err
	}
	defer t.sites.wants.unexpect(key)
	req, err := replication.Encode(replication.PushRequest{Digest: t.blob.Digest, Size: t.blob.Size})
	if err != nil {
		return err
	}
	ask, stop := context.WithTimeout(ctx, headTimeout)
	raw, err := t.sites.request(ask, site, "push", req, nil)
	stop()
	if err != nil {
		return err
	}
	if a, err := replication.Decode[replication.PushAnswer](raw); err != nil {
		return err
	} else if !a.Held {
		return errNotThere
	}
	if t.stage.Size() > 0 {
		return fmt.Errorf("site %s can only send it from its beginning", site)
	}
	select {
	case <-time.After(pushStart):
		return fmt.Errorf("site %s does not send it", site)
	case body := <-arrived:
		stall := time.AfterFunc(stallTimeout, body.cut)
		defer stall.Stop()
		defer context.AfterFunc(ctx, body.cut)()
		err := t.copy(ctx, body, stall)
		done <- err
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// gather reads the blob from whoever has it: the sites in order, going on where
// the one before broke off.
func (t *transfer) gather(ctx context.Context, sources []events.Site) error {
	absent := 0
	var errs []error
	for _, site := range sources {
		err := t.from(ctx, site)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, errNotThere) {
			absent++
			continue
		}
		errs = append(errs, err)
	}
	if absent == len(sources) {
		return errNotThere
	}
	return errors.Join(errs...)
}

// holders returns the connected sites in the order in which to ask them for a
// blob: first the one that stated it, then the others.
func (s *sites) holders(origin events.Site, d events.Digest) []events.Site {
	var list []events.Site
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, site := range sortedSites(s.heard) {
		if !s.hears(s.heard[site]) || s.shunned[shunKey{site, d}] {
			continue
		}
		if site == origin {
			list = append([]events.Site{site}, list...)
		} else {
			list = append(list, site)
		}
	}
	return list
}

// limiter bounds the bytes that blobs from other sites take.
func newLimiter(bytesPerSecond int64) *rate.Limiter {
	if bytesPerSecond <= 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(bytesPerSecond), 256<<10)
}
