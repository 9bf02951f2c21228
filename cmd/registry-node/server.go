package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"registry-node/events"
	"registry-node/httpapi"
	"registry-node/node"
)

// addrFile is the file in a data directory that has the address on which its
// node listens, HOST:PORT and nothing else, for as long as it is ready.
const addrFile = "http.addr"

// drainTime is how long requests that are under way may still take when the node
// is told to end.
const drainTime = 30 * time.Second

// gcPercent is how much garbage a node lets come up, unless GOGC says it: its
// live heap is small, some 20 MiB, and requests leave much, so that the default
// would have it collect many times a second.
const gcPercent = 300

// opener opens the node that is to be served, and may make it first.
type opener func(context.Context, node.Options) (*node.Node, error)

// serve runs the node until ctx ends.
//
// The order: listen (so that an address in use leaves the data alone), open the
// node, which locks the directory, then the admin socket, then http.addr, then
// answer. In the end the other way round.
func serve(ctx context.Context, cfg serveConfig, open opener, stdout io.Writer) (err error) {
	tcp, err := net.Listen("tcp", cfg.listen)
	if err != nil {
		return err
	}
	defer tcp.Close()
	addr := tcp.Addr().(*net.TCPAddr)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	opts := node.Options{Logger: cfg.logger, Version: programVersion(), Self: ownAddresses(addr),
		PeerListen: cfg.peer.listen, Advertise: cfg.peer.advertise, PeerBandwidth: int64(cfg.peer.bandwidth)}
	if err := removeStaleAddr(ctx, cfg.data); err != nil {
		return err
	}
	audit := cfg.access.audit(cfg)
	opts.Audit = audit.Event
	defer func() { err = errors.Join(err, audit.Close()) }() // the node may have something to say to its end
	n, err := open(ctx, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := audit.Open(n.HasSpace); err != nil {
		return err
	}
	access, err := cfg.access.open(cfg, n)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, access.Close()) }()
	admin, err := listenAdmin(cfg.data)
	if err != nil {
		return err
	}
	defer func() {
		admin.Close() // again, if it has served
		err = errors.Join(err, removeFile(cfg.data, adminSocket))
	}()

	public, err := cfg.secure(tcp)
	if err != nil {
		return err
	}
	// Whoever connects from here on is answered, if only in a moment.
	if err := node.WriteFile(filepath.Join(cfg.data, addrFile), []byte(addr.String()), 0o644); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeFile(cfg.data, addrFile)) }()
	cfg.warnLoopback(n)
	cfg.logger.Info("ready", "address", addr.String(), "site", n.Site(), "data", cfg.data)
	if isTerminal(stdout) {
		banner(stdout, n, cfg, public)
	}
	defer context.AfterFunc(ctx, func() { cfg.logger.Info("ending; a second signal ends it at once") })()
	var watching sync.WaitGroup
	defer watching.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watching.Go(func() { public.watch(ctx) })
	api := httpapi.New(n, httpapi.Options{Logger: cfg.logger, Grace: drainTime, AccessLog: access, AuditLog: audit,
		TrustedProxies: cfg.reach.proxies, Limits: cfg.reach.limits, Conns: cfg.reach.conns, HSTS: public.lasting})
	return answer(ctx, api, public, admin)
}

// answer serves on all listeners until ctx ends or one of them fails, and
// returns when no request is under way any more.
func answer(ctx context.Context, api *httpapi.Server, listeners ...net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(listeners))
	var serving sync.WaitGroup
	for i, l := range listeners {
		serving.Go(func() {
			defer cancel()
			errs[i] = api.Serve(ctx, l)
		})
	}
	serving.Wait()
	return errors.Join(errs...)
}

// warnLoopback says if rules let callers on this machine do something, though a
// proxy stands in front, which may be there too.
func (cfg serveConfig) warnLoopback(n *node.Node) {
	if len(cfg.reach.proxies) == 0 {
		return
	}
	rules, _ := n.Permissions(operator(n)) // an operator may see them
	for _, r := range rules {
		if slices.Contains(r.Principals, events.Loopback) {
			cfg.logger.Warn("a rule is for callers on this machine, and what forwards from this machine without saying so has its rights; delete it unless nothing does",
				"rule", r.Name, "command", "registry-node permission delete "+r.Name)
		}
	}
}

// banner tells a person at a terminal what to do next.
func banner(w io.Writer, n *node.Node, cfg serveConfig, l *secureListener) {
	fmt.Fprintf(w, "\nregistry-node %s serves site %s from %s.\n\n", programVersion(), n.Site(), cfg.data)
	repos, _ := n.Repos(operator(n)) // an operator may see them
	for _, r := range repos {
		fmt.Fprintf(w, "  GOPROXY=%s://%s/go/%s  (%s)\n", l.scheme(), l.Addr(), r.Name, r.Kind)
	}
	if cfg.reach.selfSigned {
		fmt.Fprintf(w, "\n  SSL_CERT_FILE=%s\n", l.own.certFile)
	}
	fmt.Fprintf(w, "\nInterrupt (Ctrl-C) ends it.\n\n")
}

// ownAddresses returns the host:port pairs under which a listener on addr is
// reached.
func ownAddresses(addr *net.TCPAddr) []string {
	_, port, _ := net.SplitHostPort(addr.String())
	own := []string{addr.String()}
	if !addr.IP.IsUnspecified() {
		return own
	}
	if name, err := os.Hostname(); err == nil {
		own = append(own, net.JoinHostPort(name, port))
	}
	nets, err := net.InterfaceAddrs()
	if err != nil {
		return own // it only serves to find a mistake early
	}
	for _, a := range nets {
		if ip, ok := a.(*net.IPNet); ok {
			own = append(own, net.JoinHostPort(ip.IP.String(), port))
		}
	}
	return own
}

// removeStaleAddr removes the http.addr that a killed process left, so that who
// waits for the file does not find it while the node still opens. A node has it
// only while its admin socket takes connections.
func removeStaleAddr(ctx context.Context, dir string) error {
	conn, err := dialAdmin(ctx, dir)
	if err == nil {
		return conn.Close() // it is in use; to open it will fail, and say so
	}
	return removeFile(dir, addrFile)
}

func removeFile(dir, name string) error {
	if err := os.Remove(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
