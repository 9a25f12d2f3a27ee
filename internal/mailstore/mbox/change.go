package mbox

import (
	"bytes"
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/mbox/mboxfmt"
)

func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// head reads the header of the message at a position.
func (b *box) head(e *engine.Edit, pos int, size int64) (place, *mboxfmt.Message, error) {
	p, ok := decodePlace(e.Loc(pos))
	if !ok {
		return p, nil, errkind.Newf("read mbox", errkind.Corrupt, "the index names no place")
	}
	m, err := mboxfmt.ReadHead(b.file, p.from, size, b.f.opt.Zone)
	if err == nil && (m.Meta.UID != e.UID(pos) || m.Header != p.header) {
		err = errkind.Newf("read mbox", errkind.Corrupt, "another message stands in its place")
	}
	return p, m, err
}

// Store writes flags and keywords into the metadata headers: in place where they
// fit, else with a new block.
func (b *box) Store(e *engine.Edit, changes []engine.Change) error {
	err := b.store(e, changes)
	b.broken = b.broken || err != nil
	return err
}

func (b *box) store(e *engine.Edit, changes []engine.Change) error {
	if b.file == nil {
		return fs.ErrNotExist
	}
	m, err := b.mover()
	if err != nil {
		return err
	}
	var names []string
	for _, c := range changes {
		names = append(names, c.Keywords...)
	}
	if err := b.nameKeywords(e, m, names); err != nil {
		return err
	}
	size, err := b.size()
	if err != nil {
		return err
	}
	var list []splice
	var done []undo
	synced := true
	for _, c := range changes {
		p, msg, err := b.head(e, c.Pos, size)
		if err == nil {
			var s *splice
			s, err = b.storeOne(m, p, msg, c, &done, &synced)
			if s != nil {
				list = append(list, *s)
			}
		}
		if err != nil {
			b.takeBack(m, done)
			return err
		}
	}
	b.unsync = b.unsync || !synced
	if len(list) > 0 {
		slices.SortFunc(list, func(x, y splice) int { return cmp.Compare(x.from, y.from) })
		if err := m.apply(list); err != nil {
			b.takeBack(m, done)
			return err
		}
		if err := b.shift(e, list, nil); err != nil {
			return err
		}
	}
	if b.f.opt.SyncChanges && b.unsync {
		b.unsync = false
		return m.sync()
	}
	return nil
}

// nameKeywords sees to it that X-IMAPbase has the names: Dovecot and c-client
// know no others. Where it has no room the first message gets a new head.
func (b *box) nameKeywords(e *engine.Edit, m *mover, names []string) error {
	head, err := b.first()
	if err != nil || head == nil || head.Meta.Base == nil {
		return err
	}
	base := *head.Meta.Base
	all := slices.Clone(base.Keywords)
	for _, n := range names {
		if !slices.ContainsFunc(all, func(k string) bool { return strings.EqualFold(k, n) }) {
			all = append(all, n)
		}
	}
	if len(all) == len(base.Keywords) {
		return nil
	}
	base.Keywords = all
	value := mboxfmt.BaseValue(base)
	for _, f := range head.Meta.Fields {
		if f.Kind != mboxfmt.FieldBase && f.Kind != mboxfmt.FieldPseudo {
			continue
		}
		if data, fits := f.InPlace(value); fits {
			synced, err := m.overwrite(f.Value, data)
			b.unsync = b.unsync || !synced
			return err
		}
	}
	pos, found := e.Find(head.Meta.UID)
	if head.Meta.Pseudo || !found {
		return nil
	}
	size, err := b.size()
	if err != nil {
		return err
	}
	p, msg, err := b.head(e, pos, size)
	if err != nil {
		return err
	}
	s, err := b.rehead(msg, p.end, mboxfmt.Head{Base: &base, UID: msg.Meta.UID, Flags: msg.Meta.Flags, Old: true, Keywords: msg.Meta.Keywords, Ours: msg.Meta.Ours})
	if err == nil {
		err = m.apply([]splice{s})
	}
	if err != nil {
		return err
	}
	return b.shift(e, []splice{s}, nil)
}

// undo is what stood somewhere.
type undo struct {
	off int64
	old []byte
}

func (b *box) takeBack(m *mover, done []undo) {
	for i := len(done) - 1; i >= 0; i-- {
		_, _ = m.overwrite(done[i].off, done[i].old)
	}
}

