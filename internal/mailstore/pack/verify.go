package pack

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// Identify gives a mailbox another identity, with one group of records.
func (p *format) Identify(old, to engine.Folder, next mailstore.UID) error {
	if old.GUID == to.GUID {
		return p.emit(now, &event{kind: recIdentity, box: old.GUID, uidv: to.UIDValidity, next: max(next, 1)})
	}
	return p.emit(now, &event{kind: recDelete, box: old.GUID},
		&event{kind: recCreate, box: to.GUID, uidv: to.UIDValidity, next: max(next, 1), name: to.Name})
}

// Check compares the records of a mailbox's messages with its list, or, with the
// zero GUID, looks at the files of the store. Under the user's lock.
func (p *format) Check(ctx context.Context, f engine.Folder, repair bool, found func(mailstore.Finding)) error {
	if f.GUID == (mailstore.GUID{}) {
		return p.checkFiles(ctx, repair, found)
	}
	if err := p.checkCheckpoint(f, repair, found); err != nil {
		return err
	}
	l, err := p.read(f.GUID)
	if err != nil {
		return err
	}
	var bad numset.Set
	for i := range l.m {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		e := &l.m[i]
		m, err := p.open(e.loc)
		switch {
		case err == nil:
			size := m.Size()
			m.Close()
			if size != e.size {
				found(mailstore.Finding{Kind: "message-size", Text: fmt.Sprintf("message %d has %d octets and is listed with %d", e.uid, size, e.size),
					Remedy: "none: what is served are the octets that are there"})
			}
		case errors.Is(err, fs.ErrNotExist):
			bad.Add(e.uid)
			found(mailstore.Finding{Kind: "record-missing", Text: fmt.Sprintf("message %d is listed, and the packed file with its record is gone: %v", e.uid, err),
				Remedy: "it is taken out of the mailbox; restore it from a backup", Repaired: repair})
		case errors.Is(err, errDamaged):
			bad.Add(e.uid)
			found(mailstore.Finding{Kind: "message-damaged", Text: fmt.Sprintf("message %d cannot be read: %v", e.uid, err),
				Remedy: "it is taken out of the mailbox; restore it from a backup", Repaired: repair})
		default:
			return err
		}
	}
	if repair && !bad.Empty() {
		return p.emit(now, &event{kind: recExpunge, box: f.GUID, uids: bad})
	}
	return nil
}

// checkCheckpoint looks at a mailbox's checkpoint.
func (p *format) checkCheckpoint(f engine.Folder, repair bool, found func(mailstore.Finding)) error {
	if err := p.ready(false); err != nil {
		return err
	}
	p.mu.Lock()
	st := p.st.boxes[f.GUID]
	want := st != nil && st.ckpt > 0
	p.mu.Unlock()
	if !want {
		return nil
	}
	_, _, err := p.readBox(f.GUID)
	if !errors.Is(err, errBox) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	x := mailstore.Finding{Kind: "checkpoint-damaged", Text: "the mailbox's checkpoint is missing or damaged",
		Remedy: "it is made anew of the packed files, with the flags at arrival; what was expunged may come back"}
	if repair {
		p.mu.Lock()
		if st := p.st.boxes[f.GUID]; st != nil {
			st.last.seq = max(st.last.seq, p.st.seq) // it has to be written
			st.last.seq++
			p.st.seq = st.last.seq
		}
		p.mu.Unlock()
		if err := p.checkpoint(); err != nil {
			return err
		}
		x.Repaired = true
	}
	found(x)
	return nil
}

// checkFiles looks at what is no mailbox's own: packed files, and what a crash
// left beside them.
func (p *format) checkFiles(ctx context.Context, repair bool, found func(mailstore.Finding)) error {
	numbers, err := p.packs()
	if err != nil {
		return err
	}
	for _, n := range numbers {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		_, _, err := p.scan(n, func(text string) {
			found(mailstore.Finding{Kind: "pack-damaged", Text: text, Remedy: "messages that it hit are told by their mailboxes; all others are served"})
		})
		if errors.Is(err, errDamaged) {
			found(mailstore.Finding{Kind: "pack-header", Text: "the packed file " + packName(n) + " has no header that can be read", Remedy: "none: restore it from a backup"})
		} else if err != nil {
			return err
		}
	}
	if repair {
		if err := p.mendJournal(); err != nil {
			return err
		}
	}
	return p.checkLeft(repair, found)
}

// checkLeft finds files that a crash left.
func (p *format) checkLeft(repair bool, found func(mailstore.Finding)) error {
	var left []string
	for _, dir := range []string{p.opt.MailPath, join(p.opt.ControlPath, boxesDir), p.opt.AltPath} {
		if dir == "" {
			continue
		}
		err := p.fs.ReadDir(dir, func(e vfs.DirEntry) bool {
			_, after, ok := strings.Cut(e.Name, ".pack.")
			if ok && (after == "tmp" || strings.HasPrefix(after, "new")) || dir == join(p.opt.ControlPath, boxesDir) && p.orphan(e.Name) {
				left = append(left, join(dir, e.Name))
			}
			return true
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	slices.Sort(left)
	for _, path := range left {
		x := mailstore.Finding{Kind: "left-over", Text: path + " was left by a crash", Remedy: "it is removed"}
		if repair {
			if err := p.fs.Remove(path); err != nil {
				return err
			}
			x.Repaired = true
		}
		found(x)
	}
	return nil
}

// orphan reports whether a file of the checkpoints' directory is no mailbox's.
func (p *format) orphan(name string) bool {
	var g mailstore.GUID
	if len(name) != 32 {
		return strings.HasSuffix(name, ".tmp")
	}
	if _, err := hex.Decode(g[:], []byte(name)); err != nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.st.boxes[g] == nil
}
