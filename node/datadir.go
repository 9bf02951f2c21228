package node

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"registry-node/events"
)

// The data directory:
//
//	format       the stamp of this layout; an unknown one is refused
//	site.json    which site of which registry this is
//	lock         held by the one process that uses the directory
//	keys/        site.key signs the log; recovery.key may force a new home
//	secrets/     credentials for upstreams, which are in no log
//	stream/      copy one of the log (JetStream)
//	index/       copy two of the log, and all that is derived from the logs
//	blobs/       zips and large go.mod files under their SHA-256
//	vcs/         clones of repositories that modules are made of
//	access/      made by serve: who fetched what, a file for each day
//	admin.sock   made by serve: who can open it is an administrator
//	http.addr    made by serve: the address it listens on
//
// format is written last by initialise, so a directory without it was never a
// registry's, or its making was cut short and can be done again.
const (
	formatStamp = "registry-node data 1\n"

	formatFile   = "format"
	siteFile     = "site.json"
	keysDir      = "keys"
	siteKeyFile  = "site.key"
	recoveryFile = "recovery.key"
	streamDir    = "stream"
	indexDir     = "index"
	blobsDir     = "blobs"
)

// identity is what site.json holds.
type identity struct {
	Registry events.Digest `json:"registry"`
	Site     events.Site   `json:"site"`
}

// ErrNoData says that a directory holds no registry.
var ErrNoData = errors.New("holds no registry")

// checkFormat reports whether dir is a registry's data directory. It fails with
// ErrNoData if it isn't one, and with a text if its format is unknown.
func checkFormat(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, formatFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("directory %s %w; is its volume mounted? serve --init makes a new registry", dir, ErrNoData)
	case err != nil:
		return fmt.Errorf("data directory: %w", err)
	case string(b) != formatStamp:
		return fmt.Errorf("data directory %s has the format %q; this version knows only %q",
			dir, strings.TrimSpace(string(b)), strings.TrimSpace(formatStamp))
	}
	return nil
}

func readIdentity(dir string) (identity, ed25519.PrivateKey, error) {
	var id identity
	b, err := os.ReadFile(filepath.Join(dir, siteFile))
	if err != nil {
		return id, nil, fmt.Errorf("data directory: %w", err)
	}
	if err := json.Unmarshal(b, &id); err != nil {
		return id, nil, fmt.Errorf("%s: %w", siteFile, err)
	}
	if id.Registry.IsZero() || id.Site.IsZero() {
		return id, nil, fmt.Errorf("%s: names no registry or no site", siteFile)
	}
	key, err := readKey(filepath.Join(dir, keysDir, siteKeyFile))
	return id, key, err
}

const keyType = "REGISTRY-NODE ED25519 SEED"

func readKey(file string) (ed25519.PrivateKey, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != keyType || len(block.Bytes) != ed25519.SeedSize {
		return nil, fmt.Errorf("%s is not an ed25519 key of this program", file)
	}
	return ed25519.NewKeyFromSeed(block.Bytes), nil
}

// makeKey reads the key in file, or makes one.
func makeKey(file string) (ed25519.PrivateKey, error) {
	if key, err := readKey(file); !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: keyType, Bytes: key.Seed()})
	return key, WriteFile(file, text, 0o600)
}

// WriteFile writes a small file durably: a reader or a crash sees the old file
// or the new one, whole.
func WriteFile(file string, data []byte, mode fs.FileMode) (err error) {
	dir := filepath.Dir(file)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(tmp.Name())
		}
	}()
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return err
	}
	return syncDir(dir)
}
