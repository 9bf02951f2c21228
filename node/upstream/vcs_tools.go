package upstream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"golang.org/x/mod/semver"
)

// The oldest commands that do. Go 1.25 knows subdirectories in go-import tags,
// git 2.32 takes no configuration but ours.
const (
	oldestGo  = "v1.25"
	oldestGit = "v2.32"
)

// tools finds the go and git commands when they are first needed, and again
// until they are there.
type tools struct {
	mu    sync.Mutex
	found *toolset // guarded by mu
}

// toolset is where the commands are.
type toolset struct {
	golang string // the go command
	path   string // PATH: the directories of both
}

func (t *tools) find(ctx context.Context) (*toolset, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.found != nil {
		return t.found, nil
	}
	golang, err := findTool(ctx, "go", oldestGo)
	if err != nil {
		return nil, err
	}
	git, err := findTool(ctx, "git", oldestGit)
	if err != nil {
		return nil, err
	}
	path := filepath.Dir(git) + string(os.PathListSeparator) + filepath.Dir(golang)
	t.found = &toolset{golang: golang, path: path}
	return t.found, nil
}

var toolVersion = regexp.MustCompile(`(?:go version go|git version )([0-9]+\.[0-9]+(?:\.[0-9]+)?)`)

// findTool returns the absolute path of a command in this process's PATH that is
// of version oldest or newer.
func findTool(ctx context.Context, name, oldest string) (string, error) {
	install := fmt.Sprintf("install %s %s or newer on this node, in the PATH of registry-node", name, oldest[1:])
	path, err := exec.LookPath(name)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "", fmt.Errorf("no %s command: %s", name, install)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "version")
	cmd.Dir = filepath.Dir(path)
	cmd.Env = []string{"GOTOOLCHAIN=local", "GOENV=off", "HOME=" + os.DevNull, "PATH=" + filepath.Dir(path)}
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s version: %w", name, errors.Join(err, ctx.Err()))
	}
	m := toolVersion.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("%s version says %s: %s", name, shown(string(out)), install)
	}
	if semver.Compare("v"+string(m[1]), oldest) < 0 {
		return "", fmt.Errorf("the %s command is %s: %s", name, m[1], install)
	}
	return path, nil
}
