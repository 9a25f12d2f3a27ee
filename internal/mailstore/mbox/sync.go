package mbox

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/crlf"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/mbox/mboxfmt"
)

// entry is one message found in the file.
type entry struct {
	place
	uid      mailstore.UID
	given    mailstore.UID // X-UID as it stands there; 0: none
	flags    mailstore.Flags
	keywords []string
	date     time.Time
	ours     mboxfmt.Ours
}

// picture is what a scan found.
type picture struct {
	list []entry
	base *mboxfmt.Base // if it is this mailbox's
	from int64         // where the scan began
}

// Sync reads what others did, gives new messages their UIDs, durable, and tells
// all of it.
func (b *box) Sync(e *engine.Edit) error {
	err := b.sync(e)
	if errors.Is(err, errLater) {
		return nil
	}
	return err
}

// errLater: new messages could get no UIDs (a full disk); the others are told.
var errLater = errkind.Newf("sync mbox", errkind.NoSpace, "new messages wait for room")

func (b *box) sync(e *engine.Edit) error {
	fo, _ := b.where()
	rec, known, err := b.f.recs.get(fo.Name)
	if err != nil {
		return err
	}
	if !known || rec.guid != fo.GUID {
		return errkind.Newf("sync mbox", errkind.NotFound, "the mailbox was made anew")
	}
	p, err := b.scan(e, fo)
	if err != nil {
		return err
	}
	next, todo := b.number(e, p, rec)
	if next == 0 {
		return errkind.Newf("sync mbox", errkind.Limit, "the mailbox has no more UIDs")
	}
	if err := e.Sound(); err != nil { // else messages that it knows would get other UIDs
		return err
	}
	if todo && !b.write && !b.ReadOnly() {
		// Reading has no right to write: once more, with the other locks.
		b.Unlock()
		if err := b.lock(true); err != nil {
			return err
		}
		if p, err = b.scan(e, fo); err != nil {
			return err
		}
		next, todo = b.number(e, p, rec)
	}
	if todo {
		if err := b.giveUIDs(p, fo, next); errkind.Is(err, errkind.NoSpace) || isNoSpace(err) || b.ReadOnly() {
			b.f.opt.Note("mbox " + fo.Name + ": new messages are not shown until there is room for their UIDs: " + errText(err))
			p.list = slices.DeleteFunc(p.list, func(x entry) bool { return x.given != x.uid })
		} else if err != nil {
			return err
		}
	}
	if err := b.reserve(fo, rec, next); err != nil {
		return err
	}
	b.tell(e, p, fo)
	e.SetNext(next)
	return nil
}

func errText(err error) string {
	if err == nil {
		return "the mailbox is read-only"
	}
	return err.Error()
}

// reserve raises what the control file says of the UIDs given.
func (b *box) reserve(fo engine.Folder, rec record, next mailstore.UID) error {
	if next <= rec.next {
		return nil
	}
	rec.next = next
	if next < 1<<32-1-reserve {
		rec.next += reserve
	}
	return b.f.recs.put([]change{{fo.Name, rec}}, nil)
}

// scan reads the file, or its end if that alone can be new.
func (b *box) scan(e *engine.Edit, fo engine.Folder) (*picture, error) {
	p := &picture{}
	size, err := b.size()
	if err != nil || size == 0 {
		return p, err
	}
	head, err := b.first()
	if err != nil || head == nil {
		return p, err
	}
	if base := head.Meta.Base; base != nil && base.UIDValidity == fo.UIDValidity && base.LastUID < 1<<32-2 {
		p.base = base
	}
	if at := b.tailAt(e, size); at > 0 && p.base != nil {
		if p.list, err = b.entries(at, size); err == nil {
			p.from, b.tailed = at, true
			return p, nil
		}
		if !errors.Is(err, mboxfmt.ErrNoFrom) {
			return nil, err
		}
	}
	b.tailed = false
	p.list, err = b.entries(0, size)
	return p, err
}

// tailAt gives where new messages begin if others have only appended since the
// index was brought up to date; 0 if all must be read.
func (b *box) tailAt(e *engine.Edit, size int64) int64 {
	b.mu.Lock()
	s := b.seen
	b.mu.Unlock()
	if len(s) != stampLen || e.Len() == 0 {
		return 0
	}
	le := binary.LittleEndian
	info, err := b.file.Stat()
	old := int64(le.Uint64(s[14:]))
	if err != nil || le.Uint32(s[2:]) != sum([]byte(b.f.fs.BootID())) || le.Uint64(s[6:]) != info.Inode || old >= size {
		return 0
	}
	last, at := place{}, 0
	for pos := range e.Len() {
		if p, ok := decodePlace(e.Loc(pos)); ok && p.next > last.next {
			last, at = p, pos
		}
	}
	tail := make([]byte, 1)
	if last.next != old || readFull(b.file, tail, old-1) != nil || tail[0] != '\n' {
		return 0
	}
	// The last message known must still be where it was.
	if _, _, err := b.head(e, at, size); err != nil {
		return 0
	}
	return old
}

