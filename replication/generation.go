package replication

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"registry-node/events"
)

// streamsDir is where JetStream keeps the streams of the one account there is.
var streamsDir = filepath.Join("jetstream", "$G", "streams")

const (
	generationFile = "generation"
	streamPrefix   = "LOG_"
)

// streamName returns the name of a generation's stream. Site names have no
// underscore, so that names can be taken apart again.
func streamName(site events.Site, gen uint64) string {
	return fmt.Sprintf("%s%s_%d", streamPrefix, site, gen)
}

// prepare readies dir before the server runs in it and returns the current
// generation: it removes every other generation and what probes left, and syncs
// the newest messages, which a process that died may have left unsynced.
func prepare(dir string, site events.Site) (uint64, error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return 0, err
		}
		if err := syncDir(filepath.Dir(filepath.Clean(dir))); err != nil {
			return 0, err
		}
	}
	if err := removeProbes(dir); err != nil {
		return 0, err
	}
	gens, err := findGenerations(dir, site)
	if err != nil {
		return 0, err
	}
	gen, err := currentGeneration(dir, gens)
	if err != nil {
		return 0, err
	}
	for _, g := range gens {
		if g == gen {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, streamsDir, streamName(site, g))); err != nil {
			return 0, err
		}
	}
	return gen, syncTail(filepath.Join(dir, streamsDir, streamName(site, gen), "msgs"))
}

// findGenerations returns the generations that have a directory, complete or
// not. A log of another site is an error.
func findGenerations(dir string, site events.Site) ([]uint64, error) {
	streams, err := os.ReadDir(filepath.Join(dir, streamsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var gens []uint64
	for _, d := range streams {
		rest, ok := strings.CutPrefix(d.Name(), streamPrefix)
		if !ok {
			continue
		}
		owner, number, _ := strings.Cut(rest, "_")
		g, err := strconv.ParseUint(number, 10, 64)
		if err != nil || streamName(site, g) != d.Name() {
			return nil, fmt.Errorf("%s is the log of site %q, not of %q", d.Name(), owner, site)
		}
		gens = append(gens, g)
	}
	return gens, nil
}

// currentGeneration reads the generation file. When it is missing, the log is
// new, or the file was lost: then the lowest generation there is counts, since
// that one is removed only after a later one has been completed and named.
func currentGeneration(dir string, gens []uint64) (uint64, error) {
	b, err := os.ReadFile(filepath.Join(dir, generationFile))
	if errors.Is(err, fs.ErrNotExist) {
		gen := uint64(1)
		for i, g := range gens {
			if i == 0 || g < gen {
				gen = g
			}
		}
		return gen, writeGenerationFile(dir, gen)
	}
	if err != nil {
		return 0, err
	}
	gen, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || gen == 0 {
		return 0, fmt.Errorf("file %s holds %q, not a generation; without the file the lowest in %s counts", generationFile, b, streamsDir)
	}
	return gen, nil
}

// writeGenerationFile names the current generation, durably and in one step.
func writeGenerationFile(dir string, gen uint64) error {
	name := filepath.Join(dir, generationFile)
	if err := writeSynced(name+".tmp", fmt.Appendln(nil, gen)); err != nil {
		return err
	}
	if err := os.Rename(name+".tmp", name); err != nil {
		return err
	}
	return syncDir(dir)
}
