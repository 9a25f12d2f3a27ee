package maildir

import (
	"errors"
	"slices"
	"strings"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore/index"
	"rookery/internal/vfs"
)

// smallScan is how long a look at a folder may take to be done within an
// answer where only a doubt asks for it; larger folders are looked at in the
// background.
const smallScan = 3 * time.Millisecond

// refresh brings the mailbox up to date; op is held. If stat shows no change it
// costs five of them, and a look at the index's log.
func (mb *mailbox) refresh() error {
	if mb.isDead() {
		return mb.gone()
	}
	if err := mb.openBox(); err != nil {
		return err
	}
	if _, err := mb.box.Follow(); err != nil {
		return mb.s.fail("read index", err)
	}
	mb.load(false)
	if mb.look || !mb.loaded {
		return mb.renew()
	}
	changed, err := mb.changed()
	if err != nil {
		return err
	}
	if changed && mb.stillChanged() {
		return mb.renew()
	}
	return mb.doubts()
}

// stillChanged compares again under the user's lock. What we change ourselves, files
// first and then the index, happens under it: a look between the two, by another session
// or process, takes it for the work of another program, and would list the folder.
func (mb *mailbox) stillChanged() bool {
	if err := mb.enter(); err != nil {
		return true // renew tells
	}
	defer mb.leave()
	if !mb.loaded || mb.look {
		return true
	}
	changed, err := mb.changed()
	return changed || err != nil
}

// changed compares the disk's stamps with those that the index stands for.
func (mb *mailbox) changed() (bool, error) {
	names := []string{uidlistFile, keywordsFile, moreFile, "cur", "new"}
	known := [...]fileStamp{mb.st.uids, mb.st.keyf, mb.st.moref, mb.st.cur.known, mb.st.new.known}
	if mb.st.cur.stale || mb.st.new.stale {
		return true, nil
	}
	var at [len(known)]vfs.Info
	control := len(names)
	if mb.ctl != mb.dir {
		control -= 2
		if err := mb.s.glance(mb.dir, names[control:], at[control:]); err != nil {
			return true, mb.s.fail("stat mailbox", err)
		}
	}
	if err := mb.s.glance(mb.ctl, names[:control], at[:control]); err != nil {
		return true, mb.s.fail("stat mailbox", err)
	}
	for i, was := range known {
		if stampOrNone(at[i]) != was {
			return true, nil
		}
	}
	return false, nil
}

// renew looks at the disk and takes over what changed. The look at the folder
// comes before the lock: nobody waits for it, unless somebody changed the
// mailbox meanwhile.
func (mb *mailbox) renew() error {
	f, err := mb.s.scan(mb.dir)
	if errkind.Is(err, errkind.NotFound) {
		if err = mb.mend(); err == nil {
			f, err = mb.s.scan(mb.dir)
		}
	}
	if err != nil {
		return mb.lost(err)
	}
	before := mb.seen
	if err := mb.enter(); err != nil {
		if errkind.Is(err, errkind.ReadOnly) || errkind.Is(err, errkind.NoPermission) {
			return mb.showReadOnly(f, err)
		}
		if errkind.Is(err, errkind.NoSpace) {
			return mb.cramped(f, err)
		}
		return err
	}
	defer mb.leave()
	if mb.seen != before {
		f = nil
	}
	err = mb.resync(f)
	if err != nil {
		mb.look = true
	}
	return err
}

// mend makes new/, cur/ and tmp/ where some are missing. A folder that is gone as
// a whole was deleted by another program.
func (mb *mailbox) mend() error {
	if info, err := mb.s.fs.Stat(mb.dir); err != nil || !info.IsDir() {
		if err == nil || notExist(err) {
			if mb.loaded {
				mb.die()
			}
			return mb.gone()
		}
		return mb.s.fail("open mailbox", err)
	}
	for _, n := range []string{"tmp", "new", "cur"} {
		if err := mb.s.fs.Mkdir(join(mb.dir, n), mb.s.opt.FolderMode); err != nil && diskKind(err) != errkind.Exists {
			return mb.s.fail("make "+n, err)
		}
	}
	if mb.ctl != mb.dir {
		if err := mb.s.makeDirs(mb.ctl); err != nil {
			return mb.s.fail("make control directory", err)
		}
	}
	return mb.s.fail("make mailbox", mb.s.fs.SyncDir(mb.dir))
}

