package maildir

import (
	"slices"
	"strconv"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// step is how many messages are worked on before others may have the mailbox.
const step = 256

func utoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// maxPerMessage bounds the keywords of one message.
const maxPerMessage = 100

// Store changes flags and keywords. A message's flags are its file name: the
// rename from exactly the old name is what makes two sessions' changes merge.
func (mb *mailbox) Store(c mailstore.FlagChange) (mailstore.StoreResult, error) {
	var res mailstore.StoreResult
	if len(c.Keywords) > maxPerMessage {
		return res, errkind.Newf("store", errkind.Limit, "more than "+strconv.Itoa(maxPerMessage)+" keywords")
	}
	for _, k := range c.Keywords {
		if !goodKeyword(k) {
			return res, errkind.Newf("store", errkind.Limit, "a keyword is longer than "+strconv.Itoa(maxKeywordSize)+" octets or no atom")
		}
	}
	err := mb.eachStep(c.UIDs, func(uids []uint32) error {
		return errkind.Wrap("store", mb.storeStep(c, uids, &res))
	})
	return res, err
}

// eachStep runs f over pieces of those UIDs that exist, with op held and given
// up between them.
func (mb *mailbox) eachStep(set numset.Set, f func(uids []uint32) error) error {
	uids := mb.existing(set)
	if len(uids) == 0 {
		mb.op.Lock()
		defer mb.op.Unlock()
		if mb.isDead() {
			return mb.gone()
		}
		return nil
	}
	for part := range slices.Chunk(uids, step) {
		mb.op.Lock()
		if mb.isDead() {
			mb.op.Unlock()
			return mb.gone()
		}
		err := f(part)
		if err == nil {
			err = mb.syncChange()
		}
		mb.op.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// syncChange puts the renames and removals of a step on disk where that was
// asked for; op is held.
func (mb *mailbox) syncChange() error {
	if !mb.s.opt.SyncChanges {
		return nil
	}
	for _, d := range [...]string{"cur", "new"} {
		if err := mb.s.fs.SyncDir(join(mb.dir, d)); err != nil {
			return mb.s.fail("sync", err)
		}
	}
	return nil
}

// existing gives the UIDs of set that the newest picture has.
func (mb *mailbox) existing(set numset.Set) []uint32 {
	s := mb.snap.Load()
	var out []uint32
	for _, r := range set.Ranges() {
		for pos, _ := s.Find(r.First); pos < s.n; pos++ {
			u := s.at(pos).uid
			if u > r.Last {
				break
			}
			out = append(out, u)
		}
	}
	return out
}

// storeStep does a piece; op is held.
func (mb *mailbox) storeStep(c mailstore.FlagChange, uids []uint32, res *mailstore.StoreResult) error {
	if mb.uids.readOnly {
		return errkind.Newf("store", errkind.ReadOnly, "the mailbox cannot be written")
	}
	keywords := c.Keywords
	if c.Op == mailstore.RemoveFlags { // what nobody has needs no place
		keywords = nil
		for _, k := range c.Keywords {
			if _, missing := mb.kw.find([]string{k}); len(missing) == 0 {
				keywords = append(keywords, k)
			}
		}
	}
	d, ok, err := mb.placeFor(keywords, false)
	if err != nil {
		return err
	}
	beyond := func() bool { return len(d.more) > 0 || c.Op == mailstore.SetFlags && len(mb.more) > 0 }
	if !ok || beyond() {
		// Names to make, or sets kept in a file of ours: one writer at a time.
		lock, err := mb.s.lockUIDs(mb.ctl)
		if err != nil {
			return err
		}
		defer lock.release()
		if err := mb.readKeywords(); err != nil {
			return err
		}
		if d, _, err = mb.placeFor(keywords, true); err != nil {
			return err
		}
	}
	st := &storing{mb: mb, c: c, d: d, res: res, own: mb.beginOwn()}
	defer st.own.end()
	left := uids
	for try := 0; len(left) > 0; try++ {
		if left, err = st.pass(left); err != nil || len(left) == 0 || try == 8 {
			break
		}
		// Some files are not where they were: renamed by others, or expunged.
		st.own.lost()
		if err = mb.resync(); err != nil {
			break
		}
	}
	return err
}

// storing is one STORE on one piece.
type storing struct {
	mb  *mailbox
	c   mailstore.FlagChange
	d   diskSet
	res *mailstore.StoreResult
	own *ownChange
	seq uint64
}

// todo is one message of a pass.
type todo struct {
	uid  uint32
	pos  int
	name string
	to   nameFlags
	old  nameFlags
	more []uint16 // before
}

// pass changes what it can and gives those whose file was not found. Keywords
// beyond the letters are written first, since that is one write for all, and
// taken back where a rename then fails.
func (st *storing) pass(uids []uint32) (left []uint32, err error) {
	mb := st.mb
	s := mb.snap.Load()
	list, beyond := st.plan(s, uids)
	if err := mb.saveMore(beyond, mb.s.opt.SyncChanges); err != nil {
		for _, t := range list {
			mb.putMore(t.uid, t.more)
		}
		return nil, mb.s.fail("write keywords", err)
	}
	ed := mb.edit()
	for k, t := range list {
		base, _ := splitName(t.name[1:])
		if to := "c" + base + t.to.info(); t.to.info() != t.old.info() {
			if err = mb.s.fs.Rename(mb.path(t.name), mb.path(to)); err != nil {
				if notExist(err) {
					left, err = append(left, t.uid), nil
					continue
				}
				err = mb.s.fail("rename", err)
				st.takeBack(list[k:], beyond)
				break
			}
			if t.name[0] == 'n' { // in cur/ now, yet nobody was told of it
				mb.recent = mb.recent.Union(numset.Of(t.uid))
			}
			mb.setName(s, t.pos, to)
		}
		if kf := pack(t.to.sys, mb.kw.number(t.to, mb.more[t.uid])); kf != s.at(t.pos).kf {
			if st.seq == 0 {
				st.seq = mb.s.modseq.next()
			}
			ed.set(t.pos, kf, st.seq)
			st.res.Changed.Add(t.uid)
		}
	}
	ed.publish()
	return left, err
}

// plan computes what becomes of each message, and notes it for keywords beyond
// the letters.
func (st *storing) plan(s *snapshot, uids []uint32) (list []todo, beyond []uint32) {
	mb := st.mb
	for _, u := range uids {
		pos, ok := s.Find(u)
		if !ok {
			continue
		}
		e := s.at(pos)
		if lim := st.c.UnchangedSince; lim != nil && e.modseq > uint64(*lim) && e.modseq != st.seq {
			st.res.Modified.Add(u)
			continue
		}
		t := todo{uid: u, pos: pos, name: mb.nameAt(s, pos), more: mb.more[u]}
		_, info := splitName(t.name)
		t.old = parseInfo(info)
		var more []uint16
		t.to, more = st.change(t.old, t.more)
		if !slices.Equal(more, t.more) {
			beyond = append(beyond, u)
			mb.putMore(u, more)
		}
		list = append(list, t)
	}
	return list, beyond
}

func (mb *mailbox) putMore(uid uint32, more []uint16) {
	if mb.more[uid] = more; len(more) == 0 {
		delete(mb.more, uid)
	}
}

// takeBack gives messages whose rename failed their old keywords.
func (st *storing) takeBack(list []todo, beyond []uint32) {
	var again []uint32
	for _, t := range list {
		if slices.Contains(beyond, t.uid) {
			st.mb.putMore(t.uid, t.more)
			again = append(again, t.uid)
		}
	}
	if err := st.mb.saveMore(again, false); err != nil {
		st.mb.s.opt.Note("keywords of " + st.mb.nameNow() + " could not be taken back: " + err.Error())
	}
}

// change computes a message's new flags.
func (st *storing) change(old nameFlags, more []uint16) (nameFlags, []uint16) {
	nf := old
	switch st.c.Op {
	case mailstore.AddFlags:
		nf.sys |= st.c.Flags
		nf.letters |= st.d.letters
		nf.forwarded = nf.forwarded || st.d.forwarded
		more = union(more, st.d.more)
	case mailstore.RemoveFlags:
		nf.sys &^= st.c.Flags
		nf.letters &^= st.d.letters
		nf.forwarded = nf.forwarded && !st.d.forwarded
		more = minus(more, st.d.more)
	default:
		nf.sys = st.c.Flags & mailstore.AllFlags
		nf.letters = st.d.letters
		for i, n := range st.mb.kw.letters { // a letter without a name is not ours to take
			if n == "" {
				nf.letters |= old.letters & (1 << i)
			}
		}
		nf.forwarded, more = st.d.forwarded, st.d.more
	}
	return nf, more
}

func union(a, b []uint16) []uint16 {
	if len(b) == 0 {
		return a
	}
	out := append(slices.Clone(a), b...)
	slices.Sort(out)
	return slices.Compact(out)
}

func minus(a, b []uint16) []uint16 {
	return slices.DeleteFunc(slices.Clone(a), func(n uint16) bool { return slices.Contains(b, n) })
}

// ownChange brackets changes of ours to new/ and cur/, so that they cost no new
// look: stat before shows whether others changed something that nobody looked
// at, stat after is what is known from then on. What others do in between hides
// behind the same stamps; a doubt stays, and a later look clears it.
type ownChange struct{ mb *mailbox }

func (mb *mailbox) beginOwn() *ownChange {
	o := &ownChange{mb}
	o.check()
	return o
}

func (o *ownChange) check() {
	cur, new, err := o.mb.s.stampDirs(o.mb.dir)
	if err != nil || cur != o.mb.cur.known {
		o.mb.cur.stale = true
	}
	if err != nil || new != o.mb.new.known {
		o.mb.new.stale = true
	}
}

// lost ends the bracket because the folder has to be looked at.
func (o *ownChange) lost() { o.mb.cur.stale, o.mb.new.stale = true, true }

func (o *ownChange) end() {
	o.mb.ours++
	cur, new, err := o.mb.s.stampDirs(o.mb.dir)
	if err != nil {
		o.lost()
		return
	}
	for _, d := range []struct {
		st    *dirState
		stamp fileStamp
	}{{&o.mb.cur, cur}, {&o.mb.new, new}} {
		if !d.st.stale && d.stamp != d.st.known {
			d.st.known, d.st.doubt = d.stamp, true
		}
	}
}

// ClaimRecent gives the messages that no session has seen yet. A message that
// lies in new/ is one; taking it is the rename to cur/, which only one of
// several processes can do.
func (mb *mailbox) ClaimRecent(peek bool) (numset.Set, error) {
	mb.op.Lock()
	defer mb.op.Unlock()
	if mb.isDead() {
		return numset.Set{}, mb.gone()
	}
	if peek || mb.uids.readOnly {
		return mb.recentNow(), nil
	}
	got := mb.recent
	mb.recent = numset.Set{}
	own := mb.beginOwn()
	defer own.end()
	s := mb.snap.Load()
	var moved numset.Set
	for c, list := range s.chunks {
		for i, e := range list {
			name := mb.names[c][i]
			if name[0] != 'n' {
				continue
			}
			base, info := splitName(name[1:])
			to := "c" + base + parseInfo(info).info()
			err := mb.s.fs.Rename(mb.path(name), mb.path(to))
			switch {
			case err == nil:
				mb.names[c][i] = to
				moved.Add(e.uid)
			case notExist(err):
				own.lost() // taken by another process, or gone
			default:
				mb.recent = got.Union(moved)
				return numset.Set{}, mb.s.fail("claim recent", err)
			}
		}
	}
	return got.Union(moved), nil
}
