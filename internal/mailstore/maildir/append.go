package maildir

import (
	"io"
	"strconv"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/compress"
	"rookery/internal/mailstore/crlf"
	"rookery/internal/mailstore/index"
	"rookery/internal/vfs"
)

// appender writes messages to tmp/ and hands them to the mailbox at Commit.
type appender struct {
	mb   *mailbox
	msgs []*draft
	done bool
	goOn func() error // of Commit; nil: it is not broken off
}

// StopBy is mailstore.CommitStopper's.
func (a *appender) StopBy(goOn func() error) { a.goOn = goOn }

// draft is a message being written.
type draft struct {
	mb   *mailbox
	meta mailstore.AppendMeta
	base string // also its name in tmp/
	size int64  // announced, -1 unknown
	got  int64
	bare int64
	cr   bool
	*sink
	head   []byte           // the first bytes, until the way to store them is decided
	out    io.Writer        // the sink, or what compresses into it
	packed *compress.Writer // nil: stored as it is
	err    error
}

// Append begins to add messages to a mailbox.
func (s *Store) Append(name mailstore.Name) (mailstore.Appender, error) {
	mb, err := s.get(name)
	if err != nil {
		return nil, errkind.Wrap("append", err)
	}
	return &appender{mb: mb}, nil
}

// maxUIDL bounds a UIDL from elsewhere; RFC 1939 allows 70 octets.
const maxUIDL = 128

// Add begins a message.
func (a *appender) Add(meta mailstore.AppendMeta, size int64) (io.Writer, error) {
	if a.done {
		return nil, errkind.Newf("append", errkind.Other, "the appender is done")
	}
	if len(meta.Keywords) > maxPerMessage {
		return nil, errkind.Newf("append", errkind.Limit, "more than "+strconv.Itoa(maxPerMessage)+" keywords")
	}
	for _, k := range meta.Keywords {
		if !goodKeyword(k) {
			return nil, errkind.Newf("append", errkind.Limit, "a keyword is longer than "+strconv.Itoa(maxKeywordSize)+" octets or no atom")
		}
	}
	if meta.UIDL != "" && (len(meta.UIDL) > maxUIDL || !goodKeyword(meta.UIDL)) {
		return nil, errkind.Newf("append", errkind.Invalid, "a UIDL that cannot be kept")
	}
	mb := a.mb
	d := &draft{mb: mb, meta: meta, base: mb.s.names.next(mb.s.now()), size: size}
	open := func() (vfs.File, error) {
		return mb.s.fs.OpenFile(mb.tmpPath(d.base), vfs.Read|vfs.Write|vfs.Create|vfs.Excl, mb.s.opt.FileMode)
	}
	f, err := open()
	if err != nil && notExist(err) { // tmp/ is lost, or the mailbox
		mb.op.Lock()
		err = mb.mend()
		mb.op.Unlock()
		if err == nil {
			f, err = open()
		}
	}
	if err != nil {
		return nil, mb.s.fail("append", err)
	}
	d.sink = newSink(f, mb.s.journal != nil)
	a.msgs = append(a.msgs, d)
	return d, nil
}

// tmpPath is where a file of tmp/ lies now: a RENAME of the mailbox moves it.
func (mb *mailbox) tmpPath(base string) string {
	mb.op.Lock()
	defer mb.op.Unlock()
	return join(mb.dir, "tmp/"+base)
}

// Write takes the next bytes.
func (d *draft) Write(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	if d.size >= 0 && d.got+int64(len(p)) > d.size {
		d.err = errkind.Newf("append", errkind.Invalid, "more bytes than announced")
		return 0, d.err
	}
	n, err := d.put(p)
	d.bare += crlf.Count(p[:n], d.cr)
	if n > 0 {
		d.cr = p[n-1] == '\r'
	}
	d.got += int64(n)
	if err != nil {
		d.err = diskError("append", err)
	}
	return n, d.err
}

// drop closes and forgets a draft's file.
func (a *appender) drop() {
	for _, d := range a.msgs {
		d.file.Close()
		a.mb.s.fs.Remove(a.mb.tmpPath(d.base)) // not there once it was renamed
	}
	a.mb.s.put(a.mb)
}

// Abort leaves no trace.
func (a *appender) Abort() {
	if !a.done {
		a.done = true
		a.drop()
	}
}

// Commit makes all messages durable and visible.
func (a *appender) Commit() (mailstore.AppendResult, error) {
	var res mailstore.AppendResult
	if a.done {
		return res, errkind.Newf("append", errkind.Other, "the appender is done")
	}
	a.done = true
	defer a.drop()
	job := &addJob{goOn: a.goOn}
	for _, d := range a.msgs {
		if err := job.stopped(); err != nil {
			return res, errkind.Wrap("append", err)
		}
		switch {
		case d.err != nil:
			return res, errkind.Wrap("append", d.err)
		case d.got == 0:
			return res, errkind.Newf("append", errkind.Invalid, "an empty message")
		case d.size >= 0 && d.got != d.size:
			return res, errkind.Newf("append", errkind.Invalid, "fewer bytes than announced")
		}
		item, err := d.item(a.mb.s)
		if err != nil {
			return res, a.mb.s.fail("append", err)
		}
		job.items = append(job.items, item)
	}
	uidv, err := a.mb.commit(job)
	if err != nil {
		return res, errkind.Wrap("append", err)
	}
	return mailstore.AppendResult{UIDValidity: uidv, UIDs: job.uids}, nil
}

// item makes what commit places. The file's time is its INTERNALDATE; SAVEDATE
// is written down where it is another.
func (d *draft) item(s *Store) (*addItem, error) {
	if err := d.finish(); err != nil {
		return nil, err
	}
	now := s.now()
	base := withSum(withSizes(d.base, d.got, d.got+d.bare), d.sum.Sum32())
	it := &addItem{kind: moveTmp, from: d.base, file: d.file, base: base, flags: d.meta.Flags & mailstore.AllFlags, keywords: d.meta.Keywords}
	it.data, it.date = d.data, now
	it.known = index.Facts{Size: d.got + d.bare, Date: now.Unix(), Saved: now.Unix()}
	if when := d.meta.InternalDate; !when.IsZero() {
		it.known.Date, it.date = when.Unix(), when
		if err := d.file.SetModTime(when); err != nil {
			return nil, err
		}
		if diff := now.Sub(when); diff > time.Second || diff < -time.Second {
			it.ext = extSet(it.ext, 'T', strconv.FormatInt(now.Unix(), 10))
		}
	}
	if saved := d.meta.SaveDate; !saved.IsZero() {
		it.known.Saved = saved.Unix()
		it.ext = extSet(it.ext, 'T', strconv.FormatInt(saved.Unix(), 10))
	}
	if d.meta.GUID != (mailstore.GUID{}) {
		it.ext = extSet(it.ext, 'G', guidText(d.meta.GUID))
	}
	if d.meta.UIDL != "" {
		it.ext = extSet(it.ext, 'P', d.meta.UIDL)
	}
	if d.meta.Order != 0 {
		it.ext = extSet(it.ext, 'O', utoa(d.meta.Order))
	}
	it.uid = d.meta.UID
	return it, nil
}
