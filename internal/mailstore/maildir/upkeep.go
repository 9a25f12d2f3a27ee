package maildir

import (
	"context"
	"fmt"
	"slices"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
	"rookery/internal/vfs"
)

var (
	_ mailstore.Maintainer = (*Store)(nil)
	_ mailstore.Verifier   = (*Store)(nil)
)

// Index brings a mailbox's index up to date, with sizes and dates.
func (s *Store) Index(ctx context.Context, name mailstore.Name, progress func(done, total int)) error {
	h, err := s.Open(name)
	if err != nil {
		return errkind.Wrap("index", err)
	}
	defer h.Close()
	mb := h.(*handle)
	snap, err := mb.Sync()
	if err != nil {
		return errkind.Wrap("index", err)
	}
	for pos := range snap.Len() {
		if err := ctx.Err(); err != nil {
			return errkind.New("index", errkind.Unavailable, err)
		}
		_, err := mb.Facts(snap.At(pos).UID, mailstore.FactsWant{Size: true, InternalDate: true, SaveDate: true})
		if err != nil && !errkind.Is(err, errkind.Expunged) {
			return errkind.Wrap("index", err)
		}
		if progress != nil && (pos%step == step-1 || pos == snap.Len()-1) {
			progress(pos+1, snap.Len())
		}
	}
	mb.op.Lock()
	defer mb.op.Unlock()
	mb.keepFacts()
	return nil
}

// Purge does nothing: an expunged message's file is gone.
func (s *Store) Purge(context.Context, func(done, total int)) (int64, error) { return 0, nil }

// Verify compares a mailbox's files, uidlist and index. The kinds it finds:
//
//	uidlist-missing, uidlist-damaged (lines that cannot be read), uidlist-torn (its
//	last line is cut), uidlist-stale (the file of a record is gone, and the index
//	knows of no expunge), no-uid (a file without a record), double-name (two files of
//	one base name), size-wrong (a name tells another size than the file has),
//	index-stale (the index differs from the disk), tmp-old (left in tmp/ for longer
//	than a delivery takes)
//
// A record of an expunged message is none of them: it stays in the uidlist until
// the list is written anew, which an expunge alone does not ask for. Where there is no
// index nobody can tell it from one whose file was lost, and neither is told.
//
// Of the store as a whole: folder-left (a folder half made or half removed).
func (s *Store) Verify(ctx context.Context, name mailstore.Name, repair bool, found func(mailstore.Finding)) error {
	if name == "" {
		return s.verifyTree(repair, found)
	}
	inner := s.canonical(name)
	dir, there, err := s.lookDir(inner)
	if err != nil {
		return errkind.Wrap("verify", err)
	}
	if !there {
		return errkind.Newf("verify", errkind.NotFound, "there is no such mailbox")
	}
	v := &verifier{s: s, name: name, mb: &mailbox{s: s, name: inner, dir: s.mailDir(dir), ctl: s.ctlDir(dir), idx: s.idxDir(dir), kw: newKeywordTable()}}
	if err := v.look(ctx); err != nil {
		return errkind.Wrap("verify", err)
	}
	if repair && len(v.list) > 0 {
		if err := v.repair(); err != nil {
			return errkind.Wrap("verify", err)
		}
	}
	for _, f := range v.list {
		f.Mailbox, f.Repaired = name, repair && v.repaired
		found(f)
	}
	return nil
}

func (s *Store) verifyTree(repair bool, found func(mailstore.Finding)) error {
	var left []string
	err := s.fs.ReadDir(s.opt.MailPath, func(e vfs.DirEntry) bool {
		if len(e.Name) > len(comingDir) && (e.Name[:len(comingDir)] == comingDir || len(e.Name) > len(goneDir) && e.Name[:len(goneDir)] == goneDir) {
			left = append(left, e.Name)
		}
		return true
	})
	if err != nil {
		return s.fail("verify", err)
	}
	if repair && len(left) > 0 {
		lock, err := s.begin() // which removes them
		if err != nil {
			return errkind.Wrap("verify", err)
		}
		s.end(lock)
	}
	for _, n := range left {
		found(mailstore.Finding{Kind: "folder-left", Text: "a crash left " + n + ", a folder that was being made or removed", Remedy: "it is removed", Repaired: repair})
	}
	return nil
}

// verifier looks at one mailbox. It changes nothing, and takes no lock, but to
// repair.
type verifier struct {
	s        *Store
	name     mailstore.Name
	mb       *mailbox
	list     []mailstore.Finding
	twin     []string // base names that two files have
	repaired bool
}

func (v *verifier) add(kind, remedy, text string, args ...any) {
	if len(v.list) < maxFindings {
		v.list = append(v.list, mailstore.Finding{Kind: kind, Text: fmt.Sprintf(text, args...), Remedy: remedy})
	}
}

// maxFindings bounds what is told of one mailbox.
const maxFindings = 10000

func (v *verifier) look(ctx context.Context) error {
	f, err := v.s.scan(v.mb.dir)
	if err != nil {
		return err
	}
	data, err := vfs.ReadFile(v.s.fs, join(v.mb.ctl, uidlistFile), maxUIDList)
	if err != nil && !notExist(err) {
		return v.s.fail("read uidlist", err)
	}
	var l uidList
	switch {
	case err != nil:
		v.add("uidlist-missing", "the messages get new UIDs, under a new UIDVALIDITY", "there is no uidlist")
	default:
		if l, err = parseUIDList(data); err != nil {
			v.add("uidlist-damaged", "the messages get new UIDs, under a new UIDVALIDITY", "the uidlist has no first line that can be read")
			break
		}
		if l.damaged > 0 {
			v.add("uidlist-damaged", "the list is written anew without them; their messages get new UIDs", "%d lines of the uidlist cannot be read", l.damaged)
		}
		if l.size != int64(len(data)) {
			v.add("uidlist-torn", "the list is written anew without it", "the last line of the uidlist is cut")
		}
	}
	for _, t := range f.twins {
		f.list[t[1]].used = true
		v.twin = append(v.twin, f.list[t[0]].baseName())
		v.add("double-name", "one of them gets another name, unless they are one file", "two files are called %s", f.list[t[0]].baseName())
	}
	v.records(f, l)
	if err := v.files(ctx, f); err != nil {
		return err
	}
	return v.index(f, l)
}

