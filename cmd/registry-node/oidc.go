package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"registry-node/events"
	"registry-node/httpapi"
)

const issuersPath = "/api/v1/issuers"

func oidcCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "oidc",
		Short: "Say whose ID tokens the registry takes, and exchange one",
		Long: `Say whose OpenID Connect ID tokens the registry takes, and exchange one for a token
of the registry. That one lasts for minutes or hours, is known at one site alone,
and ends with the user or the issuer.`,
	}
	t := new(target)
	t.addFlags(cmd)
	cmd.AddCommand(oidcSetCommand(t), oidcListCommand(t), oidcShowCommand(t), oidcDeleteCommand(t), oidcExchangeCommand(t))
	return group(cmd)
}

func oidcSetCommand(t *target) *cobra.Command {
	var f issuerFlags
	cmd := &cobra.Command{
		Use:   "set NAME --url URL --audience NAME [--claim NAME=PATTERN]... (--user NAME | --user-claim NAME)",
		Short: "Trust an issuer, in place of what was said of it before",
		Long: `Trust an issuer, in place of what was said of it before: what was exchanged under
that is void. Only who manages the whole registry may.

An issuer for programs (--purpose exchange) gives its ID tokens to everybody who has
an account there, so it needs a --claim that says who is meant:

  registry-node oidc set forge --url https://token.actions.githubusercontent.com \
    --audience https://registry.example --claim repository=corp/app --claim ref=refs/heads/main \
    --user ci-app --actions read,publish --modules 'corp.example/app/**'

People sign in (--purpose login) with the client id that the issuer has for them, of
a public client, which may redirect to http://127.0.0.1 on any port:

  registry-node oidc set sso --url https://sso.example --purpose login \
    --audience registry-node --user-claim email

In a pattern * stands for any characters but a slash, ? for one, and ** for any
number of elements between slashes. It must match the whole claim.`,
		Args: wants("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			is, err := f.issuer()
			if err != nil {
				return usageError{err}
			}
			if err := tell(cmd, t, http.MethodPut, named(issuersPath, args[0]), is, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "trusts %s as %s (%s)\n", is.URL, args[0], is.Purpose)
			return err
		},
	}
	f.addFlags(cmd)
	return cmd
}

// issuerFlags are what is said of an issuer.
type issuerFlags struct {
	url, purpose, audience, user, userClaim, ttl string
	claims, repos, actions, modules              []string
}

func (f *issuerFlags) addFlags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.url, "url", "", "`URL` of the issuer, as its tokens have it in \"iss\"")
	fs.StringVar(&f.purpose, "purpose", string(events.Exchange), "what its tokens are for: `exchange` (programs) or login (people)")
	fs.StringVar(&f.audience, "audience", "", "whom its tokens must be made for; with login the client `id`")
	fs.StringArrayVar(&f.claims, "claim", nil, "a claim that must match, `NAME=PATTERN`; all of them must")
	fs.StringVar(&f.user, "user", "", "the `user` that it stands for")
	fs.StringVar(&f.userClaim, "user-claim", "", "the `claim` that names the user, such as email or sub")
	fs.StringSliceVar(&f.repos, "repos", nil, "limit its tokens to these repositories (`names`, * and ? allowed)")
	fs.StringSliceVar(&f.actions, "actions", nil, "limit its tokens to these `actions`: read, publish, delete, block, manage")
	fs.StringSliceVar(&f.modules, "modules", nil, "limit its tokens to these module `patterns`")
	fs.StringVar(&f.ttl, "ttl", "", "how `long` its tokens last, such as 30m: at most 24h (default 15m, with login 12h)")
	must(cmd.RegisterFlagCompletionFunc("purpose", completeWords("exchange", "login")))
}

func (f issuerFlags) issuer() (is events.Issuer, err error) {
	is = events.Issuer{URL: f.url, Purpose: events.Purpose(f.purpose), Audience: f.audience, User: f.user, UserClaim: f.userClaim, Repos: f.repos, Actions: f.actions}
	for _, text := range f.claims {
		name, pattern, ok := strings.Cut(text, "=")
		if !ok {
			return is, fmt.Errorf("claim %q is not NAME=PATTERN", text)
		}
		p, err := events.ParseClaimPattern(pattern)
		if err != nil {
			return is, err
		}
		is.Claims = append(is.Claims, events.Claim{Name: name, Pattern: p})
	}
	for _, text := range f.modules {
		p, err := events.ParsePattern(text)
		if err != nil {
			return is, err
		}
		is.Modules = append(is.Modules, p)
	}
	if is.TTL, err = events.ParseSpan(f.ttl); err != nil {
		return is, err
	}
	return is, is.Check()
}

func oidcListCommand(t *target) *cobra.Command {
	return asked(t, &cobra.Command{Use: "list", Short: "List the issuers that the registry trusts", Args: wants()},
		func(ctx context.Context, c *client, _ []string) (all httpapi.OIDC, err error) {
			err = c.call(ctx, http.MethodGet, oidcPath, nil, &all)
			return all, err
		},
		func(w io.Writer, all httpapi.OIDC) error {
			tab := newTable(w)
			tab.row("NAME", "PURPOSE", "URL", "AUDIENCE")
			for _, i := range all.Issuers {
				tab.row(i.Name, i.Purpose, i.URL, i.Audience)
			}
			return tab.Flush()
		})
}

func oidcShowCommand(t *target) *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME",
		Short: "Show all that is said of an issuer, as JSON",
		Args:  wants("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var is events.TrustedIssuer
			if err := tell(cmd, t, http.MethodGet, named(issuersPath, args[0]), nil, &is); err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), is)
		},
	}
}

func oidcDeleteCommand(t *target) *cobra.Command {
	return &cobra.Command{
		Use:   "delete NAME",
		Short: "Trust an issuer no more; what was exchanged is void",
		Args:  wants("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := tell(cmd, t, http.MethodDelete, named(issuersPath, args[0]), nil, nil); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is trusted no more\n", args[0])
			return err
		},
	}
}

func oidcExchangeCommand(t *target) *cobra.Command {
	var issuer, file string
	cmd := &cobra.Command{
		Use:   "exchange --issuer NAME [--id-token-file FILE]",
		Short: "Exchange an ID token for a token of the registry, and print that alone",
		Long: `Exchange an ID token, as a CI system gives it to a job, for a token of the registry,
and print that alone:

  REGISTRY_NODE_TOKEN=$(printf %s "$ID_TOKEN" | registry-node oidc exchange --issuer forge)`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if issuer == "" {
				return usagef("--issuer is missing")
			}
			idToken, err := readIDToken(cmd.InOrStdin(), file)
			if err != nil {
				return err
			}
			u, err := t.url()
			if err != nil {
				return err
			}
			if !secure(u) {
				return errInsecure(u)
			}
			c, err := t.clientTo(u, "")
			if err != nil {
				return err
			}
			defer c.close()
			got, err := c.exchange(cmd.Context(), issuer, idToken)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), got.Token)
			return err
		},
	}
	cmd.Flags().StringVar(&issuer, "issuer", "", "`name` of the issuer, as the registry has it")
	cmd.Flags().StringVar(&file, "id-token-file", "-", "`file` with the ID token, - for standard input")
	must(cmd.MarkFlagFilename("id-token-file"))
	return cmd
}

// readIDToken reads an ID token from a file or standard input.
func readIDToken(stdin io.Reader, file string) (string, error) {
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		stdin = f
	}
	text, err := io.ReadAll(io.LimitReader(stdin, maxStdin))
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("there is no ID token in %s", map[bool]string{true: "standard input", false: file}[file == "-"])
	}
	return token, nil
}
