package upstream

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"registry-node/events"
)

// Zip is what a module zip that passed CheckZip is.
type Zip struct {
	H1       events.H1 // of the zip (dirhash.Hash1): its identity
	GoMod    []byte    // go.mod at the root, or what stands for it: "module <path>\n"
	GoModH1  events.H1 // of GoMod
	HasGoMod bool      // the zip has a go.mod
	Files    int
	Size     int64 // of all files together, uncompressed, in bytes
}

// Limits beyond those of golang.org/x/mod/zip.
const (
	maxZipEntries   = 65_535
	maxZipName      = 4096     // bytes of one name
	maxZipNames     = 8 << 20  // bytes of all names together
	maxZipPaths     = 1 << 19  // files and the directories they are in
	maxZipDirectory = 16 << 20 // bytes read to find out what entries there are
	maxZipRatio     = 200      // uncompressed to compressed,
	freeZipRatio    = 64 << 20 // for more uncompressed bytes than this
	maxZipTime      = 30 * time.Second
)

// CheckZip checks that the size bytes of r are a zip of the module version mv,
// and computes its hash. The rules are those of golang.org/x/mod/zip, and as
// that package reads no contents, every file is read here: its size and CRC must
// be as declared. Moreover there are no directory entries (they break "go mod
// verify"), no symbolic links or other irregular files, at most 65,535 entries
// in at most 2^19 paths, at most 4,096 bytes in a name and 8 MiB in all names,
// and at most 200 bytes for each byte of the zip if it unpacks to more than
// 64 MiB.
//
// A zip that breaks a rule is ErrBadZip, with the entry and the rule in the
// text. Other errors are faults of this node: reading r failed, or ctx ended, or
// the check took longer than 30 s.
func CheckZip(ctx context.Context, mv module.Version, r io.ReaderAt, size int64) (Zip, error) {
	ctx, cancel := context.WithTimeout(ctx, maxZipTime)
	defer cancel()
	source := &zipSource{ctx: ctx, r: r}
	z, err := checkZip(mv, source, size)
	if fault := source.fault.Load(); fault != nil {
		// archive/zip wraps nothing reliably: what failed below it is the cause.
		return Zip{}, fmt.Errorf("check zip of %s: %w", mv, *fault)
	}
	if err != nil {
		return Zip{}, fmt.Errorf("zip of %s: %w: %w", mv, ErrBadZip, err)
	}
	return z, nil
}

func checkZip(mv module.Version, source *zipSource, size int64) (Zip, error) {
	if v := module.CanonicalVersion(mv.Version); v != mv.Version {
		return Zip{}, fmt.Errorf("version %q is not canonical", mv.Version)
	}
	if err := module.Check(mv.Path, mv.Version); err != nil {
		return Zip{}, err
	}
	if size > modzip.MaxZipFile {
		return Zip{}, fmt.Errorf("%d bytes are more than %d", size, int64(modzip.MaxZipFile))
	}
	source.budget.Store(maxZipDirectory)
	archive, err := zip.NewReader(source, size)
	if err != nil {
		if source.budget.Load() < 0 {
			return Zip{}, fmt.Errorf("its directory is larger than %d bytes", maxZipDirectory)
		}
		return Zip{}, err
	}
	source.budget.Store(1 << 62)

	prefix := mv.Path + "@" + mv.Version + "/"
	total, err := checkEntries(prefix, archive.File)
	if err != nil {
		return Zip{}, err
	}
	if total > freeZipRatio && total/maxZipRatio > size {
		return Zip{}, fmt.Errorf("%d bytes unpack to %d, more than %d times as much", size, total, maxZipRatio)
	}
	z, err := hashEntries(prefix, archive.File)
	if err != nil {
		return Zip{}, err
	}
	if !z.HasGoMod {
		z.GoMod = []byte("module " + modfile.AutoQuote(mv.Path) + "\n")
	}
	z.GoModH1, z.Size = GoModH1(z.GoMod), total
	return z, nil
}

// checkEntries checks what the directory of the zip says, and returns the sum of
// the uncompressed sizes.
func checkEntries(prefix string, files []*zip.File) (int64, error) {
	if len(files) > maxZipEntries {
		return 0, fmt.Errorf("%d entries are more than %d", len(files), maxZipEntries)
	}
	names, total := 0, int64(0)
	folded := make(foldedNames)
	for _, f := range files {
		if names += len(f.Name); names > maxZipNames || len(folded) > maxZipPaths {
			return 0, fmt.Errorf("more than %d bytes of names, or %d paths", maxZipNames, maxZipPaths)
		}
		err := checkEntry(prefix, f)
		if err == nil {
			err = folded.add(f.Name[len(prefix):])
		}
		if err == nil && f.UncompressedSize64 > uint64(modzip.MaxZipFile-total) {
			err = fmt.Errorf("all files together are larger than %d bytes", int64(modzip.MaxZipFile))
		}
		if err != nil {
			return 0, fmt.Errorf("entry %q: %w", clip(f.Name), err)
		}
		total += int64(f.UncompressedSize64)
	}
	return total, nil
}

