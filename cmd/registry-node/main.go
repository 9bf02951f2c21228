// Command registry-node is a Go module registry: the node, and the commands
// that speak to one.
//
// Every command is a function that returns a *cobra.Command, in a file of its
// own. Commands that act on a registry speak HTTP to a node (client.go), over
// TCP or through DIR/admin.sock; only serve, and verify and rebuild where no
// node runs, open a data directory.
//
// Standard output has what was asked for and nothing else; progress, notes and
// errors go to standard error. The exit code is 0 for yes, 1 for no, 2 for a
// command line that makes no sense.
package main

import (
	"context"
	"os"
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
