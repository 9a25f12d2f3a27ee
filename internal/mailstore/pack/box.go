package pack

import (
	"encoding/binary"
	"errors"
	"io/fs"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/numset"
)

// box implements engine.Box.
type box struct {
	p    *format
	guid mailstore.GUID
}

// Box gives the disk's side of a mailbox.
func (p *format) Box(f engine.Folder) (engine.Box, error) { return &box{p, f.GUID}, nil }

// folder gives it as it is called now; mu is held.
func (b *box) folder() engine.Folder {
	if st := b.p.st.boxes[b.guid]; st != nil {
		return st.folder
	}
	return engine.Folder{GUID: b.guid}
}

// Lock does nothing: no other program writes here.
func (b *box) Lock(bool) error { return nil }

// Unlock does nothing.
func (b *box) Unlock() {}

// Close does nothing.
func (b *box) Close() {}

// ReadOnly is never true: a journal that cannot be written cannot be opened.
func (b *box) ReadOnly() bool { return false }

func (s stamp) bytes() []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint64(nil, s.seq), s.head)
}

// Changed compares the last record that touched the mailbox.
func (b *box) Changed(was []byte) (bool, error) {
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	if err := b.p.poll(false); err != nil {
		return false, err
	}
	st := b.p.st.boxes[b.guid]
	if st == nil {
		return false, errkind.Newf("mailbox", errkind.NotFound, "the mailbox was deleted")
	}
	return string(was) != string(st.last.bytes()), nil
}

// SameAt is Find and Changed in one.
func (b *box) SameAt(f engine.Folder, was []byte) (bool, error) {
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	if err := b.p.poll(false); err != nil {
		return false, err
	}
	st := b.p.st.boxes[b.guid]
	return st != nil && st.folder == f && string(was) == string(st.last.bytes()), nil
}

// Stamp is the last record that touched the mailbox.
func (b *box) Stamp() []byte {
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	if st := b.p.st.boxes[b.guid]; st != nil {
		return st.last.bytes()
	}
	return stamp{}.bytes()
}

// Sync tells everything: what the checkpoint has, and the records since.
func (b *box) Sync(e *engine.Edit) error {
	p := b.p
	if err := p.ready(false); err != nil {
		return err
	}
	// What a process that was killed wrote may not be on disk yet: nobody may see
	// a UID that a power cut takes back.
	p.mu.Lock()
	logs := []*logFile{p.cur, p.journal}
	p.mu.Unlock()
	for _, l := range logs {
		if l != nil {
			if err := p.sync(l, -1); err != nil {
				return err
			}
		}
	}
	l, err := p.read(b.guid)
	if err != nil {
		return err
	}
	odd, err := e.All(func(yield func(engine.Message, error) bool) {
		for i := range l.m {
			if !yield(l.m[i].message(), nil) {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	if len(odd) > 0 {
		return errkind.Newf("read mailbox", errkind.Corrupt, "the index knows less than the journal")
	}
	e.SetNext(l.next)
	return nil
}

// Store writes one record.
func (b *box) Store(_ *engine.Edit, changes []engine.Change) error {
	v := &event{kind: recFlagSet, box: b.guid}
	for _, c := range changes {
		v.flags = append(v.flags, flagsTo{c.UID, c.Flags, c.Keywords})
	}
	if err := b.p.emit(soon, v); err != nil {
		return err
	}
	b.p.trigger()
	return nil
}

// Expunge writes one record; compacting gives the space back.
func (b *box) Expunge(e *engine.Edit, positions []int) (int, error) {
	v := &event{kind: recExpunge, box: b.guid}
	var uids numset.Set
	var size int64
	for _, pos := range positions {
		m := e.At(pos)
		uids.Add(m.UID)
		size += m.Size
	}
	v.uids = uids
	if err := b.p.emit(soon, v); err != nil {
		return 0, err
	}
	b.p.mu.Lock()
	b.p.dead += size
	b.p.mu.Unlock()
	b.p.trigger()
	return len(positions), nil
}

// Open opens a message.
func (b *box) Open(uid mailstore.UID, text string) (engine.Body, error) {
	l, ok := parseLoc(text)
	if !ok {
		return nil, fs.ErrNotExist
	}
	m, err := b.p.open(l)
	if errors.Is(err, errDamaged) {
		b.p.opt.Note("the message " + utoa(uid) + " cannot be read: " + err.Error())
		err = errkind.New("read message", errkind.Corrupt, err)
	}
	return m, err
}
