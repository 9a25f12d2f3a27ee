package pack

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/compress"
	"rookery/internal/mailstore/engine"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// Names of control files.
const (
	journalFile = "rookery-pack-journal"
	boxesDir    = "rookery-pack-boxes"
)

// format implements engine.Format.
type format struct {
	opt    Options
	fs     vfs.FS
	locked func(func() error) error // runs under the user's lock: for the background

	mu      sync.Mutex // all below; never held over a sync
	st      *state
	base    base
	journal *logFile
	cur     *logFile                          // the packed file that is written; nil before the first
	named   map[mailstore.GUID]mailstore.Name // mailboxes whose names cur holds
	timer   *time.Timer
	closed  bool
	busy    bool  // a checkpoint or a compaction is under way
	dead    int64 // octets expunged since the last compaction
	retry   int64 // how much later than due the next checkpoint is tried
	work    sync.WaitGroup

	files handles
	codec compress.Codec
}

func (p *format) journalPath() string { return join(p.opt.ControlPath, journalFile) }

func (p *format) packPath(n uint32) string { return join(p.opt.MailPath, packName(n)) }

func packName(n uint32) string { return fmt.Sprintf("%08x.pack", n) }

// Start makes the directories, reads the journal, and makes a journal where
// there is none. Under the user's lock.
func (p *format) Start() error {
	for _, d := range []string{p.opt.MailPath, p.opt.ControlPath, join(p.opt.ControlPath, boxesDir)} {
		if err := engine.MakeDirs(p.fs, d, 0o700); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.load(true)
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errJournal) {
		return err
	}
	if err := p.rebuild(err); err != nil {
		return err
	}
	return p.load(true)
}

// ready makes the state exact and sees to files that can be written. Under the
// user's lock.
func (p *format) ready(packed bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.poll(true); err != nil {
		return err
	}
	if p.journal.broken != nil {
		if err := p.renewJournal(p.base, 0); err != nil {
			return err
		}
	}
	if packed && (p.cur == nil || p.cur.broken != nil || p.cur.pos >= p.opt.PackSize) {
		return p.roll()
	}
	return nil
}

// roll begins the next packed file; mu is held.
func (p *format) roll() error {
	h := fileHeader{kind: kindPacked, nonce: newNonce(), number: 1, before: -1, seq: p.st.seq}
	if p.cur != nil {
		h.number, h.before = p.cur.hdr.number+1, p.cur.pos
	}
	l, err := createLog(p.fs, p.packPath(uint32(h.number)), h, nil, p.opt.Step)
	if err != nil {
		return err
	}
	p.cur.close()
	p.cur, p.named = l, map[mailstore.GUID]mailstore.Name{}
	return nil
}

// class says when a record must be on disk.
type class uint8

const (
	now  class = iota // before the answer
	soon              // within a second
)

// emit writes events to the journal and applies them. Under the user's lock.
func (p *format) emit(c class, events ...*event) error {
	if err := p.ready(false); err != nil {
		return err
	}
	if p.opt.Fsync == Always {
		c = now
	}
	p.mu.Lock()
	j, seq := p.journal, p.st.seq
	recs := make([]outRec, len(events))
	for i, v := range events {
		seq++
		v.seq = seq
		var e = v.encode()
		recs[i] = outRec{kind: v.kind, seq: seq, more: uint32(len(events) - 1 - i), meta: e, at: new(loc)}
	}
	start := j.pos
	err := j.write(recs, p.opt.JournalStep)
	p.mu.Unlock()
	if err == nil && c == now {
		err = p.sync(j, start)
	}
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, v := range events {
		v.at = stamp{v.seq, recs[i].at.check}
		p.st.apply(v)
	}
	if c == soon && p.timer == nil && p.opt.Fsync != Never {
		p.timer = time.AfterFunc(time.Second, p.syncSoon)
	}
	return nil
}

// sync makes a file's records certain. After a failure what stands from start on
// is made unreadable, and the file is written no more: its next record goes to a
// new one.
func (p *format) sync(l *logFile, start int64) error {
	if p.opt.Fsync == Never {
		return nil
	}
	p.mu.Lock()
	pos, f, done := l.pos, l.f, l.synced >= l.pos
	p.mu.Unlock()
	if done {
		return nil
	}
	err := f.DataSync()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		l.synced = max(l.synced, pos)
		l.fresh = l.fresh || l.pos == pos
		return nil
	}
	if l.broken = err; start >= 0 {
		// Where the first record of the write began: there, or in the next block.
		for _, at := range []int64{alignUp(start, recAlign), alignUp(start, batchAlign)} {
			l.f.WriteAt(make([]byte, recHeaderSize), at)
		}
		l.pos = start
	}
	return err
}

// syncSoon syncs what waited.
func (p *format) syncSoon() {
	p.mu.Lock()
	j, closed := p.journal, p.closed
	p.timer = nil
	if closed {
		p.mu.Unlock()
		return
	}
	p.work.Add(1)
	p.mu.Unlock()
	defer p.work.Done()
	if err := p.sync(j, -1); err != nil {
		p.mu.Lock()
		mine := p.journal == j && !p.closed
		p.mu.Unlock()
		if mine {
			p.opt.Note("flag changes could not be synced: " + err.Error())
		}
	}
}

// Folders gives every mailbox.
func (p *format) Folders() ([]engine.Folder, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.poll(false); err != nil {
		return nil, err
	}
	out := make([]engine.Folder, 0, len(p.st.boxes))
	for _, b := range p.st.boxes {
		out = append(out, b.folder)
	}
	return out, nil
}

