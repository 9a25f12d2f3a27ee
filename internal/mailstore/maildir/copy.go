package maildir

import (
	"errors"
	"math"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
	"rookery/internal/mailstore/journal"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// Copy adds copies to another mailbox (or this one), all or none. A copy is a
// hard link: it keeps the bytes and INTERNALDATE, and costs no disk.
func (mb *mailbox) Copy(uids numset.Set, to mailstore.Name) (mailstore.CopyResult, error) {
	return mb.Transfer(mailstore.Transfer{UIDs: uids, To: to})
}

// Move renames the files into the other mailbox: at each moment a message is in
// one of them.
func (mb *mailbox) Move(uids numset.Set, to mailstore.Name) (mailstore.CopyResult, error) {
	return mb.Transfer(mailstore.Transfer{UIDs: uids, To: to, Move: true})
}

// Transfer is Copy or Move, which can be broken off until all files are in their place:
// those that are go back then. Of a MOVE in several steps those before it have happened.
func (mb *mailbox) Transfer(t mailstore.Transfer) (mailstore.CopyResult, error) {
	res, err := mb.transfer(t)
	return res, errkind.Wrap(t.Name(), err)
}

func (mb *mailbox) transfer(t mailstore.Transfer) (mailstore.CopyResult, error) {
	var res mailstore.CopyResult
	set, kind := t.UIDs, linkFile
	if t.Move {
		kind = moveFile
	}
	dst, err := mb.s.get(t.To)
	if err != nil {
		return res, err
	}
	defer mb.s.put(dst)
	for try := 0; ; try++ {
		job, err := mb.collect(set, kind, t.GoOn)
		if errors.Is(err, errPicture) && try < looks {
			if err = mb.lookAgain(); err == nil {
				continue
			}
		}
		if err != nil {
			return res, err
		}
		more := job.cut(kind)
		mb.s.loadData(job)
		from := job.from
		uidv, err := dst.commit(job)
		if errors.Is(err, errSource) && try < looks {
			// Renamed or removed by another session or program since we looked.
			if err = mb.lookAgain(); err != nil {
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
		res.UIDValidity = uidv
		res.From, res.To = append(res.From, from...), append(res.To, job.uids...)
		if kind == moveFile {
			err = mb.forget(job, from)
		}
		if err != nil || !more {
			return res, err
		}
		set, try = set.Intersect(numset.Span(from[len(from)-1]+1, math.MaxUint32)), 0
	}
}

// cut bounds a move by what one intent can name; more reports whether something
// was left out.
func (j *addJob) cut(kind addKind) (more bool) {
	if kind != moveFile {
		return false
	}
	ranges := 0
	for i, u := range j.from {
		if i == 0 || u != j.from[i-1]+1 {
			ranges++
		}
		if ranges > maxIntentRanges {
			j.items, j.from = j.items[:i], j.from[:i]
			return true
		}
	}
	return false
}

// loadData reads the bytes of a job's messages where all of them fit into the
// journal: one sync of it then makes the copies certain, and all or none. What
// cannot be read now goes the other way, which finds out why.
func (s *Store) loadData(j *addJob) {
	if s.journal == nil {
		return
	}
	total := int64(0)
	for _, it := range j.items {
		if it.known.Size < 0 || it.known.Size > journal.MaxData {
			return
		}
		if total += it.known.Size + 256; total > journal.MaxAppend {
			return
		}
	}
	buf := make([]byte, 0, total)
	for _, it := range j.items {
		f, err := s.fs.OpenFile(it.from, vfs.Read, 0)
		if err != nil {
			break
		}
		info, err := f.Stat()
		n := len(buf)
		if err == nil && info.Size > 0 && int64(n)+info.Size <= int64(cap(buf)) && info.Size <= journal.MaxData {
			var got int
			if got, err = f.ReadAt(buf[n:n+int(info.Size)], 0); err == nil || got == int(info.Size) {
				buf = buf[:n+got]
				it.data, it.date = buf[n:], info.ModTime
			}
		}
		f.Close()
		if it.data == nil {
			break
		}
	}
}

// lookAgain looks at the folder whatever its stamps say.
func (mb *mailbox) lookAgain() error {
	mb.op.Lock()
	defer mb.op.Unlock()
	mb.look = true
	return mb.refresh()
}

// collect makes the job for the messages of set that exist now. goOn is asked for each.
func (mb *mailbox) collect(set numset.Set, kind addKind, goOn func() error) (*addJob, error) {
	mb.op.Lock()
	defer mb.op.Unlock()
	if mb.isDead() {
		return nil, mb.gone()
	}
	if kind == moveFile && mb.readOnly {
		return nil, errkind.Newf("move", errkind.ReadOnly, "the mailbox cannot be written")
	}
	job := &addJob{goOn: goOn}
	if kind == moveFile {
		job.src = mb
	}
	v := mb.known()
	for _, u := range mb.existing(set) {
		if err := goOn(); err != nil {
			return nil, err
		}
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
	if v.Damaged() {
		return nil, errPicture
	}
	return job, nil
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
	return mb.syncLeftNow()
}

func (mb *mailbox) syncLeftNow() error {
	for _, d := range []string{"cur", "new"} {
		if err := mb.s.fs.SyncDir(join(mb.dir, d)); err != nil {
			return mb.s.fail("move", err)
		}
	}
	return nil
}

// removeCopied removes the source's files of messages that were copied.
func (mb *mailbox) removeCopied(job *addJob, from []uint32) error {
	if err := mb.enterSettled(); err != nil {
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
	mb.expungeFromView(gone)
	mb.settledAfter()
	return first
}
