package mbox

import (
	"bytes"
	"encoding/binary"
	"io"
	"io/fs"
	"sync"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/mbox/mboxfmt"
	"rookery/internal/mailstore/mbox/spool"
	"rookery/internal/vfs"
)

// box is one open mailbox.
type box struct {
	f *Format

	mu     sync.Mutex
	folder engine.Folder
	sp     Spool
	seen   []byte // the stamp that Changed was asked about last
	ro     bool

	// Under the user's lock.
	file   vfs.File // nil: not locked, or there is no file
	held   *spool.Held
	write  bool
	wrote  bool      // this process has changed the file since it was locked
	unsync bool      // and not all of it is on the disk
	mtime  time.Time // of the file when it was locked
	broken bool      // a change failed half way: what the index is told of it does not count
	tailed bool      // only the end was read: what others changed before it may be unknown
}

// Box gives the disk's side of a mailbox.
func (f *Format) Box(fo engine.Folder) (engine.Box, error) {
	sp, err := f.spoolOf(fo.Name)
	if err != nil {
		return nil, err
	}
	b := &box{f: f, folder: fo, sp: sp}
	file, writable, err := sp.Open(false)
	if err == nil {
		b.ro = !writable
		file.Close()
	} else if !missing(err) {
		return nil, err
	}
	f.mu.Lock()
	f.boxes[b] = true
	f.mu.Unlock()
	return b, nil
}

// relocate tells open boxes where they are after a RENAME.
func (f *Format) relocate(moves []engine.Rename) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for b := range f.boxes {
		b.mu.Lock()
		for _, m := range moves {
			if b.folder.Name == m.From.Name && b.folder.GUID == m.From.GUID {
				b.folder.Name = m.To
				break
			}
		}
		sp, err := f.spoolOf(b.folder.Name)
		if b.sp = sp; err != nil {
			b.sp = lost{err}
		}
		b.mu.Unlock()
	}
}

// lost is a spool that could not be found out: it is tried again.
type lost struct{ err error }

func (l lost) Open(bool) (vfs.File, bool, error) { return nil, false, l.err }
func (l lost) Stat() (vfs.Info, error)           { return vfs.Info{}, l.err }
func (l lost) Lock(bool) error                   { return l.err }
func (l lost) Unlock() error                     { return l.err }

// where gives the mailbox as it is called now, and its file.
func (b *box) where() (engine.Folder, Spool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, is := b.sp.(lost); is {
		if sp, err := b.f.spoolOf(b.folder.Name); err == nil {
			b.sp = sp
		}
	}
	return b.folder, b.sp
}

func (b *box) inbox() bool { fo, _ := b.where(); return fo.Name == imapname.Inbox }

// ReadOnly reports whether the file cannot be written.
func (b *box) ReadOnly() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.ro }

// Close ends its use.
func (b *box) Close() {
	b.f.mu.Lock()
	delete(b.f.boxes, b)
	b.f.mu.Unlock()
}

// Lock takes the mbox's locks, and mends what a crash left.
func (b *box) Lock(write bool) error {
	if err := b.f.mend(); err != nil {
		return err
	}
	return b.lock(write)
}

func (b *box) lock(write bool) error {
	_, sp := b.where()
	kinds := b.f.opt.ReadLocks
	if write {
		kinds = b.f.opt.WriteLocks
	}
	for try := 0; ; try++ {
		file, writable, err := sp.Open(write)
		if missing(err) && !write {
			b.file, b.held, b.write = nil, nil, false
			return nil
		}
		if err != nil {
			return err
		}
		if write && !writable {
			file.Close()
			return errkind.New("lock mbox", errkind.NoPermission, fs.ErrPermission)
		}
		h, err := spool.Take(file, sp, kinds, write, true, b.f.opt.LockWait)
		if err != nil {
			file.Close()
			return err
		}
		// Another program may have put a new file in its place meanwhile.
		mine, err := file.Stat()
		if err == nil {
			var now vfs.Info
			if now, err = sp.Stat(); (missing(err) || err == nil && now.Inode != mine.Inode) && try < 100 {
				h.Release()
				file.Close()
				continue
			}
		}
		if err != nil {
			h.Release()
			file.Close()
			return err
		}
		b.file, b.held, b.write, b.wrote, b.unsync, b.broken, b.tailed, b.mtime = file, h, write, false, false, false, false, mine.ModTime
		return nil
	}
}

// Unlock gives the locks up. What is not on the disk yet gets there within a second.
func (b *box) Unlock() {
	if b.file == nil {
		return
	}
	b.held.Release()
	if b.unsync && !b.f.opt.NoSync {
		b.f.later.add(b.file)
	} else {
		b.file.Close()
	}
	b.file, b.held = nil, nil
}

// A stamp: version 1, whether the end alone was read last, and for a file: the
// boot, the inode, the size, the times of change of content and of inode.
const (
	stampVersion = 1
	stampLen     = 2 + 4 + 4*8
)

