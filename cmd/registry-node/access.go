package main

import (
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"registry-node/events"
	"registry-node/httpapi"
	"registry-node/node"
)

// The directories in a data directory that have the access log and the audit log.
const (
	accessDir = "access"
	auditDir  = "audit"
)

// accessFlags are the settings of the access log and the audit log.
type accessFlags struct {
	kinds     string
	days      int
	auditDays int
}

func (f *accessFlags) addFlags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.kinds, "access-log", "zip", "module `files` whose readers are written down in DIR/access: zip, all (info and go.mod, too), off; repo set --access-log says otherwise for a repository")
	fs.IntVar(&f.days, "access-days", 90, "`number` of days for which that is kept")
	fs.IntVar(&f.auditDays, "audit-days", 400, "`number` of days for which it is kept who changed what, in DIR/audit")
	must(cmd.RegisterFlagCompletionFunc("access-log", completeWords("zip", "all", "off")))
}

func (f accessFlags) check() error {
	switch {
	case !slices.Contains([]string{"zip", "all", "off"}, f.kinds):
		return usagef("--access-log %q is none of zip, all, off", f.kinds)
	case f.days < 1:
		return usagef("--access-days %d: at least today is kept; --access-log off keeps nothing", f.days)
	case f.auditDays < 1:
		return usagef("--audit-days %d: at least today is kept", f.auditDays)
	}
	return nil
}

// audit returns the audit log of a node, which is still to be opened.
func (f accessFlags) audit(cfg serveConfig) *httpapi.AuditLog {
	return httpapi.NewAuditLog(httpapi.AuditConfig{Dir: filepath.Join(cfg.data, auditDir), Days: f.auditDays, Logger: cfg.logger})
}

// open returns the access log of a node.
func (f accessFlags) open(cfg serveConfig, n *node.Node) (*httpapi.AccessLog, error) {
	kept, err := events.ParseReads(f.kinds)
	if err != nil {
		return nil, err
	}
	return httpapi.OpenAccessLog(httpapi.AccessConfig{
		Dir: filepath.Join(cfg.data, accessDir), Kept: kept, Days: f.days, Full: n.HasSpace, Logger: cfg.logger,
	})
}
