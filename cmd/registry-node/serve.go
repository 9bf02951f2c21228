package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"

	"github.com/spf13/cobra"

	"registry-node/events"
	"registry-node/node"
)

// serveFlags are the settings of a node.
type serveFlags struct {
	data     string
	init     bool
	site     string
	listen   string
	logLevel string
	logForm  string
	access   accessFlags
	peer     peerFlags
	reach    reachFlags
}

const defaultSite = "main"

func serveCommand() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve --data DIR",
		Short: "Run a node",
		Long: `Run the node whose data is in DIR, until an interrupt or SIGTERM.

The directory must hold a registry: one that is empty because its volume is not
mounted must not become a new registry. With --init, a directory that is empty
or does not exist gets a new one, with the repositories "local" (for what you
publish), "public" (a cache of the GOPROXY that the go command here uses) and
"all" (both).

Every flag can be set by an environment variable, as REGISTRY_NODE_TLS_CERT for
--tls-cert, and by a key in the file that --config names, as tls-cert. A flag
wins over a variable, a variable over the file.

When the node is ready it writes the address that it listens on to
DIR/http.addr. Administrators on this machine reach it through DIR/admin.sock.`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := completeFlags(cmd.Flags()); err != nil {
				return err
			}
			cfg, err := f.parse(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			open := func(ctx context.Context, opts node.Options) (*node.Node, error) {
				return openNode(ctx, cfg, opts, cmd.ErrOrStderr())
			}
			return serve(cmd.Context(), cfg, open, cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&f.init, "init", false, "make a new registry if the data directory is empty")
	f.addFlags(cmd)
	return cmd
}

// addFlags adds the settings of a node that serves, however it comes to be.
func (f *serveFlags) addFlags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.data, "data", "", "data `directory`")
	fs.StringVar(&f.site, "site", "", "`name` of the site; a new registry's is \""+defaultSite+"\" by default, another's must be this")
	fs.StringVar(&f.listen, "listen", "127.0.0.1:8080", "`address` to listen on; port 0 is any free one")
	f.reach.addFlags(fs)
	f.peer.addFlags(fs)
	fs.StringVar(&f.logLevel, "log-level", "info", "least `level` that is logged: debug, info, warn, error")
	fs.StringVar(&f.logForm, "log-format", "text", "`form` of the log: text, json")
	f.access.addFlags(cmd)
	fs.String(configFlag, "", "YAML `file` with settings")
	must(cmd.MarkFlagDirname("data"))
	must(cmd.MarkFlagFilename(configFlag, "yaml", "yml"))
	must(cmd.RegisterFlagCompletionFunc("log-level", completeWords("debug", "info", "warn", "error")))
	must(cmd.RegisterFlagCompletionFunc("log-format", completeWords("text", "json")))
}

// serveConfig is what serve runs with; it is checked.
type serveConfig struct {
	data   string
	init   bool
	site   events.Site // zero: whichever it is
	listen string
	// loopback says that only this machine reaches the listener.
	loopback bool
	peer     peerFlags
	access   accessFlags
	reach    reachFlags
	// certificate is that of --tls-cert, nil without.
	certificate *certificate
	logger      *slog.Logger
}

// parse checks the settings. Nothing has been opened yet but the TLS files.
func (f serveFlags) parse(log io.Writer) (cfg serveConfig, err error) {
	cfg = serveConfig{data: f.data, init: f.init, listen: f.listen, peer: f.peer, access: f.access, reach: f.reach}
	if f.data == "" {
		return cfg, usagef("--data is missing: the directory that holds the registry, or gets it")
	}
	if f.site != "" {
		if cfg.site, err = events.ParseSite(f.site); err != nil {
			return cfg, usageError{err}
		}
	}
	if cfg.logger, err = newLogger(log, f.logLevel, f.logForm); err != nil {
		return cfg, err
	}
	if cfg.loopback, err = isLoopback(f.listen); err != nil {
		return cfg, err
	}
	if err := errors.Join(f.peer.check(), f.access.check()); err != nil {
		return cfg, err
	}
	if err := f.reach.check(f.listen, cfg.loopback); err != nil {
		return cfg, err
	}
	if f.reach.tlsCert != "" {
		if cfg.certificate, err = loadCertificate(f.reach.tlsCert, f.reach.tlsKey, cfg.logger); err != nil {
			return cfg, err
		}
	}
	return cfg, nil
}

// isLoopback reports whether only this machine can reach a listener on addr. A
// name other than localhost is taken for one that others reach.
func isLoopback(addr string) (bool, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port == "" {
		return false, usagef("--listen %q is not HOST:PORT", addr)
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback(), nil
}

func newLogger(w io.Writer, level, form string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usagef("--log-level %q is none of debug, info, warn, error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch form {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, usagef("--log-format %q is none of text, json", form)
}

// openNode opens the registry in cfg.data, or makes it first if that was asked
// for and there is none.
func openNode(ctx context.Context, cfg serveConfig, opts node.Options, notes io.Writer) (*node.Node, error) {
	n, err := node.Open(ctx, cfg.data, opts)
	if errors.Is(err, node.ErrNoData) && cfg.init {
		if err := initNode(ctx, cfg, opts, notes); err != nil {
			return nil, err
		}
		n, err = node.Open(ctx, cfg.data, opts)
	}
	if err != nil {
		return nil, err
	}
	return ofSite(n, cfg)
}

// ofSite returns n if it is of the site that it has to be of, and closes it if
// not.
func ofSite(n *node.Node, cfg serveConfig) (*node.Node, error) {
	if !cfg.site.IsZero() && cfg.site != n.Site() {
		return nil, errors.Join(fmt.Errorf("data directory %s is of site %s, not %s as --site says", cfg.data, n.Site(), cfg.site), n.Close())
	}
	return n, nil
}

func initNode(ctx context.Context, cfg serveConfig, opts node.Options, notes io.Writer) error {
	repos, err := defaultRepos(ctx, notes)
	if err != nil {
		return fmt.Errorf("new registry: %w", err)
	}
	site := cfg.site
	if site.IsZero() {
		site = must1(events.ParseSite(defaultSite))
	}
	if _, err = node.Init(ctx, cfg.data, site, beginning(site, repos, cfg.loopback), opts); err != nil {
		return fmt.Errorf("new registry: %w", err)
	}
	opts.Logger.Info("new registry", "data", cfg.data, "site", site)
	return nil
}
