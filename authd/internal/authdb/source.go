package authdb

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"
)

// Stamp tells whether a file is still the one that was read.
type Stamp struct {
	Device, Inode uint64
	Size          int64
	ModTime       time.Time
}

// Files reads database files. Errors wrap fs.ErrNotExist where there is none.
type Files interface {
	Stat(path string) (Stamp, error)
	// Read gives the whole file and the stamp that belongs to the bytes. More
	// than limit bytes are an error.
	Read(path string, limit int64) ([]byte, Stamp, error)
}

// mtimeDoubt is how long after its last change a file may change again without
// a new mtime, on file systems with coarse clocks.
const mtimeDoubt = 2 * time.Second

// errUnsettled: who is not found may be in the part that is still to come.
var errUnsettled = errors.New("the file is being written, and the user is not in what is there of it yet")

// maxCached bounds the tables that a path with variables may bring in.
const maxCached = 256

// source reads files and keeps what they parse to while they do not change.
type source[T any] struct {
	files  Files
	now    func() time.Time
	parse  func(path string, data []byte) (T, []Problem)
	report func([]Problem)

	mu     sync.Mutex
	cached map[string]*cachedFile[T]
}

type cachedFile[T any] struct {
	stamp    Stamp
	readAt   time.Time
	lastUsed time.Time
	value    T
	cut      bool // it was read while somebody seemed to be writing it
}

func newSource[T any](env Env, parse func(string, []byte) (T, []Problem)) *source[T] {
	return &source[T]{files: env.Files, now: env.Now, report: env.Report, parse: parse, cached: map[string]*cachedFile[T]{}}
}

// get gives the parsed file. The error wraps fs.ErrNotExist where there is none;
// what was read before is forgotten then, so that a removed user list does not
// live on in memory. cut says that the file was changed a moment ago and is empty
// or breaks off within a line, as one is that is emptied and written anew in
// place: what it has is right, what it lacks may follow.
func (s *source[T]) get(path string) (value T, cut bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var zero T
	now := s.now()
	c := s.cached[path]
	stamp, err := s.files.Stat(path)
	if err != nil {
		delete(s.cached, path)
		return zero, false, err
	}
	if c != nil && c.stamp == stamp && !c.cut {
		doubtful := c.readAt.Sub(stamp.ModTime) < mtimeDoubt && now.Sub(c.readAt) >= mtimeDoubt
		if !doubtful {
			c.lastUsed = now
			return c.value, false, nil
		}
	}
	data, stamp, err := s.files.Read(path, MaxFile)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			delete(s.cached, path)
		}
		return zero, false, fmt.Errorf("%s: %w", path, err)
	}
	whole := bytes.LastIndexByte(data, '\n') + 1
	age := now.Sub(stamp.ModTime)
	if cut = (whole == 0 || whole < len(data)) && age < mtimeDoubt && age > -mtimeDoubt; cut {
		data = data[:whole]
	}
	value, problems := s.parse(path, data)
	if len(problems) > 0 && (c == nil || c.stamp != stamp || c.cut) && !cut {
		s.report(problems)
	}
	s.makeRoom()
	s.cached[path] = &cachedFile[T]{stamp, now, now, value, cut}
	return value, cut, nil
}

func (s *source[T]) makeRoom() {
	if len(s.cached) < maxCached {
		return
	}
	oldest, at := "", time.Time{}
	for path, c := range s.cached {
		if oldest == "" || c.lastUsed.Before(at) {
			oldest, at = path, c.lastUsed
		}
	}
	delete(s.cached, oldest)
}
