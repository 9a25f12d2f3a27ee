package mbox

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

// rookery-mboxes is a control file: what an mbox itself cannot keep. It is
// appended to, a line for each change, the last line of a name counts:
//
//	NAME TAB GUID TAB UIDVALIDITY TAB NEXT TAB CRC LF
//
// NAME in UTF-8; GUID 32 hexadecimal digits; NEXT the UID below which all UIDs
// lie that the mailbox may have given (it is raised in steps of reserve, since
// X-IMAPbase in the mbox has the exact number as long as nobody takes it away);
// CRC the CRC-32C of all before its TAB, 8 hexadecimal digits. UIDVALIDITY 0 says that
// the mailbox is gone. Lines that are not whole or not right do not count.
const (
	recordsFile = "rookery-mboxes"
	reserve     = 100
	maxRecords  = 64 << 20 // octets of the file
)

type record struct {
	guid     mailstore.GUID
	validity uint32
	next     uint32 // all UIDs given are below
}

// records is the file, and what was read of it. It is safe for concurrent use.
type records struct {
	fs   vfs.FS
	path string
	wait time.Duration
	sync bool

	mu    sync.Mutex
	inode uint64
	size  int64
	lines int
	top   uint32 // the highest UIDVALIDITY ever
	all   map[mailstore.Name]record
}

func (r *records) load() error {
	info, err := r.fs.Stat(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		r.all, r.inode, r.size, r.lines = map[mailstore.Name]record{}, 0, 0, 0
		return nil
	}
	if err != nil {
		return err
	}
	if r.all != nil && info.Inode == r.inode && info.Size == r.size {
		return nil
	}
	f, err := r.fs.OpenFile(r.path, vfs.Read, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return r.read(f)
}

func (r *records) read(f vfs.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	data, err := vfs.ReadAll(f, r.path, maxRecords)
	if err != nil {
		return err
	}
	r.all, r.lines, r.inode, r.size = map[mailstore.Name]record{}, 0, info.Inode, int64(len(data))
	for line := range strings.Lines(string(data)) {
		r.lines++
		name, rec, ok := parseRecord(line)
		if !ok {
			continue
		}
		r.top = max(r.top, rec.validity)
		if r.all[name] = rec; rec.validity == 0 {
			delete(r.all, name)
		}
	}
	return nil
}

func formatRecord(name mailstore.Name, rec record) string {
	s := fmt.Sprintf("%s\t%s\t%d\t%d", name, hex.EncodeToString(rec.guid[:]), rec.validity, rec.next)
	return fmt.Sprintf("%s\t%08x\n", s, sum([]byte(s)))
}

func parseRecord(line string) (name mailstore.Name, rec record, ok bool) {
	line, ok = strings.CutSuffix(line, "\n")
	i := strings.LastIndexByte(line, '\t')
	if !ok || i < 0 || fmt.Sprintf("%08x", sum([]byte(line[:i]))) != line[i+1:] {
		return "", rec, false
	}
	p := strings.Split(line[:i], "\t")
	if len(p) != 4 || len(p[1]) != 32 {
		return "", rec, false
	}
	_, err := hex.Decode(rec.guid[:], []byte(p[1]))
	v, verr := strconv.ParseUint(p[2], 10, 32)
	n, nerr := strconv.ParseUint(p[3], 10, 32)
	rec.validity, rec.next = uint32(v), uint32(n)
	return p[0], rec, err == nil && verr == nil && nerr == nil && p[0] != ""
}

// get gives a mailbox's record.
func (r *records) get(name mailstore.Name) (record, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.load()
	rec, ok := r.all[name]
	return rec, ok, err
}

// change is one line to write.
type change struct {
	name mailstore.Name
	rec  record // validity 0: gone
}

// put writes lines, certain. decide, if not nil, is asked for them once the
// file is locked and read.
func (r *records) put(list []change, decide func() []change) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		f, err := r.fs.OpenFile(r.path, vfs.Read|vfs.Write|vfs.Create, 0o600)
		if err != nil {
			return err
		}
		again, err := r.putIn(f, list, decide)
		f.Close()
		if err != nil || !again {
			return err
		}
	}
}

// putIn appends to the open file; again says that another process replaced it.
func (r *records) putIn(f vfs.File, list []change, decide func() []change) (again bool, err error) {
	if err := f.Lock(true, r.wait); err != nil {
		return false, err
	}
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if now, err := r.fs.Stat(r.path); err != nil || now.Inode != info.Inode {
		return err == nil || errors.Is(err, fs.ErrNotExist), err
	}
	if err := r.read(f); err != nil {
		return false, err
	}
	if decide != nil {
		list = decide()
	}
	text := ""
	if r.size > 0 {
		last := make([]byte, 1)
		if err := readFull(f, last, r.size-1); err != nil {
			return false, err
		}
		if last[0] != '\n' { // what a crash left half
			text = "\n"
		}
	}
	for _, c := range list {
		text += formatRecord(c.name, c.rec)
	}
	if len(list) == 0 {
		return false, nil
	}
	r.all = nil
	if _, err := f.WriteAt([]byte(text), r.size); err != nil {
		_ = f.Truncate(r.size)
		return false, err
	}
	if r.sync {
		if err := f.DataSync(); err != nil { // of a new file it keeps the name, too
			return false, err
		}
	}
	if err := r.read(f); err != nil {
		return false, err
	}
	if r.lines > 4*len(r.all)+1000 {
		return false, r.compact()
	}
	return false, nil
}

// compact writes the file anew; the lock of the old one is held, and who waits
// for it sees that it was replaced.
func (r *records) compact() error {
	text := ""
	for name, rec := range r.all {
		text += formatRecord(name, rec)
	}
	// The highest UIDVALIDITY is kept by a mailbox that is nobody's: names have no leading '/'.
	text += formatRecord("/", record{validity: r.top}) + formatRecord("/", record{})
	tmp := r.path + ".tmp"
	f, err := r.fs.OpenFile(tmp, vfs.Write|vfs.Create|vfs.Trunc, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err = f.Write([]byte(text)); err == nil {
		err = f.DataSync()
	}
	if err == nil {
		err = r.fs.Rename(tmp, r.path)
	}
	if err == nil {
		err = r.fs.SyncDir(vfs.Parent(r.path))
	}
	r.all = nil
	return err
}

// names gives the mailboxes that have a record, sorted.
func (r *records) names() ([]mailstore.Name, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.load()
	return slices.Sorted(maps.Keys(r.all)), err
}

// anew writes the file anew with the records that can be read, certain.
func (r *records) anew() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := r.fs.OpenFile(r.path, vfs.Read|vfs.Write, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Lock(true, r.wait); err != nil {
		return err
	}
	if err := r.read(f); err != nil {
		return err
	}
	return r.compact()
}
