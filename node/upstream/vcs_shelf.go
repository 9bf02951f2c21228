package upstream

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// shelf is the cache directory of a VCS. Each repository has a directory below
// it that no other shares, so that nothing that one repository makes the go
// command or git write can be taken for another's:
//
//	<shelf>/<hash of the target>/
//		running   is there while a command runs; left behind, the rest is not trusted
//		used      its time is the last use
//		home/     HOME and the other directories of a user
//		work/     the working directory: an empty main module
//		mod/      GOMODCACHE: cache/vcs, cache/download
//		tmp/      emptied after each command
//
// All of it can be fetched again, so nothing is synced, and whatever a command
// that was killed has left is removed as a whole.
type shelf struct {
	dir string
	max int64 // bytes of all

	mu    sync.Mutex
	books map[string]*book // by name of the directory; guarded by mu
}

// book is the directory of one repository.
type book struct {
	dir  string
	busy chan struct{} // holds one token while it is lent

	lent int       // by borrow, waiting or holding; guarded by shelf.mu
	size int64     // bytes, when they were last counted; guarded by shelf.mu
	used time.Time // guarded by shelf.mu
}

// openShelf opens the shelf in dir, which is made if it is not there.
func openShelf(dir string, max int64) (*shelf, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	s := &shelf{dir: dir, max: max, books: make(map[string]*book)}
	for _, e := range entries {
		b := s.book(e.Name())
		b.size = diskUse(b.dir)
		if info, err := os.Stat(b.path("used")); err == nil {
			b.used = info.ModTime()
		}
	}
	return s, nil
}

// book returns the book of a name. The caller holds s.mu, or has s alone.
func (s *shelf) book(name string) *book {
	b, ok := s.books[name]
	if !ok {
		b = &book{dir: filepath.Join(s.dir, name), busy: make(chan struct{}, 1)}
		s.books[name] = b
	}
	return b
}

func (b *book) path(elem ...string) string {
	return filepath.Join(append([]string{b.dir}, elem...)...)
}

// borrow waits until nobody uses the directory for a target and makes it ready.
// Who borrows returns it.
func (s *shelf) borrow(ctx context.Context, target string) (*book, error) {
	sum := sha256.Sum256([]byte(target))
	s.mu.Lock()
	b := s.book(hex.EncodeToString(sum[:16]))
	b.lent++
	s.mu.Unlock()
	select {
	case b.busy <- struct{}{}:
	case <-ctx.Done():
		s.leave(b)
		return nil, ctx.Err()
	}
	if err := b.prepare(); err != nil {
		s.giveBack(b)
		return nil, fmt.Errorf("cache directory: %w", err)
	}
	return b, nil
}

// leave ends a borrow. A book that nobody has and that has nothing is forgotten.
func (s *shelf) leave(b *book) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.lent--
	if b.lent == 0 && b.size == 0 {
		delete(s.books, filepath.Base(b.dir))
	}
}

// prepare makes the directories of a book. If a command was killed in it, all
// that is there goes first: git leaves locks and halves behind.
func (b *book) prepare() error {
	if _, err := os.Lstat(b.path("running")); err == nil {
		if err := b.wipe(); err != nil {
			return err
		}
	}
	for _, dir := range []string{"home", "work", "mod", "tmp"} {
		if err := os.MkdirAll(b.path(dir), 0o700); err != nil {
			return err
		}
	}
	return b.emptyWork()
}

// emptyWork makes the main module that the go command runs in. Without one it
// would look for a go.mod in the directories above; with a go.sum it would
// remember what it saw before.
func (b *book) emptyWork() error {
	work := b.path("work")
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	if err := os.Mkdir(work, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(work, "go.mod"), []byte("module work.invalid\n\ngo 1.25\n"), 0o600)
}

// wipe removes all of a book.
func (b *book) wipe() error { return os.RemoveAll(b.dir) }

// begin and end enclose a command. If end is not reached, or says that the
// command was killed, the next borrower wipes the book.
func (b *book) begin() error {
	return os.WriteFile(b.path("running"), nil, 0o600)
}

func (b *book) end(killed bool) error {
	if killed {
		return b.wipe()
	}
	return os.Remove(b.path("running"))
}

// cloned reports whether there is something that earlier commands have fetched.
func (b *book) cloned() bool {
	entries, _ := os.ReadDir(b.path("mod", "cache", "vcs"))
	return len(entries) > 0
}

// giveBack returns b to the shelf: what a command unpacked goes, and the books
// that were not used for longest, if the shelf is full.
func (s *shelf) giveBack(b *book) {
	b.tidy()
	size := diskUse(b.dir)
	<-b.busy
	s.mu.Lock()
	b.size, b.used = size, time.Now()
	s.mu.Unlock()
	s.leave(b)
	for _, old := range s.overfull() {
		old.wipe()
		size := diskUse(old.dir) // what can't be removed still counts
		<-old.busy
		s.mu.Lock()
		old.size = size
		s.mu.Unlock()
		s.leave(old)
	}
}

// grown notes the size of a book that is lent. It is an error if all that are
// lent are more than the shelf may hold and none of them is larger than b.
func (s *shelf) grown(b *book, size int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.size = size
	var total, largest int64
	for _, other := range s.books {
		if other.lent > 0 {
			total += other.size
			largest = max(largest, other.size)
		}
	}
	if total > s.max && b.size == largest {
		return fmt.Errorf("%w: all repositories that are being fetched need more than %d bytes, and this one is the largest", errDisk, s.max)
	}
	return nil
}

// tidy removes what is of no more use. That it fails shows in the size.
func (b *book) tidy() {
	if _, err := os.Lstat(b.dir); err != nil {
		return // wiped
	}
	os.WriteFile(b.path("used"), nil, 0o600)
	os.RemoveAll(b.path("tmp"))
	entries, _ := os.ReadDir(b.path("mod"))
	for _, e := range entries {
		if e.Name() != "cache" {
			os.RemoveAll(b.path("mod", e.Name()))
		}
	}
}

// overfull returns the books to wipe if the shelf is full, held as by borrow.
func (s *shelf) overfull() []*book {
	s.mu.Lock()
	defer s.mu.Unlock()
	var total int64
	for _, b := range s.books {
		total += b.size
	}
	if total <= s.max {
		return nil
	}
	oldest := slices.SortedFunc(func(yield func(*book) bool) {
		for _, b := range s.books {
			if b.lent == 0 && !yield(b) {
				return
			}
		}
	}, func(a, b *book) int { return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.dir, b.dir)) })
	var full []*book
	for _, b := range oldest {
		if total <= s.max/10*9 {
			break
		}
		b.busy <- struct{}{} // nobody has it, or waits for it
		b.lent++
		total -= b.size
		full = append(full, b)
	}
	return full
}

// diskUse returns the bytes of all files below dir. Files come and go meanwhile.
func diskUse(dir string) int64 {
	var size int64
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
	return size
}
