// Package node is one site's rules: it reads, admits, publishes and fills
// module versions, keeps the two copies of the site's log together, and says
// how it stands. It knows nothing of HTTP.
//
// # The one way in
//
// A version enters through admit, whether somebody published it or an upstream
// had it. The order of every acknowledged write is: blob durable, entry durable
// in the log, index applied and synced, answer. A crash between any two leaves
// at worst a blob that nothing refers to, or an entry that is applied at the
// next start.
//
// # Who writes
//
// The committer (commit.go) is the only writer of the site's log and of what
// the index says of it. Proposals that wait while an entry is written go into
// the next one together. Readers share no lock with it: they use the index,
// the current Directory (an atomic pointer), and tables of atomic pointers that
// are checked against the index's generations.
//
// # Absence
//
// ErrNotFound says that the registry knows that something is not there. Every
// fault, here or upstream, is another error; see errors.go.
package node
