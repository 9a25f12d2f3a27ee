package pack

import (
	"fmt"
	"slices"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/numset"
)

// boxState is what is known of a mailbox without its messages.
type boxState struct {
	folder engine.Folder
	next   uint32 // UIDNEXT
	last   stamp  // the last record that touched it
	ckpt   uint64 // its checkpoint has all up to this sequence number; 0: there is none
	gone   bool
}

// stamp names the state of a mailbox: the last record that touched it.
type stamp struct {
	seq  uint64
	head uint32
}

// state is what the journal and the packed files behind the journal's base say,
// but for messages. It is made by reading records in the order of their
// sequence numbers, and every process makes the same.
type state struct {
	seq   uint64 // the highest seen
	boxes map[mailstore.GUID]*boxState
	names map[mailstore.Name]*boxState
	tail  int   // messages appended behind the base
	sum   int64 // about how many messages there are
}

func newState() *state {
	return &state{boxes: map[mailstore.GUID]*boxState{}, names: map[mailstore.Name]*boxState{}}
}

// base is the first record of a journal: everything that the records before said
// of mailboxes, and where in the packed files the journal takes over.
type base struct {
	seq   uint64
	file  uint32 // the packed file whose records from off on are not in any checkpoint; 0: none yet
	off   int64
	chain uint32
	boxes []boxState
}

func (b base) encode() []byte {
	var e enc
	e.num(b.seq)
	e.u32(b.file)
	e.num(uint64(b.off))
	e.u32(b.chain)
	e.num(uint64(len(b.boxes)))
	for _, x := range b.boxes {
		e.guid(x.folder.GUID)
		e.u32(x.folder.UIDValidity)
		e.num(uint64(x.next))
		e.num(x.last.seq)
		e.u32(x.last.head)
		e.num(x.ckpt)
		e.text(x.folder.Name)
	}
	return e.b
}

func decodeBase(p []byte) (b base, err error) {
	d := decode(p)
	b.seq, b.file, b.off, b.chain = d.Uvarint(), d.U32(), int64(d.Uvarint()), d.U32()
	for range d.Count() {
		var x boxState
		x.folder.GUID, x.folder.UIDValidity = d.guid(), d.U32()
		x.next = d.Max32()
		x.last = stamp{d.Uvarint(), d.U32()}
		x.ckpt = d.Uvarint()
		x.folder.Name = d.text()
		b.boxes = append(b.boxes, x)
		if d.Bad {
			break
		}
	}
	if !d.End() || b.off < 0 {
		return b, errPayload
	}
	return b, nil
}

// event is a decoded record. Which fields count depends on kind.
type event struct {
	kind    recKind
	seq     uint64
	at      stamp
	box     mailstore.GUID // of the messages; of a move the source
	to      mailstore.GUID // of a move the target
	name    mailstore.Name
	uidv    uint32
	next    uint32
	renames []renameTo
	flags   []flagsTo
	uids    numset.Set // expunged, or moved away
	entries []entry    // added
	base    base
}

type renameTo struct {
	box  mailstore.GUID
	name mailstore.Name
}

type flagsTo struct {
	uid      uint32
	flags    mailstore.Flags
	keywords []string
}

// encode writes the payload of an event.
func (v *event) encode() []byte {
	var e enc
	switch v.kind {
	case recBase:
		return v.base.encode()
	case recCreate, recFolder:
		e.guid(v.box)
		e.u32(v.uidv)
		e.num(uint64(v.next))
		e.text(v.name)
	case recDelete:
		e.guid(v.box)
	case recRename:
		e.num(uint64(len(v.renames)))
		for _, r := range v.renames {
			e.guid(r.box)
			e.text(r.name)
		}
	case recIdentity:
		e.guid(v.box)
		e.u32(v.uidv)
		e.num(uint64(v.next))
	case recFlagSet:
		e.guid(v.box)
		e.flagList(v.flags)
	case recExpunge:
		e.guid(v.box)
		e.set(v.uids)
	case recMove:
		e.guid(v.box)
		e.set(v.uids)
		e.guid(v.to)
		e.entries(v.entries)
	case recAdd:
		e.guid(v.to)
		e.entries(v.entries)
	}
	return e.b
}

