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
//
// The second line are the UIDs that he has seen. A file of another UIDVALIDITY, of
// another guest or one that is not understood says nothing, and is replaced with the
// next change. A file is written anew as a whole and is certain when SetSeen returns.
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
	kept map[box]numset.Set
}

type box struct {
	guid     mailstore.GUID
	validity uint32
}

// New makes the keeper of a guest; dir is that of the owner's control files. It reads
// nothing yet.
func New(fs vfs.FS, dir, guest string) *Keeper {
	return &Keeper{fs: fs, dir: vfs.Join(dir, Folder), guest: guest, kept: map[box]numset.Set{}}
}

func (k *Keeper) path(guid mailstore.GUID) string {
	sum := sha256.Sum256([]byte(k.guest))
	return vfs.Join(k.dir, hex.EncodeToString(sum[:16])+"-"+hex.EncodeToString(guid[:]))
}

// Seen is guarded.Private's.
func (k *Keeper) Seen(guid mailstore.GUID, validity uint32) (numset.Set, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if set, ok := k.kept[box{guid, validity}]; ok {
		return set, nil
	}
	return k.read(box{guid, validity})
}

// SetSeen is guarded.Private's. The file is read again first: another process may
// serve the guest, too, while the settings change. errkind.Limit: the set is too large
// for a file.
func (k *Keeper) SetSeen(guid mailstore.GUID, validity uint32, add, remove numset.Set) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	b := box{guid, validity}
	old, err := k.read(b)
	if err != nil {
		return err
	}
	set := old.Union(add).Minus(remove)
	data := fmt.Appendf(nil, "1 %d %q\n", validity, k.guest)
	data = append(set.AppendTo(data), '\n')
	if len(data) > maxFile {
		return errkind.Newf("keep what was seen", errkind.Limit, "too many messages were seen apart from each other")
	}
	if err := k.makeDir(); err != nil {
		return errkind.Wrap("keep what was seen", err)
	}
	if _, err := vfs.Replace(k.fs, k.path(guid), data, 0o600); err != nil {
		return errkind.Wrap("keep what was seen", err)
	}
	k.keep(b, set)
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
func (k *Keeper) read(b box) (numset.Set, error) {
	data, err := vfs.ReadFile(k.fs, k.path(b.guid), maxFile)
	if err != nil && !vfs.NotExist(err) {
		return numset.Set{}, vfs.Kinded("read what was seen", err)
	}
	set := parse(data, b.validity, k.guest)
	k.keep(b, set)
	return set, nil
}

func (k *Keeper) keep(b box, set numset.Set) {
	if len(k.kept) >= maxKept {
		clear(k.kept) // only a saving
	}
	k.kept[b] = set
}

// parse reads a file; what is not the guest's, or is damaged, is empty.
func parse(data []byte, validity uint32, guest string) (none numset.Set) {
	head, rest, ok := bytes.Cut(data, []byte("\n"))
	if !ok || string(head) != "1 "+strconv.FormatUint(uint64(validity), 10)+" "+strconv.Quote(guest) {
		return none
	}
	text, end, ok := bytes.Cut(rest, []byte("\n"))
	if !ok || len(end) > 0 || len(text) == 0 {
		return none
	}
	expr, err := numset.Parse(text, maxRanges)
	if err != nil || expr.HasStar() || expr.HasSaved() {
		return none
	}
	return expr.Resolve(0)
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
