package pack

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"rookery/internal/errkind"
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

// errJournal says that the journal cannot be read from its start.
var errJournal = errors.New("the journal cannot be read")

// load reads everything from the journal's base on; mu is held.
func (p *format) load(deep bool) error {
	j, ok, err := openLog(p.fs, p.journalPath())
	if err != nil {
		return err
	}
	if !ok || j.hdr.kind != kindJournal {
		j.close()
		return errJournal
	}
	recs, err := j.advance(deep, p.damage(j.path))
	if err == nil && (len(recs) == 0 || recs[0].kind != recBase) {
		err = errJournal
	}
	var b base
	if err == nil {
		if b, err = decodeBase(recs[0].payload); err != nil {
			err = errJournal
		}
	}
	if err != nil {
		j.close()
		return err
	}
	cur, packed, err := p.openTail(b, deep)
	if err != nil {
		j.close()
		return err
	}
	p.journal.close()
	p.cur.close()
	p.st, p.base, p.journal, p.cur, p.named = newState(), b, j, cur, map[mailstore.GUID]mailstore.Name{}
	p.applyAll(append(p.decode(recs, 0), packed...))
	return nil
}

// damage gives the note of a place that cannot be read.
func (p *format) damage(path string) func(from, to int64) { return damageNote(path, p.opt.Note) }

func damageNote(path string, note func(string)) func(from, to int64) {
	return func(from, to int64) {
		note(fmt.Sprintf("%s is damaged from octet %d to %d: what was recorded there is skipped", path, from, to))
	}
}

// openTail opens the packed files from the base on and gives what they tell; the
// last is the one to write.
func (p *format) openTail(b base, deep bool) (cur *logFile, events []event, err error) {
	n := max(b.file, 1)
	for {
		l, ok, err := openLog(p.fs, p.packPath(n))
		if errors.Is(err, fs.ErrNotExist) && (cur != nil || b.file == 0) {
			return cur, events, nil
		}
		if err == nil && (!ok || l.hdr.kind != kindPacked || l.hdr.number != uint64(n)) {
			l.close()
			err = errJournal
		}
		if err != nil {
			cur.close()
			return nil, nil, err
		}
		if cur != nil {
			// What was written behind the place where the next file begins never happened.
			if l.hdr.before >= 0 && cur.pos > l.hdr.before {
				events = slices.DeleteFunc(events, func(v event) bool {
					return len(v.entries) > 0 && v.entries[0].loc.file == n-1 && v.entries[0].loc.off >= l.hdr.before
				})
			}
			cur.close()
		}
		if cur = l; n == b.file {
			cur.pos, cur.head = b.off, b.chain
		}
		recs, err := cur.advance(deep, p.damage(cur.path))
		if err != nil {
			cur.close()
			return nil, nil, err
		}
		events = append(events, p.decode(recs, n)...)
		n++
	}
}

// decode reads records as events; what cannot be is told and left out.
func (p *format) decode(recs []rec, number uint32) []event {
	out := make([]event, 0, len(recs))
	for _, r := range recs {
		v, err := decodeEvent(r, number)
		if err != nil {
			p.opt.Note(fmt.Sprintf("record %d is left out: %v", r.seq, err))
			continue
		}
		out = append(out, v)
	}
	return out
}

// applyAll changes the state by events in their order; mu is held.
func (p *format) applyAll(events []event) {
	slices.SortStableFunc(events, func(a, b event) int {
		switch {
		case a.seq < b.seq:
			return -1
		case a.seq > b.seq:
			return 1
		}
		return 0
	})
	for i := range events {
		v := &events[i]
		if v.kind == recFolder {
			p.named[v.box] = v.name
		}
		p.st.apply(v)
	}
}

// poll reads on what other processes wrote; mu is held. With exact, under the
// user's lock, it also finds out whether what was seen in flight was taken back.
func (p *format) poll(exact bool) error {
	if p.closed {
		return errkind.Newf("mailbox", errkind.Unavailable, "the store is closed")
	}
	info, err := p.fs.Stat(p.journalPath())
	if err != nil {
		return err
	}
	if info.Inode != p.journal.inode {
		return p.load(false)
	}
	if exact {
		for _, l := range []*logFile{p.journal, p.cur} {
			if l == nil || l.broken != nil {
				continue
			}
			same, err := l.verify()
			if err != nil {
				return err
			}
			if !same {
				return p.load(false)
			}
		}
	}
	// Packed files first: what a message's record relies on was journaled before.
	events, again, err := p.readOn()
	if err != nil {
		return err
	}
	if again {
		return p.load(false)
	}
	recs, err := p.journal.advance(false, nil)
	if err != nil {
		return err
	}
	if events = append(events, p.decode(recs, 0)...); len(events) > 0 {
		p.applyAll(events)
	}
	return nil
}

// readOn reads the packed files on; again says that all has to be read anew.
func (p *format) readOn() (events []event, again bool, err error) {
	for {
		next := uint32(1)
		if p.cur != nil {
			recs, err := p.cur.advance(false, nil)
			if err != nil {
				return nil, false, err
			}
			next = uint32(p.cur.hdr.number)
			events = append(events, p.decode(recs, next)...)
			next++
		}
		if _, err := p.fs.Stat(p.packPath(next)); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return events, false, nil
			}
			return nil, false, err
		}
		l, ok, err := openLog(p.fs, p.packPath(next))
		if err != nil {
			return nil, false, err
		}
		if !ok || p.cur != nil && l.hdr.before != p.cur.pos {
			l.close()
			return nil, true, nil
		}
		p.cur.close()
		p.cur, p.named = l, map[mailstore.GUID]mailstore.Name{}
	}
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
	if err := p.emit(now, v); err != nil {
		return err
	}
	p.trigger()
	return nil
}

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