// storeOne changes one message in place; where that cannot be it gives the change
// of its head.
func (b *box) storeOne(m *mover, p place, msg *mboxfmt.Message, c engine.Change, done *[]undo, synced *bool) (*splice, error) {
	values := map[mboxfmt.Kind]string{mboxfmt.FieldStatus: mboxfmt.StatusValue(c.Flags, true), mboxfmt.FieldXStatus: mboxfmt.XStatusValue(c.Flags),
		mboxfmt.FieldKeywords: mboxfmt.KeywordsValue(c.Keywords)}
	type put struct {
		off  int64
		data []byte
	}
	var puts []put
	for _, f := range msg.Meta.Fields {
		value, want := values[f.Kind]
		if !want {
			continue
		}
		delete(values, f.Kind) // the first of each counts
		if data, fits := f.InPlace(value); fits {
			puts = append(puts, put{f.Value, data})
		} else {
			values[f.Kind] = value
			break
		}
	}
	missing := false
	for _, v := range values {
		missing = missing || v != ""
	}
	if missing {
		h := mboxfmt.Head{Base: msg.Meta.Base, UID: c.UID, Flags: c.Flags, Old: true, Keywords: c.Keywords, Ours: msg.Meta.Ours}
		s, err := b.rehead(msg, p.end, h)
		return &s, err
	}
	for _, w := range puts {
		old := make([]byte, len(w.data))
		if err := readFull(b.file, old, w.off); err != nil {
			return nil, err
		}
		if bytes.Equal(old, w.data) {
			continue
		}
		*done = append(*done, undo{w.off, old})
		s, err := m.overwrite(w.off, w.data)
		if *synced = *synced && s; err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// shift tells the index where messages are after a change of the file. Those in
// gone are none any more.
func (b *box) shift(e *engine.Edit, list []splice, gone map[int]bool) error {
	size, err := b.size()
	if err != nil {
		return err
	}
	for pos := range e.Len() {
		p, ok := decodePlace(e.Loc(pos))
		if !ok || gone[pos] || e.Removed(pos) {
			continue
		}
		before, inside := moved(list, p)
		if before == 0 && inside == 0 {
			continue
		}
		n := p.move(before)
		if inside != 0 { // its head is another one
			m, err := mboxfmt.ReadHead(b.file, n.from, size, b.f.opt.Zone)
			if err != nil {
				return err
			}
			m.End = n.end + inside
			n = place{from: n.from, header: m.Header, end: m.End, next: n.next + inside, print: n.print, shown: m.Shown()}
		}
		e.SetLoc(pos, n.encode())
	}
	return nil
}

// moved gives by how much splices move a message, and by how much it grows.
func moved(list []splice, p place) (before, inside int64) {
	for _, s := range list {
		d := int64(len(s.lit)) - (s.to - s.from)
		if s.from < p.from {
			before += d
		} else if s.from < p.next {
			inside += d
		}
	}
	return before, inside
}

// Expunge removes messages from the file, durable.
func (b *box) Expunge(e *engine.Edit, positions []int) (int, error) {
	n, err := b.expunge(e, positions)
	b.broken = b.broken || err != nil
	return n, err
}

func (b *box) expunge(e *engine.Edit, positions []int) (int, error) {
	if b.file == nil {
		return 0, fs.ErrNotExist
	}
	size, err := b.size()
	if err != nil {
		return 0, err
	}
	gone := map[int]bool{}
	var list []splice
	for _, pos := range positions {
		p, _, err := b.head(e, pos, size)
		if err != nil {
			return 0, err
		}
		gone[pos] = true
		list = append(list, splice{from: p.from, to: p.next})
	}
	slices.SortFunc(list, func(x, y splice) int { return cmp.Compare(x.from, y.from) })
	m, err := b.mover()
	if err != nil {
		return 0, err
	}
	if list, err = b.keepBase(e, list, gone, size); err != nil {
		return 0, err
	}
	want := size
	for _, s := range list {
		want += int64(len(s.lit)) - (s.to - s.from)
	}
	if err := m.apply(list); err != nil {
		// What failed may have been finished in the second try all the same.
		if now, serr := b.size(); serr != nil || now != want {
			return 0, err
		}
	}
	return len(positions), b.shift(e, list, gone)
}

// keepBase gives X-IMAPbase to the first message that stays if the one that has
// it goes. If none stays the control file keeps the number of the next UID.
func (b *box) keepBase(e *engine.Edit, list []splice, gone map[int]bool, size int64) ([]splice, error) {
	head, err := b.first()
	if err != nil || head == nil || head.Meta.Pseudo || head.From != list[0].from {
		return list, err
	}
	heir, at := -1, place{}
	for pos := range e.Len() {
		if p, ok := decodePlace(e.Loc(pos)); ok && !gone[pos] && !e.Removed(pos) && (heir < 0 || p.from < at.from) {
			heir, at = pos, p
		}
	}
	fo, _ := b.where()
	if heir < 0 {
		return list, b.exactNext(fo, e.Next())
	}
	p, msg, err := b.head(e, heir, size)
	if err != nil {
		return nil, err
	}
	base := mboxfmt.Base{UIDValidity: fo.UIDValidity, LastUID: e.Next() - 1}
	if head.Meta.Base != nil {
		base.Keywords = head.Meta.Base.Keywords
	}
	flags, keywords := e.Flags(heir)
	h := mboxfmt.Head{Base: &base, UID: e.UID(heir), Flags: flags, Old: true, Keywords: keywords, Ours: msg.Meta.Ours}
	s, err := b.rehead(msg, p.end, h)
	if err != nil {
		return nil, err
	}
	var freed int64
	for _, x := range list {
		if x.from < s.from {
			freed += x.to - x.from
		}
	}
	if grown := int64(len(s.lit)) - (s.to - s.from); grown > freed {
		// What goes is smaller than the line: the control file keeps the number.
		return list, b.exactNext(fo, e.Next())
	}
	i, _ := slices.BinarySearchFunc(list, s.from, func(x splice, off int64) int { return cmp.Compare(x.from, off) })
	return slices.Insert(list, i, s), nil
}

func (b *box) exactNext(fo engine.Folder, next mailstore.UID) error {
	rec, known, err := b.f.recs.get(fo.Name)
	if err == nil && known && rec.next != next {
		rec.next = next
		err = b.f.recs.put([]change{{fo.Name, rec}}, nil)
	}
	return err
}
