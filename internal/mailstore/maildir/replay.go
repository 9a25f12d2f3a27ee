package maildir

import (
	"io"
	"slices"
	"strings"

	"rookery/internal/crc32c"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/journal"
	"rookery/internal/vfs"
)

// Recovery, before anyone looks at the mail: what the journal has and the disk
// lost is done again. What another server did meanwhile wins: a file whose flags
// are neither those before nor those after a change keeps them, and a UID that the
// uidlist gives to another file is that file's.

// replay collects the journal's records by mailbox.
type replay struct {
	s     *Store
	boxes map[mailstore.GUID]*replayBox
	order []mailstore.GUID

	intents []journal.Record // that are open
}

func newReplay(s *Store) *replay {
	return &replay{s: s, boxes: map[mailstore.GUID]*replayBox{}}
}

// replayBox is one mailbox in recovery.
type replayBox struct {
	s    *Store
	guid mailstore.GUID
	recs []journal.Record

	mb    *mailbox // for its directories and its uidlist
	list  uidList
	lines map[uint32]int // by UID: place in list.recs
	byWho map[string]uint32
	files *files
	dirty bool // the uidlist has to be written
	renew bool // it needs a new UIDVALIDITY
	did   int  // what was done again
}

// add takes a record over.
func (r *replay) add(rec journal.Record) error {
	if rec.Kind == journal.Intent && len(rec.Payload) > 0 {
		r.intents = append(r.intents, rec)
	}
	if !rec.Kind.Effect() {
		return nil
	}
	b := r.boxes[rec.Box]
	if b == nil {
		b = &replayBox{s: r.s, guid: rec.Box}
		r.boxes[rec.Box] = b
		r.order = append(r.order, rec.Box)
	}
	b.recs = append(b.recs, rec)
	return nil
}

// run recovers each mailbox.
func (r *replay) run() error {
	if len(r.order)+len(r.intents) == 0 {
		return nil
	}
	if err := r.s.lock(); err != nil {
		return err
	}
	err := r.runLocked()
	r.s.unlock()
	for _, in := range r.intents {
		if err == nil && in.Payload[0] == intentRename {
			err = r.rename(in)
		}
	}
	if err == nil {
		r.intents = nil
	}
	return err
}

// rename ends the rename of a tree.
func (r *replay) rename(in journal.Record) error {
	lock, err := r.s.begin()
	if err != nil {
		return err
	}
	defer r.s.end(lock)
	return r.s.resumeRename(in)
}