// Find gives one mailbox.
func (p *format) Find(name mailstore.Name) (engine.Folder, bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.poll(false); err != nil {
		return engine.Folder{}, false, err
	}
	if b := p.st.names[name]; b != nil {
		return b.folder, true, nil
	}
	return engine.Folder{}, false, nil
}

// Create makes a mailbox.
func (p *format) Create(f engine.Folder, next mailstore.UID) error {
	if _, ok, err := p.Find(f.Name); err != nil || ok {
		if err == nil {
			err = fs.ErrExist
		}
		return err
	}
	return p.emit(now, &event{kind: recCreate, box: f.GUID, uidv: f.UIDValidity, next: max(next, 1), name: f.Name})
}

// Delete removes a mailbox: its messages are garbage from then on.
func (p *format) Delete(f engine.Folder) error {
	if err := p.emit(now, &event{kind: recDelete, box: f.GUID}); err != nil {
		return err
	}
	p.fs.Remove(p.boxPath(f.GUID)) // what stays goes at the next checkpoint
	return nil
}

// Rename renames mailboxes, with one record.
func (p *format) Rename(moves []engine.Rename) error {
	v := &event{kind: recRename}
	for _, m := range moves {
		v.renames = append(v.renames, renameTo{m.From.GUID, m.To})
	}
	return p.emit(now, v)
}

// Append writes messages of any mailboxes with one sync.
func (p *format) Append(batches []*engine.Batch) error {
	if err := p.ready(true); err != nil {
		return err
	}
	p.mu.Lock()
	cur, seq := p.cur, p.st.seq
	var recs []outRec
	var events []event
	for _, b := range batches {
		f := b.Box.(*box).folder()
		seq++
		if p.named[f.GUID] != f.Name {
			v := event{kind: recFolder, seq: seq, box: f.GUID, uidv: f.UIDValidity, next: b.Edit.Next(), name: f.Name}
			recs, events = append(recs, outRec{kind: recFolder, seq: seq, meta: v.encode(), at: new(loc)}), append(events, v)
			p.named[f.GUID] = f.Name
			seq++
		}
		for i, it := range b.Items {
			m := message{box: f.GUID, entry: entryOf(&it.Message)}
			r := outRec{kind: recMessage, seq: seq, more: uint32(len(b.Items) - 1 - i), meta: encodeMessage(&m), body: it.Body, size: it.Size, at: new(loc)}
			if err := p.squeeze(&r); err != nil {
				p.named = map[mailstore.GUID]mailstore.Name{}
				p.mu.Unlock()
				return err
			}
			recs = append(recs, r)
			events = append(events, event{kind: recAdd, seq: seq, to: f.GUID, entries: []entry{m.entry}})
		}
	}
	start := cur.pos
	err := cur.write(recs, p.opt.Step)
	p.mu.Unlock()
	if err == nil {
		err = p.sync(cur, start)
	}
	p.mu.Lock()
	if err != nil {
		p.named = map[mailstore.GUID]mailstore.Name{}
		p.mu.Unlock()
		return err
	}
	k := 0
	for i := range recs {
		events[i].at = stamp{events[i].seq, recs[i].at.check}
		if recs[i].kind == recMessage {
			events[i].entries[0].loc = *recs[i].at
		}
		p.st.apply(&events[i])
	}
	for _, b := range batches {
		for _, it := range b.Items {
			for recs[k].kind != recMessage {
				k++
			}
			it.Loc = recs[k].at.text()
			k++
		}
	}
	p.mu.Unlock()
	p.trigger()
	return nil
}

func entryOf(m *engine.Message) entry {
	l, _ := parseLoc(m.Loc)
	return entry{uid: m.UID, flags: m.Flags, keywords: m.Keywords, size: m.Size, date: m.Date.Unix(), saved: m.Saved.Unix(), guid: m.GUID,
		order: m.Order, uidl: m.UIDL, loc: l}
}

func (e *entry) message() engine.Message {
	return engine.Message{UID: e.uid, Flags: e.flags, Keywords: e.keywords, Size: e.size, Date: time.Unix(e.date, 0), Saved: time.Unix(e.saved, 0),
		GUID: e.guid, Order: e.order, UIDL: e.uidl, Loc: e.loc.text()}
}

// Transfer is one record: the bytes stay where they are.
func (p *format) Transfer(t *engine.Transfer) error {
	v := &event{kind: recAdd, to: t.To.(*box).guid}
	var uids numset.Set
	for _, it := range t.Items {
		it.New.Loc = it.Old.Loc
		v.entries = append(v.entries, entryOf(&it.New))
		uids.Add(it.Old.UID)
	}
	if t.Move {
		v.kind, v.box, v.uids = recMove, t.From.(*box).guid, uids
	}
	if err := t.GoOn(); err != nil { // from here on it is one write
		return err
	}
	if err := p.emit(now, v); err != nil {
		return err
	}
	p.trigger()
	return nil
}

// Trim closes packed files that are open only for the next reader.
func (p *format) Trim() { p.files.close() }

// Close gives up everything.
func (p *format) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	j := p.journal
	if p.timer != nil {
		p.timer.Stop()
	}
	p.closed = true
	p.mu.Unlock()
	p.work.Wait()
	var err error
	if j != nil && j.broken == nil {
		err = p.sync(j, -1)
	}
	j.close()
	p.cur.close()
	p.files.close()
	return err
}
