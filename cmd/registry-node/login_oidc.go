package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/spf13/cobra"
	"golang.org/x/oauth2"

	"registry-node/events"
	"registry-node/httpapi"
	"registry-node/node"
	"registry-node/node/access"
)

const (
	oidcPath     = "/api/v1/oidc"
	exchangePath = oidcPath + "/exchange"
)

// loginPatience is how long login waits for the browser to come back.
const loginPatience = 5 * time.Minute

// loginOIDC has a person sign in at an issuer with the browser, exchanges the ID
// token, and stores what the registry gives for it.
func loginOIDC(cmd *cobra.Command, t target, u *url.URL, name string) error {
	c, err := t.clientTo(u, "")
	if err != nil {
		return err
	}
	defer c.close()
	is, err := c.loginIssuer(cmd.Context(), name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), loginPatience)
	defer cancel()
	idToken, err := signIn(ctx, is, cmd.ErrOrStderr())
	if err != nil {
		return fmt.Errorf("sign in at %s: %w", is.URL, err)
	}
	got, err := c.exchange(cmd.Context(), is.Name, idToken)
	if err != nil {
		return err
	}
	return keep(cmd.Context(), cmd.OutOrStdout(), u, stored{Token: got.Token, User: got.User, Expires: got.Expires, Issuer: is.Name})
}

// loginIssuer returns the issuer where people sign in: the one of a name, or the
// only one.
func (c *client) loginIssuer(ctx context.Context, name string) (is node.IssuerName, err error) {
	var all httpapi.OIDC
	if err := c.call(ctx, http.MethodGet, oidcPath, nil, &all); err != nil {
		return is, err
	}
	at := slices.DeleteFunc(all.Issuers, func(i node.IssuerName) bool {
		return i.Purpose != events.Login || name != "" && i.Name != name
	})
	switch {
	case len(at) == 1:
		return at[0], nil
	case len(at) > 1:
		var names []string
		for _, i := range at {
			names = append(names, i.Name)
		}
		return is, usagef("people sign in at several issuers: give --issuer with one of %s", strings.Join(names, ", "))
	case name != "":
		return is, fmt.Errorf("%s trusts no issuer %q for people to sign in at", c.where, name)
	}
	return is, fmt.Errorf("%s trusts no issuer for people to sign in at; see: registry-node oidc set --help", c.where)
}

// exchange has the registry give a token for an ID token.
func (c *client) exchange(ctx context.Context, issuer, idToken string) (got node.Exchanged, err error) {
	err = c.call(ctx, http.MethodPost, exchangePath, httpapi.Exchange{Issuer: issuer, Token: idToken}, &got)
	return got, err
}

// signIn is the authorization code flow with PKCE (RFC 7636) for programs on a
// machine with a browser (RFC 8252): the issuer sends the browser back to a port
// of this machine.
func signIn(ctx context.Context, is node.IssuerName, stderr io.Writer) (idToken string, err error) {
	ctx = oidc.ClientContext(ctx, access.NewIssuerClient(nil))
	provider, err := oidc.NewProvider(ctx, is.URL)
	if err != nil {
		return "", err
	}
	back, err := awaitBrowser(is.URL)
	if err != nil {
		return "", err
	}
	defer back.close()
	flow := oauth2.Config{ClientID: is.Audience, Endpoint: provider.Endpoint(), RedirectURL: back.url, Scopes: []string{oidc.ScopeOpenID, "profile", "email"}}
	nonce, pkce := rand.Text(), oauth2.GenerateVerifier()
	openBrowser(flow.AuthCodeURL(back.state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(pkce)), stderr)
	code, err := back.wait(ctx)
	if err != nil {
		return "", err
	}
	answer, err := flow.Exchange(ctx, code, oauth2.VerifierOption(pkce))
	if err != nil {
		return "", refusedCode(err)
	}
	idToken, _ = answer.Extra("id_token").(string)
	if idToken == "" {
		return "", errors.New("it gave no ID token")
	}
	token, err := provider.VerifierContext(ctx, &oidc.Config{ClientID: is.Audience}).Verify(ctx, idToken)
	if err != nil {
		return "", err
	}
	if token.Nonce != nonce {
		return "", errors.New("its ID token is not for this login")
	}
	return idToken, nil
}

// refusedCode returns what an issuer said of a code, without the answer's body.
func refusedCode(err error) error {
	if e, ok := errors.AsType[*oauth2.RetrieveError](err); ok && e.Response != nil {
		return fmt.Errorf("it gives no token: %s %q", e.Response.Status, oneLine(e.ErrorCode+" "+e.ErrorDescription))
	}
	return err
}

// openBrowser has the person's browser open a URL, and says which, for one that is
// elsewhere.
func openBrowser(page string, stderr io.Writer) {
	fmt.Fprintf(stderr, "To sign in, open this in a browser on this machine:\n\n  %s\n\n", page)
	if !isTerminal(stderr) {
		return
	}
	open := []string{"xdg-open"}
	switch runtime.GOOS {
	case "darwin":
		open = []string{"open"}
	case "windows":
		open = []string{"rundll32", "url.dll,FileProtocolHandler"}
	}
	cmd := exec.Command(open[0], append(open[1:], page)...)
	if cmd.Start() == nil {
		go cmd.Wait() // ends with the browser's launcher, or with this process
	}
}
