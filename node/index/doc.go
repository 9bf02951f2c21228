// Package index keeps the sum of the logs: for every record what each site's
// log says about it, for every log the raw entries and the place up to which it
// was folded. It is derived, so it can be deleted and made again from the logs;
// and it is copy two of every entry, so that a log can be made again from it.
//
// # Keys
//
// All is in one Pebble store. The first byte of a key is its space; numbers are
// big endian, so that keys sort as what they stand for.
//
//	e <site> 00 <epoch 4> <seq 8>            raw entry
//	p <site>                                 head: JSON, see Head
//	k <site>                                 last entry that waits to be applied: JSON; see Txn.Keep
//	h <site> 00 <seq 8>                      epoch 4, state hash after this entry
//	c <record key> 01 <site>                 contribution of the site to the record
//	b <digest 32> <size 8> <record key>      nothing: the record refers to the blob
//	l <space> 00 <key>                       local state, in no log
//	x <site> 00 <epoch 4> <seq 8> <hash 8>   raw entry that was set aside
//	s                                        stamp: JSON, format, registry, apply version
//
// A contribution is one key, so folds of different logs never touch the same
// key, and reading a record is a scan of a few keys that one bloom filter
// covers: the comparer's prefix of a c key ends behind its 01, a byte that no
// record key holds. What a blob row says stands in its key, so that two sites
// that write the same row write the same bytes.
//
// State hashes are kept for the last HashHistory entries of each log. Where two
// sites have different ones at one place, Sums, by ever longer prefixes of record
// keys, leads to the rows that differ.
//
// # Writing
//
// A log has one writer at a time, the fold of that log, and each of its batches
// holds contributions, raw entries, state hashes and the head together: a crash
// loses a whole suffix of batches, never a part of one. A batch that was synced
// is not lost. What a batch wrote can be read as soon as it is in memory, which
// is before it is durable; who acknowledges waits for Commit.
//
// Entries that this version of the code can't apply are kept behind the head, so
// that they can be passed on: they are in the log, but records and state hashes
// say nothing of them until ApplyKept, after an upgrade, has moved the head over
// them. An index without a k row of a log has no such entries of it.
//
// Rewind takes a log back to an entry, with all that it contributed behind it. It
// is right since a contribution is a list that a fold only ever appends to, and
// what it appends depends on nothing but the list: the fold of a log's start is
// the start of each list. What is taken back is set aside as evidence.
//
// # Faults
//
// Nothing that goes wrong reads as absence: a read that can't be answered is an
// error. After a write to the disk failed nobody can say what is on it, so the
// index then writes no more until it is opened again: Err says why, every
// Commit fails, and the goroutines of Pebble that want to write are stopped for
// good where they stand, as a crash of the machine would stop them. Reads go on.
// A full disk is no such fault: a ballast file gives way, so that the write that
// met the full disk succeeds; then Full refuses what comes after, until Refill
// finds room again.
package index
