package maildir

import (
	"slices"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// What a mailbox shows is a view of the index. A mailbox keeps in memory what
// the newest view's state says (mb.st), and the tables of keyword names.
//
// Whoever changes a mailbox's files or its index does it between enter and
// leave: the user's lock is held, the picture is the newest. What was read of
// the disk meanwhile and not committed to the index is forgotten at the end.
//
// Index files may be damaged at any moment, and what the index shows then is
// nothing, or blank. Therefore:
//
//   - What sessions are shown (mb.snap) is only ever replaced by a picture that is
//     Built: it never loses a message but by an expunge that really happened.
//   - refresh, settled, resync and ready end with a picture that stands for the
//     disk (mb.loaded), or with an error. Whoever needs to know whether a message
//     exists asks one of them, or takes mb.known, which is what sessions were told
//     less what was expunged since.
//   - begin refuses a picture that is anything else; only a comparison of the whole
//     folder (beginAny) may begin with nothing.
//   - What was read of a picture decides about mail or control files only if the
//     picture is not Damaged afterwards (match, writeUIDs, writeMore, collect).
//   - Once files and uidlist are changed the operation is done: an index that
//     cannot be told is made anew from them, and is no error.

// openBox finds the mailbox's identity and opens its index; op is held.
func (mb *mailbox) openBox() error {
	if mb.box != nil {
		return nil
	}
	hdr, ok, err := mb.readHeader()
	if err != nil {
		return err
	}
	if !ok {
		if hdr, err = mb.makeHeader(); err != nil {
			return err
		}
	}
	return mb.useBox(hdr)
}

// useBox opens the index of the mailbox with this header.
func (mb *mailbox) useBox(hdr uidHeader) error {
	guid := guidOf(hdr.guid)
	for try := 0; ; try++ {
		mb.s.mu.Lock()
		other := mb.s.boxes[guid]
		if other == nil {
			mb.s.boxes[guid] = mb
		}
		mb.s.mu.Unlock()
		if other == nil || other == mb {
			break
		}
		if try > 2 {
			return errkind.Newf("open mailbox", errkind.Corrupt, "another mailbox has its GUID")
		}
		// other is the mailbox's former name in memory, or its original.
		renewed, err := mb.renewCopy(other.dirUnlocked(), hdr)
		if err != nil {
			return err
		}
		if renewed.guid == hdr.guid {
			mb.s.forgetBox(guid, other)
		}
		hdr, guid = renewed, guidOf(renewed.guid)
	}
	box, err := mb.s.user.Box(guid, mb.idx)
	if err != nil {
		mb.s.forgetBox(guid, mb)
		return mb.s.fail("open index", err)
	}
	mb.box, mb.hdr = box, hdr
	if st, ok := parseState([]byte(box.View().State())); ok && st.dir != "" && st.dir != mb.stateDir() {
		renewed, err := mb.renewCopy(st.dir, hdr)
		if err != nil || renewed.guid != hdr.guid {
			mb.closeBox()
			if err == nil {
				err = mb.useBox(renewed)
			}
			return err
		}
	}
	mb.boxNow.Store(box)
	mb.s.setPlace(guid, place{mb.dir, mb.ctl})
	box.OnDamage(mb.heal)
	mb.load(true)
	return nil
}

// stateDir is the mailbox's directory as its state has it.
func (mb *mailbox) stateDir() string { return mb.dir[:min(len(mb.dir), index.MaxState-stateSize)] }

// dirUnlocked gives the directory of a mailbox whose op is not held.
func (mb *mailbox) dirUnlocked() string {
	if err := mb.s.lock(); err != nil {
		return ""
	}
	defer mb.s.unlock()
	return mb.dir
}

// renewCopy gives a mailbox a new GUID and UIDVALIDITY if dir, another directory,
// holds a mailbox of the same GUID: a folder that was copied as a whole. It
// returns the header as it is then.
func (mb *mailbox) renewCopy(dir string, hdr uidHeader) (uidHeader, error) {
	if dir == "" || dir == mb.dir || mb.ctl != mb.dir { // with control files apart, nobody copies both
		return hdr, nil
	}
	orig := mailbox{s: mb.s, dir: dir, ctl: dir}
	if other, ok, err := orig.readHeader(); err != nil || !ok || other.guid != hdr.guid {
		return hdr, nil
	}
	if err := mb.s.lock(); err != nil {
		return hdr, err
	}
	defer mb.s.unlock()
	lock, err := mb.s.lockUIDs(mb.ctl)
	if err != nil {
		return hdr, err
	}
	defer lock.release()
	data, err := vfs.ReadFile(mb.s.fs, join(mb.ctl, uidlistFile), maxUIDList)
	if err != nil {
		return hdr, mb.s.fail("read uidlist", err)
	}
	l, err := parseUIDList(data)
	if err != nil || l.hdr.guid != hdr.guid {
		return l.hdr, mb.s.fail("read uidlist", err)
	}
	if l.hdr.validity, err = mb.s.nextValidity(l.hdr.validity); err != nil {
		return hdr, mb.s.fail("new UIDVALIDITY", err)
	}
	l.hdr.guid = guidText(mailstore.NewGUID())
	mb.s.opt.Note("the mailbox " + mb.nameNow() + " is a copy of the one in " + dir + ": it gets a GUID and a UIDVALIDITY of its own")
	return l.hdr, mb.s.fail("write uidlist", mb.writeList(l.hdr, l.recs))
}

// forgetBox ends a mailbox's claim to its GUID.
func (s *Store) forgetBox(guid mailstore.GUID, mb *mailbox) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.boxes[guid] == mb {
		delete(s.boxes, guid)
	}
}

