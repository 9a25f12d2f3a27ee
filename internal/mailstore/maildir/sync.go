package maildir

import (
	"slices"
	"strings"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/numset"
)

// smallScan is how long a look at a folder may take to be done within an
// answer where only a doubt asks for it; larger folders are looked at in the
// background.
const smallScan = 3 * time.Millisecond

// refresh brings the mailbox up to date; op is held. If stat shows no change it
// costs four of them.
func (mb *mailbox) refresh() error {
	if mb.isDead() {
		return mb.gone()
	}
	changed, err := mb.statDirs()
	if err != nil {
		return err
	}
	if !mb.loaded || changed {
		return mb.resync()
	}
	stamp, err := mb.s.stampAt(join(mb.ctl, uidlistFile))
	if err != nil {
		return mb.s.fail("stat uidlist", err)
	}
	more, err := mb.s.stampAt(join(mb.ctl, moreFile))
	if err != nil {
		return mb.s.fail("stat keywords", err)
	}
	if stamp != mb.uids.stamp || more != mb.moref {
		return mb.resync()
	}
	return mb.doubts()
}

// statDirs reports whether new/ or cur/ differs from what was last seen. A
// mailbox whose directories were lost gets them back; one that is gone dies.
func (mb *mailbox) statDirs() (changed bool, err error) {
	for _, d := range []struct {
		st   *dirState
		name string
	}{{&mb.cur, "cur"}, {&mb.new, "new"}} {
		stamp, err := mb.s.stampAt(join(mb.dir, d.name))
		if err != nil {
			return false, mb.s.fail("stat "+d.name, err)
		}
		if stamp.inode == 0 {
			if err := mb.mend(); err != nil {
				return false, err
			}
			if stamp, err = mb.s.stampAt(join(mb.dir, d.name)); err != nil {
				return false, mb.s.fail("stat "+d.name, err)
			}
		}
		if stamp != d.st.known || d.st.stale {
			changed = true
		}
	}
	return changed, nil
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
		return d.doubt && now.Sub(d.known.mtime) > tick(d.known.mtime) && now.Sub(d.looked) > 20*d.tookMax
	}
	if !due(&mb.cur) && !due(&mb.new) || mb.rescan {
		return nil
	}
	if mb.cur.tookMax <= smallScan {
		return mb.resync()
	}
	mb.rescan = true
	ours, dir := mb.ours, mb.dir
	mb.work.Add(1)
	go func() {
		defer mb.work.Done()
		files, err := mb.s.scan(dir) // without op: sessions go on
		mb.op.Lock()
		defer mb.op.Unlock()
		mb.rescan = false
		if err != nil || mb.isDead() || mb.ours != ours {
			return // we changed something ourselves meanwhile: another time
		}
		if _, err := mb.readUIDs(); err == nil {
			mb.settle(files)
		}
	}()
	return nil
}

