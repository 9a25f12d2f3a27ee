package maildir

import (
	"errors"
	"slices"
	"strconv"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
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
		mb.op.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// existing gives the UIDs of set that the newest picture has.
func (mb *mailbox) existing(set numset.Set) []uint32 {
	v := mb.known()
	var out []uint32
	for _, r := range set.Ranges() {
		for pos, _ := v.Find(r.First); pos < v.Len(); pos++ {
			u := v.At(pos).UID
			if u > r.Last {
				break
			}
			out = append(out, u)
		}
	}
	return out
}

// settled makes sure that the index stands for the uidlist and the keyword files
// as they are now; the mailbox is entered.
func (mb *mailbox) settled() error {
	if mb.loaded && !mb.look && !mb.seen.Damaged() {
		stamp, err := mb.s.stampAt(join(mb.ctl, uidlistFile))
		if err != nil {
			return mb.s.fail("stat uidlist", err)
		}
		if stamp == mb.st.uids {
			if err := mb.readKeywords(); err != nil || !mb.reflag {
				return err
			}
		}
	}
	return mb.resync(nil)
}

// storeStep does a piece; op is held.
func (mb *mailbox) storeStep(c mailstore.FlagChange, uids []uint32, res *mailstore.StoreResult) error {
	if mb.readOnly {
		return errkind.Newf("store", errkind.ReadOnly, "the mailbox cannot be written")
	}
	if err := mb.enterSettled(); err != nil {
		return err
	}
	defer mb.leave()
	keywords := c.Keywords
	if c.Op == mailstore.RemoveFlags { // what nobody has needs no place
		keywords = nil
		mb.table()
		for _, k := range c.Keywords {
			if _, missing := mb.kw.find([]string{k}); len(missing) == 0 {
				keywords = append(keywords, k)
			}
		}
	}
	d, _, err := mb.placeFor(keywords, true)
	if err != nil {
		return err
	}
	st := &storing{mb: mb, c: c, d: d, res: res}
	left := uids
	for try := 0; len(left) > 0; try++ {
		next, err := st.pass(left)
		switch {
		case errors.Is(err, errPicture) && try < looks: // all of them once more
		case err != nil:
			return err
		case len(next) > 0 && try == looks:
			return errkind.Newf("find messages", errkind.Unavailable, "their files are renamed again and again")
		default:
			left = next
		}
		if len(left) == 0 {
			break
		}
		// Some files are not where they were: renamed by others, or expunged.
		if err := mb.resync(nil); err != nil {
			return err
		}
	}
	mb.settledAfter()
	return nil
}

// settledAfter is for the end of a change that was made: the sessions of this
// process see it even if the index was damaged meanwhile. If that cannot be now,
// the next look does it.
func (mb *mailbox) settledAfter() {
	if !mb.loaded || mb.look {
		if err := mb.resync(nil); err != nil {
			mb.look = true
		}
	}
}

// storing is one STORE on one piece.
type storing struct {
	mb  *mailbox
	c   mailstore.FlagChange
	d   diskSet
	res *mailstore.StoreResult

	wrong uint32 // a message that the index is wrong about
	made  []flagged
}

// todo is one message of a pass.
type todo struct {
	uid  uint32
	pos  int
	name string
	ext  string
	to   nameFlags
	old  nameFlags
	was  []uint16 // beyond the letters, before
	more []uint16 // and after
}

// pass changes what it can and gives those whose file was not found. Keywords
// beyond the letters are written first, since that is one write for all, and
// taken back where a rename then fails.
func (st *storing) pass(uids []uint32) (left []uint32, err error) {
	mb := st.mb
	v := mb.view()
	list, beyond := st.plan(v, uids)
	if v.Damaged() {
		return nil, errPicture
	}
	if len(list) == 0 {
		return nil, nil
	}
	seek, err := mb.seekUIDs()
	if err != nil {
		return nil, mb.s.fail("read uidlist", err)
	}
	defer seek.close()
	tx, err := mb.begin()
	if err != nil {
		return nil, err
	}
	if err := mb.saveMore(beyond, false); err != nil {
		tx.Abort()
		if errors.Is(err, errPicture) {
			return nil, err
		}
		return nil, mb.s.fail("write keywords", err)
	}
	own := mb.beginOwn()
	for k, t := range list {
		if err = st.one(tx, seek, v, t, &left); err != nil {
			st.takeBack(list[k:], beyond)
			break
		}
	}
	if len(left) > 0 {
		own.lost()
	}
	own.end()
	mb.put(tx)
	mb.distrust(st.wrong)
	if jerr := mb.journalFlags(st.made); err == nil {
		err = jerr
	}
	st.wrong, st.made = 0, nil
	return left, err
}

// one changes one message.
func (st *storing) one(tx *index.Tx, seek *seeker, v *index.View, t todo, left *[]uint32) error {
	mb := st.mb
	base, _ := splitName(t.name[1:])
	to := t.name
	if t.to.info() != t.old.info() {
		if same, err := seek.is(t.uid, base); err != nil {
			return mb.s.fail("read uidlist", err)
		} else if !same {
			st.wrong, *left = t.uid, append(*left, t.uid)
			return nil
		}
		to = "c" + base + t.to.info()
		if err := mb.s.fs.Rename(mb.path(t.name), mb.path(to)); err != nil {
			if notExist(err) {
				*left = append(*left, t.uid)
				return nil
			}
			return mb.s.fail("rename", err)
		}
		if t.name[0] == 'n' { // in cur/ now, yet nobody was told of it
			mb.recent = mb.recent.Union(numset.Of(t.uid))
		}
	}
	sh := mb.shapeOf(to, t.ext, t.more)
	if r := v.At(t.pos); sh.flags != r.Flags || setOf(tx, sh.names) != r.Keywords {
		st.res.Changed.Add(t.uid)
	}
	mb.reshape(tx, v, t.pos, sh)
	if changed := !slices.Equal(t.more, t.was); to != t.name || changed {
		_, was := splitName(t.name)
		_, is := splitName(to)
		st.made = append(st.made, flagged{t.uid, t.name[:1] + was, is, t.more, changed})
	}
	return nil
}

// distrust says that the index names another file for a message than the uidlist:
// it is built anew at the next look, which must come before anything is touched.
func (mb *mailbox) distrust(uid uint32) {
	if uid != 0 {
		mb.rebuild = "it gave the message " + utoa(uid) + " another file than the uidlist does"
		mb.load(true)
	}
}

// plan computes what becomes of each message, and what has to be noted for
// keywords beyond the letters.
func (st *storing) plan(v *index.View, uids []uint32) (list []todo, beyond []moreChange) {
	mb := st.mb
	for _, u := range uids {
		pos, ok := v.Find(u)
		if !ok {
			continue
		}
		r := v.Rec(pos)
		if lim := st.c.UnchangedSince; lim != nil && r.ModSeq > uint64(*lim) {
			st.res.Modified.Add(u)
			continue
		}
		base, ext, _ := splitLoc(r.Loc)
		t := todo{uid: u, pos: pos, name: mb.fileOf(v, r), ext: ext, was: mb.moreOf(v, r.Keywords)}
		_, info := splitName(t.name)
		t.old = parseInfo(info)
		if t.to, t.more = st.change(t.old, t.was); !slices.Equal(t.more, t.was) {
			beyond = append(beyond, moreChange{u, base, t.more})
		}
		list = append(list, t)
	}
	return list, beyond
}

// takeBack gives messages whose rename failed their old keywords.
func (st *storing) takeBack(list []todo, beyond []moreChange) {
	var again []moreChange
	for _, t := range list {
		for _, b := range beyond {
			if b.uid == t.uid {
				again = append(again, moreChange{b.uid, b.base, t.was})
			}
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