// records compares the uidlist with the files.
func (v *verifier) records(f *files, l uidList) {
	for _, r := range l.recs {
		if _, i := f.slot(r.base); i >= 0 {
			f.list[i].used = true
		}
	}
	for i := range f.list {
		if !f.list[i].used {
			v.add("no-uid", "it gets the next UID", "the file %s has no UID", f.list[i].name[1:])
		}
	}
}

// files compares names with what they name.
func (v *verifier) files(ctx context.Context, f *files) error {
	for i := range f.list {
		if i%step == 0 && ctx.Err() != nil {
			return errkind.New("verify", errkind.Unavailable, ctx.Err())
		}
		phys, _ := nameSizes(f.list[i].baseName())
		if phys < 0 {
			continue
		}
		info, err := v.s.fs.Stat(v.mb.path(f.list[i].name))
		if err == nil && info.Size != phys {
			v.add("size-wrong", "the file gets a name with the right sizes", "%s has %d octets", f.list[i].name[1:], info.Size)
		}
	}
	limit := v.s.now().Add(-staleTmp)
	return v.s.fail("read tmp", v.s.fs.ReadDir(join(v.mb.dir, "tmp"), func(e vfs.DirEntry) bool {
		path := join(v.mb.dir, "tmp/"+e.Name)
		if i, err := v.s.fs.Stat(path); err == nil && i.Mode.IsRegular() && i.ModTime.Before(limit) && i.ChangeTime.Before(limit) {
			v.add("tmp-old", "it is removed", "a delivery left %s behind", path)
		}
		return true
	}))
}

// index compares the index with the files and the uidlist.
func (v *verifier) index(f *files, l uidList) error {
	if l.hdr.guid == "" {
		return nil
	}
	box, err := v.s.user.Box(guidOf(l.hdr.guid), v.mb.idx)
	if err != nil {
		return err
	}
	defer box.Close()
	view, err := box.Follow()
	if err != nil || !view.Built() {
		return v.s.fail("read index", err) // one that is not there is no damage
	}
	v.mb.hdr, v.mb.seen = l.hdr, view
	v.mb.st, _ = parseState([]byte(view.State()))
	if view.UIDValidity() != l.hdr.validity {
		v.add("index-stale", "it is built anew", "the index has the UIDVALIDITY %d, the uidlist %d", view.UIDValidity(), l.hdr.validity)
		return nil
	}
	byUID := map[uint32]string{}
	for _, r := range l.recs {
		byUID[r.uid] = r.base
	}
	view.Each(0, func(_ int, r index.Record) bool {
		base := locBase(r.Loc)
		_, i := f.slot(base)
		switch {
		case byUID[r.UID] != base:
			v.add("index-stale", "it is built anew", "the index and the uidlist name different files for UID %d", r.UID)
		case i < 0:
			v.add("uidlist-stale", "the record goes when the list is written anew", "the file of UID %d is gone: %s", r.UID, base)
			v.add("index-stale", "it is taken out", "the file of UID %d is gone", r.UID)
		case f.list[i].name != v.mb.fileOf(view, r) && !slices.Contains(v.twin, base):
			v.add("index-stale", "the file's flags count", "the index has other flags for UID %d than its file", r.UID)
		}
		return true
	})
	return nil
}

// repair opens the mailbox as a session would, which mends what can be mended, and
// has every record looked at.
func (v *verifier) repair() error {
	mb, err := v.s.get(v.name)
	if err != nil {
		return err
	}
	defer v.s.put(mb)
	mb.op.Lock()
	defer mb.op.Unlock()
	mb.sweepTmp()
	wrong := false
	for _, f := range v.list {
		wrong = wrong || f.Kind == "index-stale"
	}
	if err := mb.enter(); err != nil {
		return err
	}
	if wrong {
		mb.rebuild = "a check found it different from the disk"
		mb.load(true)
	}
	err = mb.rewrite()
	mb.leave()
	if err != nil {
		return err
	}
	view := mb.known()
	for pos := range view.Len() {
		r := view.Rec(pos)
		phys, _ := nameSizes(locBase(r.Loc))
		if phys < 0 {
			continue
		}
		if info, err := v.s.fs.Stat(mb.path(mb.fileOf(view, r))); err == nil && info.Size != phys {
			if m, err := mb.message(r.UID); err == nil { // which mends the name
				m.Close()
			}
		}
	}
	v.repaired = true
	return nil
}

// rewrite compares everything and writes the uidlist anew; the mailbox is entered.
func (mb *mailbox) rewrite() error {
	if err := mb.resyncLocked(); err != nil {
		return err
	}
	lock, err := mb.s.lockUIDs(mb.ctl)
	if err != nil {
		return err
	}
	defer lock.release()
	if err := mb.writeUIDs(nil, nil); err != nil {
		return mb.s.fail("write uidlist", err)
	}
	tx, err := mb.begin()
	if err == nil {
		mb.put(tx)
	}
	return err
}
