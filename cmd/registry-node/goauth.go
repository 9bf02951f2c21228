package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"registry-node/node/access"
)

func goauthCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "goauth [URL]",
		Short: "Give the go command the tokens that login stored (GOAUTH)",
		Long: `Give the go command the tokens that login stored, for GOAUTH:

  go env -w 'GOAUTH=registry-node goauth;netrc'

` + "(`registry-node env` prints it.) In its stead, " + tokenEnv + ` is the token for
` + serverEnv + `, if both are set. The go command sends credentials over
https only. See "go help goauth".`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("unexpected argument %q", args[1])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			servers := tokensForGo(cmd.ErrOrStderr())
			if len(args) == 0 {
				return giveAll(cmd.OutOrStdout(), servers)
			}
			return giveOne(cmd, servers, args[0])
		},
	}
}

// forGo is a token for the go command.
type forGo struct {
	server string // as credentials have it
	stored
}

// tokensForGo returns the tokens for https servers. What is wrong with one is
// told, and is no error: builds that need none go on.
func tokensForGo(stderr io.Writer) []forGo {
	var all []forGo
	c, err := readCredentials()
	if err != nil {
		fmt.Fprintf(stderr, "registry-node: goauth: %v\n", err)
		c = new(credentials)
	}
	given, isGiven := fromEnvironment()
	if isGiven {
		all = append(all, given)
	}
	for _, server := range c.servers() {
		s := forGo{server, c.Servers[server]}
		switch {
		case !strings.HasPrefix(server, "https://") || isGiven && server == given.server:
		case s.expired(time.Now()):
			fmt.Fprintf(stderr, "registry-node: goauth: the token of %s for %s expired at %s; get another with: %s\n",
				s.User, server, s.Expires.Format(time.RFC3339), s.again(server))
		default:
			all = append(all, s)
		}
	}
	return all
}

// fromEnvironment returns the token that the environment has, as that of a CI job.
func fromEnvironment() (forGo, bool) {
	u, err := url.Parse(os.Getenv(serverEnv))
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return forGo{}, false
	}
	t, err := access.ParseToken(os.Getenv(tokenEnv))
	return forGo{serverKey(u), stored{Token: t.Secret()}}, err == nil
}

// giveAll answers the go command before its first fetch.
func giveAll(w io.Writer, servers []forGo) error {
	for _, s := range servers {
		if err := s.give(w); err != nil {
			return err
		}
	}
	return nil
}

// giveOne answers the go command after a server has refused it: with the token
// for that server, since what was stored may have changed, or with nothing.
func giveOne(cmd *cobra.Command, servers []forGo, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil
	}
	for _, s := range servers {
		if s.server != serverKey(u) {
			continue
		}
		if status := statusLine(cmd.InOrStdin()); strings.Contains(status, " 401") {
			fmt.Fprintf(cmd.ErrOrStderr(), "registry-node: goauth: %s takes no more the token of %s; get another with: %s\n",
				s.server, cmp.Or(s.User, "$"+tokenEnv), s.again(s.server))
		}
		return s.give(cmd.OutOrStdout())
	}
	return nil
}

// statusLine reads the first line of an answer that the go command got.
func statusLine(r io.Reader) string {
	if in, ok := r.(*os.File); ok && term.IsTerminal(int(in.Fd())) {
		return "" // somebody tries the command
	}
	line, _ := bufio.NewReader(io.LimitReader(r, 64<<10)).ReadString('\n')
	return strings.TrimSpace(line)
}

// give prints one block of the GOAUTH protocol: URLs, an empty line, headers, an
// empty line. The go command compares hosts as they are written, so the default
// port is there both ways.
func (s forGo) give(w io.Writer) error {
	urls := s.server + "\n"
	if without, ok := strings.CutSuffix(s.server, ":443"); ok {
		urls = without + "\n" + urls
	}
	_, err := fmt.Fprintf(w, "%s\nAuthorization: Bearer %s\n\n", urls, s.Token)
	return err
}
