package pack

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
)

// errJournal says that the journal cannot be read from its start.
var errJournal = errors.New("the journal cannot be read")

// load reads everything from the journal's base on; mu is held. Without the
// user's lock another process may put a new journal in place meanwhile, and
// compact what the old one counted on: then it reads again.
func (p *format) load(deep bool) error {
	for try := 0; ; try++ {
		inode, err := p.loadOnce(deep)
		if err == nil || try == 3 {
			return err
		}
		if info, serr := p.fs.Stat(p.journalPath()); serr != nil || info.Inode == inode {
			return err
		}
	}
}

// loadOnce gives the inode of the journal that it read.
func (p *format) loadOnce(deep bool) (inode uint64, err error) {
	j, ok, err := openLog(p.fs, p.journalPath())
	if err != nil {
		return 0, err
	}
	if !ok || j.hdr.kind != kindJournal {
		j.close()
		return 0, errJournal
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
		return j.inode, err
	}
	cur, packed, err := p.openTail(b, deep, true)
	if err != nil {
		j.close()
		return j.inode, err
	}
	p.journal.close()
	p.cur.close()
	p.st, p.base, p.journal, p.cur, p.named = newState(), b, j, cur, map[mailstore.GUID]mailstore.Name{}
	p.applyAll(append(p.decode(recs, 0, true), packed...))
	return j.inode, nil
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
func (p *format) openTail(b base, deep, light bool) (cur *logFile, events []event, err error) {
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
		events = append(events, p.decode(recs, n, light)...)
		n++
	}
}

// decode reads records as events; what cannot be is told and left out.
func (p *format) decode(recs []rec, number uint32, light bool) []event {
	out := make([]event, 0, len(recs))
	for _, r := range recs {
		v, err := decodeEvent(r, number, light)
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
	if errors.Is(err, fs.ErrNotExist) { // not the mailbox is missing
		return errkind.New("read journal", errkind.Unavailable, errors.New("it is not there: "+p.journalPath()))
	}
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
	if events = append(events, p.decode(recs, 0, true)...); len(events) > 0 {
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
			events = append(events, p.decode(recs, next, true)...)
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