// entries reads messages from off on.
func (b *box) entries(off, size int64) ([]entry, error) {
	s := mboxfmt.NewScanner(b.file, off, size, b.f.opt.Zone)
	if off == 0 {
		s.SkipJunk()
	}
	var list []entry
	for {
		m, err := s.Next()
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		if m.Meta.Pseudo {
			continue
		}
		x, err := b.entry(m)
		if err != nil {
			return nil, err
		}
		list = append(list, x)
	}
}

// printLen is how much of a message its print covers.
const printLen = 1 << 10

func (b *box) entry(m *mboxfmt.Message) (entry, error) {
	x := entry{place: place{from: m.From, header: m.Header, end: m.End, next: m.Next, shown: m.Shown()}, given: m.Meta.UID,
		flags: m.Meta.Flags, keywords: m.Meta.Keywords, date: m.Date, ours: m.Meta.Ours}
	var err error
	x.print, err = printOf(b.file, x.shown)
	return x, err
}

// printOf is the CRC-32C of a message's first shown octets.
func printOf(f io.ReaderAt, shown []mboxfmt.Range) (uint32, error) {
	buf := make([]byte, 0, printLen)
	for _, r := range shown {
		n := min(int(min(r.To-r.From, printLen)), printLen-len(buf))
		at := len(buf)
		buf = buf[:at+n]
		if err := readFull(f, buf[at:], r.From); err != nil {
			return 0, err
		}
	}
	return sum(buf), nil
}

// number decides each message's UID. todo says that the file must be changed
// for it. next is the UID after them; 0: there are none left.
func (b *box) number(e *engine.Edit, p *picture, rec record) (next mailstore.UID, todo bool) {
	b.mu.Lock()
	stamp := b.seen
	b.mu.Unlock()
	sure := len(stamp) == stampLen && binary.LittleEndian.Uint32(stamp[2:]) == sum([]byte(b.f.fs.BootID()))
	last := mailstore.UID(0) // the highest that may stand in the file
	next = e.Next()
	fresh := next == 1 // the index knows of no message that ever was
	switch {
	case p.base != nil:
		last = p.base.LastUID
		next = max(next, last+1)
	case !sure, fresh: // nothing but the control file knows how far they went
		next = max(next, rec.next)
		last = rec.next - 1
	default:
		last = next - 1
	}
	taken := map[mailstore.UID]bool{}
	var lost []*entry
	for i := range p.list {
		x := &p.list[i]
		u := x.given
		_, found := e.Find(u)
		switch {
		case u == 0, taken[u], p.from > 0 && found, !found && (u > last || u < e.Next() && !fresh):
			lost = append(lost, x)
			continue
		}
		x.uid, taken[u] = u, true
		next = max(next, u+1)
	}
	if len(lost) > 0 && p.from == 0 {
		lost = rematch(e, lost, taken)
	}
	for _, x := range lost {
		if next >= 1<<32-2 {
			return 0, false
		}
		x.uid = next
		next++
	}
	for i := range p.list {
		todo = todo || p.list[i].uid != p.list[i].given
	}
	return next, todo || p.from == 0 && p.base == nil && len(p.list) > 0
}

// rematch finds messages whose X-UID a program dropped by their content, and
// gives those that stay without a UID.
func rematch(e *engine.Edit, lost []*entry, taken map[mailstore.UID]bool) []*entry {
	byPrint := map[uint32][]mailstore.UID{}
	for pos := range e.Len() {
		if p, ok := decodePlace(e.Loc(pos)); ok && !taken[e.UID(pos)] {
			byPrint[p.print] = append(byPrint[p.print], e.UID(pos))
		}
	}
	return slices.DeleteFunc(lost, func(x *entry) bool {
		if us := byPrint[x.print]; len(us) > 0 && x.given == 0 {
			x.uid, byPrint[x.print] = us[0], us[1:]
			taken[x.uid] = true
			return true
		}
		return false
	})
}

// maxHead is how far from the From_ line a message's metadata headers are
// gathered; what lies deeper stays where it is, below the new ones.
const maxHead = 256 << 10

// rehead gives the change of the file that puts a new metadata block into a
// message. It never makes the message shorter.
func (b *box) rehead(m *mboxfmt.Message, end int64, h mboxfmt.Head) (splice, error) {
	s := splice{from: m.Header, to: m.Header}
	var fields []mboxfmt.Field
	for _, f := range m.Meta.Fields {
		if f.End-m.Header <= maxHead {
			s.to = f.End
			fields = append(fields, f)
		}
	}
	old := make([]byte, s.to-s.from)
	if err := readFull(b.file, old, s.from); err != nil {
		return s, err
	}
	var kept []byte
	at := s.from
	for _, f := range fields {
		kept = append(kept, old[at-s.from:f.Off-s.from]...)
		at = f.End
	}
	if h.Ours.Length = -1; m.Body >= end && !bytes.HasSuffix(old, []byte("\n\n")) {
		shown := *m
		shown.End = end
		h.Ours.Length = mboxfmt.Stored(shown.Shown())
		h.Length = -1
	} else {
		h.Length = end - m.Body
	}
	s.lit = append(h.AppendTo(nil, m.CRLF, int64(len(old)-len(kept))), kept...)
	return s, nil
}

