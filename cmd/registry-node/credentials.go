package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"registry-node/node"
)

// credentials are the tokens that login stored for the user of this machine, by
// server: scheme://host:port. They are in one file that nobody else can read.
type credentials struct {
	file    string            // empty: there is no place for any
	Servers map[string]stored `json:"servers"`
}

// stored is a token as login stored it.
type stored struct {
	Token   string    `json:"token"`
	User    string    `json:"user"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
	// Issuer is where its user signed in for it; empty if the token was typed in.
	Issuer string `json:"issuer,omitempty"`
}

func (s stored) expired(now time.Time) bool { return !s.Expires.IsZero() && !now.Before(s.Expires) }

// again says how to get another token for a server.
func (s stored) again(server string) string {
	if s.Issuer != "" {
		return "registry-node login --server " + server + " --oidc --issuer " + s.Issuer
	}
	return "registry-node login --server " + server
}

// maxCredentials bounds the file, in bytes.
const maxCredentials = 1 << 20

// readCredentials reads what login stored: nothing, if there is no file, or no place
// for one, as in a job without a home directory. It fails
// if somebody else can read the file, as its tokens are no secrets then.
func readCredentials() (*credentials, error) {
	c := &credentials{Servers: map[string]stored{}}
	dir, err := os.UserConfigDir()
	if err != nil {
		return c, nil
	}
	c.file = filepath.Join(dir, "registry-node", "credentials.json")
	text, err := readPrivate(c.file)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(text, c)
	}
	if err != nil {
		return nil, fmt.Errorf("the tokens that login stored: %w", err)
	}
	if c.Servers == nil {
		c.Servers = map[string]stored{}
	}
	return c, nil
}

// readPrivate reads a file that nobody but its owner can. On Windows the mode
// says nothing; there the rights of the user's directory protect it.
func readPrivate(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > maxCredentials:
		return nil, fmt.Errorf("%s is no file of at most %d KiB", file, maxCredentials>>10)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s can be read by others (mode %04o), so it is not used; if nobody has, make it yours alone with: chmod 600 %[1]s", file, info.Mode().Perm())
	}
	text := make([]byte, info.Size())
	n, err := f.ReadAt(text, 0)
	if n < len(text) {
		return nil, err
	}
	return text, nil
}

// credentialsPatience is how long a change of the stored tokens waits for another.
const credentialsPatience = 10 * time.Second

// changeCredentials reads what login stored, has it changed, and stores that. No
// other process changes it meanwhile.
func changeCredentials(ctx context.Context, change func(*credentials) error) error {
	unlock, err := lockCredentials(ctx)
	if err != nil {
		return fmt.Errorf("the tokens that login stored: %w", err)
	}
	defer unlock() // the lock ends with the file, whatever closing that says
	c, err := readCredentials()
	if err != nil {
		return err
	}
	if err := change(c); err != nil {
		return err
	}
	if err := c.write(); err != nil {
		return fmt.Errorf("store the token: %w", err)
	}
	return nil
}

// lockCredentials makes the directory for tokens, and waits for its lock.
func lockCredentials(ctx context.Context) (unlock func() error, err error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return nil, fmt.Errorf("there is no place for them: %w", err)
	}
	dir = filepath.Join(dir, "registry-node")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o700); err != nil { // it may have been there
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, credentialsPatience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		unlock, taken, err := node.LockFile(filepath.Join(dir, "credentials.lock"))
		if !taken {
			return unlock, err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("another command is changing them: %w", ctx.Err())
		}
	}
}

// write stores the tokens, all or none. A symbolic link stays one, to what they are
// stored in.
func (c *credentials) write() error {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	file, err := filepath.EvalSymlinks(c.file)
	if err != nil { // there is none yet
		file = c.file
	}
	return node.WriteFile(file, append(text, '\n'), 0o600)
}

// servers returns the servers that there are tokens for, sorted.
func (c *credentials) servers() []string { return slices.Sorted(maps.Keys(c.Servers)) }

// serverKey returns what a server's token is stored under.
func serverKey(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// secure reports whether a token may go to a server: over plain http everybody on
// the way can read it, so there it goes to this machine alone.
func secure(u *url.URL) bool {
	if u.Scheme == "https" {
		return true
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return strings.EqualFold(u.Hostname(), "localhost") || err == nil && addr.Unmap().IsLoopback()
}

// errInsecure says why no token goes to a server.
func errInsecure(u *url.URL) error {
	return fmt.Errorf("%s is plain http, over which a token can be read by everybody on the way, so none is sent there; use https", u.Redacted())
}

// tokenFor returns the token for a server: the one that was given, else the one
// that login stored, else none.
func tokenFor(u *url.URL, given string) (string, error) {
	if given != "" {
		if !secure(u) {
			return "", errInsecure(u)
		}
		return given, nil
	}
	if !secure(u) {
		return "", nil
	}
	c, err := readCredentials()
	if err != nil {
		return "", err
	}
	key := serverKey(u)
	s, ok := c.Servers[key]
	if ok && s.expired(time.Now()) {
		return "", fmt.Errorf("the token that login stored for %s expired at %s; get another with: %s", key, s.Expires.Format(time.RFC3339), s.again(key))
	}
	return s.Token, nil
}
