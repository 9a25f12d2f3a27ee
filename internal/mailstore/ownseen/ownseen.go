// Package ownseen keeps what each of a user's guests has seen of his shared mailboxes,
// where that is each guest's own matter: it is the guarded.Private of the owner's end.
//
// The IMAP worker that serves guests opens one Keeper for each. It must never know
// what a guest may do, or how he came.
//
// # Files
//
// One file for each guest and mailbox, in rookery-seen among the control files, named
// by a hash of the guest's name and by the mailbox's GUID:
//
//	1 UIDVALIDITY "guest"
//	1:17,20
//	1718000000000007 1 1718000000000008 20
//
// The second line are the UIDs that he has seen. Then come the changes that are
// remembered, oldest first (guarded.Mark): After, Off, At, UIDs. A file of another UIDVALIDITY, of
// another guest or one that is not understood says nothing, and is replaced with the
// next change. A file is written anew as a whole and is certain when Change returns.
package ownseen

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"sync"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/guarded"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// Folder is the directory's name among the control files.
const Folder = "rookery-seen"

const (
	maxFile   = 4 << 20 // octets of a file
	maxRanges = maxFile / 2
	maxKept   = 64 // mailboxes of a guest that are remembered
)

// Keeper keeps what one guest has seen.
type Keeper struct {
	fs    vfs.FS
	dir   string
	guest string

	mu   sync.Mutex
	kept map[box]guarded.Own
}

type box struct {
	guid     mailstore.GUID
	validity uint32
}

// New makes the keeper of a guest; dir is that of the owner's control files. It reads
// nothing yet.
func New(fs vfs.FS, dir, guest string) *Keeper {
	return &Keeper{fs: fs, dir: vfs.Join(dir, Folder), guest: guest, kept: map[box]guarded.Own{}}
}

func (k *Keeper) path(guid mailstore.GUID) string {
	sum := sha256.Sum256([]byte(k.guest))
	return vfs.Join(k.dir, hex.EncodeToString(sum[:16])+"-"+hex.EncodeToString(guid[:]))
}

// Own is guarded.Private's.
func (k *Keeper) Own(guid mailstore.GUID, validity uint32) (guarded.Own, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if own, ok := k.kept[box{guid, validity}]; ok {
		return own, nil
	}
	return k.read(box{guid, validity})
}

// Change is guarded.Private's. The file is read again first: another process may serve
// the guest, too, while the settings change. errkind.Limit: it would be too large.
func (k *Keeper) Change(guid mailstore.GUID, validity uint32, change func(guarded.Own) guarded.Own) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	b := box{guid, validity}
	old, err := k.read(b)
	if err != nil {
		return err
	}
	own := change(old)
	data := format(own, validity, k.guest)
	if len(data) > maxFile {
		return errkind.Newf("keep what was seen", errkind.Limit, "too many messages were seen apart from each other")
	}
	if err := k.makeDir(); err != nil {
		return errkind.Wrap("keep what was seen", err)
	}
	if _, err := vfs.Replace(k.fs, k.path(guid), data, 0o600); err != nil {
		return errkind.Wrap("keep what was seen", err)
	}
	k.keep(b, own)
	return nil
}

// makeDir makes the directory if it is not there, certain.
func (k *Keeper) makeDir() error {
	if _, err := k.fs.Stat(k.dir); !vfs.NotExist(err) {
		return err
	}
	if err := vfs.MkdirAll(k.fs, k.dir, 0o700); err != nil {
		return err
	}
	return k.fs.SyncDir(vfs.Parent(k.dir))
}

// read reads a mailbox's file. It is called with mu held.
func (k *Keeper) read(b box) (guarded.Own, error) {
	data, err := vfs.ReadFile(k.fs, k.path(b.guid), maxFile)
	if err != nil && !vfs.NotExist(err) {
		return guarded.Own{}, vfs.Kinded("read what was seen", err)
	}
	own := parse(data, b.validity, k.guest)
	k.keep(b, own)
	return own, nil
}

func (k *Keeper) keep(b box, own guarded.Own) {
	if len(k.kept) >= maxKept {
		clear(k.kept) // only a saving
	}
	k.kept[b] = own
}

func head(validity uint32, guest string) string {
	return "1 " + strconv.FormatUint(uint64(validity), 10) + " " + strconv.Quote(guest)
}

func format(own guarded.Own, validity uint32, guest string) []byte {
	data := append([]byte(head(validity, guest)), '\n')
	data = append(own.Seen.AppendTo(data), '\n')
	for _, m := range own.Marks {
		data = fmt.Appendf(data, "%d %d %d ", m.After, m.Off, m.At)
		data = append(m.UIDs.AppendTo(data), '\n')
	}
	return data
}

// parse reads a file; what is not the guest's, or is damaged, is empty.
func parse(data []byte, validity uint32, guest string) (own guarded.Own) {
	first, rest, ok := bytes.Cut(data, []byte("\n"))
	if !ok || string(first) != head(validity, guest) {
		return guarded.Own{}
	}
	text, rest, ok := bytes.Cut(rest, []byte("\n"))
	if !ok {
		return guarded.Own{}
	}
	if own.Seen, ok = uids(text); !ok && len(text) > 0 {
		return guarded.Own{}
	}
	for len(rest) > 0 {
		var line []byte
		if line, rest, ok = bytes.Cut(rest, []byte("\n")); !ok || len(own.Marks) == guarded.MaxMarks {
			return guarded.Own{}
		}
		m, ok := mark(line)
		if n := len(own.Marks); !ok || n > 0 && (m.After < own.Marks[n-1].After || m.Off <= own.Marks[n-1].Off || m.At <= own.Marks[n-1].At) {
			return guarded.Own{}
		}
		own.Marks = append(own.Marks, m)
	}
	return own
}

// mark reads a line of a change.
func mark(line []byte) (m guarded.Mark, ok bool) {
	words := bytes.Split(line, []byte(" "))
	if len(words) != 4 {
		return m, false
	}
	for i, to := range []*mailstore.ModSeq{&m.After, &m.Off, &m.At} {
		n, err := strconv.ParseUint(string(words[i]), 10, 62)
		if err != nil || n == 0 {
			return m, false
		}
		*to = mailstore.ModSeq(n)
	}
	m.UIDs, ok = uids(words[3])
	return m, ok && m.At > m.After && m.Off <= m.At
}

// uids reads a set, which is not empty.
func uids(text []byte) (set numset.Set, ok bool) {
	expr, err := numset.Parse(text, maxRanges)
	if err != nil || expr.HasStar() || expr.HasSaved() {
		return set, false
	}
	return expr.Resolve(0), true
}

// Drop removes what all guests have seen of a mailbox that is gone.
func Drop(fs vfs.FS, dir string, guid mailstore.GUID) error {
	dir = vfs.Join(dir, Folder)
	suffix := "-" + hex.EncodeToString(guid[:])
	var gone []string
	err := fs.ReadDir(dir, func(e vfs.DirEntry) bool {
		if len(e.Name) > len(suffix) && e.Name[len(e.Name)-len(suffix):] == suffix {
			gone = append(gone, e.Name)
		}
		return true
	})
	if err != nil {
		if vfs.NotExist(err) {
			return nil
		}
		return vfs.Kinded("remove what was seen", err)
	}
	for _, name := range gone {
		if err := fs.Remove(vfs.Join(dir, name)); err != nil && !vfs.NotExist(err) {
			return vfs.Kinded("remove what was seen", err)
		}
	}
	return nil
}
