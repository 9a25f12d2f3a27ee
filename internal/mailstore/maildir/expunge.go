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
func (mb *mailbox) expungeStep(uids []uint32) (numset.Set, error) {
	if mb.uids.readOnly {
		return numset.Set{}, errkind.Newf("expunge", errkind.ReadOnly, "the mailbox cannot be written")
	}
	own := mb.beginOwn()
	defer own.end()
	var done numset.Set
	for try := 0; ; try++ {
		left, err := mb.removeFiles(uids, &done)
		if err != nil || len(left) == 0 || try == 8 {
			return done, err
		}
		// Renamed by others, or gone already: look, and remove what is left.
		own.lost()
		if err := mb.resync(); err != nil {
			return done, err
		}
		uids = left
	}
}

func (mb *mailbox) removeFiles(uids []uint32, done *numset.Set) (left []uint32, err error) {
	s := mb.snap.Load()
	var gone []int
	var set []uint32
	for _, u := range uids {
		pos, ok := s.Find(u)
		if !ok {
			continue
		}
		if err = mb.s.fs.Remove(mb.path(mb.nameAt(s, pos))); err != nil {
			if notExist(err) {
				left, err = append(left, u), nil
				continue
			}
			err = mb.s.fail("remove", err)
			break
		}
		gone, set = append(gone, pos), append(set, u)
	}
	if len(gone) > 0 {
		removed := numset.FromSorted(set)
		*done = done.Union(removed)
		mb.uids.dropped += len(gone)
		mb.expungeFromView(gone, removed)
	}
	return left, err
}