// giveUIDs writes the UIDs of p into the file, and X-IMAPbase, durable; p's
// places are those after it.
func (b *box) giveUIDs(p *picture, fo engine.Folder, next mailstore.UID) error {
	if b.file == nil || !b.write {
		return errkind.Newf("sync mbox", errkind.ReadOnly, "the mailbox cannot be written")
	}
	m, err := b.mover()
	if err != nil {
		return err
	}
	var list []splice
	size, err := b.size()
	if err != nil {
		return err
	}
	head, err := b.first()
	if err != nil || head == nil {
		return err
	}
	based := false
	if p.base != nil || head.Meta.Pseudo {
		// Where there is no room the first message gets a new head.
		if based, err = b.raiseBase(m, fo, next-1); err != nil {
			return err
		}
	}
	for i := range p.list {
		x := &p.list[i]
		first := !based && i == 0 && p.from == 0
		if x.given == x.uid && !first {
			continue
		}
		msg, err := mboxfmt.ReadHead(b.file, x.from, size, b.f.opt.Zone)
		if err != nil {
			return err
		}
		h := mboxfmt.Head{UID: x.uid, Flags: x.flags, Old: true, Keywords: x.keywords, Ours: x.ours}
		if x.given != x.uid && b.inbox() {
			// Whoever sent it may have written these; a mail program that files mail in a folder means them.
			x.flags, x.keywords, x.ours = 0, nil, mboxfmt.Ours{Length: -1}
			h.Flags, h.Keywords, h.Ours = 0, nil, x.ours
		}
		if first {
			h.Base = &mboxfmt.Base{UIDValidity: fo.UIDValidity, LastUID: next - 1, Keywords: keywordsOf(p.list)}
		}
		s, err := b.rehead(msg, x.end, h)
		if err != nil {
			return err
		}
		list = append(list, s)
	}
	if len(list) == 0 {
		return m.sync()
	}
	if err := m.apply(list); err != nil {
		return err
	}
	if size, err = b.size(); err != nil {
		return err
	}
	again, err := b.entries(p.from, size)
	if err != nil {
		return err
	}
	if len(again) != len(p.list) {
		return errkind.Newf("sync mbox", errkind.Corrupt, "the file reads otherwise after it was written")
	}
	for i := range again {
		if again[i].given != p.list[i].uid {
			return errkind.Newf("sync mbox", errkind.Corrupt, "the file reads otherwise after it was written")
		}
		again[i].uid = again[i].given
	}
	p.list = again
	return nil
}

// keywordsOf gives the names that messages have, each once, sorted.
func keywordsOf(list []entry) []string {
	var out []string
	for i := range list {
		out = append(out, list[i].keywords...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// raiseBase writes a new last UID into X-IMAPbase in place; ok is false if there
// is none, or no room. It is not synced.
func (b *box) raiseBase(m *mover, fo engine.Folder, last mailstore.UID) (ok bool, err error) {
	head, err := b.first()
	if err != nil || head == nil || head.Meta.Base == nil {
		return false, err
	}
	base := *head.Meta.Base
	if base.UIDValidity == fo.UIDValidity { // what another mailbox has given is nothing to this one
		last = max(base.LastUID, last)
	}
	base.UIDValidity, base.LastUID = fo.UIDValidity, last
	return b.writeBase(m, head, base)
}

// tell puts a picture into the index.
func (b *box) tell(e *engine.Edit, p *picture, fo engine.Folder) {
	slices.SortFunc(p.list, func(x, y entry) int { return cmp.Compare(x.uid, y.uid) })
	there := map[int]bool{}
	for i := range p.list {
		x := &p.list[i]
		if pos, found := e.Find(x.uid); found {
			there[pos] = true
			e.SetFlags(pos, x.flags, x.keywords)
			e.SetLoc(pos, x.place.encode())
			continue
		}
		m := engine.Message{UID: x.uid, Flags: x.flags, Keywords: x.keywords, Size: -1, Date: x.date, GUID: x.ours.GUID, UIDL: x.ours.UIDL, Order: x.ours.Order, Loc: x.place.encode()}
		if m.GUID == (mailstore.GUID{}) {
			m.GUID = guidFor(fo.GUID, x.uid)
		}
		if x.ours.Saved != 0 {
			m.Saved = time.Unix(x.ours.Saved, 0)
		}
		if n, err := b.sizeOf(x.place); err == nil {
			m.Size = n
		}
		e.Add(m)
	}
	if p.from > 0 {
		return
	}
	for pos := range e.Len() {
		if !there[pos] {
			e.Remove(pos)
		}
	}
}

// sizeOf gives a message's length in CRLF form.
func (b *box) sizeOf(p place) (int64, error) {
	n, cr := mboxfmt.Stored(p.shown), false
	if len(p.shown) == 0 && p.end > p.header {
		return -1, nil
	}
	r, buf := readerOf(b.file, p.shown), make([]byte, 32<<10)
	for {
		k, err := r.Read(buf)
		if k > 0 {
			n += crlf.Count(buf[:k], cr)
			cr = buf[k-1] == '\r'
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
}
