package engine

import (
	"fmt"
	"strconv"
	"strings"

	"rookery/internal/vfs"
)

// dovecot-uidvalidity holds the last UIDVALIDITY given, as eight hex digits, and
// an empty file dovecot-uidvalidity.<the same digits> stands beside it. Each new
// mailbox gets one more, and at least the time in seconds: a mailbox that is
// deleted and made again gets a higher one.

const validityFile = "dovecot-uidvalidity"

func parseHex8(s string) uint32 {
	if len(s) != 8 {
		return 0
	}
	n, err := strconv.ParseUint(s, 16, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// nextValidity gives a UIDVALIDITY that no mailbox had, above above, and makes it
// certain. Under the user's lock.
func (s *Store) nextValidity(above uint32) (uint32, error) {
	last, marks, err := s.lastValidity()
	if err != nil {
		return 0, err
	}
	next := max(last+1, above+1, uint32(min(s.now().Unix(), 1<<32-2)), 1)
	if last == 1<<32-1 || above == 1<<32-1 {
		next = 1 << 31 // used up after 2^32: begin below, better than none
	}
	return next, s.putValidity(next, marks)
}

// lastValidity reads the highest value known and the marks that stand for some.
func (s *Store) lastValidity() (last uint32, marks []string, err error) {
	dir := s.opt.ControlPath
	data, err := vfs.ReadFile(s.fs, join(dir, validityFile), 64)
	if err != nil && !notExist(err) {
		return 0, nil, err
	}
	last = parseHex8(strings.TrimSpace(string(data)))
	err = s.fs.ReadDir(dir, func(e vfs.DirEntry) bool {
		if text, ok := strings.CutPrefix(e.Name, validityFile+"."); ok {
			if v := parseHex8(text); v > 0 {
				last = max(last, v)
				marks = append(marks, e.Name)
			}
		}
		return true
	})
	return last, marks, err
}

func (s *Store) putValidity(v uint32, marks []string) error {
	dir := s.opt.ControlPath
	text := fmt.Sprintf("%08x", v)
	mark := join(dir, validityFile+"."+text)
	if len(marks) > 0 {
		if err := s.fs.Rename(join(dir, marks[0]), mark); err != nil && !notExist(err) {
			return err
		}
		for _, m := range marks[1:] {
			s.fs.Remove(join(dir, m))
		}
	}
	if len(marks) == 0 {
		f, err := s.fs.OpenFile(mark, vfs.Write|vfs.Create, 0o444)
		if err != nil {
			return err
		}
		f.Close()
	}
	return s.replace(join(dir, validityFile), []byte(text))
}

// raiseValidity makes sure that values up to v are never given again. Under the
// user's lock.
func (s *Store) raiseValidity(v uint32) error {
	last, marks, err := s.lastValidity()
	if err != nil || last >= v {
		return err
	}
	return s.putValidity(v, marks)
}
