package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unicode"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitOK    = 0
	exitNo    = 1 // it could not be done, or the answer is no
	exitUsage = 2
)

// run is the program. The first interrupt ends ctx for the command, so that it
// can clean up; the second ends the process.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	signaled, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	context.AfterFunc(signaled, func() {
		stop() // before the command learns of the first: it may say what a second does
		cancel()
	})

	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	addCompletion(root)
	cmd, err := root.ExecuteContextC(ctx)
	return report(cmd, err, stderr)
}

// report tells the user what err is and returns the exit code for it.
func report(cmd *cobra.Command, err error, stderr io.Writer) int {
	name := strings.Join(strings.Fields(cmd.CommandPath()), " ")
	if sub, ok := strings.CutPrefix(name, "registry-node "); ok {
		name = "registry-node: " + sub
	}
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errNo):
		return exitNo
	case errors.As(err, new(usageError)):
		fmt.Fprintf(stderr, "%s: %s\nRun '%s --help' for usage.\n", name, errorText(err), cmd.CommandPath())
		return exitUsage
	}
	fmt.Fprintf(stderr, "%s: %s\n", name, errorText(err))
	return exitNo
}

// errorText is an error for a terminal. It may repeat what came from anywhere: what
// does not print is shown as ?, and only its first line begins at the margin.
func errorText(err error) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\n' {
			return r
		}
		return '?'
	}, strings.NewReplacer("\r\n", "\n  ", "\n", "\n  ", "\t", "  ").Replace(err.Error()))
}

// errNo is the error of a command that has already printed why the answer is no.
var errNo = errors.New("no")

// usageError is a command line that makes no sense.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "registry-node",
		Short:         "A Go module registry",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		serveCommand(), publishCommand(), importCommand(), deleteCommand(), repoCommand(), secretCommand(), blockCommand(), unblockCommand(), fetchedCommand(), auditCommand(), purgeCommand(), settleCommand(), offlineCommand(),
		statusCommand(), logCommand(),
		userCommand(), groupCommand(), permissionCommand(), tokenCommand(), whoamiCommand(),
		loginCommand(), logoutCommand(), goauthCommand(), envCommand(), oidcCommand(), webhookCommand(),
		inviteCommand(), joinCommand(), leaveCommand(), siteCommand(), homeCommand(), diffCommand(), epochCommand(),
		verifyCommand(), rebuildCommand(), versionCommand(),
	)
	return group(root)
}

// group makes cmd one that only holds others.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			return usagef("there is no command %q; did you mean %s?", args[0], strings.Join(near, " or "))
		}
		return usagef("there is no command %q", args[0])
	}
	cmd.SuggestionsMinimumDistance = 1
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cmd.SetOut(cmd.ErrOrStderr())
		return errors.Join(cmd.Help(), usagef("it needs a command"))
	}
	return cmd
}

// addCompletion adds cobra's command of that name, which keeps the output that
// root has by now, with usage errors like ours.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		group(c)
		for _, shell := range c.Commands() {
			shell.Args = wants()
		}
	}
}

// wants checks that a command gets one argument for each name.
func wants(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usagef("%s is missing", names[len(args)])
		case len(args) > len(names):
			return usagef("unexpected argument %q", args[len(names)])
		}
		return nil
	}
}