// closeBox gives the index up; op is held.
func (mb *mailbox) closeBox() {
	if mb.box == nil {
		return
	}
	mb.s.forgetBox(guidOf(mb.hdr.guid), mb)
	mb.boxNow.Store(nil)
	mb.box.Close()
	mb.box = nil
}

// enter takes the user's lock and brings the picture up to date; op is held.
func (mb *mailbox) enter() error {
	if mb.isDead() {
		return mb.gone()
	}
	if err := mb.openBox(); err != nil {
		return err
	}
	if err := mb.s.lock(); err != nil {
		return err
	}
	mb.load(false)
	return nil
}

// enterSettled is enter for who changes messages: what a killed process began is finished.
func (mb *mailbox) enterSettled() error {
	if err := mb.enter(); err != nil {
		return err
	}
	if err := mb.settled(); err != nil {
		mb.leave()
		return err
	}
	return nil
}

// leave ends what enter began.
func (mb *mailbox) leave() {
	mb.load(true)
	mb.s.unlock()
}

// lock takes the user's lock.
func (s *Store) lock() error { return s.fail("lock", s.user.Lock(s.opt.LockWait)) }

func (s *Store) unlock() { s.user.Unlock() }

// load takes over the newest view; again also where it is the one that is known
// already: then what was changed in mb.st and not committed is forgotten.
func (mb *mailbox) load(again bool) {
	v := mb.box.View()
	if v.Built() && v.Damaged() {
		mb.rebuild = "its snapshot was damaged while it was in use"
	}
	if v == mb.raw && !again && mb.rebuild == "" {
		return
	}
	mb.raw = v
	if mb.rebuild != "" || !v.Built() { // what comes next begins with nothing
		mb.seen, mb.st, mb.loaded = &index.View{}, mb.noState(), false
		mb.fresh, mb.freshAll, mb.reflag, mb.more = nil, false, false, nil
		return
	}
	mb.fresh, mb.freshAll, mb.reflag, mb.more = nil, false, false, nil
	st, ok := parseState([]byte(v.State()))
	ok = ok && v.UIDValidity() == mb.hdr.validity
	switch {
	case ok && st.boot == mb.s.boot:
		mb.st, mb.loaded = st, true
		mb.st.dir = mb.stateDir()
	default:
		// Of another boot: the disk may lack what the index has. All is compared.
		mb.st, mb.loaded = mb.noState(), false
	}
	mb.seen = v
	old := mb.snap.Swap(v)
	if old != v && (old == nil || old.HighestModSeq() != v.HighestModSeq() || old.UIDNext() != v.UIDNext() || old.Len() != v.Len()) {
		mb.wake()
	}
}

// noState is the state of an index that stands for nothing.
func (mb *mailbox) noState() state { return state{boot: mb.s.boot, dir: mb.stateDir()} }

// view is the newest picture, empty if there is none.
func (mb *mailbox) view() *index.View { return mb.seen }

// heal makes the index anew when a session's reading finds its file damaged, so
// that the session gets what was there. The reader may hold op or the user's lock
// itself: then the next look does it. It waits a moment for others, once for each
// picture.
func (mb *mailbox) heal() {
	var now *index.View
	if box := mb.boxNow.Load(); box != nil {
		now = box.View()
	}
	wait := time.Second
	if mb.unhealed.Swap(now) == now {
		wait = 0
	}
	free := mb.op.TryLock()
	for n := 0; !free && wait > 0 && n < healTries; n++ {
		time.Sleep(time.Millisecond)
		free = mb.op.TryLock()
	}
	if !free {
		return
	}
	defer mb.op.Unlock()
	if mb.s.user.Lock(wait) == nil {
		mb.s.unlock()
		if err := mb.refresh(); err != nil {
			mb.look = true
		}
	}
}

