package maildir

import (
	"errors"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// Copy adds copies to another mailbox (or this one), all or none. A copy is a
// hard link: it keeps the bytes and INTERNALDATE, and costs no disk.
func (mb *mailbox) Copy(uids numset.Set, to mailstore.Name) (mailstore.CopyResult, error) {
	res, err := mb.transfer(uids, to, linkFile)
	return res, errkind.Wrap("copy", err)
}

// Move renames the files into the other mailbox: at each moment a message is in
// one of them.
func (mb *mailbox) Move(uids numset.Set, to mailstore.Name) (mailstore.CopyResult, error) {
	res, err := mb.transfer(uids, to, moveFile)
	return res, errkind.Wrap("move", err)
}

// transfer is Copy or Move.
func (mb *mailbox) transfer(set numset.Set, to mailstore.Name, kind addKind) (mailstore.CopyResult, error) {
	var res mailstore.CopyResult
	dst, err := mb.s.get(to)
	if err != nil {
		return res, err
	}
	defer mb.s.put(dst)
	for try := 0; ; try++ {
		job, from, err := mb.collect(set, kind)
		if err != nil {
			return res, err
		}
		uidv, err := dst.commit(job)
		if errors.Is(err, errSource) && try < 8 {
			// Renamed or removed by another session or program since we looked.
			mb.op.Lock()
			mb.cur.stale = true
			err = mb.refresh()
			mb.op.Unlock()
			if err != nil {
				return res, err
			}
			continue
		}
		if errors.Is(err, errSource) {
			err = errkind.New("find message", errkind.Unavailable, err)
		}
		if err != nil {
			return res, err
		}
		res = mailstore.CopyResult{UIDValidity: uidv, From: from, To: job.uids}
		if kind == moveFile {
			err = mb.forget(job, from)
		}
		return res, err
	}
}

// collect makes the job for the messages of set that exist now.
func (mb *mailbox) collect(set numset.Set, kind addKind) (*addJob, []uint32, error) {
	mb.op.Lock()
	defer mb.op.Unlock()
	if mb.isDead() {
		return nil, nil, mb.gone()
	}
	if kind == moveFile && mb.uids.readOnly {
		return nil, nil, errkind.Newf("move", errkind.ReadOnly, "the mailbox cannot be written")
	}
	job := &addJob{}
	var from []uint32
	s := mb.snap.Load()
	for _, u := range mb.existing(set) {
		pos, ok := s.Find(u)
		if !ok {
			continue
		}
		name := mb.nameAt(s, pos)
		base, info := splitName(name[1:])
		nf := parseInfo(info)
		it := &addItem{kind: kind, from: mb.path(name), flags: nf.sys, other: nf.other, tail: nf.tail,
			keywords: s.Keywords(s.at(pos).keywords()), base: mb.copyName(base)}
		// A copy keeps the message's GUID, whatever its name, and gets a SAVEDATE.
		text, ok := extKey(mb.ext[u], 'G')
		if !ok {
			text = guidText(guidOf(base))
		}
		it.ext = "G" + text + " T" + utoa64(mb.s.now().Unix())
		if v, ok := mb.virtSize(u, base); ok && v >= 0 {
			if _, w := nameSizes(base); w < 0 {
				it.ext += " W" + utoa64(v)
			}
		}
		job.items = append(job.items, it)
		from = append(from, u)
	}
	return job, from, nil
}

// copyName makes a base name for a copy: what the source's says of its bytes is
// true of the copy, too.
func (mb *mailbox) copyName(base string) string {
	out := mb.s.names.next(mb.s.now())
	if p, v := nameSizes(base); p >= 0 && v >= 0 {
		out = withSizes(out, p, v)
	}
	if sum, ok := nameSum(base); ok {
		out = withSum(out, sum)
	}
	return out
}

// forget takes moved messages out of the source's picture. Where a file had to
// be copied, the source's goes now that the copy is certain.
func (mb *mailbox) forget(job *addJob, from []uint32) error {
	mb.op.Lock()
	defer mb.op.Unlock()
	if mb.isDead() {
		return nil
	}
	// The renames changed cur/ or new/ without a bracket of ours: look again.
	mb.cur.stale, mb.new.stale = true, true
	mb.ours++
	var first error
	copied := false
	var gone []int
	var uids []uint32
	s := mb.snap.Load()
	for i, u := range from {
		if job.items[i].copied {
			copied = true
			if err := mb.s.fs.Remove(job.items[i].from); err != nil && !notExist(err) {
				if first == nil {
					first = mb.s.fail("move", err)
				}
				continue
			}
		}
		if pos, ok := s.Find(u); ok {
			gone, uids = append(gone, pos), append(uids, u)
		}
	}
	if copied { // a rename was synced with its target; this was not
		for _, d := range []string{"cur", "new"} {
			if err := mb.s.fs.SyncDir(join(mb.dir, d)); err != nil && first == nil {
				first = mb.s.fail("move", err)
			}
		}
	}
	if len(gone) > 0 {
		mb.uids.dropped += len(gone)
		mb.expungeFromView(gone, numset.FromSorted(uids))
	}
	return first
}
