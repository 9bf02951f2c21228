package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"registry-node/node"
)

const canary = "canary-5f1e0c"

func TestSecretForms(t *testing.T) {
	t.Parallel()
	for text, kind := range map[string]string{
		`{"basic":{"user":"bot","password":"` + canary + `"}}`:   "basic",
		` {"bearer":{"token":"` + canary + `"}}` + "\n":          "bearer",
		`{"header":{"name":"X-Key","value":"` + canary + `"}}`:   "header",
		`{"webhook":{"key":"` + node.NewWebhookKey() + `"}}`:     "webhook",
		`{"webhook":{"key":"whsec_` + canary + `"}}`:             "",
		`{"webhook":{"key":"` + canary + canary + canary + `"}}`: "",
		``:     "",
		`null`: "",
		`{}`:   "",
		canary: "",
		`{"basic":{"user":"bot","password":"` + canary + `"}`:                                 "",
		`{"basic":{"user":"bot","password":"` + canary + `"}} ` + canary:                      "",
		`{"basic":{"user":"bot","` + canary + `":"x"}}`:                                       "",
		`{"basic":{"user":"bot:` + canary + `","password":"x"}}`:                              "",
		`{"basic":{"user":"bot","password":"` + canary + `"},"bearer":{"token":"x"}}`:         "",
		`{"` + canary + `":{"token":"x"}}`:                                                    "",
		`{"bearer":{"token":"` + canary + ` x"}}`:                                             "",
		`{"bearer":"` + canary + `"}`:                                                         "",
		`{"header":{"name":"Host","value":"` + canary + `"}}`:                                 "",
		`{"certificate":{"cert":"` + canary + `","key":"` + canary + `"}}`:                    "",
		`{"certificate":{"cert":"` + canary + `","key":"` + canary + `"},"basic":{"user":1}}`: "",
	} {
		s, err := node.ParseSecret([]byte(text))
		if s.Kind() != kind || (err == nil) != (kind != "") {
			t.Errorf("%s: kind %q, %v", text, s.Kind(), err)
		}
		var log strings.Builder
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", s, "in", struct{ S node.Secret }{s})
		json, _ := s.MarshalJSON()
		for _, shown := range []string{fmt.Sprint(err), fmt.Sprintf("%v %+v %#v %s %q %x", s, s, s, s, s, s), fmt.Sprint(struct{ S *node.Secret }{&s}), log.String(), string(json)} {
			if strings.Contains(shown, canary) {
				t.Errorf("%s: shown in %s", text, shown)
			}
		}
	}
}

func TestSecretsAreReadWhenUsed(t *testing.T) {
	_, dir := newNode(t, nil)
	secrets, err := node.OpenSecrets(dir)
	if err != nil {
		t.Fatal(err)
	}
	mirror := name("my-mirror")
	_, err = secrets.Get(mirror)
	isKind(t, err, node.ErrUnavailable, "the secret my-mirror is missing", "registry-node secret set my-mirror --data DIR")

	t.Setenv("REGISTRY_NODE_SECRET_MY_MIRROR", `{"bearer":{"token":"`+canary+`"}}`)
	if s, err := secrets.Get(mirror); err != nil || s.Kind() != "bearer" {
		t.Errorf("of the environment: %v, %v", s.Kind(), err)
	}
	set := func(text string) {
		t.Helper()
		s, err := node.ParseSecret([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := secrets.Set(mirror, s); err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range []string{"basic", "header", "basic"} { // each replaces the one before, read or not
		set(map[string]string{
			"basic":  `{"basic":{"user":"bot","password":"` + canary + `"}}`,
			"header": `{"header":{"name":"X-Key","value":"` + canary + `"}}`,
		}[kind])
		if s, err := secrets.Get(mirror); err != nil || s.Kind() != kind {
			t.Errorf("after %s was set: %v, %v", kind, s.Kind(), err)
		}
	}
	file := filepath.Join(dir, "secrets", "my-mirror")
	if info, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(filepath.Dir(file)); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
		t.Errorf("its directory: %v, %v", info.Mode(), err)
	}

	if list, err := secrets.List(); err != nil || len(list) != 1 || list[0] != (node.SecretInfo{Name: mirror, Kind: "basic"}) {
		t.Errorf("listed %+v, %v", list, err)
	}
	if err := secrets.Remove(mirror); err != nil {
		t.Fatal(err)
	}
	if s, err := secrets.Get(mirror); err != nil || s.Kind() != "bearer" {
		t.Errorf("of the environment again: %v, %v", s.Kind(), err)
	}
	isKind(t, secrets.Remove(mirror), node.ErrNotFound, "secrets/my-mirror")
	if _, err := node.OpenSecrets(t.TempDir()); !errors.Is(err, node.ErrNoData) {
		t.Errorf("a directory without a registry: %v", err)
	}
}

// TestSecretFilesThatAreNotUsed holds that what others can read is no secret, as
// with ssh, and that nothing leads out of the directory.
func TestSecretFilesThatAreNotUsed(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("file modes say nothing on Windows")
	}
	_, dir := newNode(t, nil)
	secrets, err := node.OpenSecrets(dir)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, "secrets")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	good := []byte(`{"bearer":{"token":"` + canary + `"}}`)
	file := filepath.Join(folder, "x")
	write := func(text []byte, mode fs.FileMode) func() error {
		return func() error { return errors.Join(os.WriteFile(file, text, 0o600), os.Chmod(file, mode)) }
	}
	for part, write := range map[string]func() error{
		"mode 0640":        write(good, 0o640),
		"mode 0604":        write(good, 0o604),
		"is no file":       func() error { return os.Mkdir(file, 0o700) },
		"larger than":      write(bytes.Repeat(good, 4000), 0o600),
		"it is none of":    write(good[1:], 0o600),
		"can't be used at": func() error { return os.Symlink(filepath.Join(dir, "keys", "site.key"), file) },
	} {
		if err := write(); err != nil {
			t.Fatal(err)
		}
		_, err := secrets.Get(name("x"))
		isKind(t, err, node.ErrUnavailable, "the secret x can't be used", part)
		if strings.Contains(fmt.Sprint(err), canary) || strings.Contains(fmt.Sprint(err), dir) {
			t.Errorf("%s: %v", part, err)
		}
		if list, err := secrets.List(); err != nil || len(list) != 1 || list[0].Problem == "" {
			t.Errorf("%s: listed %+v, %v", part, list, err)
		}
		if err := os.RemoveAll(file); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSecretThatIsTooLarge holds that what would not be read is not kept.
func TestSecretThatIsTooLarge(t *testing.T) {
	t.Parallel()
	_, dir := newNode(t, nil)
	secrets, err := node.OpenSecrets(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := node.ParseSecret([]byte(`{"bearer":{"token":"` + strings.Repeat("x", 64<<10) + `"}}`))
	if err != nil {
		t.Fatal(err)
	}
	isKind(t, secrets.Set(name("x"), s), node.ErrInvalid, "the secret x is larger than 64 KiB")
	if list, err := secrets.List(); err != nil || len(list) > 0 {
		t.Errorf("listed %+v, %v", list, err)
	}
}
