package mbox

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"strconv"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/crlf"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/mbox/mboxfmt"
	"rookery/internal/mailstore/mbox/spool"
	"rookery/internal/vfs"
)

// inMemory is the size up to which an open message is held in memory. A larger
// one is copied to a file without a name: in the mbox, an expunge by anybody would move it
// under the reader.
const inMemory = 512 << 10

// message is one message, open.
type message struct {
	*crlf.View
	shut func()
}

// File gives nothing: the octets are in no file that will stay as it is.
func (m *message) File() (uintptr, int64, bool) { return 0, 0, false }

func (m *message) Close() error {
	if m.shut != nil {
		m.shut()
		m.shut = nil
	}
	return nil
}

// Open opens a message, if it still is where loc says.
func (b *box) Open(uid mailstore.UID, loc string) (engine.Body, error) {
	p, ok := decodePlace(loc)
	if !ok {
		return nil, fs.ErrNotExist
	}
	fo, sp := b.where()
	file, _, err := sp.Open(false)
	if err != nil {
		return nil, err
	}
	h, err := spool.Take(file, sp, b.f.opt.ReadLocks, false, false, b.f.opt.LockWait)
	if err != nil {
		file.Close()
		return nil, err
	}
	shut := func() { h.Release(); file.Close() }
	src, kept, err := b.take(file, fo.Name, uid, p)
	if err != nil {
		shut()
		return nil, err
	}
	switch {
	case kept != nil:
		shut()
		shut = func() { kept.Close() }
	case src.mem != nil:
		shut()
		shut = nil
	}
	v, err := crlf.Scan(src.at, src.size)
	if err != nil {
		if shut != nil {
			shut()
		}
		return nil, err
	}
	return &message{View: v, shut: shut}, nil
}

type source struct {
	at   io.ReaderAt
	mem  []byte
	size int64
}

// take reads the message while the file is locked. Where neither memory nor a
// copy will do (a full disk), the source is the mbox, and the lock must stay.
func (b *box) take(file vfs.File, name mailstore.Name, uid mailstore.UID, p place) (src source, kept vfs.File, err error) {
	busy, err := b.f.redo.busy(name)
	if err != nil {
		return src, nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return src, nil, err
	}
	if busy || p.next > info.Size {
		return src, nil, fs.ErrNotExist
	}
	m, err := mboxfmt.ReadHead(file, p.from, info.Size, b.f.opt.Zone)
	if errors.Is(err, mboxfmt.ErrNoFrom) || err == nil && (m.Meta.UID != uid || m.Header != p.header) {
		return src, nil, fs.ErrNotExist
	}
	if err != nil {
		return src, nil, err
	}
	m.End = p.end
	shown := m.Shown()
	if print, err := printOf(file, shown); err != nil {
		return src, nil, err
	} else if print != p.print {
		return src, nil, fs.ErrNotExist
	}
	src.size = mboxfmt.Stored(shown)
	if src.size <= inMemory {
		src.mem = make([]byte, src.size)
		_, err := io.ReadFull(readerOf(file, shown), src.mem)
		src.at = bytes.NewReader(src.mem)
		return src, nil, err
	}
	if kept, err = b.f.copyAside(readerOf(file, shown)); err == nil {
		src.at = kept
		return src, kept, nil
	}
	src.at = mboxfmt.Parts{File: file, Ranges: shown}
	return src, nil, nil
}

// copyAside writes a file that has no name any more.
func (f *Format) copyAside(r io.Reader) (vfs.File, error) {
	path := join(f.opt.ControlPath, "rookery-mbox-body-"+strconv.FormatUint(rand.Uint64(), 36))
	file, err := f.fs.OpenFile(path, vfs.Read|vfs.Write|vfs.Create|vfs.Excl, 0o600)
	if err != nil {
		return nil, err
	}
	if err = f.fs.Remove(path); err == nil {
		_, err = io.Copy(file, r)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}
