package pack

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"slices"

	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

// A checkpoint is a mailbox's whole list of messages: a mark, and blocks of
// length, CRC-32C and payload. The first block says whose it is and how many
// messages follow; docs/pack.md has the bytes.
const (
	boxMagic  = "ROOKPBX1"
	boxBlock  = 64 << 10
	maxBlock  = 1 << 20
	maxBoxLen = 1 << 40
)

// boxHead is the first block.
type boxHead struct {
	guid mailstore.GUID
	uidv uint32
	next uint32
	seq  uint64 // all records up to it are in
	n    int
	name mailstore.Name // as it was then: for a store whose journal is lost
}

func (p *format) boxPath(g mailstore.GUID) string {
	return join(join(p.opt.ControlPath, boxesDir), hex.EncodeToString(g[:]))
}

// errBox says that a checkpoint cannot be read to its end.
var errBox = errors.New("the mailbox's checkpoint is damaged")

func appendBlock(dst, p []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(p)))
	dst = binary.LittleEndian.AppendUint32(dst, sum(0, p))
	return append(dst, p...)
}

// put writes a file anew by fill, certain: whole under its name, or not at all.
// tmp is the name that it has until then.
func (p *format) put(tmp, path string, fill func(f vfs.File) error) error {
	f, err := p.fs.OpenFile(tmp, vfs.Write|vfs.Create|vfs.Trunc, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err = fill(f); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = p.fs.Rename(tmp, path)
	}
	if err != nil {
		p.fs.Remove(tmp)
		return err
	}
	return f.Sync() // the name
}

// writeBox writes a checkpoint, certain.
func (p *format) writeBox(h boxHead, l *list) error {
	path := p.boxPath(h.guid)
	return p.put(path+".tmp", path, func(f vfs.File) error { return fillBox(f, h, l) })
}

func fillBox(f vfs.File, h boxHead, l *list) error {
	var e enc
	e.guid(h.guid)
	e.u32(h.uidv)
	e.num(uint64(l.next))
	e.num(h.seq)
	e.num(uint64(len(l.m)))
	e.text(h.name)
	out := appendBlock([]byte(boxMagic), e.b)
	e.b = e.b[:0]
	for i := range l.m {
		e.entry(&l.m[i])
		if len(e.b) >= boxBlock || i == len(l.m)-1 {
			out = appendBlock(out, e.b)
			e.b = e.b[:0]
		}
		if len(out) >= 4*boxBlock {
			if _, err := f.Write(out); err != nil {
				return err
			}
			out = out[:0]
		}
	}
	_, err := f.Write(out)
	return err
}

// readBox reads a checkpoint.
func (p *format) readBox(g mailstore.GUID) (h boxHead, l *list, err error) {
	f, err := p.fs.OpenFile(p.boxPath(g), vfs.Read, 0)
	if err != nil {
		return h, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return h, nil, err
	}
	return decodeBox(&logReader{f: f, size: 256 << 10}, info.Size, g)
}

func decodeBox(r *logReader, size int64, g mailstore.GUID) (h boxHead, l *list, err error) {
	magic, err := r.get(0, len(boxMagic))
	if err != nil {
		return h, nil, err
	}
	if string(magic) != boxMagic {
		return h, nil, errBox
	}
	off := int64(len(boxMagic))
	p, off, err := readBlock(r, off)
	if err != nil {
		return h, nil, err
	}
	d := decode(p)
	h = boxHead{guid: d.guid(), uidv: d.U32(), next: d.Max32(), seq: d.Uvarint()}
	n := d.Uvarint()
	h.name = d.text()
	if !d.End() || h.guid != g || n > uint64(size) || h.next == 0 {
		return h, nil, errBox
	}
	h.n = int(n)
	l = &list{next: h.next, m: make([]entry, 0, min(h.n, 1<<20))}
	for len(l.m) < h.n {
		if p, off, err = readBlock(r, off); err != nil {
			return h, nil, err
		}
		for d := decode(p); len(d.B) > 0 || d.Bad; {
			e := d.entry()
			if d.Bad || len(l.m) > 0 && e.uid <= l.m[len(l.m)-1].uid || e.uid >= h.next || len(l.m) >= h.n {
				return h, nil, errBox
			}
			l.m = append(l.m, e)
		}
		if len(p) == 0 {
			return h, nil, errBox
		}
	}
	return h, l, nil
}

