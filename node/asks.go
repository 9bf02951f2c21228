package node

import (
	"errors"

	"registry-node/events"
	"registry-node/node/index"
)

// Besides what an index makes of them, entries ask something of a node: to fetch
// blobs, and to carry purges out. That is put down as rows of local state, in the
// Txn that stages the entry, by everybody who stages one: who follows another
// site's log, who takes entries of the own one back, who replays it, and who
// applies what an older version of the node had to leave. So a crash forgets none.

// noteAsked puts down what an entry asks of this node. The caller counts the
// blobs, right before it commits txn; see wants.counted.
func (s *sites) noteAsked(txn *index.Txn, e events.Entry) ([]want, error) {
	var wanted []want
	for _, ev := range e.Events {
		wants, err := s.wants.note(txn, ev)
		if err != nil {
			return nil, err
		}
		wanted = append(wanted, wants...)
	}
	return wanted, notePurges(txn, e)
}

// lookLate is what a follower does with an entry, for one that is applied at the
// start of the node, before the blobs that are wanted are counted.
func (s *sites) lookLate(txn *index.Txn, e events.Entry) error {
	for _, ev := range e.Events {
		s.noteRight(ev)
	}
	_, err := s.noteAsked(txn, e)
	return err
}

// applyTaken applies an entry that was taken back. Its blobs may be lost with it.
func (s *sites) applyTaken(x *index.Index, e events.Entry) error {
	txn := x.Begin(e.Position.Site)
	defer txn.Discard()
	if err := txn.Append(e); err != nil {
		return err
	}
	wanted, err := s.noteAsked(txn, e)
	if err != nil {
		return err
	}
	s.wants.counted(wanted)
	if err := txn.Commit(true); err != nil {
		return errors.Join(err, s.wants.load())
	}
	return nil
}

// notePurges puts down the purges that an entry states. It is all that an entry
// asks which this node made: it has the blobs.
func notePurges(txn *index.Txn, e events.Entry) error {
	for _, ev := range e.Events {
		if err := notePurge(txn, ev.Body); err != nil {
			return err
		}
	}
	return nil
}