func (f *Format) stampOf(info vfs.Info, tailed bool) []byte {
	s := make([]byte, stampLen)
	s[0] = stampVersion
	if tailed {
		s[1] = 1
	}
	le := binary.LittleEndian
	le.PutUint32(s[2:], sum([]byte(f.fs.BootID())))
	le.PutUint64(s[6:], info.Inode)
	le.PutUint64(s[14:], uint64(info.Size))
	if info.Inode != 0 {
		le.PutUint64(s[22:], uint64(info.ModTime.UnixNano()))
		le.PutUint64(s[30:], uint64(info.ChangeTime.UnixNano()))
	}
	return s
}

// Stamp describes the file. After a change, by us or by others a moment ago, its
// time is set to a second ago, so that whoever changes it next gives it another
// one, however coarse the file system's times are.
func (b *box) Stamp() []byte {
	if b.file == nil {
		return b.f.stampOf(vfs.Info{}, false)
	}
	if b.broken {
		return nil
	}
	info, err := b.file.Stat()
	if err == nil && (b.wrote || b.f.fs.Now().Sub(info.ModTime) < 2*time.Second) {
		info, err = b.setTime(info)
	}
	if err != nil {
		return nil
	}
	return b.f.stampOf(info, b.tailed)
}

// setTime gives the file a time that it did not have: where the file system
// rounds times, a second less each time for a while. Without that, times are only coarser.
func (b *box) setTime(info vfs.Info) (vfs.Info, error) {
	want := b.f.fs.Now().Add(-time.Second)
	if b.file.SetModTime(want) != nil {
		return info, nil
	}
	info, err := b.file.Stat()
	if old := want.Sub(b.mtime); err == nil && !info.ModTime.Equal(want) && old > -time.Second && old < time.Minute {
		if b.file.SetModTime(b.mtime.Add(-time.Second)) == nil {
			info, err = b.file.Stat()
		}
	}
	b.mtime = info.ModTime
	return info, err
}

// quiet is how long a file must be left alone until all of it is read again
// where only its end was: five seconds, and a second more for each 20 MB.
func quiet(size int64) time.Duration { return 5*time.Second + time.Duration(size/20e6)*time.Second }

// Changed compares the file with a stamp.
func (b *box) Changed(stamp []byte) (bool, error) {
	_, sp := b.where()
	b.mu.Lock()
	b.seen = bytes.Clone(stamp)
	b.mu.Unlock()
	info, err := sp.Stat()
	if missing(err) {
		info, err = vfs.Info{}, nil
	}
	if err != nil || len(stamp) != stampLen {
		return err == nil, err
	}
	if stamp[1] != 0 && b.f.fs.Now().Sub(info.ModTime) > quiet(info.Size) {
		return true, nil
	}
	now := b.f.stampOf(info, stamp[1] != 0)
	return !bytes.Equal(now, stamp), nil
}

// size is the length of the locked file.
func (b *box) size() (int64, error) {
	if b.file == nil {
		return 0, nil
	}
	info, err := b.file.Stat()
	return info.Size, err
}

// mover gives the means to change the locked file.
func (b *box) mover() (*mover, error) {
	fo, _ := b.where()
	b.wrote = true
	return b.f.redo.mover(b.file, fo.Name)
}

// flusher brings flag changes to the disk within a second.
type flusher struct {
	mu    sync.Mutex
	files map[uint64]vfs.File
	timer *time.Timer
	done  bool
}

func newFlusher() *flusher { return &flusher{files: map[uint64]vfs.File{}} }

// add takes a file over.
func (l *flusher) add(f vfs.File) {
	info, err := f.Stat()
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, there := l.files[info.Inode]; there || err != nil || l.done {
		if err != nil || l.done {
			_ = f.DataSync()
		}
		f.Close()
		return
	}
	l.files[info.Inode] = f
	if len(l.files) == 1 {
		l.timer = time.AfterFunc(time.Second, l.flush)
	}
}

func (l *flusher) flush() {
	l.mu.Lock()
	files := l.files
	l.files = map[uint64]vfs.File{}
	l.mu.Unlock()
	for _, f := range files {
		_ = f.DataSync() // who changes it next hears of a bad disk
		f.Close()
	}
}

func (l *flusher) close() {
	l.mu.Lock()
	l.done = true
	if l.timer != nil {
		l.timer.Stop()
	}
	l.mu.Unlock()
	l.flush()
}

// first reads the head of the locked file's first message, be it c-client's
// pseudo-message; nil if there is none.
func (b *box) first() (*mboxfmt.Message, error) {
	size, err := b.size()
	if err != nil || size == 0 {
		return nil, err
	}
	s := mboxfmt.NewScanner(b.file, 0, size, b.f.opt.Zone)
	s.SkipJunk()
	return s.Head()
}

// readerOf gives ranges of a file one after another.
func readerOf(f io.ReaderAt, ranges []mboxfmt.Range) io.Reader {
	var list []io.Reader
	for _, r := range ranges {
		list = append(list, io.NewSectionReader(f, r.From, r.To-r.From))
	}
	return io.MultiReader(list...)
}
