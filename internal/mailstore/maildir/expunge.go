package maildir

import (
	"errors"
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
	if err := mb.enterSettled(); err != nil {
		return done, err
	}
	defer mb.leave()
	for try := 0; ; try++ {
		left, err := mb.removeFiles(uids, &done)
		switch {
		case errors.Is(err, errPicture) && try < looks:
			left = uids
		case err != nil:
			return done, err
		case len(left) == 0:
			mb.settledAfter()
			return done, nil
		case try == looks:
			return done, errkind.Newf("find messages", errkind.Unavailable, "their files are renamed again and again")
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
	if !mb.loaded || v.Damaged() {
		return nil, errPicture
	}
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
		mb.expungeFromView(gone)
		if jerr := mb.journalExpunge(numset.FromSorted(set)); err == nil {
			err = jerr
		}
	}
	mb.distrust(wrong)
	return left, err
}
