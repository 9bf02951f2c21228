package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"registry-node/events"
	"registry-node/replication"
)

// While the checksum database can't be reached, a site takes its records and
// tiles from other sites: they are proved by the database's signed head, so
// nobody is trusted for them, and what one site fetched can be checked, and read,
// at all.

const (
	sumdbPath = "/peer/sumdb"
	// maxSumdb bounds what is read of one answer, in bytes.
	maxSumdb = 1 << 20
)

// serveSumdb answers a member with what is held of a repository's checksum
// database.
func (s *sites) serveSumdb(w http.ResponseWriter, r *http.Request) {
	if from, _ := replication.PeerOf(r); from.IsZero() {
		http.Error(w, "only members of the registry get this", http.StatusForbidden)
		return
	}
	id, err := events.ParseRepoID(r.FormValue("repo"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	rem := s.node.state.Load().remotes[id]
	if rem == nil || rem.broken != nil {
		http.Error(w, "no such remote repository", http.StatusNotFound)
		return
	}
	data, ok, err := rem.sumdb.Held(r.FormValue("path"))
	switch {
	case err != nil:
		s.node.logger.Error("checksum database", "error", err)
		http.Error(w, "it can't be read", http.StatusInternalServerError)
	case !ok:
		http.Error(w, "not held here", http.StatusNotFound)
	default:
		w.Write(data) // who asked is gone if this fails
	}
}

// sumdbElsewhere asks the other sites for what is at a path below a checksum
// database.
func (s *sites) sumdbElsewhere(ctx context.Context, id events.RepoID, path string) ([]byte, error) {
	m := s.mesh.Load()
	if m == nil {
		return nil, errors.New("there is no other site")
	}
	var errs []error
	for _, site := range s.holders(id.Site, events.Digest{}) {
		client, base, ok := m.HTTP(site)
		if !ok {
			continue
		}
		data, err := s.getSumdb(ctx, client, base, url.Values{"repo": {id.String()}, "path": {path}})
		if err == nil {
			return data, nil
		}
		errs = append(errs, fmt.Errorf("site %s: %w", site, err))
	}
	return nil, errors.Join(append(errs, errNotThere)...)
}

func (s *sites) getSumdb(ctx context.Context, client *http.Client, base string, query url.Values) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, headTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+sumdbPath+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxSumdb))
}