// runLocked recovers each mailbox; the user's lock is held.
func (r *replay) runLocked() error {
	for _, guid := range r.order {
		b := r.boxes[guid]
		p, there, err := r.s.placeOf(guid)
		if err != nil {
			return err
		}
		if !there {
			continue // the mailbox was deleted
		}
		if err := b.run(p); err != nil {
			return err
		}
	}
	r.order = nil
	for _, in := range r.intents {
		if in.Payload[0] == intentPlace {
			if err := r.undoPlaced(in); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *replayBox) run(p place) error {
	return b.locked(p, func() error {
		for _, r := range b.recs {
			if err := b.apply(r); err != nil {
				return b.s.fail("recover "+p.dir, err)
			}
		}
		return nil
	})
}

// read looks at a mailbox's list and files. ok is false where there is no list:
// it gets a new one, and all messages new UIDs.
func (b *replayBox) read(p place) (ok bool, err error) {
	b.mb = &mailbox{s: b.s, dir: p.dir, ctl: p.ctl, name: p.dir}
	data, err := vfs.ReadFile(b.s.fs, join(p.ctl, uidlistFile), maxUIDList)
	if err != nil {
		return false, b.s.fail("read uidlist", err)
	}
	if b.list, err = parseUIDList(data); err != nil {
		return false, nil
	}
	b.dirty = b.list.damaged > 0 || b.list.size != int64(len(data))
	if b.files, err = b.look(); err != nil {
		return false, err
	}
	// A cut may have left both names of a rename: one must not stay as it is while
	// the other is written again.
	if err := b.mb.twins(b.files); err != nil {
		return false, b.s.fail("mend doubles", err)
	}
	b.index()
	return true, nil
}

// locked changes a mailbox under the lock of its uidlist, and writes that.
func (b *replayBox) locked(p place, change func() error) error {
	lock, err := b.s.lockUIDs(p.ctl)
	if err != nil {
		return err
	}
	defer lock.release()
	if ok, err := b.read(p); err != nil || !ok {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	if b.renew {
		if b.list.hdr.validity, err = b.s.nextValidity(b.list.hdr.validity); err != nil {
			return err
		}
		b.dirty = true
		b.s.opt.Note(p.dir + " gets a new UIDVALIDITY: another server gave UIDs that were told to clients to other messages")
	}
	if b.dirty {
		slices.SortFunc(b.list.recs, func(x, y uidRecord) int {
			if x.uid < y.uid {
				return -1
			}
			return 1
		})
		if err := b.mb.writeList(b.list.hdr, b.list.recs); err != nil {
			return b.s.fail("write uidlist", err)
		}
	}
	if b.did > 0 {
		b.s.opt.Note("recovered " + utoa(uint32(b.did)) + " changes of " + p.dir + " from the journal")
	}
	return nil
}

// look lists the files; nobody else of ours is about.
func (b *replayBox) look() (*files, error) {
	f, err := b.s.scan(b.mb.dir)
	if errkind.Is(err, errkind.NotFound) {
		for _, n := range []string{"tmp", "new", "cur"} {
			if err := b.s.fs.Mkdir(join(b.mb.dir, n), b.s.opt.FolderMode); err != nil && diskKind(err) != errkind.Exists {
				return nil, b.s.fail("make "+n, err)
			}
		}
		f, err = b.s.scan(b.mb.dir)
	}
	return f, err
}

func (b *replayBox) index() {
	b.lines, b.byWho = map[uint32]int{}, map[string]uint32{}
	for i, r := range b.list.recs {
		b.lines[r.uid] = i
		b.byWho[r.base] = r.uid
	}
}

// file gives the stored name of the file with this base name, "" if there is none.
func (b *replayBox) file(base string) (name string, at int) {
	if _, i := b.files.slot(base); i >= 0 && !b.files.list[i].used {
		return b.files.list[i].name, i
	}
	return "", -1
}

// put notes that a file has another name, or that there is a new one.
func (b *replayBox) put(at int, name string) {
	base, _ := splitName(name[1:])
	if at >= 0 {
		b.files.list[at].name, b.files.list[at].used = name, false
		return
	}
	slot, old := b.files.slot(base)
	if old >= 0 {
		b.files.list[old] = found{name: name, base: len(base)}
		return
	}
	b.files.list = append(b.files.list, found{name: name, base: len(base)})
	if 2*len(b.files.list) > len(b.files.table) {
		b.files.index()
	} else {
		b.files.table[slot] = int32(len(b.files.list) - 1)
	}
}

func (b *replayBox) apply(r journal.Record) error {
	switch r.Kind {
	case journal.Message, journal.Large:
		return b.message(r)
	case journal.Flags:
		if !r.SameBoot && r.UIDValidity == b.list.hdr.validity {
			return b.flags(r)
		}
	case journal.Expunge: // after a killed process only where it is one half of a move
		if (!r.SameBoot || r.Undone) && r.UIDValidity == b.list.hdr.validity {
			return b.expunge(r)
		}
	}
	return nil
}

// message makes sure of a message.
func (b *replayBox) message(r journal.Record) error {
	if r.UIDValidity == b.list.hdr.validity && r.UID >= b.list.hdr.next && !r.SameBoot {
		b.list.hdr.next, b.dirty = r.UID+1, true // also where the message is gone: somebody was shown it
	}
	if r.Base == "" || !goodFile(r.Base) || strings.ContainsAny(r.Base, ":/") {
		return nil
	}
	if r.Expunged {
		return b.unlisted(r)
	}
	name, at := b.file(r.Base)
	line, listed := b.lines[r.UID]
	listed = listed && r.UIDValidity == b.list.hdr.validity
	again := !r.SameBoot || r.Undone // steps of it may be missing
	switch {
	case listed && b.list.recs[line].base != r.Base:
		// Another server gave the UID to something else. The message stays, under
		// a UID that nobody was told.
		b.renew = true
		listed = true
	case r.SameBoot && at < 0 && (listed || !r.Undone):
		// Killed before it was answered, or removed by somebody since.
		return nil
	case !listed && r.UIDValidity == b.list.hdr.validity:
		if _, other := b.byWho[r.Base]; !other {
			b.lines[r.UID] = len(b.list.recs)
			b.byWho[r.Base] = r.UID
			b.list.recs = append(b.list.recs, uidRecord{r.UID, string(r.Payload), r.Base})
			b.list.hdr.next = max(b.list.hdr.next, r.UID+1)
			b.dirty = true
			b.did++
		}
	}
	if !again || r.Kind == journal.Large {
		return nil
	}
	if at >= 0 {
		whole, err := b.same(name, r)
		if err != nil || whole {
			return err
		}
	} else {
		name = b.firstName(r)
	}
	b.did++
	if err := b.write(name, r); err != nil {
		return err
	}
	b.put(at, name)
	return nil
}

// unlisted removes the file of an expunged message that a cut brought back without
// its line: the record of the expunge has a UID alone, and would not find it.
func (b *replayBox) unlisted(r journal.Record) error {
	name, at := b.file(r.Base)
	if _, listed := b.byWho[r.Base]; at < 0 || listed || r.SameBoot {
		return nil
	}
	b.files.list[at].used = true
	b.did++
	if err := b.s.fs.Remove(b.mb.path(name)); err != nil && !notExist(err) {
		return err
	}
	return nil
}

// firstName is the stored name that a message of the journal was given.
func (b *replayBox) firstName(r journal.Record) string {
	if r.Flags == 0 && len(r.Keywords) == 0 {
		return "n" + r.Base
	}
	b.mb.hdr = b.list.hdr
	nf := nameFlags{sys: r.Flags}
	if b.mb.kw == nil {
		b.mb.kw = newKeywordTable()
		b.mb.readTable(fileStamp{}, fileStamp{})
	}
	d, _ := b.mb.kw.find(r.Keywords)
	nf.letters, nf.forwarded = d.letters, d.forwarded
	return "c" + r.Base + nf.info()
}

// same compares a file with the journal's bytes.
func (b *replayBox) same(name string, r journal.Record) (bool, error) {
	f, err := b.s.fs.OpenFile(b.mb.path(name), vfs.Read, 0)
	if err != nil {
		if notExist(err) {
			return true, nil
		}
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size != int64(len(r.Data)) {
		return false, err
	}
	buf := make([]byte, info.Size)
	if _, err := f.ReadAt(buf, 0); err != nil && err != io.EOF {
		return false, err
	}
	return crc32c.Checksum(buf) == crc32c.Checksum(r.Data), nil
}

// write writes a message again.
func (b *replayBox) write(name string, r journal.Record) error {
	tmp := join(b.mb.dir, "tmp/"+r.Base)
	f, err := b.s.fs.OpenFile(tmp, vfs.Write|vfs.Create|vfs.Trunc, b.s.opt.FileMode)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(r.Data)
	if err == nil && !r.InternalDate.IsZero() {
		err = f.SetModTime(r.InternalDate)
	}
	if err == nil {
		err = b.s.fs.Rename(tmp, b.mb.path(name))
	}
	if err != nil {
		b.s.fs.Remove(tmp)
	}
	return err
}

// flags does changes of flags again.
func (b *replayBox) flags(r journal.Record) error {
	var beyond []byte
	for _, f := range parseFlagged(r.Payload) {
		line, ok := b.lines[f.uid]
		if !ok {
			continue
		}
		base := b.list.recs[line].base
		name, at := b.file(base)
		if at < 0 {
			continue
		}
		_, info := splitName(name[1:])
		to := "c" + base + f.is
		if name[:1]+info == f.was && name != to {
			if err := b.s.fs.Rename(b.mb.path(name), b.mb.path(to)); err != nil {
				return err
			}
			b.put(at, to)
			b.did++
			name = to
		}
		if f.moreSome && name == to {
			beyond = moreUser(beyond, f.uid, base, f.more)
		}
	}
	if beyond == nil {
		return nil
	}
	f, err := b.s.fs.OpenFile(join(b.mb.ctl, moreFile), vfs.Write|vfs.Append, 0)
	if err != nil {
		if notExist(err) {
			return nil
		}
		return err
	}
	defer f.Close()
	_, err = f.Write(append([]byte("\n"), beyond...))
	return err
}

// expunge removes again what came back.
func (b *replayBox) expunge(r journal.Record) error {
	for uid := range r.UIDs.All() {
		line, ok := b.lines[uid]
		if !ok {
			continue
		}
		name, at := b.file(b.list.recs[line].base)
		if at < 0 {
			continue
		}
		if err := b.s.fs.Remove(b.mb.path(name)); err != nil && !notExist(err) {
			return err
		}
		b.files.list[at].used = true
		b.did++
	}
	return nil
}
