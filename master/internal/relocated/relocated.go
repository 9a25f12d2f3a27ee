// Package relocated keeps master's list of users whose mail was moved with
// "rookeryctl relocate": where the settings and the userdb lead, and where the
// mail is instead.
//
// master alone calls it. The list is root's own and comes from the control socket:
// nothing that a user, a worker or authd can write leads a process to another
// place. It must never know what lies there.
//
// # The file
//
// "relocated" in state_dir, mode 0600, text:
//
//	rookery-relocated 1
//	"USER" "FROM" "TO" "OLD"
//	end N
//
// One line for each user, in the order of the names, each field quoted as Go does
// (strconv.Quote); N is the number of these lines. FROM is the mail_path that the
// settings give the user, TO the one that is used in its stead while they do; OLD
// is the place whose mail is still to be freed, "" if none. FROM and TO are the
// same only where OLD is not empty. The file is replaced by rename. A file that
// cannot be read is an error: the settings' places would show mail of old.
package relocated

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Name is the file's.
const Name = "relocated"

const (
	magic    = "rookery-relocated 1"
	maxFile  = 64 << 20
	maxMoves = 1 << 20
)

// Move is one user's.
type Move struct {
	User string `json:"user"`
	From string `json:"from"`
	To   string `json:"to"`
	Old  string `json:"old,omitempty"`
}

// Table is the list. Its methods may be called from several goroutines; Find and
// All never wait for the disk.
type Table struct {
	dir     string
	writing sync.Mutex
	moves   atomic.Pointer[map[string]Move] // never changed, only replaced
}

// Open reads the list in a directory; none is an empty one.
func Open(dir string) (*Table, error) {
	t := &Table{dir: dir}
	t.moves.Store(&map[string]Move{})
	f, err := os.Open(filepath.Join(dir, Name))
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	var moves map[string]Move
	if err == nil {
		moves, err = decode(data)
		t.moves.Store(&moves)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w; it says where users' mail is: put it back from a backup, or see docs/relocate.md", f.Name(), err)
	}
	return t, nil
}

// Find gives a user's move.
func (t *Table) Find(user string) (Move, bool) {
	m, ok := (*t.moves.Load())[user]
	return m, ok
}

// All lists the moves by user.
func (t *Table) All() []Move {
	moves := *t.moves.Load()
	out := make([]Move, 0, len(moves))
	for _, user := range slices.Sorted(maps.Keys(moves)) {
		out = append(out, moves[user])
	}
	return out
}

// Put keeps a move, on disk when it returns nil; one that leads nowhere else and
// has nothing to free is forgotten. After an error the list is as it was, here; on
// disk it may be either.
func (t *Table) Put(m Move) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	next := maps.Clone(*t.moves.Load())
	if m.From == m.To && m.Old == "" {
		delete(next, m.User)
	} else {
		if err := valid(m); err != nil {
			return err
		}
		next[m.User] = m
	}
	if len(next) > maxMoves {
		return fmt.Errorf("there are %d moves, no more can be kept; let the userdb say where they are, and forget them", maxMoves)
	}
	if err := t.write(next); err != nil {
		return err
	}
	t.moves.Store(&next)
	return nil
}

// Forget drops a user's move.
func (t *Table) Forget(user string) error { return t.Put(Move{User: user}) }

func valid(m Move) error {
	for _, p := range []string{m.From, m.To} {
		if !filepath.IsAbs(p) || filepath.Clean(p) != p || p == "/" {
			return fmt.Errorf("%q is no place for mail", p)
		}
	}
	if m.User == "" || m.Old != "" && (!filepath.IsAbs(m.Old) || filepath.Clean(m.Old) != m.Old || m.Old == "/" || m.Old == m.To) || m.Old == "" && m.From == m.To {
		return fmt.Errorf("the move of %q is none", m.User)
	}
	return nil
}

func encode(moves map[string]Move) []byte {
	out := []byte(magic + "\n")
	for _, user := range slices.Sorted(maps.Keys(moves)) {
		m := moves[user]
		out = fmt.Appendf(out, "%q %q %q %q\n", m.User, m.From, m.To, m.Old)
	}
	return fmt.Appendf(out, "end %d\n", len(moves))
}

func decode(data []byte) (map[string]Move, error) {
	bad := errors.New("it is not in the form of this version")
	if len(data) > maxFile || !bytes.HasPrefix(data, []byte(magic+"\n")) {
		return nil, bad
	}
	out := map[string]Move{}
	rest := string(data[len(magic)+1:])
	for {
		line, more, ok := strings.Cut(rest, "\n")
		if !ok {
			return nil, bad
		}
		if n, end := strings.CutPrefix(line, "end "); end {
			if n != strconv.Itoa(len(out)) || more != "" {
				return nil, bad
			}
			return out, nil
		}
		m, err := parse(line)
		if err != nil {
			return nil, err
		}
		if _, twice := out[m.User]; twice {
			return nil, bad
		}
		out[m.User], rest = m, more
	}
}

func parse(line string) (m Move, err error) {
	for i, to := range []*string{&m.User, &m.From, &m.To, &m.Old} {
		if i > 0 {
			if line = strings.TrimPrefix(line, " "); line == "" {
				return m, errors.New("a line is not whole")
			}
		}
		q, err := strconv.QuotedPrefix(line)
		if err == nil {
			*to, err = strconv.Unquote(q)
		}
		if err != nil {
			return m, errors.New("a line is not whole")
		}
		line = line[len(q):]
	}
	if line != "" {
		return m, errors.New("a line is not whole")
	}
	return m, valid(m)
}

// write replaces the file.
func (t *Table) write(moves map[string]Move) error {
	tmp := filepath.Join(t.dir, Name+".new")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(encode(moves))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(t.dir, Name)); err != nil {
		return err
	}
	d, err := os.Open(t.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