func (e *enc) entries(list []entry) {
	e.num(uint64(len(list)))
	for i := range list {
		e.entry(&list[i])
	}
}

// flagList writes the different sets of keywords once.
func (e *enc) flagList(list []flagsTo) {
	var sets [][]string
	no := make([]int, len(list))
	for i, f := range list {
		k := slices.IndexFunc(sets, func(s []string) bool { return slices.Equal(s, f.keywords) })
		if k < 0 {
			k = len(sets)
			sets = append(sets, f.keywords)
		}
		no[i] = k
	}
	e.num(uint64(len(sets)))
	for _, s := range sets {
		e.texts(s)
	}
	e.num(uint64(len(list)))
	for i, f := range list {
		e.num(uint64(f.uid))
		e.byte(byte(f.flags))
		e.num(uint64(no[i]))
	}
}

func (d *dec) flagList() []flagsTo {
	sets := make([][]string, 0, 4)
	for range d.Count() {
		sets = append(sets, d.texts())
	}
	var out []flagsTo
	for range d.Count() {
		f := flagsTo{uid: d.Max32(), flags: mailstore.Flags(d.Byte()) & mailstore.AllFlags}
		if k := d.Uvarint(); k < uint64(len(sets)) {
			f.keywords = sets[k]
		} else {
			d.Fail()
			return nil
		}
		out = append(out, f)
	}
	return out
}

func (d *dec) entries() []entry {
	var out []entry
	for range d.Count() {
		out = append(out, d.entry())
		if d.Bad {
			return nil
		}
	}
	return out
}

// decodeEvent reads a record of the journal, or of a packed file (number is its
// number), as an event.
//
// light leaves out what only a mailbox's list needs: the flags, the expunged UIDs
// and all of a packed message but its UID. Opening a store reads thousands so.
func decodeEvent(r rec, number uint32, light bool) (v event, err error) {
	v.kind, v.seq, v.at = r.kind, r.seq, stamp{r.seq, r.head}
	d := decode(r.payload)
	if light {
		switch r.kind {
		case recMessage:
			v.kind, v.to = recAdd, d.guid()
			v.entries = []entry{{uid: d.Max32(), loc: loc{number, r.head, r.off}}}
			return v, d.err()
		case recFlagSet, recExpunge:
			v.box = d.guid()
			return v, d.err()
		}
	}
	switch r.kind {
	case recMessage:
		m := decodeMessage(&d)
		v.kind, v.to = recAdd, m.box
		m.entry.loc = loc{number, r.head, r.off}
		v.entries = []entry{m.entry}
	case recBase:
		v.base, err = decodeBase(r.payload)
		return v, err
	case recCreate, recFolder:
		v.box, v.uidv, v.next, v.name = d.guid(), d.U32(), d.Max32(), d.text()
	case recDelete:
		v.box = d.guid()
	case recRename:
		for range d.Count() {
			v.renames = append(v.renames, renameTo{d.guid(), d.text()})
			if d.Bad {
				break
			}
		}
	case recIdentity:
		v.box, v.uidv, v.next = d.guid(), d.U32(), d.Max32()
	case recFlagSet:
		v.box, v.flags = d.guid(), d.flagList()
	case recExpunge:
		v.box, v.uids = d.guid(), d.Ranges()
	case recMove:
		v.box, v.uids, v.to, v.entries = d.guid(), d.Ranges(), d.guid(), d.entries()
	case recAdd:
		v.to, v.entries = d.guid(), d.entries()
	default:
		return v, fmt.Errorf("a record of the unknown kind %d", r.kind)
	}
	if !d.End() {
		return v, errPayload
	}
	return v, nil
}

// message is the meta of a packed message.
type message struct {
	box mailstore.GUID
	entry
}

func encodeMessage(m *message) []byte {
	var e enc
	e.guid(m.box)
	m.entry.loc = loc{} // the record itself is there
	e.entry(&m.entry)
	return e.b
}

