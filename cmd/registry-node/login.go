package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"registry-node/node/access"
)

func loginCommand() *cobra.Command {
	var f loginFlags
	cmd := &cobra.Command{
		Use:   "login [--server URL]",
		Short: "Store a token for a server, for you alone",
		Long: `Store a token for a server, so that commands and "registry-node goauth" use it: in
your configuration directory, in a file that nobody else can read. It asks for the
token, or reads it from standard input, and tries it. It is never taken from the
command line, which others on the machine can see.

With --oidc you sign in with your browser at an issuer that the registry trusts,
and the token lasts for some hours.`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error { return login(cmd, f) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.server, "server", "", "`URL` of the node (default $"+serverEnv+" or "+defaultServer+")")
	f.addCAFlag(cmd)
	fs.BoolVar(&f.stdin, "token-stdin", false, "read the token from standard input, also at a terminal")
	fs.BoolVar(&f.oidc, "oidc", false, "sign in with the browser, at an issuer that the registry trusts")
	fs.StringVar(&f.issuer, "issuer", "", "`name` of the issuer, if there are several (see oidc list)")
	return cmd
}

// loginFlags are what login is told.
type loginFlags struct {
	target
	stdin  bool
	oidc   bool
	issuer string
}

func login(cmd *cobra.Command, f loginFlags) error {
	u, err := f.url()
	if err != nil {
		return err
	}
	if !secure(u) {
		return errInsecure(u)
	}
	switch {
	case f.oidc && f.stdin:
		return usagef("--oidc gets the token by itself: give it or --token-stdin")
	case f.issuer != "" && !f.oidc:
		return usagef("--issuer is for --oidc")
	case f.oidc:
		return loginOIDC(cmd, f.target, u, f.issuer)
	}
	text, err := readToken(cmd.InOrStdin(), cmd.ErrOrStderr(), f.stdin)
	if err != nil {
		return err
	}
	token, err := access.ParseToken(text)
	if err != nil {
		return err
	}
	s, err := f.whose(cmd.Context(), u, token.Secret())
	if err != nil {
		return err
	}
	return keep(cmd.Context(), cmd.OutOrStdout(), u, s)
}

// keep stores a token for a server.
func keep(ctx context.Context, stdout io.Writer, u *url.URL, s stored) error {
	err := changeCredentials(ctx, func(c *credentials) error {
		c.Servers[serverKey(u)] = s
		return nil
	})
	if err != nil {
		return err
	}
	until := ""
	if !s.Expires.IsZero() {
		until = ", until " + s.Expires.Local().Format(time.RFC3339)
	}
	_, err = fmt.Fprintf(stdout, "%s knows you as %s%s\n", u, s.User, until)
	return err
}

// whose asks the server whose token it is.
func (t *target) whose(ctx context.Context, u *url.URL, token string) (stored, error) {
	c, err := t.clientTo(u, token)
	if err != nil {
		return stored{}, err
	}
	defer c.close()
	var who struct {
		Name    string
		Token   string // its id
		Expires time.Time
	}
	err = c.call(ctx, http.MethodGet, "/api/v1/whoami", nil, &who)
	if err == nil && (who.Name == "" || who.Token == "") {
		err = fmt.Errorf("%s takes no token; is it a registry-node?", u)
	}
	return stored{Token: token, User: who.Name, Expires: who.Expires}, err
}

// readToken asks a person for a token, without showing it, or reads one line.
func readToken(stdin io.Reader, prompts io.Writer, plain bool) (string, error) {
	if in, ok := stdin.(*os.File); ok && !plain && term.IsTerminal(int(in.Fd())) {
		fmt.Fprint(prompts, "token: ")
		text, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(prompts)
		return strings.TrimSpace(string(text)), err
	}
	line, err := bufio.NewReader(io.LimitReader(stdin, maxStdin)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if line = strings.TrimSpace(line); line == "" {
		return "", errors.New("there is no token")
	}
	return line, nil
}

func logoutCommand() *cobra.Command {
	t := new(target)
	cmd := &cobra.Command{
		Use:   "logout [--server URL]",
		Short: "Forget the token that login stored for a server",
		Long: `Forget the token that login stored for a server. The token itself remains valid
until it expires or is revoked.`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			u, err := t.url()
			if err != nil {
				return err
			}
			return forget(cmd.Context(), cmd.OutOrStdout(), serverKey(u))
		},
	}
	cmd.Flags().StringVar(&t.server, "server", "", "`URL` of the node (default $"+serverEnv+" or "+defaultServer+")")
	return cmd
}

func forget(ctx context.Context, stdout io.Writer, server string) error {
	var s stored
	err := changeCredentials(ctx, func(c *credentials) error {
		var ok bool
		if s, ok = c.Servers[server]; !ok {
			have := "there is none for any"
			if list := c.servers(); len(list) > 0 {
				have = "there are tokens for " + strings.Join(list, ", ")
			}
			return fmt.Errorf("no token is stored for %s; %s", server, have)
		}
		delete(c.Servers, server)
		return nil
	})
	if err != nil {
		return err
	}
	id := "it"
	if t, err := access.ParseToken(s.Token); err == nil {
		id = t.ID()
	}
	_, err = fmt.Fprintf(stdout, "forgot the token of %s for %s; to make it void: registry-node token revoke %s\n", s.User, server, id)
	return err
}
