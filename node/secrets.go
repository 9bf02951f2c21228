package node

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"registry-node/events"
)

// Secrets are the credentials of a site, by name. Repositories name them in their
// settings, which are in the log; the secrets themselves are with each site: in
// the files secrets/NAME of the data directory, which only their owner can read,
// or, where there is no file, in the environment of the node, in
// REGISTRY_NODE_SECRET_NAME with capitals and _ for -. They are read when they
// are used, so one that is replaced counts at once.
type Secrets struct {
	dir string

	mu   sync.Mutex
	read map[events.RepoName]readSecret // guarded by mu
}

// readSecret is a secret with the file that it was read from.
type readSecret struct {
	file   fs.FileInfo
	secret Secret
}

const (
	secretsDir = "secrets"
	// SecretEnvPrefix begins the names of environment variables with secrets.
	SecretEnvPrefix = "REGISTRY_NODE_SECRET_"
	// maxSecret bounds a secret as it is kept, in bytes.
	maxSecret = 64 << 10
)

// errSecret is the cause of what fails for want of a secret.
var errSecret = errors.New("secret")

// OpenSecrets returns the secrets in a data directory, whether a node runs there
// or not. It fails with ErrNoData if dir holds no registry.
func OpenSecrets(dir string) (*Secrets, error) {
	if err := checkFormat(dir); err != nil {
		return nil, err
	}
	return newSecrets(dir), nil
}

func newSecrets(dir string) *Secrets {
	return &Secrets{dir: filepath.Join(dir, secretsDir), read: map[events.RepoName]readSecret{}}
}

// Get returns a secret. It fails with ErrUnavailable if there is none that can be
// used; the text names it and says what to do.
func (s *Secrets) Get(name events.RepoName) (Secret, error) {
	secret, err := s.fromFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		secret, err = fromEnv(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return secret, because(errSecret, ErrUnavailable,
			"the secret %s is missing at this site; set it on the node's machine with: registry-node secret set %s --data DIR", name, name)
	}
	if err != nil {
		return secret, because(errSecret, ErrUnavailable, "the secret %s can't be used at this site: %v", name, err)
	}
	return secret, nil
}

// fromFile fails with fs.ErrNotExist if there is no file.
func (s *Secrets) fromFile(name events.RepoName) (Secret, error) {
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return Secret{}, withoutPath(err)
	}
	defer root.Close()
	f, err := root.Open(name.String())
	if err != nil {
		return Secret{}, withoutPath(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Secret{}, withoutPath(err)
	}
	if err := private(info, name); err != nil {
		return Secret{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.read[name]; ok && os.SameFile(r.file, info) && r.file.ModTime().Equal(info.ModTime()) && r.file.Size() == info.Size() {
		return r.secret, nil
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return Secret{}, withoutPath(err)
	}
	if len(text) > maxSecret {
		return Secret{}, fmt.Errorf("file %s/%s is larger than %d KiB", secretsDir, name, maxSecret>>10)
	}
	secret, err := ParseSecret(text)
	if err != nil {
		return Secret{}, fmt.Errorf("file %s/%s: %w", secretsDir, name, err)
	}
	s.read[name] = readSecret{info, secret}
	return secret, nil
}

// private reports why a file may not hold a secret: others can read it, or it is
// none. On Windows the mode says nothing; there the directory's rights protect
// it.
func private(info fs.FileInfo, name events.RepoName) error {
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s/%s is no file", secretsDir, name)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("file %s/%s can be read by others (mode %04o), so it is not used; make it yours alone with: chmod 600", secretsDir, name, info.Mode().Perm())
	}
	return nil
}

// withoutPath returns what is wrong with a file without its path, which is
// nothing for users.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// fromEnv fails with fs.ErrNotExist if the environment has no such secret.
func fromEnv(name events.RepoName) (Secret, error) {
	variable := SecretEnvPrefix + strings.ToUpper(strings.ReplaceAll(name.String(), "-", "_"))
	text, ok := os.LookupEnv(variable)
	if !ok {
		return Secret{}, fs.ErrNotExist
	}
	s, err := ParseSecret([]byte(text))
	if err != nil {
		return Secret{}, fmt.Errorf("%s in the environment: %w", variable, err)
	}
	return s, nil
}

// Set keeps a secret in a file, durably, in place of the one of that name. It
// fails with ErrInvalid if the text of the secret is larger than 64 KiB, which
// Get would not read.
func (s *Secrets) Set(name events.RepoName, secret Secret) error {
	if len(secret.text) > maxSecret {
		return fail(ErrInvalid, "the secret %s is larger than %d KiB", name, maxSecret>>10)
	}
	switch err := os.Mkdir(s.dir, 0o700); {
	case err == nil:
		if err := syncDir(filepath.Dir(s.dir)); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	return WriteFile(filepath.Join(s.dir, name.String()), secret.text, 0o600)
}

// Remove removes the file of a secret. It fails with ErrNotFound if there is none.
func (s *Secrets) Remove(name events.RepoName) error {
	err := os.Remove(filepath.Join(s.dir, name.String()))
	if errors.Is(err, fs.ErrNotExist) {
		return fail(ErrNotFound, "there is no file %s/%s", secretsDir, name)
	}
	if err != nil {
		return err
	}
	return syncDir(s.dir)
}

// SecretInfo is what may be told of a secret.
type SecretInfo struct {
	Name events.RepoName `json:"name"`
	Kind string          `json:"kind,omitempty"` // see Secret.Kind
	// Problem says why it can't be used, if so.
	Problem string `json:"problem,omitempty"`
}

// List returns what may be told of the secrets in files, by name.
func (s *Secrets) List() ([]SecretInfo, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	list := []SecretInfo{}
	for _, e := range entries {
		name, err := events.ParseRepoName(e.Name())
		if err != nil {
			continue // a file that is being written
		}
		info := SecretInfo{Name: name}
		secret, err := s.Get(name)
		if err != nil {
			info.Problem = err.Error()
		}
		info.Kind = secret.Kind()
		list = append(list, info)
	}
	slices.SortFunc(list, func(a, b SecretInfo) int { return cmp.Compare(a.Name.String(), b.Name.String()) })
	return list, nil
}
