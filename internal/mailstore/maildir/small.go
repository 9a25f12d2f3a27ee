package maildir

import (
	"io"
	"sync"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/crlf"
	"rookery/internal/mailstore/index"
	"rookery/internal/vfs"
)

// smallSize is up to how many octets of a file are read whole when its message is
// opened.
const smallSize = 48 << 10

// smallBuffer holds a small message: as it is stored, and in CRLF form where
// that is another.
type smallBuffer struct {
	raw  [smallSize]byte
	wire []byte
}

var small = sync.Pool{New: func() any { return new(smallBuffer) }}

// inMemory is an open message that was read whole.
type inMemory struct {
	buf   *smallBuffer
	bytes []byte // in CRLF form, within buf
}

var (
	_ mailstore.Message  = (*inMemory)(nil)
	_ mailstore.InMemory = (*inMemory)(nil)
)

// newSmall makes the message of the first n octets of buf; its Close gives buf back.
func newSmall(buf *smallBuffer, n int) *inMemory {
	m := &inMemory{buf: buf, bytes: buf.raw[:n]}
	if bare := crlf.Bare(m.bytes); bare > 0 {
		if need := n + int(bare); cap(buf.wire) < need {
			buf.wire = make([]byte, 0, max(need, 8<<10))
		}
		buf.wire = crlf.Append(buf.wire[:0], m.bytes)
		m.bytes = buf.wire
	}
	return m
}

func (m *inMemory) Size() int64 { return int64(len(m.bytes)) }

func (m *inMemory) Bytes() []byte { return m.bytes }

func (m *inMemory) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, io.ErrUnexpectedEOF
	}
	if off >= int64(len(m.bytes)) {
		return 0, io.EOF
	}
	n := copy(p, m.bytes[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// File says that there is none: the bytes are here already.
func (m *inMemory) File() (fd uintptr, off int64, ok bool) { return 0, 0, false }

func (m *inMemory) Close() error {
	if m.buf != nil {
		small.Put(m.buf)
		m.buf, m.bytes = nil, nil
	}
	return nil
}

// shapes remembers where the line ends of large messages are: a client that
// fetches one in pieces would have it read whole for each. A file is known by its
// inode, its length and its time. mailbox.op guards it.
type shapes struct {
	last [4]sized // the newest first
}

type sized struct {
	info vfs.Info
	view *crlf.View
}

func sameFile(a, b vfs.Info) bool {
	return a.Inode == b.Inode && a.Device == b.Device && a.Size == b.Size && a.ModTime.Equal(b.ModTime)
}

// get gives the view of a file that was looked at lately.
func (s *shapes) get(f io.ReaderAt, info vfs.Info) (*crlf.View, bool) {
	for _, old := range s.last {
		if old.view != nil && sameFile(old.info, info) {
			return old.view.Of(f), true
		}
	}
	return nil, false
}

func (s *shapes) put(view *crlf.View, info vfs.Info) {
	copy(s.last[1:], s.last[:])
	s.last[0] = sized{info, view.Of(nil)}
}

// AppendCached is Cached without a copy on the heap.
func (mb *mailbox) AppendCached(dst []byte, uid mailstore.UID, field string) ([]byte, bool) {
	box := mb.boxNow.Load()
	if box == nil {
		return dst, false
	}
	return box.AppendCached(dst, uid, field)
}

// CachedFields gives the fields that were asked for lately.
func (mb *mailbox) CachedFields() []string {
	if box := mb.boxNow.Load(); box != nil {
		return box.CachedFields()
	}
	return nil
}

// KnownFacts tells what is known of all messages in one pass.
func (mb *mailbox) KnownFacts(want mailstore.FactsWant, yield func(mailstore.UID, mailstore.Facts, mailstore.FactsWant) bool) {
	mb.op.Lock()
	v := mb.known()
	learnt := make(map[uint32]index.Facts, len(mb.facts))
	for uid, f := range mb.facts {
		learnt[uid] = f
	}
	mb.op.Unlock()
	v.Each(0, func(_ int, r index.Record) bool {
		if f, ok := learnt[r.UID]; ok {
			r = withFacts(r, f)
		}
		out, known := factsOf(r, want.GUID)
		return yield(r.UID, out, known)
	})
}

// withFacts adds what was learnt of a message and is not in the index yet.
func withFacts(r index.Record, f index.Facts) index.Record {
	if f.Size >= 0 {
		r.Size = f.Size
	}
	if f.Date != 0 {
		r.Date, r.Saved = f.Date, f.Saved
	}
	return r
}

// factsOf gives what a record tells, its GUID if that is wanted: it is a hash
// where the uidlist has none.
func factsOf(r index.Record, guid bool) (out mailstore.Facts, known mailstore.FactsWant) {
	base, ext, _ := splitLoc(r.Loc)
	out.BaseName, out.Size = base, max(r.Size, 0)
	out.InternalDate, out.SaveDate = unixTime(r.Date), unixTime(r.Saved)
	if guid {
		out.GUID = messageGUID(base, ext)
	}
	if ext != "" {
		out.UIDL, _ = extKey(ext, 'P')
		if text, ok := extKey(ext, 'O'); ok {
			out.Order = number(text)
		}
	}
	return out, mailstore.FactsWant{Size: r.Size >= 0, InternalDate: r.Date != 0, SaveDate: r.Saved != 0, GUID: guid, UIDL: true}
}

func unixTime(sec int64) (t time.Time) {
	if sec != 0 {
		t = time.Unix(sec, 0)
	}
	return t
}