// healTries is how many milliseconds heal waits for op.
const healTries = 50

// known is the newest picture that was ever complete.
func (mb *mailbox) known() *index.View {
	if v := mb.snap.Load(); v != nil {
		return v
	}
	return mb.seen
}

// put commits a change of the index with the state that it stands for; the
// mailbox is entered. What it publishes may be lost at once: mb.loaded tells.
func (mb *mailbox) put(tx *index.Tx) {
	tx.State(string(mb.st.append(nil)))
	tx.Commit()
	mb.load(true)
}

// errPicture says that the index was found damaged: what was read of it means
// nothing, and the folder has to be looked at again. Nothing was changed because
// of it.
var errPicture = errkind.Newf("look at the index", errkind.Unavailable, "the index was damaged, and is built anew; try again")

// looks is how often an operation looks at a folder whose index is damaged
// meanwhile, before it gives up.
const looks = 8

// begin begins a change of a picture that stands for the disk; the mailbox is
// entered and settled. Anything else is errPicture: a change of a picture that is
// not Built would show the mailbox as empty but for what it adds.
func (mb *mailbox) begin() (*index.Tx, error) {
	if !mb.loaded || mb.seen.Damaged() {
		mb.look = true
		return nil, errPicture
	}
	return mb.beginAny()
}

// beginAny begins a change by whoever compares the whole picture with the disk;
// the mailbox is entered. It may begin with nothing.
func (mb *mailbox) beginAny() (*index.Tx, error) {
	if mb.rebuild != "" {
		if err := mb.box.Reset(mb.rebuild); err != nil {
			return nil, mb.s.fail("reset index", err)
		}
	}
	tx, err := mb.box.Begin()
	if err != nil {
		return nil, mb.s.fail("change index", err)
	}
	if mb.rebuild != "" {
		mb.rebuild, mb.seen = "", tx.View()
	} else if mb.seen == mb.raw && tx.View() != mb.raw || mb.seen != mb.raw && tx.View().Built() {
		// Found damaged since we entered, or read again: positions mean nothing any more.
		tx.Abort()
		mb.look = true
		return nil, errPicture
	}
	tx.Validity(mb.hdr.validity)
	return tx, nil
}

// fileOf gives the stored name of a message's file: 'n' for new/ or 'c' for
// cur/, then the name.
func (mb *mailbox) fileOf(v *index.View, r index.Record) string {
	base, _, info := splitLoc(r.Loc)
	letter := "c"
	if r.Bits&bitNew != 0 {
		letter = "n"
	}
	switch {
	case r.Bits&bitOdd != 0: // see also nameBy
		return letter + base + info
	case r.Bits&bitNew != 0:
		return letter + base
	}
	return letter + base + mb.flagsOf(v, r).info()
}

// nameAt gives the stored name at a position.
func (mb *mailbox) nameAt(v *index.View, pos int) string { return mb.fileOf(v, v.Rec(pos)) }

// flagsOf gives a message's flags as a file name has them, with what belongs to
// other programs.
func (mb *mailbox) flagsOf(v *index.View, r index.Record) nameFlags {
	if r.Bits&bitOdd != 0 {
		_, _, info := splitLoc(r.Loc)
		return parseInfo(info)
	}
	d := mb.diskOf(v, r.Keywords)
	return nameFlags{sys: r.Flags, forwarded: d.forwarded, letters: d.letters}
}

// moreOf gives what a message has beyond the letters.
func (mb *mailbox) moreOf(v *index.View, set uint32) []uint16 {
	if set == 0 {
		return nil
	}
	return mb.diskOf(v, set).more
}

// diskOf says where the names of a set are kept.
func (mb *mailbox) diskOf(v *index.View, set uint32) diskSet {
	if set == 0 {
		return diskSet{}
	}
	mb.table()
	names := v.Keywords(set)
	if c, ok := mb.disk[set]; ok && slices.Equal(c.names, names) {
		return c.at
	}
	d, _ := mb.kw.find(names)
	if mb.disk == nil || len(mb.disk) > 4096 {
		mb.disk = map[uint32]setPlace{}
	}
	mb.disk[set] = setPlace{names, d}
	return d
}

// setPlace is where a set of keywords is kept.
type setPlace struct {
	names []string
	at    diskSet
}

// shape says how the index keeps a file: what of its name follows from the flags
// and what has to be written down.
type shape struct {
	flags mailstore.Flags
	names []string // keywords
	bits  uint8
	loc   string
}