// doubts looks again at a folder in which a change may hide behind an
// unchanged stamp: once the stamp is old enough that no more can, and not so
// often that looking becomes the work.
func (mb *mailbox) doubts() error {
	now := mb.s.now()
	due := func(d *dirState) bool {
		return d.doubt && now.Sub(d.known.when()) > tick(d.known) && now.Sub(mb.looked) > 20*d.took
	}
	if !due(&mb.st.cur) && !due(&mb.st.new) || mb.rescan {
		return nil
	}
	if mb.st.cur.took <= smallScan {
		return mb.renew()
	}
	mb.rescan = true
	before, dir := mb.seen, mb.dir
	mb.work.Add(1)
	go func() {
		defer mb.work.Done()
		files, err := mb.s.scan(dir) // without op: sessions go on
		mb.op.Lock()
		defer mb.op.Unlock()
		mb.rescan = false
		if err != nil || mb.isDead() || mb.box == nil {
			return
		}
		if err := mb.enter(); err != nil {
			return
		}
		defer mb.leave()
		if mb.seen != before {
			return // something changed meanwhile: another time
		}
		if err := mb.resync(files); err != nil {
			mb.s.opt.Note("looking at " + mb.nameNow() + " again: " + err.Error())
		}
	}()
	return nil
}

// resync takes over what changed on the disk; the mailbox is entered. f is a look
// that was made since the picture is what it is, nil if there is none. Without an
// error the picture stands for the disk, whatever happened to the index meanwhile.
func (mb *mailbox) resync(f *files) error {
	if mb.s.finishOthers() { // a killed process left something half done
		f = nil
	}
	for range looks {
		mb.look = false
		err := mb.compare(f)
		if err != nil && !errors.Is(err, errPicture) {
			return err
		}
		if err == nil && mb.loaded {
			return nil
		}
		mb.load(true)
		f = nil
	}
	return errPicture
}

// compare is one try of resync. Dovecot's lock is taken only if something has to
// be decided.
func (mb *mailbox) compare(f *files) (err error) {
	if f == nil {
		if f, err = mb.s.scan(mb.dir); err != nil {
			return mb.lost(err)
		}
	}
	have, err := mb.readUIDs()
	if err != nil {
		return mb.s.fail("read uidlist", err)
	}
	if err := mb.readKeywords(); err != nil {
		return err
	}
	if have {
		if done, err := mb.try(f); done || err != nil {
			return err
		}
	}
	return mb.resyncLocked()
}

// lost turns "not there" of a directory into the mailbox's end.
func (mb *mailbox) lost(err error) error {
	if errkind.Is(err, errkind.NotFound) {
		if info, serr := mb.s.fs.Stat(mb.dir); serr != nil && notExist(serr) || serr == nil && !info.IsDir() {
			if mb.loaded {
				mb.die()
			}
			return mb.gone()
		}
	}
	return err
}

// try applies a look if nothing in it has to be decided under Dovecot's lock.
func (mb *mailbox) try(f *files) (bool, error) {
	if mb.freshAll && mb.view().Len() > 0 {
		return false, nil // somebody wrote the list anew: compare under the lock
	}
	p, err := mb.match(f)
	if err != nil {
		return false, err
	}
	if len(f.twins) > 0 || len(p.unknown) > 0 || len(p.missing)+len(p.reborn)+p.stale > 0 && !f.stable {
		for i := range f.list {
			f.list[i].used = false
		}
		return false, nil
	}
	return true, mb.apply(f, p)
}

// resyncLocked looks again under Dovecot's lock, gives UIDs to files that have
// none, and only now believes that a file is gone.
func (mb *mailbox) resyncLocked() error {
	if err := mb.haveControl(); err != nil {
		return err
	}
	lock, err := mb.s.lockUIDs(mb.ctl)
	if err != nil {
		if errkind.Is(err, errkind.ReadOnly) || errkind.Is(err, errkind.NoPermission) {
			return mb.showReadOnly(nil, err)
		}
		if errkind.Is(err, errkind.NoSpace) {
			return mb.cramped(nil, err)
		}
		return err
	}
	defer lock.release()
	if err = mb.decide(); errkind.Is(err, errkind.NoSpace) {
		return mb.cramped(nil, err)
	}
	mb.noRoom = mb.noRoom && err != nil
	return err
}

