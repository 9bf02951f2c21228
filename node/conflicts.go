package node

import (
	"encoding/json"
	"fmt"

	"registry-node/events"
)

// A conflict is a version of a remote repository that sites fetched with different
// content, where no checksum database says which is right. It is served nowhere
// until the registry's home settles it. That it is to be reported is a row of local
// state, so no restart forgets it; whether it is over is looked at whenever
// somebody wants to know how this site stands.

const (
	conflictSpace = "conflicts"
	maxConflicts  = 1000
)

// conflictKey is under which a conflict is put down and reported.
func conflictKey(v events.ModuleVersion) string { return v.Key(events.EventID{}).String() }

// noteConflict puts a conflict down and reports it.
func (s *sites) noteConflict(v events.ModuleVersion) error {
	key := conflictKey(v)
	s.mu.Lock()
	_, known := s.conflicting[key]
	full := len(s.conflicting) >= maxConflicts
	if !full {
		s.conflicting[key] = v
	}
	s.mu.Unlock()
	if known || full {
		return nil
	}
	s.raiseConflict(key, v)
	row, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.node.index.Load().Local(conflictSpace).SetSynced(key, row)
}

func (s *sites) raiseConflict(key string, v events.ModuleVersion) {
	repo := s.node.directory().Repo(v.Repo)
	if repo == nil {
		return
	}
	s.troubles.raise("conflict "+key, fmt.Sprintf("%s@%s in repository %s came with different content to different sites; who asks for it is told the hashes of each, and gets none until one is chosen: "+
		"registry-node settle %s@%s --repo %s", v.Module, v.Version, repo.Name, v.Module, v.Version, repo.Name))
}

// loadConflicts reports those that an earlier run put down.
func (s *sites) loadConflicts() error {
	for row, err := range s.node.index.Load().Local(conflictSpace).All("") {
		var v events.ModuleVersion
		if err == nil {
			err = json.Unmarshal(row.Value, &v)
		}
		if err != nil {
			return fmt.Errorf("index: conflicts: %w", err)
		}
		s.mu.Lock()
		s.conflicting[row.Key] = v
		s.mu.Unlock()
		s.raiseConflict(row.Key, v)
	}
	return nil
}

// conflictsLeft returns how many conflicts there are, and forgets those that are
// over.
func (s *sites) conflictsLeft() int {
	s.mu.Lock()
	all := make([]events.ModuleVersion, 0, len(s.conflicting))
	for _, v := range s.conflicting {
		all = append(all, v)
	}
	s.mu.Unlock()
	left := 0
	for _, v := range all {
		if s.node.inConflict(v) {
			left++
			continue
		}
		key := conflictKey(v)
		if err := s.node.index.Load().Local(conflictSpace).Delete(key); err != nil {
			s.node.logger.Debug("conflict", "error", err)
		}
		s.mu.Lock()
		delete(s.conflicting, key)
		s.mu.Unlock()
		s.troubles.clear("conflict " + key)
	}
	return left
}

// inConflict reports whether only a person can say which content of a version
// holds. What can't be read is.
func (n *Node) inConflict(mv events.ModuleVersion) bool {
	st := n.state.Load()
	repo, rem := st.dir.Repo(mv.Repo), st.remotes[mv.Repo]
	if repo == nil || repo.Deleted || rem == nil {
		return false
	}
	v, err := n.version(st.dir, repo, mv.ModVersion())
	if err != nil {
		return true
	}
	return v.Status == events.Conflicted && v.Settled == nil && (rem.broken != nil || !rem.covers(mv.Module))
}
