package maildir

import (
	"rookery/internal/mailstore/index"
	"rookery/internal/mailstore/journal"
	"rookery/internal/numset"
)

// ownChange brackets changes of ours to new/ and cur/, under the user's lock, so
// that they cost no new look: stat before shows whether others changed something
// that nobody looked at, stat after is what is known from then on. What others do
// in between hides behind the same stamps; a doubt stays, and a later look clears
// it.
type ownChange struct {
	s   *Store
	dir string
	st  *state
}

func (mb *mailbox) beginOwn() *ownChange { return beginOwn(mb.s, mb.dir, &mb.st) }

func beginOwn(s *Store, dir string, st *state) *ownChange {
	o := &ownChange{s, dir, st}
	cur, new, err := s.stampDirs(dir)
	if err != nil || cur != st.cur.known {
		st.cur.stale = true
	}
	if err != nil || new != st.new.known {
		st.new.stale = true
	}
	return o
}

// lost ends the bracket because the folder has to be looked at.
func (o *ownChange) lost() { o.st.cur.stale, o.st.new.stale = true, true }

func (o *ownChange) end() {
	cur, new, err := o.s.stampDirs(o.dir)
	if err != nil {
		o.lost()
		return
	}
	for _, d := range []struct {
		st    *dirState
		stamp fileStamp
	}{{&o.st.cur, cur}, {&o.st.new, new}} {
		if !d.st.stale && d.stamp != d.st.known {
			d.st.known, d.st.doubt = d.stamp, true
		}
	}
}

// away is the source of a move, while its files leave: the user's lock is held,
// its op is not.
type away struct {
	mb   *mailbox
	box  *index.Box
	view *index.View
	st   state
	own  *ownChange
}

// leaving begins the leaving of files from src; nil if src's index is in no
// state that a bracket can go on from: the next look finds what left.
func (src *mailbox) leaving() *away {
	box := src.boxNow.Load()
	if box == nil {
		return nil
	}
	a := &away{mb: src, box: box, view: box.View()}
	st, ok := parseState([]byte(a.view.State()))
	if !ok || !a.view.Built() || st.boot != src.s.boot {
		return nil
	}
	a.st = st
	a.own = beginOwn(src.s, src.dir, &a.st)
	return a
}

// left takes the messages that left out of the source's index.
func (a *away) left(uids []uint32) {
	a.own.end()
	tx, err := a.box.Begin()
	if err != nil {
		return
	}
	if tx.View() != a.view {
		tx.Abort()
		return
	}
	var gone []int
	for _, u := range uids {
		if pos, ok := a.view.Find(u); ok {
			gone = append(gone, pos)
			if a.view.Bits(pos)&bitNew != 0 {
				a.st.inNew = max(a.st.inNew-1, 0)
			}
		}
	}
	a.st.dropped += len(gone)
	tx.Remove(gone)
	tx.State(string(a.st.append(nil)))
	tx.Commit()
}

// ClaimRecent gives the messages that no session has seen yet. A message that
// lies in new/ is one; taking it is the rename to cur/, which only one of
// several processes can do.
func (mb *mailbox) ClaimRecent(peek bool) (got numset.Set, err error) {
	mb.op.Lock()
	defer mb.op.Unlock()
	if mb.isDead() {
		return numset.Set{}, mb.gone()
	}
	if peek || mb.readOnly {
		return mb.recentNow(), nil
	}
	if mb.st.inNew > 0 {
		if err := mb.claim(); err != nil {
			return numset.Set{}, err
		}
	}
	got, mb.recent = mb.recent, numset.Set{}
	return got, nil
}

// claim moves what lies in new/ to cur/ and adds it to mb.recent.
func (mb *mailbox) claim() error {
	if err := mb.enterSettled(); err != nil {
		return err
	}
	defer mb.leave()
	tx, err := mb.begin()
	if err != nil {
		return err
	}
	own := mb.beginOwn()
	v := mb.view()
	var moved []uint32
	for _, u := range mb.newUIDsIn(v) {
		pos, _ := v.Find(u)
		r := v.Rec(pos)
		name := mb.fileOf(v, r)
		base, info := splitName(name[1:])
		_, ext, _ := splitLoc(r.Loc)
		to := "c" + base + parseInfo(info).info()
		err = mb.s.fs.Rename(mb.path(name), mb.path(to))
		if err == nil {
			mb.reshape(tx, v, pos, mb.shapeOf(to, ext, mb.moreOf(v, r.Keywords)))
			moved = append(moved, u)
		} else if notExist(err) {
			own.lost() // taken by another program, or gone
			err = nil
		} else {
			err = mb.s.fail("claim recent", err)
			break
		}
	}
	own.end()
	mb.recent = mb.recent.Union(numset.FromSorted(moved))
	mb.put(tx)
	mb.settledAfter()
	return err
}

// journalMoved notes that messages left this mailbox, after the move is certain in
// the other one. Before the answer it must be on the disk where the journal itself
// would bring a message back after a power cut (unsynced), and where every expunge
// must be; else soon, for a file system whose renames are not whole. The user's
// lock is held.
func (src *mailbox) journalMoved(moved, unsynced []uint32) error {
	j := src.s.journal
	box := src.boxNow.Load()
	if j == nil || box == nil || len(moved) == 0 {
		return nil
	}
	class := journal.Soon
	if len(unsynced) > 0 || src.s.opt.SyncChanges {
		class = journal.Now
	}
	t, err := j.Append(class, journal.Record{Kind: journal.Expunge, Box: box.GUID(), UIDValidity: box.View().UIDValidity(), UIDs: numset.FromSorted(moved)})
	if err == nil {
		if err = t.Wait(); err == nil {
			t.Done()
		}
	}
	if err != nil && class == journal.Now { // it was moved, but a power cut may bring it back here, too
		return src.s.fail("move", err)
	}
	return nil
}
