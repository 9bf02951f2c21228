package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
)

// VCSConfig says how a VCS fetches. Dir is required; a zero field else means the
// default.
type VCSConfig struct {
	// Dir is the cache directory of this VCS alone, made with mode 0700. What is
	// in it can be deleted while no VCS uses it.
	Dir string
	// Allow lists where module paths may lead: the targets of go-import tags and
	// of known hosts, redirects of a clone included. Default: everywhere.
	Allow []events.Glob
	// Inside are the addresses inside that may be reached; see [Inside.Check].
	Inside Inside
	// InsecureHosts ("host" or "host:port") may be asked by plain http.
	InsecureHosts []string
	// Credential returns the credential for the origin of a page, a repository or
	// a proxy; see Options.Credential. It goes over https to that origin only.
	// VCS hosts are not shown client certificates.
	Credential func(u *url.URL) (Credential, error)
	Proxy      Proxy  // default: the environment's; git can't be led through SOCKS
	Via        string // id of this node, sent to GOPROXY targets as ViaHeader; not sent if empty
	// CAFile is a PEM file of the authorities to trust instead of the system's.
	CAFile string

	// OfflineFor is for how long a host is not asked after failures in a row; see
	// Options.OfflineFor.
	OfflineFor time.Duration

	Timeout     time.Duration // of one command; default 5 min
	MaxParallel int           // commands at a time, a quarter of them for one host; default 8
	MaxDisk     int64         // bytes of the cache, and of one command in it; default 10 GiB
	MaxOutput   int64         // bytes of one command's output; default 16 MiB
	// MaxMemory is how many bytes of memory a command and its children may have,
	// which is watched on Linux only. Default 1 GiB.
	MaxMemory int64
	// Full says why nothing may be written to the disk of Dir, nil if it may. It is
	// asked before and during each command. Default: the disk is never full.
	Full func() error

	reroute func(hostport string) string // for tests: the address that stands for a host
}

func (c VCSConfig) withDefaults() VCSConfig {
	c.Timeout = cmp.Or(c.Timeout, 5*time.Minute)
	c.MaxParallel = cmp.Or(c.MaxParallel, 8)
	c.MaxDisk = cmp.Or(c.MaxDisk, 10<<30)
	c.MaxOutput = cmp.Or(c.MaxOutput, 16<<20)
	c.MaxMemory = cmp.Or(c.MaxMemory, 1<<30)
	return c
}

// VCS makes modules of git repositories, as the go command does in direct mode:
// it is an upstream for module paths whose hosts serve no GOPROXY.
//
// A module path is resolved here, to known hosts or by go-import tags, and the
// target is checked before anything else is asked: the allow list, the scheme,
// the address of each connection when it is dialed. What tags and branches there
// are is read here too, so that most of what is not there is known without a
// command. Only then the go command runs, in an environment of its own, and git
// below it. It never resolves a second time: its only way out is a proxy in this
// process that answers for go-import with the target that was checked, and lets
// git connect to the target's host and to nothing else.
//
// Targets of kind mod (a GOPROXY) are asked by a Client under the same rules.
//
// A VCS is safe for concurrent use. Its methods and their errors are those of
// Client; moreover ErrForbidden says that the target is outside of what this
// repository allows, and ErrUnavailable that the go or the git command is
// missing or too old.
type VCS struct {
	cfg   VCSConfig
	reach *reach
	tools *tools
	pages *pages
	refs  *refsOf
	lists *flights[[]string] // that a command makes, by module path
	mods  *modClients
	shelf *shelf
	gate  *gate
	slots *slots // one for each command that runs

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	life   sync.Mutex
	runs   sync.WaitGroup // commands under way; Add under life, while ctx is alive
}

// NewVCS returns a VCS with its cache in c.Dir. It needs neither a go nor a git
// command yet. Close it when it is no longer used.
func NewVCS(c VCSConfig) (*VCS, error) {
	c = c.withDefaults()
	v, err := newVCS(c)
	if err != nil {
		return nil, fmt.Errorf("vcs upstream: %w", err)
	}
	return v, nil
}

func newVCS(c VCSConfig) (*VCS, error) {
	if c.Dir == "" {
		return nil, errors.New("no cache directory")
	}
	reach, err := newReach(c)
	if err != nil {
		return nil, err
	}
	shelf, err := openShelf(c.Dir, c.MaxDisk)
	if err != nil {
		return nil, err
	}
	gate, err := openGate(reach)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	v := &VCS{
		cfg: c, reach: reach, shelf: shelf, gate: gate, tools: &tools{},
		// Who waits while its host has its share waits for its own kind only.
		slots: newSlots("commands", c.MaxParallel, c.Timeout, slotWait),
		ctx:   ctx, cancel: cancel,
	}
	v.pages = newPages(ctx, v.readPage)
	v.refs = newRefsOf(ctx, v.readRefs)
	v.lists = newFlights[[]string](ctx)
	v.mods = newModClients(v)
	return v, nil
}