// shapeOf reads a stored name; ext are the keys of its record, more what the
// message has beyond the letters.
func (mb *mailbox) shapeOf(name, ext string, more []uint16) shape {
	base, info := splitName(name[1:])
	if flags, ok := plainInfo(info); ok && name[0] == 'c' && len(more) == 0 {
		return shape{flags: flags, loc: joinLoc(base, ext, "", false)}
	}
	nf := parseInfo(info)
	sh := shape{flags: nf.sys, names: mb.kw.list(nf, more)}
	want := ""
	if name[0] == 'n' {
		sh.bits = bitNew
	} else {
		d, _ := mb.kw.find(sh.names)
		want = nameFlags{sys: nf.sys, forwarded: d.forwarded, letters: d.letters}.info()
	}
	if info != want {
		sh.bits |= bitOdd
	}
	sh.loc = joinLoc(base, ext, info, sh.bits&bitOdd != 0)
	return sh
}

// reshape gives a message's entry another shape.
func (mb *mailbox) reshape(tx *index.Tx, v *index.View, pos int, sh shape) {
	r := v.Rec(pos)
	tx.Set(pos, sh.flags, setOf(tx, sh.names))
	sh.bits |= r.Bits & bitUnsynced
	if sh.bits != r.Bits {
		tx.Bits(pos, sh.bits)
		mb.countNew(r.UID, r.Bits, sh.bits)
	}
	if sh.loc != r.Loc {
		tx.Loc(pos, sh.loc)
	}
}

// setOf gives the number of a set of keywords. Where there are too many sets the
// message is shown without them; its file keeps them.
func setOf(tx *index.Tx, names []string) uint32 {
	set, err := tx.KeywordSet(names)
	if err != nil {
		return 0
	}
	return set
}

// countNew keeps the count of what lies in new/.
func (mb *mailbox) countNew(uid uint32, was, is uint8) {
	switch {
	case was&bitNew == 0 && is&bitNew != 0:
		if mb.st.inNew++; mb.st.inNew == 1 || uid < mb.st.lowNew {
			mb.st.lowNew = uid
		}
	case was&bitNew != 0 && is&bitNew == 0:
		mb.st.inNew = max(mb.st.inNew-1, 0)
	}
}

// recentNow gives the messages that no session was told of; op is held.
func (mb *mailbox) recentNow() numset.Set {
	if mb.st.inNew == 0 {
		return mb.recent
	}
	return mb.recent.Union(numset.FromSorted(mb.newUIDsIn(mb.known())))
}

// newUIDsIn gives the UIDs of what lies in new/.
func (mb *mailbox) newUIDsIn(v *index.View) (uids []uint32) {
	from, _ := v.Find(mb.st.lowNew)
	v.Each(from, func(_ int, r index.Record) bool {
		if r.Bits&bitNew != 0 {
			uids = append(uids, r.UID)
		}
		return len(uids) < mb.st.inNew
	})
	return uids
}

// expungeFromView takes messages out of the picture whose files are gone; the
// mailbox is entered. A picture that cannot be changed now learns it from the disk.
func (mb *mailbox) expungeFromView(gone []int) {
	tx, err := mb.begin()
	if err != nil {
		mb.look = true
		return
	}
	mb.removeIn(tx, mb.view(), gone)
	mb.put(tx)
}

// removeIn takes messages out, in a transaction with more.
func (mb *mailbox) removeIn(tx *index.Tx, v *index.View, gone []int) {
	uids := make([]uint32, len(gone))
	for i, pos := range gone {
		uids[i] = v.At(pos).UID
		mb.countNew(uids[i], v.Bits(pos), 0)
	}
	tx.Remove(gone)
	mb.recent = mb.recent.Minus(numset.FromSorted(uids))
}

// ExpungedSince gives the UIDs expunged after m.
func (mb *mailbox) ExpungedSince(m mailstore.ModSeq) (numset.Set, bool, error) {
	mb.op.Lock()
	defer mb.op.Unlock()
	if mb.box == nil {
		return numset.Set{}, false, mb.gone()
	}
	uids, complete := mb.known().ExpungedSince(m)
	return uids, complete, nil
}

// Cached gives a fact that PutCached kept.
func (mb *mailbox) Cached(uid mailstore.UID, field string) ([]byte, bool) {
	box := mb.boxNow.Load()
	if box == nil {
		return nil, false
	}
	return box.Cached(uid, field)
}

// PutCached keeps a derived fact.
func (mb *mailbox) PutCached(uid mailstore.UID, field string, value []byte) {
	if box := mb.boxNow.Load(); box != nil {
		box.PutCached(uid, field, value)
	}
}
