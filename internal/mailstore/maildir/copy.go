package maildir

import (
	"errors"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
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
			mb.look = true
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
	if kind == moveFile && mb.readOnly {
		return nil, nil, errkind.Newf("move", errkind.ReadOnly, "the mailbox cannot be written")
	}
	job := &addJob{}
	if kind == moveFile {
		job.src = mb
	}
	v := mb.known()
	for _, u := range mb.existing(set) {
		pos, ok := v.Find(u)
		if !ok {
			continue
		}
		r := v.Rec(pos)
		name := mb.fileOf(v, r)
		base, info := splitName(name[1:])
		_, ext, _ := splitLoc(r.Loc)
		nf := parseInfo(info)
		it := &addItem{kind: kind, from: mb.path(name), flags: nf.sys, other: nf.other, tail: nf.tail,
			keywords: v.Keywords(r.Keywords), base: mb.copyName(base), unsynced: r.Bits&bitUnsynced != 0}
		// A copy keeps the message's GUID, whatever its name, and gets a SAVEDATE.
		it.known = index.Facts{Size: r.Size, Date: r.Date, Saved: mb.s.now().Unix(), Sent: r.Sent}
		text, ok := extKey(ext, 'G')
		if !ok {
			text = guidText(guidOf(base))
		}
		it.ext = "G" + text + " T" + utoa64(it.known.Saved)
		if r.Size >= 0 {
			if _, w := nameSizes(base); w < 0 {
				it.ext += " W" + utoa64(r.Size)
			}
		}
		job.items = append(job.items, it)
		job.from = append(job.from, u)
	}
	return job, job.from, nil
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

// forget ends a move. What was renamed has left the source's index already; where
// files had to be copied, the source's go now that the copies are certain.
func (mb *mailbox) forget(job *addJob, from []uint32) error {
	mb.op.Lock()
	defer mb.op.Unlock()
	if mb.isDead() {
		return nil
	}
	mb.load(false)
	mb.recent = mb.recent.Minus(numset.FromSorted(job.moved()))
	moved := job.moved()
	if len(moved) == len(from) {
		if pos := mb.positions(moved); len(pos) == 0 {
			return mb.syncLeft()
		}
		mb.look = true // the bracket failed
		return mb.refresh()
	}
	return mb.removeCopied(job, from)
}

// syncLeft makes it certain that moved files have left. Their renames were synced
// with their new names; without a journal of the file system that says nothing of
// the directories that they came from.
func (mb *mailbox) syncLeft() error {
	if !mb.s.opt.SyncChanges {
		return nil
	}
	for _, d := range []string{"cur", "new"} {
		if err := mb.s.fs.SyncDir(join(mb.dir, d)); err != nil {
			return mb.s.fail("move", err)
		}
	}
	return nil
}

// removeCopied removes the source's files of messages that were copied.
func (mb *mailbox) removeCopied(job *addJob, from []uint32) error {
	if err := mb.enter(); err != nil {
		return err
	}
	defer mb.leave()
	own := mb.beginOwn()
	var first error
	var gone []int
	for i, u := range from {
		pos, ok := mb.view().Find(u)
		if !ok {
			continue
		}
		if job.items[i].copied {
			if err := mb.s.fs.Remove(job.items[i].from); err != nil && !notExist(err) {
				if first == nil {
					first = mb.s.fail("move", err)
				}
				continue
			}
		}
		gone = append(gone, pos)
	}
	for _, d := range []string{"cur", "new"} { // a rename was synced with its target; this was not
		if err := mb.s.fs.SyncDir(join(mb.dir, d)); err != nil && first == nil {
			first = mb.s.fail("move", err)
		}
	}
	own.end()
	mb.st.dropped += len(gone)
	if err := mb.expungeFromView(gone); first == nil {
		first = err
	}
	return first
}