func decodeMessage(d *dec) (m message) {
	m.box = d.guid()
	m.entry = d.entry()
	return m
}

// apply changes the state by an event.
func (s *state) apply(v *event) {
	s.seq = max(s.seq, v.seq)
	switch v.kind {
	case recBase:
		s.seq = max(s.seq, v.base.seq)
		for _, x := range v.base.boxes {
			b := x
			s.boxes[b.folder.GUID], s.names[b.folder.Name] = &b, &b
			s.sum += int64(b.next)
		}
	case recCreate:
		b := &boxState{folder: engine.Folder{Name: v.name, GUID: v.box, UIDValidity: v.uidv}, next: max(v.next, 1), last: v.at}
		s.boxes[v.box], s.names[v.name] = b, b
	case recDelete:
		if b := s.boxes[v.box]; b != nil {
			b.gone = true
			delete(s.boxes, v.box)
			if s.names[b.folder.Name] == b {
				delete(s.names, b.folder.Name)
			}
		}
	case recRename:
		s.rename(v)
	case recIdentity:
		if b := s.boxes[v.box]; b != nil {
			b.folder.UIDValidity, b.next, b.last = v.uidv, max(b.next, v.next), v.at
		}
	default:
		s.touch(v)
		s.tail += len(v.entries)
		s.sum += int64(len(v.entries))
	}
}

func (s *state) rename(v *event) {
	for _, r := range v.renames {
		if b := s.boxes[r.box]; b != nil && s.names[b.folder.Name] == b {
			delete(s.names, b.folder.Name)
		}
	}
	for _, r := range v.renames {
		if b := s.boxes[r.box]; b != nil {
			nb := *b // others may hold the old one's folder
			nb.folder.Name = r.name
			s.boxes[r.box], s.names[r.name] = &nb, &nb
		}
	}
}

// touched notes the last record; a reader without a lock may meet them out of
// order, the journal's before a packed file's.
func (b *boxState) touched(at stamp) {
	if at.seq > b.last.seq {
		b.last = at
	}
}

func (s *state) touch(v *event) {
	if b := s.boxes[v.box]; b != nil && v.kind != recAdd && v.kind != recFolder {
		b.touched(v.at)
	}
	if b := s.boxes[v.to]; b != nil && (v.kind == recAdd || v.kind == recMove) {
		b.touched(v.at)
		for i := range v.entries {
			b.next = max(b.next, v.entries[i].uid+1)
		}
	}
}

// list is a mailbox's messages on their way through the events, by UID.
type list struct {
	m    []entry
	next uint32
}

// apply changes the list of box by an event.
func (l *list) apply(v *event, box mailstore.GUID) {
	if v.box == box {
		switch v.kind {
		case recFlagSet:
			for _, f := range v.flags {
				if i, ok := l.find(f.uid); ok {
					l.m[i].flags, l.m[i].keywords = f.flags, f.keywords
				}
			}
		case recExpunge, recMove:
			l.remove(v.uids)
		case recCreate, recIdentity:
			l.next = max(l.next, v.next)
		}
	}
	if v.to == box && (v.kind == recAdd || v.kind == recMove) {
		for i := range v.entries {
			// A UID below UIDNEXT is one that a damaged file brings back.
			if e := v.entries[i]; e.uid >= l.next {
				l.m = append(l.m, e)
				l.next = e.uid + 1
			}
		}
	}
}

func (l *list) remove(uids numset.Set) {
	for _, r := range uids.Ranges() {
		for i, _ := l.find(r.First); i < len(l.m) && l.m[i].uid <= r.Last; i++ {
			l.m[i].dead = true
		}
	}
}

// end takes out what was removed.
func (l *list) end() {
	l.m = slices.DeleteFunc(l.m, func(e entry) bool { return e.dead })
}

func (l *list) find(uid uint32) (int, bool) {
	return slices.BinarySearchFunc(l.m, uid, func(e entry, u uint32) int {
		switch {
		case e.uid < u:
			return -1
		case e.uid > u:
			return 1
		}
		return 0
	})
}
