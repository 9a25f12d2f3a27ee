// Package dbfile reads the files of password databases inside authd's sandbox.
//
// Files come in two ways. Directories of passwd-files are opened before the
// sandbox closes and stay open, so that a file that an editor replaced is seen
// at once. Files that only root may read, such as /etc/shadow, arrive as
// descriptors from master.
//
// Only authd uses it, through authdb.Files. It opens for reading alone and
// never interprets what it reads.
package dbfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"rookery/authd/internal/authdb"
)

// ErrNotPassed means that the file lies in no open directory and master has
// not passed it.
var ErrNotPassed = errors.New("the file was not passed by rookery and its folder is not open to authd; restart rookery after a change of the path")

// Store is safe for concurrent use.
type Store struct {
	mu    sync.Mutex
	dirs  map[string]*os.File
	given map[string]*os.File
}

// New makes an empty store.
func New() *Store { return &Store{dirs: map[string]*os.File{}, given: map[string]*os.File{}} }

// Folder is the longest part of a path template that has no variables: the
// directory to open for it. "" if there is none.
func Folder(template string) string {
	literal, _, _ := strings.Cut(template, "%{")
	i := strings.LastIndexByte(literal, '/')
	if i <= 0 {
		return ""
	}
	return path.Clean(literal[:i])
}

// OpenFolder opens a directory for later; to be called before the sandbox. One
// that is there already is kept.
func (s *Store) OpenFolder(dir string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dirs[dir] != nil || dir == "" {
		return nil
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	s.dirs[dir] = os.NewFile(uintptr(fd), dir)
	return nil
}

// Folders lists the open directories' descriptors. They stay the store's.
func (s *Store) Folders() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []int
	for _, f := range s.dirs {
		out = append(out, int(f.Fd()))
	}
	return out
}

// Give takes ownership of fd, an open file, under its path; an older one of
// that path is closed.
func (s *Store) Give(p string, fd int) {
	p = path.Clean(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.given[p]; old != nil {
		old.Close()
	}
	s.given[p] = os.NewFile(uintptr(fd), p)
}

// Preopen opens a file that everybody may read, before the sandbox, as if it
// had been given. master passes it again when it has been replaced.
func (s *Store) Preopen(p string) error {
	fd, err := unix.Open(p, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: p, Err: err}
	}
	s.Give(p, fd)
	return nil
}

// Close closes all descriptors.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.given {
		f.Close()
	}
	for _, f := range s.dirs {
		f.Close()
	}
	clear(s.given)
	clear(s.dirs)
}

// place finds the open directory that holds p.
func (s *Store) place(p string) (dir *os.File, rest string) {
	for d := path.Dir(p); ; d = path.Dir(d) {
		if f := s.dirs[d]; f != nil {
			return f, strings.TrimPrefix(strings.TrimPrefix(p, d), "/")
		}
		if d == "/" || d == "." {
			return nil, ""
		}
	}
}

func stamp(st *unix.Stat_t) authdb.Stamp {
	return authdb.Stamp{Device: uint64(st.Dev), Inode: st.Ino, Size: st.Size, ModTime: time.Unix(st.Mtim.Unix())}
}

// Stat is for authdb.Files.
func (s *Store) Stat(p string) (authdb.Stamp, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var here, passed unix.Stat_t
	given := s.given[p]
	if given != nil {
		if err := unix.Fstat(int(given.Fd()), &passed); err != nil {
			return authdb.Stamp{}, &fs.PathError{Op: "stat", Path: p, Err: err}
		}
	}
	dir, rest := s.place(p)
	if dir == nil {
		if given == nil {
			return authdb.Stamp{}, &fs.PathError{Op: "stat", Path: p, Err: ErrNotPassed}
		}
		return stamp(&passed), nil
	}
	err := unix.Fstatat(int(dir.Fd()), rest, &here, 0)
	switch {
	case err == nil && (given == nil || stamp(&here) == stamp(&passed)):
		return stamp(&here), nil
	case err == nil && s.readable(dir, rest):
		return stamp(&here), nil
	case given != nil: // replaced by one that only master can open: he passes it soon
		return stamp(&passed), nil
	}
	return authdb.Stamp{}, &fs.PathError{Op: "stat", Path: p, Err: err}
}

func (s *Store) readable(dir *os.File, rest string) bool {
	f, err := open(dir, rest)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// open never blocks on a fifo and takes regular files only.
func open(dir *os.File, rest string) (*os.File, error) {
	for {
		fd, err := unix.Openat(int(dir.Fd()), rest, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: path.Join(dir.Name(), rest), Err: err}
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			unix.Close(fd)
			return nil, &fs.PathError{Op: "open", Path: path.Join(dir.Name(), rest), Err: errors.New("not a regular file")}
		}
		return os.NewFile(uintptr(fd), rest), nil
	}
}

// Read is for authdb.Files.
func (s *Store) Read(p string, limit int64) ([]byte, authdb.Stamp, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dir, rest := s.place(p)
	err := error(&fs.PathError{Op: "open", Path: p, Err: ErrNotPassed})
	if dir != nil {
		var f *os.File
		if f, err = open(dir, rest); err == nil {
			defer f.Close()
			return readAll(f, p, limit)
		}
	}
	if given := s.given[p]; given != nil {
		return readAll(given, p, limit)
	}
	return nil, authdb.Stamp{}, err
}

// ReadGiven reads a whole file from a descriptor that came over a channel, and
// closes it.
func ReadGiven(fd int, name string, limit int64) ([]byte, error) {
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	data, _, err := readAll(f, name, limit)
	return data, err
}

// readAll reads at offset 0 whatever the descriptor's own offset is, which
// master shares. A file that changes meanwhile is read again.
func readAll(f *os.File, name string, limit int64) ([]byte, authdb.Stamp, error) {
	for try := 0; ; try++ {
		var before, after unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &before); err != nil {
			return nil, authdb.Stamp{}, &fs.PathError{Op: "stat", Path: name, Err: err}
		}
		if before.Size > limit {
			return nil, authdb.Stamp{}, fmt.Errorf("%s has %d bytes, at most %d are read", name, before.Size, limit)
		}
		data, err := io.ReadAll(io.NewSectionReader(f, 0, limit))
		if err != nil {
			return nil, authdb.Stamp{}, err
		}
		if err := unix.Fstat(int(f.Fd()), &after); err != nil {
			return nil, authdb.Stamp{}, &fs.PathError{Op: "stat", Path: name, Err: err}
		}
		if stamp(&before) == stamp(&after) && int64(len(data)) == after.Size || try == 4 {
			return data, stamp(&after), nil
		}
	}
}