func readBlock(r *logReader, off int64) (p []byte, next int64, err error) {
	b, err := r.get(off, 8)
	if err != nil {
		return nil, 0, err
	}
	if len(b) < 8 {
		return nil, 0, errBox
	}
	n, s := le32(b), le32(b[4:])
	if n > maxBlock {
		return nil, 0, errBox
	}
	if p, err = r.get(off+8, int(n)); err != nil {
		return nil, 0, err
	}
	if len(p) < int(n) || sum(0, p) != s {
		return nil, 0, errBox
	}
	return p, off + 8 + int64(n), nil
}

// journalRecords reads all records of the journal that is on the disk now.
func (p *format) journalRecords() ([]rec, error) {
	j, ok, err := openLog(p.fs, p.journalPath())
	if err != nil {
		return nil, err
	}
	defer j.close()
	if !ok {
		return nil, errJournal
	}
	return j.advance(true, func(int64, int64) {})
}

// history reads every record from the journal's base on, in order. Under the
// user's lock.
func (p *format) history() ([]event, error) {
	recs, err := p.journalRecords()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	b := p.base
	p.mu.Unlock()
	cur, events, err := p.openTail(b, true, false)
	if err != nil {
		return nil, err
	}
	cur.close()
	events = append(events, p.decode(recs, 0, false)...)
	slices.SortStableFunc(events, func(a, b event) int {
		if a.seq < b.seq {
			return -1
		} else if a.seq > b.seq {
			return 1
		}
		return 0
	})
	return events, nil
}

// read gives a mailbox's messages. Under the user's lock.
func (p *format) read(g mailstore.GUID) (*list, error) {
	events, err := p.history()
	if err != nil {
		return nil, err
	}
	return p.readWith(g, events)
}

// readWith is read with the history at hand.
func (p *format) readWith(g mailstore.GUID, events []event) (*list, error) {
	p.mu.Lock()
	st := p.st.boxes[g]
	var ckpt uint64
	next := uint32(1)
	if st != nil {
		ckpt, next = st.ckpt, st.next
	}
	p.mu.Unlock()
	l := &list{next: 1}
	var seq uint64
	if ckpt > 0 {
		h, got, err := p.readBox(g)
		switch {
		case err == nil:
			l, seq = got, h.seq
		case errors.Is(err, errBox), errors.Is(err, fs.ErrNotExist):
			p.opt.Note("the checkpoint of a mailbox is missing or damaged; its messages are read from the packed files, with the flags at arrival, and what was expunged may come back")
			if l, err = p.salvageBox(g, ckpt); err != nil {
				return nil, err
			}
			seq = ckpt
		default:
			return nil, err
		}
	}
	for i := range events {
		if events[i].seq > seq {
			l.apply(&events[i], g)
		}
	}
	l.end()
	l.next = max(l.next, next)
	return l, nil
}

// trigger begins what is due: under the user's lock, after a change.
func (p *format) trigger() {
	p.mu.Lock()
	// A checkpoint costs by the messages that there are: the more, the seldomer.
	due := p.journal.broken == nil && (p.journal.pos > p.opt.JournalSize+8*p.st.sum+p.retry || int64(p.st.tail) > int64(p.opt.MaxTail)+p.st.sum/16+p.retry)
	purge := p.dead > p.opt.DeadSize && !p.busy && !p.closed
	if purge {
		p.busy, p.dead = true, 0
		p.work.Add(1)
	}
	p.mu.Unlock()
	if due {
		if err := p.checkpoint(); err != nil {
			p.mu.Lock()
			p.retry += p.opt.JournalSize / 4 // a full disk must not be tried at every change
			p.mu.Unlock()
			p.opt.Note("no checkpoint could be written: " + err.Error())
		}
	}
	if purge {
		go p.purgeLater()
	}
}