func checkEntry(prefix string, f *zip.File) error {
	name, ok := strings.CutPrefix(f.Name, prefix)
	switch {
	case !ok:
		return fmt.Errorf("its name does not begin with %q", prefix)
	case name == "" || strings.HasSuffix(name, "/"):
		return errors.New("directory entries are not allowed")
	case len(f.Name) > maxZipName:
		return fmt.Errorf("its name is longer than %d bytes", maxZipName)
	case !f.Mode().IsRegular():
		return fmt.Errorf("it is not a regular file (%s)", f.Mode().Type())
	}
	if err := module.CheckFilePath(name); err != nil {
		return err
	}
	if base := path.Base(name); strings.EqualFold(base, "go.mod") {
		switch {
		case base != name:
			return errors.New("go.mod is only allowed in the root directory")
		case name != "go.mod":
			return errors.New("go.mod must be spelled in lower case")
		}
	}
	if name == "go.mod" && f.UncompressedSize64 > modzip.MaxGoMod {
		return fmt.Errorf("larger than %d bytes", modzip.MaxGoMod)
	}
	if name == "LICENSE" && f.UncompressedSize64 > modzip.MaxLICENSE {
		return fmt.Errorf("larger than %d bytes", modzip.MaxLICENSE)
	}
	return nil
}

// hashEntries reads all files, in the order of the archive, and computes
// dirhash.Hash1 of them.
func hashEntries(prefix string, files []*zip.File) (Zip, error) {
	z := Zip{Files: len(files)}
	lines := make([]string, 0, len(files))
	buf := make([]byte, 64<<10)
	for _, f := range files {
		sum := sha256.New()
		var goMod strings.Builder
		w := io.Writer(sum)
		if isGoMod := f.Name == prefix+"go.mod"; isGoMod {
			w = io.MultiWriter(sum, &goMod)
			z.HasGoMod = true
		}
		if err := readEntry(f, w, buf); err != nil {
			return Zip{}, fmt.Errorf("entry %q: %w", clip(f.Name), err)
		}
		if goMod.Len() > 0 {
			z.GoMod = []byte(goMod.String())
		}
		// Sorting by name is sorting by what follows the hash and two spaces.
		lines = append(lines, fmt.Sprintf("%x  %s\n", sum.Sum(nil), f.Name))
	}
	const name = 2*sha256.Size + 2
	slices.SortFunc(lines, func(a, b string) int {
		return strings.Compare(a[name:len(a)-1], b[name:len(b)-1])
	})
	all := sha256.New()
	for _, line := range lines {
		io.WriteString(all, line)
	}
	all.Sum(z.H1[:0])
	return z, nil
}

// readEntry copies one file to w. archive/zip checks size and CRC.
func readEntry(f *zip.File, w io.Writer, buf []byte) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := io.CopyBuffer(w, r, buf)
	if err == nil && uint64(n) != f.UncompressedSize64 {
		err = fmt.Errorf("has %d bytes, its header says %d", n, f.UncompressedSize64)
	}
	return err
}

// GoModH1 returns the h1 of a go.mod file, as go.sum has it in "/go.mod" lines.
func GoModH1(data []byte) events.H1 {
	return sha256.Sum256(fmt.Appendf(nil, "%x  go.mod\n", sha256.Sum256(data)))
}

// zipSource is the bytes of a zip, as far as its budget goes and until ctx ends.
type zipSource struct {
	ctx    context.Context
	r      io.ReaderAt
	budget atomic.Int64 // bytes that may still be read
	fault  atomic.Pointer[error]
}

var (
	errZipBudget = errors.New("reading too much")
	errZipOffset = errors.New("an offset is negative")
)

func (s *zipSource) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errZipOffset // archive/zip believes what the zip says
	}
	err := s.ctx.Err()
	if err == nil {
		if s.budget.Add(-int64(len(p))) < 0 {
			return 0, errZipBudget
		}
		var n int
		if n, err = s.r.ReadAt(p, off); err == nil || err == io.EOF {
			return n, err
		}
	}
	s.fault.CompareAndSwap(nil, &err)
	return 0, err
}