// Close ends what is under way and waits for it. The cache stays.
func (v *VCS) Close() {
	v.cancel()
	v.life.Lock() // who saw ctx alive has called Add
	runs := &v.runs
	v.life.Unlock()
	runs.Wait()
	v.pages.wait()
	v.refs.wait()
	v.lists.wait()
	v.gate.close()
	v.mods.close()
	v.reach.close()
}

// List returns the versions of a module path, as Client.List. They are read from
// the repository's tags; only where a tag may be an +incompatible version, a
// command has to look into it. A path below a repository that has no module has
// an empty list.
func (v *VCS) List(ctx context.Context, path string) ([]string, error) {
	s, err := v.resolve(ctx, "list", path)
	if err != nil {
		return nil, err
	}
	if s.mod != nil {
		return asked(s, func(c *Client) ([]string, error) { return c.List(ctx, path) })
	}
	refs, err := v.refs.of(ctx, s, anyAge)
	if err != nil {
		return nil, err
	}
	if list, sure := refs.versions(s); sure {
		return list, nil
	}
	if list, ok := refs.listed.Load(path); ok {
		return slices.Clone(list.([]string)), nil
	}
	list, err := joined(ctx, v.lists, s.op, path, func(ctx context.Context) ([]string, error) {
		list, err := v.goVersions(ctx, s, refs)
		if err == nil {
			refs.listed.Store(path, list)
		}
		return list, err
	})
	return slices.Clone(list), err
}

// Latest returns the highest release, else the highest pre-release, else the
// head of the default branch as a pseudo-version.
func (v *VCS) Latest(ctx context.Context, path string) (Info, error) {
	s, err := v.resolve(ctx, "latest", path)
	if err != nil {
		return Info{}, err
	}
	if s.mod != nil {
		return asked(s, func(c *Client) (Info, error) { return c.Latest(ctx, path) })
	}
	list, err := v.List(ctx, path)
	if err != nil {
		return Info{}, err
	}
	if best := highest(list); best != "" {
		return v.goInfo(ctx, s, best)
	}
	return v.goInfo(ctx, s, "latest")
}

// Query returns what a branch, tag, commit or version prefix stands for.
func (v *VCS) Query(ctx context.Context, path, query string) (Info, error) {
	return v.info(ctx, path, query)
}

// Info returns the info of mv, with Origin: where it came from. If mv is a
// canonical version of its path, then the answer is for that version; otherwise
// Info is Query.
func (v *VCS) Info(ctx context.Context, mv module.Version) (Info, error) {
	return v.info(ctx, mv.Path, mv.Version)
}

func (v *VCS) info(ctx context.Context, path, query string) (Info, error) {
	if err := checkQuery(query); err != nil {
		return Info{}, &Error{Op: "info", Class: ErrNotFound, Err: err}
	}
	s, err := v.resolve(ctx, "info", path)
	if err != nil {
		return Info{}, err
	}
	if s.mod != nil {
		// Info holds the answer against a canonical version, and else is Query.
		mv := module.Version{Path: path, Version: query}
		return asked(s, func(c *Client) (Info, error) { return c.Info(ctx, mv) })
	}
	return v.goInfo(ctx, s, query)
}

// Mod returns the go.mod of mv, a canonical version, or what stands for it where
// the repository has none.
func (v *VCS) Mod(ctx context.Context, mv module.Version) ([]byte, error) {
	s, err := v.canonical(ctx, "mod", mv)
	if err != nil {
		return nil, err
	}
	if s.mod != nil {
		return asked(s, func(c *Client) ([]byte, error) { return c.Mod(ctx, mv) })
	}
	return v.goMod(ctx, s, mv.Version)
}

// Zip writes the zip of mv, a canonical version, to w, and returns the number of
// bytes written. What has been written is to be discarded if the error is not
// nil; none of it has been verified in any case (see CheckZip). An error of w is
// returned as it is.
//
// Before the first byte, begin, unless it is nil, is told how many there will be,
// -1 if that is not known.
func (v *VCS) Zip(ctx context.Context, mv module.Version, w io.Writer, begin func(size int64)) (int64, error) {
	s, err := v.canonical(ctx, "zip", mv)
	if err != nil {
		return 0, err
	}
	if s.mod != nil {
		return asked(s, func(c *Client) (int64, error) { return c.Zip(ctx, mv, w, begin) })
	}
	return v.goZip(ctx, s, mv.Version, w, begin)
}

// canonical resolves the path of mv, which must be a canonical version.
func (v *VCS) canonical(ctx context.Context, op string, mv module.Version) (source, error) {
	if _, err := canonicalRequest(op, mv, "", 0); err != nil {
		return source{}, err
	}
	return v.resolve(ctx, op, mv.Path)
}