// decide is resyncLocked once the lock is held.
func (mb *mailbox) decide() error {
	var f *files
	for try := 0; ; try++ {
		next, err := mb.s.scan(mb.dir)
		if err != nil {
			return mb.lost(err)
		}
		if f != nil {
			next.merge(f)
		}
		f = next
		// A rename by another program may hide a file from one look, hardly from
		// several: each is read from the start, and what any of them found counts.
		if f.stable || try >= 2 {
			break
		}
	}
	have, err := mb.readUIDs()
	if err != nil {
		return mb.s.fail("read uidlist", err)
	}
	if !have {
		if err := mb.makeUIDs(); err != nil {
			return mb.s.fail("write uidlist", err)
		}
		if !mb.loaded { // what was known went into the list, and comes from there
			mb.st.uids, mb.st.read = fileStamp{}, 0
			if _, err := mb.readUIDs(); err != nil {
				return mb.s.fail("read uidlist", err)
			}
		}
	}
	if err := mb.readKeywords(); err != nil {
		return err
	}
	if mb.freshAll {
		if err := mb.dropStrangers(); err != nil {
			return err
		}
	}
	if err := mb.twins(f); err != nil {
		return mb.s.fail("mend doubles", err)
	}
	p, err := mb.match(f)
	if err != nil {
		return err
	}
	p.unknown = append(p.unknown, p.reborn...)
	if err := mb.adopt(f, p); err != nil {
		return mb.s.fail("give UIDs", err)
	}
	return mb.apply(f, p)
}

// dropStrangers compares the messages of the index with a list that was written
// anew: a message that it no longer has, or has under another name, is gone.
// mb.fresh then has only what is new.
func (mb *mailbox) dropStrangers() error {
	v := mb.view()
	var gone []int
	k := 0
	var left []uidRecord
	exts := map[int]string{}
	v.Each(0, func(pos int, r index.Record) bool {
		for k < len(mb.fresh) && mb.fresh[k].uid < r.UID {
			left = append(left, mb.fresh[k])
			k++
		}
		base, ext, _ := splitLoc(r.Loc)
		if k < len(mb.fresh) && mb.fresh[k].uid == r.UID && mb.fresh[k].base == base {
			if mb.fresh[k].ext != ext {
				exts[pos] = mb.fresh[k].ext
			}
			k++
		} else {
			gone = append(gone, pos)
		}
		return true
	})
	left = append(left, mb.fresh[k:]...)
	if v.Damaged() { // what it gave may be no message's file
		return errPicture
	}
	if len(gone)+len(exts) > 0 {
		if err := mb.commitStrangers(v, gone, exts); err != nil {
			return err
		}
	}
	mb.fresh, mb.freshAll = left, false
	return nil
}

// commitStrangers is dropStrangers' change of the index. What was read of the
// disk so far stays in memory: the index does not stand for it yet.
func (mb *mailbox) commitStrangers(v *index.View, gone []int, exts map[int]string) error {
	tx, err := mb.beginAny()
	if err != nil {
		return err
	}
	st, fresh, more, reflag := mb.st, mb.fresh, mb.more, mb.reflag
	for pos, ext := range exts {
		r := v.Rec(pos)
		base, _, info := splitLoc(r.Loc)
		tx.Loc(pos, joinLoc(base, ext, info, r.Bits&bitOdd != 0))
	}
	if len(gone) > 0 {
		mb.removeIn(tx, v, gone)
		st.inNew, st.lowNew = mb.st.inNew, mb.st.lowNew
	}
	tx.Commit() // the state of before stays with it
	mb.load(true)
	if mb.seen != mb.raw {
		return errPicture // lost as it was published
	}
	mb.st, mb.fresh, mb.more, mb.reflag = st, fresh, more, reflag
	return nil
}

// plan is what a look means.
type plan struct {
	moved   []int // positions whose file has another name, with…
	to      []int // …its file
	missing []int // positions without a file
	add     []uidRecord
	addFile []int
	unknown []int // files without a record
	reborn  []int // files whose record's message was expunged already
	stale   int   // records without a file
}

// match compares files, the messages of the index, and new records. errPicture if
// the index turns out damaged: its messages would seem to have lost their files,
// and the files their UIDs.
func (mb *mailbox) match(f *files) (*plan, error) {
	p := &plan{}
	v := mb.view()
	v.Each(0, func(pos int, r index.Record) bool {
		if _, i := f.slot(locBase(r.Loc)); i < 0 {
			p.missing = append(p.missing, pos)
		} else {
			f.list[i].used = true
			if mb.reflag || f.list[i].name != mb.fileOf(v, r) {
				p.moved, p.to = append(p.moved, pos), append(p.to, i)
			}
		}
		return true
	})
	if v.Damaged() {
		for i := range f.list {
			f.list[i].used = false
		}
		return nil, errPicture
	}
	last := uint32(0)
	if v.Built() {
		last = v.UIDNext() - 1
	}
	// From the end: where a name stands twice, the newer line counts. That happens
	// when an expunged message's file comes back, and Dovecot reads it so, too.
	for _, r := range slices.Backward(mb.fresh) {
		_, i := f.slot(r.base)
		switch {
		case i < 0 || f.list[i].used:
			p.stale++
		case r.uid <= last:
			f.list[i].used = true
			p.reborn = append(p.reborn, i)
		default:
			f.list[i].used = true
			p.add, p.addFile = append(p.add, r), append(p.addFile, i)
		}
	}
	slices.Reverse(p.add)
	slices.Reverse(p.addFile)
	for i := range f.list {
		if !f.list[i].used {
			p.unknown = append(p.unknown, i)
		}
	}
	return p, nil
}

