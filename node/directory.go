package node

import (
	"iter"

	"registry-node/events"
	"registry-node/node/index"
)

// resolveDirectory resolves the Directory from the records that prefix yields,
// which may include what is drafted and not committed.
func resolveDirectory(registry events.Digest, prefix func(string) iter.Seq2[index.Record, error]) (*events.Directory, error) {
	recs := events.Records{}
	for _, k := range events.DirectoryKinds() {
		for r, err := range prefix(events.KindPrefix(k)) {
			if err != nil {
				return nil, err
			}
			recs[r.Key] = r.Contributions
		}
	}
	return events.ResolveDirectory(registry, recs), nil
}