// checkpoint writes the lists of mailboxes that changed, and then a journal that
// holds nothing but its base. A crash in between leaves lists that are newer
// than the journal: what it tells again is known by its number. Under the user's lock.
func (p *format) checkpoint() error {
	if err := p.ready(false); err != nil {
		return err
	}
	events, err := p.history()
	if err != nil {
		return err
	}
	p.mu.Lock()
	seq := p.st.seq
	var dirty []boxState
	for _, b := range p.st.boxes {
		if b.last.seq > b.ckpt {
			dirty = append(dirty, *b)
		}
	}
	cur := p.cur
	p.mu.Unlock()
	if cur != nil { // a checkpoint must not know what a power cut can take
		if err := p.sync(cur, -1); err != nil {
			return err
		}
	}
	done := map[mailstore.GUID]uint64{}
	for _, b := range dirty {
		l, err := p.readWith(b.folder.GUID, events)
		if err != nil {
			return err
		}
		if len(l.m) == 0 {
			done[b.folder.GUID] = 0
			continue
		}
		h := boxHead{guid: b.folder.GUID, uidv: b.folder.UIDValidity, seq: seq, name: b.folder.Name}
		if err := p.writeBox(h, l); err != nil {
			return err
		}
		done[b.folder.GUID] = seq
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b := base{seq: seq}
	if p.cur != nil {
		b.file, b.off, b.chain = uint32(p.cur.hdr.number), p.cur.pos, p.cur.head
	}
	for g, n := range done {
		if st := p.st.boxes[g]; st != nil {
			st.ckpt = n
		}
	}
	if err := p.renewJournal(b, seq); err != nil {
		return err
	}
	p.st.tail, p.retry = 0, 0
	p.dropBoxes()
	return nil
}

// dropBoxes removes the checkpoints of mailboxes that are gone or empty; mu is held.
func (p *format) dropBoxes() {
	var old []string
	dir := join(p.opt.ControlPath, boxesDir)
	p.fs.ReadDir(dir, func(e vfs.DirEntry) bool {
		var g mailstore.GUID
		if n, err := hex.Decode(g[:], []byte(e.Name[:min(len(e.Name), 32)])); err == nil && n == len(g) {
			if b := p.st.boxes[g]; b == nil || b.ckpt == 0 || len(e.Name) > 32 {
				old = append(old, e.Name)
			}
		}
		return true
	})
	for _, n := range old {
		p.fs.Remove(join(dir, n))
	}
}

// renewJournal puts a new journal in place: its base, and of the old one what
// came after seq. mu is held; under the user's lock.
func (p *format) renewJournal(b base, seq uint64) error {
	if b.seq < seq || seq == 0 {
		b.seq = p.st.seq
	}
	b.boxes = nil
	for _, st := range p.st.boxes {
		b.boxes = append(b.boxes, *st)
	}
	slices.SortFunc(b.boxes, func(x, y boxState) int { return slices.Compare(x.folder.GUID[:], y.folder.GUID[:]) })
	carried, err := p.carried(seq)
	if err != nil {
		return err
	}
	recs := []outRec{{kind: recBase, seq: b.seq, meta: b.encode()}}
	for i := range carried {
		recs = append(recs, outRec{kind: carried[i].kind, seq: carried[i].seq, meta: carried[i].encode()})
	}
	h := fileHeader{kind: kindJournal, nonce: newNonce(), number: p.journal.hdr.number + 1, before: -1, seq: b.seq}
	j, err := createLog(p.fs, p.journalPath(), h, recs, p.opt.JournalStep)
	if err != nil {
		return err
	}
	p.journal.close()
	p.journal, p.base = j, b
	return nil
}

// carried gives the records of the journal after seq that tell of messages; mu is held.
func (p *format) carried(seq uint64) ([]event, error) {
	recs, err := p.journalRecords()
	if err != nil {
		return nil, err
	}
	var out []event
	for _, v := range p.decode(recs, 0, false) {
		if v.seq <= seq {
			continue
		}
		switch v.kind {
		case recFlagSet, recExpunge, recAdd, recMove:
			out = append(out, v)
		}
	}
	return out, nil
}