// apply makes the next picture of a plan.
func (mb *mailbox) apply(f *files, p *plan) error {
	tx, err := mb.beginAny()
	if err != nil {
		return err
	}
	mb.st.dropped += p.stale + len(p.missing)
	mb.lookedAt(f)
	mb.table()
	v := mb.view()
	for i, pos := range p.moved {
		r := v.Rec(pos)
		base, ext, _ := splitLoc(r.Loc)
		more := mb.moreOf(v, r.Keywords)
		if mb.more != nil {
			more = mb.more.of(r.UID, base)
		}
		mb.reshape(tx, v, pos, mb.shapeOf(f.list[p.to[i]].name, ext, more))
	}
	if len(p.missing) > 0 {
		mb.removeIn(tx, v, p.missing)
	}
	for i, r := range p.add {
		_, ours := nameSum(r.base)
		mb.addIn(tx, r, f.list[p.addFile[i]].name, mb.more.of(r.uid, r.base), index.Facts{Size: -1}, ours)
	}
	// Only now: what the list gave a UID and the index had not is in it.
	tx.Next(mb.hdr.next)
	if !v.Built() {
		tx.RaiseHigh()
	}
	mb.put(tx)
	return nil
}

// addIn adds a message to the index. unsynced says that its bytes may be in the
// journal alone.
func (mb *mailbox) addIn(tx *index.Tx, r uidRecord, name string, more []uint16, known index.Facts, unsynced bool) {
	sh := mb.shapeOf(name, r.ext, more)
	if unsynced {
		sh.bits |= bitUnsynced
	}
	if known.Size < 0 {
		known.Size = toldSize(r.base, r.ext)
	}
	if known.Saved == 0 {
		known.Saved = toldSaved(r.ext)
	}
	tx.Add(index.Record{UID: r.uid, Flags: sh.flags, Keywords: setOf(tx, sh.names), Bits: sh.bits, Loc: sh.loc,
		Size: known.Size, Date: known.Date, Saved: known.Saved, Sent: known.Sent})
	mb.countNew(r.uid, 0, sh.bits)
}

// lookedAt notes what stamps a look stands for.
func (mb *mailbox) lookedAt(f *files) {
	mb.looked = mb.s.now()
	mb.st.cur = dirState{known: f.cur, doubt: f.racy, took: f.took}
	mb.st.new = dirState{known: f.new, doubt: f.racy, took: f.took}
}

// byArrival orders files that get UIDs: by the time that base names begin with.
func byArrival(f *files) func(a, b int) int {
	when := func(s string) (n uint64) {
		for i := 0; i < len(s) && s[i] >= '0' && s[i] <= '9' && i < 12; i++ {
			n = n*10 + uint64(s[i]-'0')
		}
		return n
	}
	return func(a, b int) int {
		x, y := f.list[a].baseName(), f.list[b].baseName()
		if p, q := when(x), when(y); p != q {
			if p < q {
				return -1
			}
			return 1
		}
		return strings.Compare(x, y)
	}
}

// adopt gives UIDs to files that have none. The mailbox's lock is held.
func (mb *mailbox) adopt(f *files, p *plan) error {
	if len(p.unknown) == 0 {
		return nil
	}
	slices.SortFunc(p.unknown, byArrival(f))
	reborn := map[int]bool{}
	for _, i := range p.reborn {
		reborn[i] = true
	}
	list := make([]int, 0, len(p.unknown))
	for _, i := range p.unknown {
		keep, err := mb.welcome(&f.list[i], reborn[i])
		if err != nil {
			return err
		}
		if keep {
			list = append(list, i)
		}
	}
	first, err := mb.newUIDs(len(list))
	if err != nil || len(list) == 0 {
		return err
	}
	recs := make([]uidRecord, len(list))
	for k, i := range list {
		recs[k] = uidRecord{uid: first + uint32(k), base: f.list[i].baseName()}
	}
	if err := mb.appendUIDs(p.add, recs, true); err != nil {
		mb.hdr.next = first // nobody saw them
		return err
	}
	p.add, p.addFile, p.reborn = append(p.add, recs...), append(p.addFile, list...), nil
	return nil
}
