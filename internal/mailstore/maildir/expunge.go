package maildir

import (
	"strconv"

	"rookery/internal/errkind"
	"rookery/internal/numset"
)

func utoa64(n int64) string { return strconv.FormatInt(n, 10) }

// Expunge removes messages for good.
func (mb *mailbox) Expunge(set numset.Set) (numset.Set, error) {
	var done numset.Set
	err := mb.eachStep(set, func(uids []uint32) error {
		got, err := mb.expungeStep(uids)
		done = done.Union(got)
		return errkind.Wrap("expunge", err)
	})
	return done, err
}

// expungeStep does a piece; op is held.
func (mb *mailbox) expungeStep(uids []uint32) (done numset.Set, err error) {
	if mb.readOnly {
		return done, errkind.Newf("expunge", errkind.ReadOnly, "the mailbox cannot be written")
	}
	if err := mb.enter(); err != nil {
		return done, err
	}
	defer mb.leave()
	if err := mb.settled(); err != nil {
		return done, err
	}
	for try := 0; ; try++ {
		left, err := mb.removeFiles(uids, &done)
		if err != nil || len(left) == 0 || try == 8 {
			return done, err
		}
		// Renamed by others, or gone already: look, and remove what is left.
		if err := mb.resync(nil); err != nil {
			return done, err
		}
		uids = left
	}
}

func (mb *mailbox) removeFiles(uids []uint32, done *numset.Set) (left []uint32, err error) {
	v := mb.view()
	seek, err := mb.seekUIDs()
	if err != nil {
		return nil, mb.s.fail("read uidlist", err)
	}
	defer seek.close()
	own := mb.beginOwn()
	var gone []int
	var set []uint32
	wrong := uint32(0)
	for _, u := range uids {
		pos, ok := v.Find(u)
		if !ok {
			continue
		}
		r := v.Rec(pos)
		same, serr := seek.is(u, locBase(r.Loc))
		if err = serr; err == nil && !same {
			wrong, left = u, append(left, u)
			continue
		}
		if err == nil {
			err = mb.s.fs.Remove(mb.path(mb.fileOf(v, r)))
		}
		if notExist(err) {
			left, err = append(left, u), nil
			own.lost()
			continue
		}
		if err != nil {
			err = mb.s.fail("remove", err)
			break
		}
		gone, set = append(gone, pos), append(set, u)
	}
	own.end()
	if len(gone) > 0 {
		*done = done.Union(numset.FromSorted(set))
		mb.st.dropped += len(gone)
		if xerr := mb.expungeFromView(gone); err == nil {
			err = xerr
		}
	}
	mb.distrust(wrong)
	return left, err
}
