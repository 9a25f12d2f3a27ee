package held

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"rookery/internal/imapname"
	"rookery/internal/imapname/mutf7"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// The file rookery-held, in the control directory, is lines of text that are
// only appended, and now and then written anew without what is over:
//
//	M <GUID, 32 hex digits> <UIDVALIDITY> <name in modified UTF-7>
//	U <GUID> <UIDVALIDITY> <UIDs in the mailbox> <UIDs where they are held>
//
// M says which mailbox the held messages of a GUID come from; the last one
// counts. It is synced before the first message of the mailbox is held. U says
// which UIDs they had; it is for people to read, and never synced. A line that
// is cut short or makes no sense is passed over.
const (
	controlFile = "rookery-held"
	maxControl  = 16 << 20
	compactOver = 256 << 10
)

// origin is a mailbox that messages are held of.
type origin struct {
	name     mailstore.Name
	validity uint32
	moves    []move
}

// move is one U line: the nth of from is the nth of to.
type move struct {
	validity uint32
	from, to numset.Set
}

// parse reads the file.
func parse(text []byte) map[mailstore.GUID]*origin {
	out := map[mailstore.GUID]*origin{}
	for len(text) > 0 {
		line, rest, whole := bytes.Cut(text, []byte("\n"))
		text = rest
		if !whole {
			break
		}
		f := strings.SplitN(string(line), " ", 5)
		if len(f) < 4 {
			continue
		}
		guid, validity, ok := parseIDs(f[1], f[2])
		if !ok {
			continue
		}
		o := out[guid]
		if o == nil {
			o = &origin{}
		}
		switch {
		case f[0] == "M":
			name, err := mutf7.Decode(strings.Join(f[3:], " "))
			if err != nil || imapname.Name(name).Check() != nil {
				continue
			}
			o.name, o.validity = name, validity
		case f[0] == "U" && len(f) == 5:
			from, err1 := parseSet(f[3])
			to, err2 := parseSet(f[4])
			if err1 != nil || err2 != nil || from.Len() != to.Len() || from.Len() > stepSize {
				continue
			}
			o.moves = append(o.moves, move{validity, from, to})
		default:
			continue
		}
		out[guid] = o
	}
	return out
}

func parseIDs(guidText, validityText string) (g mailstore.GUID, validity uint32, ok bool) {
	if len(guidText) != 32 {
		return g, 0, false
	}
	if _, err := hex.Decode(g[:], []byte(guidText)); err != nil {
		return g, 0, false
	}
	n, err := strconv.ParseUint(validityText, 10, 32)
	return g, uint32(n), err == nil
}

// maxRanges bounds the ranges of one line: no step holds more messages than that.
const maxRanges = stepSize

func parseSet(text string) (numset.Set, error) {
	e, err := numset.Parse([]byte(text), maxRanges)
	if err != nil || e.HasStar() {
		return numset.Set{}, errors.New("no set of UIDs")
	}
	return e.Resolve(0), nil
}

func mailboxLine(guid mailstore.GUID, validity uint32, name mailstore.Name) string {
	return fmt.Sprintf("M %s %d %s\n", hex.EncodeToString(guid[:]), validity, mutf7.Encode(name))
}

func moveLine(guid mailstore.GUID, m move) string {
	return fmt.Sprintf("U %s %d %s %s\n", hex.EncodeToString(guid[:]), m.validity, m.from, m.to)
}

// control opens and locks the file; nil without error if it is not there and
// create is false.
func (s *Store) control(create bool) (vfs.File, error) {
	for {
		flag := vfs.Read | vfs.Write | vfs.Append
		if create {
			flag |= vfs.Create
		}
		f, err := s.opt.FS.OpenFile(s.path, flag, 0o600)
		if errors.Is(err, fs.ErrNotExist) && !create {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		// File systems without such locks lose, at worst, a line that two write at once.
		_ = f.Lock(true, s.opt.LockWait)
		if info, err := f.Stat(); err != nil || info.Links > 0 {
			return f, nil
		}
		f.Close() // replaced between open and lock
	}
}

// origins reads the file.
func (s *Store) origins() (map[mailstore.GUID]*origin, error) {
	text, err := vfs.ReadFile(s.opt.FS, s.path, maxControl)
	if errors.Is(err, fs.ErrNotExist) {
		return map[mailstore.GUID]*origin{}, nil
	}
	return parse(text), err
}

// write appends a line; sure has it on disk, and the file's name too.
func (s *Store) write(line string, sure bool) error {
	f, err := s.control(true)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size+int64(len(line)) > maxControl {
		return errors.New("rookery-held is too large")
	}
	// After a tail that a crash cut short, a line begins anew.
	var last [1]byte
	if info.Size > 0 {
		if _, err := f.ReadAt(last[:], info.Size-1); err == nil && last[0] != '\n' {
			line = "\n" + line
		}
	}
	if _, err := f.Write([]byte(line)); err != nil {
		return err
	}
	if !sure {
		return nil
	}
	return f.Sync() // which keeps the name of a new file, too
}

// compact writes the file anew with what live has: the mailboxes that still
// hold messages, each with the lowest UID there.
func (s *Store) compact(live map[mailstore.GUID]mailstore.UID) error {
	info, err := s.opt.FS.Stat(s.path)
	if err != nil || info.Size < compactOver {
		return nil
	}
	return s.rewrite(live)
}

// rewrite is compact, whatever the file's size.
func (s *Store) rewrite(live map[mailstore.GUID]mailstore.UID) error {
	f, err := s.control(false)
	if f == nil || err != nil {
		return err
	}
	defer f.Close()
	text, err := vfs.ReadAll(f, s.path, maxControl)
	if err != nil {
		return err
	}
	var out strings.Builder
	for guid, o := range parse(text) {
		low, ok := live[guid]
		if !ok {
			continue
		}
		if o.name != "" {
			out.WriteString(mailboxLine(guid, o.validity, o.name))
		}
		for _, m := range o.moves {
			if m.to.Max() >= low {
				out.WriteString(moveLine(guid, m))
			}
		}
	}
	tmp := s.path + ".tmp"
	g, err := s.opt.FS.OpenFile(tmp, vfs.Write|vfs.Create|vfs.Trunc, 0o600)
	if err != nil {
		return err
	}
	_, err = g.Write([]byte(out.String()))
	if err == nil {
		err = g.Sync()
	}
	g.Close()
	if err == nil {
		err = s.opt.FS.Rename(tmp, s.path)
	}
	if err != nil {
		_ = s.opt.FS.Remove(tmp)
		return err
	}
	s.mu.Lock()
	clear(s.known)
	s.mu.Unlock()
	// Unsynced: the old file says no less, and the next line's sync keeps the new name.
	return nil
}
