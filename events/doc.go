// Package events holds what a registry remembers: events, the signed entries
// that carry them, and the pure functions that turn logs into answers.
//
// # The log
//
// Every site appends to its own log and to no other. The unit of the log is the
// Entry: 1..n events that one site appended together, chained to the entry
// before it by hash and signed by the site's key. A place in one site's log is
// a Mark (epoch, seq); with the entry's hash it is a Position.
//
// # The convergence rule
//
// An event changes exactly one record, named by its Key, and of that record
// only the contribution of the site that wrote the event:
//
//	Apply:   (contribution, event)            → contribution
//	resolve: (contributions of all sites)     → what a reader sees
//
// Apply reads nothing but its arguments, so the order in which the logs of
// different sites arrive cannot matter; resolve reads no clock, no disk, no
// network, no configuration and depends on no map's order, so nodes that applied
// the same positions give the same answers.
//
// A contribution is the list of facts that one site's log states about one
// record, in log order. Nothing is merged when it is written and no loser is
// dropped: which facts count is decided when a reader asks, by the homes and
// members of that moment. That is what makes cut-offs and forced moves work: a
// prefix of a log folds to a prefix of its facts.
//
// # Who decides
//
// A name that can be fought over has a home at any time: the registry itself
// (repositories, identities, members), and each repository (its versions). A
// home's facts count if they lie in one of its tenures; see Tenure. Facts that
// only ever restrict (a block, a revocation) count from any member. What a
// member says about content it fetched (a fill) is a claim that stands beside
// the claims of others; different claims freeze the version, see Version.
//
// Homes of the registry are decided first, members and their cut-offs second, the
// rest third: each stands only on what was decided before it. So no cut-off takes
// away what homes rest on, and a site can't leave while it is the registry's home;
// one that becomes the home has not left, whatever the home before it said. What a
// site refuses of another's log for a cut-off is in Directory.CutOff; what has no
// effect because its site had no right to state it, Directory.Right names.
//
// # Bytes in a log are for ever
//
// One golden file per event type stands in testdata; they are added to, never
// edited. Unknown fields are kept verbatim, entries with unknown event types
// are stored and passed on but not applied.
package events
