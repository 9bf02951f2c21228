// Package upstream fetches modules from other GOPROXY servers and verifies
// what arrived, before anything of it is recorded.
//
// # Fetching
//
// A [List] is a GOPROXY list with the meaning the go command gives it: after an
// entry followed by "," the next one is asked only if the first answered 404 or
// 410; after "|", whatever went wrong. A [Client] walks it. It follows no VCS
// ("direct"), keeps no cookies, and bounds every wait and every body.
//
// Its errors are truthful about absence. [ErrNotFound] means that every entry
// that the list allows to be asked was asked and answered 404 or 410. An entry
// that failed in another way may hold the module, so its failure is the result,
// even if a later entry answered 404. Nothing that a client receives is a 404
// unless errors.Is(err, ErrNotFound).
//
// A [Credential] goes to the very scheme, host and port it was configured for,
// and along with no redirect that leaves them. It is in no error. An upstream's
// redirect leads to no address inside that is not allowed ([Inside]).
//
// An upstream that failed several times in a row is assumed offline and not
// asked for a while; then one request tries whether it is back ([EntryHealth]).
//
// # VCS hosts
//
// A [VCS] stands where a Client does for module paths that lead to git
// repositories, by go-import tags or because their host is known. Where a path
// leads is judged here; then the go command makes the module, in direct mode and
// in a sandbox whose only way out is a proxy of this process.
//
// # Verifying
//
// [CheckZip] holds a zip against the rules for module zips and computes its
// identity, the h1 hash. A [Sumdb] says which h1 a public module version must
// have, with a proof from the checksum database that it did verify, and serves
// the database to the go command in turn.
//
// # The pinned head of the checksum database
//
// The database grows all the time and each of its answers carries the newest
// signed tree head. A go command that collected answers with different heads
// needs, for each, tiles (parts of the hash tree) of the newest. Were answers
// passed on as they came, then a second go command could not repeat the same
// lookups without the database. So a Sumdb pins one head:
//
//   - Every answer it serves carries the pinned head, which proves all records
//     below its size, and its own verifier uses the same head. So all ask for
//     the same tiles, and these are in [State] once they were verified.
//   - The head moves only when a record beyond it is needed. The step is proven
//     consistent first; this proof reads, in their form under the new head, all
//     tiles that were incomplete under the old one. They are in State before the
//     head is, so that what was provable from State alone stays provable.
//   - A tile's key in State holds the widest verified form; narrower forms are
//     its prefixes. It never becomes narrower.
//   - Answers for tiles that are not verified are passed on and not kept; the go
//     command verifies them itself.
package upstream