// resync looks at the disk and takes over what changed; op is held. The mailbox's
// lock is taken only if something has to be decided.
func (mb *mailbox) resync() error {
	f, err := mb.s.scan(mb.dir)
	if err != nil {
		return mb.lost(err)
	}
	have, err := mb.readUIDs()
	if err != nil {
		return mb.s.fail("read uidlist", err)
	}
	if err := mb.readKeywords(); err != nil {
		return err
	}
	if have && mb.try(f) {
		return nil
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

// settle takes over a look that a background check made.
func (mb *mailbox) settle(f *files) {
	if mb.readKeywords() == nil && !mb.try(f) {
		if err := mb.resyncLocked(); err != nil {
			mb.s.opt.Note("looking at " + mb.nameNow() + " again: " + err.Error())
		}
	}
}

// try applies a look if nothing in it has to be decided under the lock.
func (mb *mailbox) try(f *files) bool {
	if mb.freshAll && mb.loaded {
		return false // somebody wrote the list anew: compare under the lock
	}
	p := mb.match(f)
	if len(f.twins) > 0 || len(p.unknown) > 0 || len(p.missing)+len(p.reborn)+p.stale > 0 && !f.stable {
		for i := range f.list {
			f.list[i].used = false
		}
		return false
	}
	mb.apply(f, p)
	return true
}

// resyncLocked looks again under the mailbox's lock, gives UIDs to files that
// have none, and only now believes that a file is gone.
func (mb *mailbox) resyncLocked() error {
	if mb.ctl != mb.dir {
		if err := mb.s.makeDirs(mb.ctl); err != nil {
			return mb.s.fail("make control directory", err)
		}
	}
	lock, err := mb.s.lockUIDs(mb.ctl)
	if err != nil {
		if errkind.Is(err, errkind.ReadOnly) || errkind.Is(err, errkind.NoPermission) {
			return mb.readOnly(err)
		}
		if errkind.Is(err, errkind.NoSpace) {
			return mb.cramped(err)
		}
		return err
	}
	defer lock.release()
	if err = mb.decide(); errkind.Is(err, errkind.NoSpace) {
		return mb.cramped(err)
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
	}
	if err := mb.readKeywords(); err != nil {
		return err
	}
	if mb.freshAll && mb.loaded {
		mb.dropStrangers()
	}
	if err := mb.twins(f); err != nil {
		return mb.s.fail("mend doubles", err)
	}
	p := mb.match(f)
	p.unknown = append(p.unknown, p.reborn...)
	if err := mb.adopt(f, p); err != nil {
		return mb.s.fail("give UIDs", err)
	}
	mb.apply(f, p)
	return nil
}

// dropStrangers compares the messages in memory with a list that was written
// anew: a message that it no longer has, or has under another name, is gone.
func (mb *mailbox) dropStrangers() {
	s := mb.snap.Load()
	var gone []int
	var uids []uint32
	k := 0
	var left []uidRecord
	for pos := range s.n {
		e := s.at(pos)
		for k < len(mb.fresh) && mb.fresh[k].uid < e.uid {
			left = append(left, mb.fresh[k])
			k++
		}
		base, _ := splitName(mb.nameAt(s, pos)[1:])
		if k < len(mb.fresh) && mb.fresh[k].uid == e.uid && mb.fresh[k].base == base {
			mb.keepExt(mb.fresh[k])
			k++
			continue
		}
		gone = append(gone, pos)
		uids = append(uids, e.uid)
	}
	// Fresh holds what is new from here on: should what follows fail, the next
	// look must not take all others for gone.
	mb.fresh, mb.freshAll = append(left, mb.fresh[k:]...), false
	if len(gone) > 0 {
		mb.expungeFromView(gone, numset.FromSorted(uids))
	}
}

func (mb *mailbox) keepExt(r uidRecord) {
	if r.ext != "" {
		mb.ext[r.uid] = strings.Clone(r.ext)
	} else {
		delete(mb.ext, r.uid)
	}
}

// expungeFromView takes messages out of the picture.
func (mb *mailbox) expungeFromView(gone []int, uids numset.Set) {
	m := mb.s.modseq.next()
	ed := mb.edit()
	ed.remove(gone, m)
	for u := range uids.All() {
		delete(mb.ext, u)
		delete(mb.more, u)
		delete(mb.virt, u)
	}
	mb.recent = mb.recent.Minus(uids)
	mb.hist.add(m, uids)
	ed.publish()
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

// match compares files, messages in memory, and new records.
func (mb *mailbox) match(f *files) *plan {
	p := &plan{}
	s := mb.snap.Load()
	pos := 0
	for c := range s.chunks {
		for _, name := range mb.names[c] {
			base, _ := splitName(name[1:])
			if _, i := f.slot(base); i < 0 {
				p.missing = append(p.missing, pos)
			} else {
				f.list[i].used = true
				if f.list[i].name != name {
					p.moved, p.to = append(p.moved, pos), append(p.to, i)
				}
			}
			pos++
		}
	}
	last := uint32(0)
	if s.n > 0 {
		last = s.at(s.n - 1).uid
	}
	if mb.loaded {
		last = max(last, s.next-1)
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
	return p
}

// apply makes the next picture of a plan.
func (mb *mailbox) apply(f *files, p *plan) {
	mb.uids.dropped += p.stale + len(p.missing)
	mb.fresh, mb.freshAll = nil, false
	mb.looked(f)
	var m uint64
	seq := func() uint64 {
		if m == 0 {
			m = mb.s.modseq.next()
		}
		return m
	}
	if !mb.loaded {
		mb.hist.from = seq()
	}
	s := mb.snap.Load()
	ed := mb.edit()
	if mb.rename {
		mb.reflag(ed, seq)
	}
	for i, pos := range p.moved {
		name := f.list[p.to[i]].name
		e := ed.entryAt(pos)
		_, info := splitName(name)
		nf := parseInfo(info)
		if kf := pack(nf.sys, mb.kw.number(nf, mb.more[e.uid])); kf != e.kf {
			ed.set(pos, kf, seq())
		}
		mb.setName(s, pos, name)
	}
	if len(p.missing) > 0 {
		gone := make([]uint32, len(p.missing))
		for i, pos := range p.missing {
			gone[i] = s.at(pos).uid
			delete(mb.ext, gone[i])
			delete(mb.more, gone[i])
			delete(mb.virt, gone[i])
		}
		set := numset.FromSorted(gone)
		ed.remove(p.missing, seq())
		mb.recent = mb.recent.Minus(set)
		mb.hist.add(m, set)
	}
	for i, r := range p.add {
		name := f.list[p.addFile[i]].name
		_, info := splitName(name)
		nf := parseInfo(info)
		mb.keepExt(r)
		ed.add(entry{seq(), r.uid, pack(nf.sys, mb.kw.number(nf, mb.more[r.uid]))}, strings.Clone(name))
	}
	ed.next = max(ed.next, mb.uids.hdr.next)
	if !mb.loaded {
		ed.high = max(ed.high, seq())
	}
	mb.loaded = true
	ed.publish()
}

// looked notes what stamps a look stands for.
func (mb *mailbox) looked(f *files) {
	now := mb.s.now()
	for _, d := range []struct {
		st    *dirState
		stamp fileStamp
	}{{&mb.cur, f.cur}, {&mb.new, f.new}} {
		*d.st = dirState{known: d.stamp, doubt: f.racy, looked: now, tookMax: f.took}
	}
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
	var left []uint32 // keywords that a crash left for a UID that nobody got
	for k, i := range list {
		recs[k] = uidRecord{uid: first + uint32(k), base: f.list[i].baseName()}
		if _, ok := mb.more[recs[k].uid]; ok {
			delete(mb.more, recs[k].uid)
			left = append(left, recs[k].uid)
		}
	}
	if err := mb.saveMore(left, true); err != nil {
		mb.uids.hdr.next = first
		return err
	}
	if err := mb.appendUIDs(p.add, recs); err != nil {
		mb.uids.hdr.next = first // nobody saw them
		return err
	}
	p.add, p.addFile, p.reborn = append(p.add, recs...), append(p.addFile, list...), nil
	return nil
}

// reflag judges all flags anew, since letters have got other names.
func (mb *mailbox) reflag(ed *editor, seq func() uint64) {
	pos := 0
	for c, list := range ed.old.chunks {
		for i, e := range list {
			_, info := splitName(mb.names[c][i])
			nf := parseInfo(info)
			if kf := pack(nf.sys, mb.kw.number(nf, mb.more[e.uid])); kf != e.kf {
				ed.set(pos, kf, seq())
			}
			pos++
		}
	}
	mb.rename = false
}

// recentNow gives the messages that no session was told of.
func (mb *mailbox) recentNow() numset.Set {
	s := mb.snap.Load()
	var out numset.Set
	for c, list := range s.chunks {
		for i, e := range list {
			if mb.names[c][i][0] == 'n' {
				out.Add(e.uid)
			}
		}
	}
	return out.Union(mb.recent)
}
