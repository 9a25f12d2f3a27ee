package maildir

import (
	"errors"
	"io"
	"syscall"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
	"rookery/internal/mailstore/journal"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// addKind says how a file comes into a mailbox.
type addKind uint8

const (
	moveTmp  addKind = iota // rename from tmp/, then sync of the file
	linkFile                // hard link of a message elsewhere
	moveFile                // rename of a message elsewhere
)

// addItem is one message to add.
type addItem struct {
	kind     addKind
	from     string // path; of moveTmp the name in tmp/
	file     vfs.File
	base     string
	flags    mailstore.Flags
	keywords []string
	other    string // flag letters and tail of the source's name, kept
	tail     string
	ext      string
	known    index.Facts
	uid      uint32    // that it must get, 0 if any will do
	data     []byte    // the bytes, of a small new message
	date     time.Time // INTERNALDATE

	name   string // stored name, once placed
	synced bool   // its bytes are certain
	more   []uint16
	copied bool // written anew, since a link could not be made

	unsynced bool // the source may lie in the journal alone
}

// addJob is what one caller adds, all or none.
type addJob struct {
	items []*addItem
	src   *mailbox // of a move: where the messages are now
	from  []uint32 // their UIDs there
	away  *away
	// goOn is asked before each file is put into its place: with its error all go back.
	// nil: the job is not to be broken off.
	goOn func() error

	stem   string // of the base names, where there are several; see intent.go
	intent uint64 // that is open, 0 if none
	noted  bool   // the journal has what left src

	ticket *journal.Ticket
	uids   []uint32
	uidv   uint32
	err    error
	done   bool
}

// errSource says that a source file was not where it was: the caller looks again.
var errSource = errors.New("the source file has moved")

// commit adds a job. Whoever gets the mailbox does all jobs that wait, with one
// lock and one sync of the uidlist.
func (mb *mailbox) commit(job *addJob) (uidv uint32, err error) {
	mb.mu.Lock()
	mb.queue = append(mb.queue, job)
	mb.mu.Unlock()
	mb.op.Lock()
	defer mb.op.Unlock()
	if !job.done {
		mb.mu.Lock()
		jobs := mb.queue
		mb.queue = nil
		mb.mu.Unlock()
		err := mb.batch(jobs)
		for _, j := range jobs {
			j.done = true
			if j.err == nil {
				j.err = err
			}
		}
	}
	return job.uidv, job.err
}

// batch does jobs; op is held. Its error is everybody's.
func (mb *mailbox) batch(jobs []*addJob) error {
	if err := mb.enter(); err != nil {
		return err
	}
	defer mb.leave()
	if mb.readOnly {
		return errkind.Newf("add", errkind.ReadOnly, "the mailbox cannot be written")
	}
	mb.s.finishOthers()
	lock, err := mb.s.lockUIDs(mb.ctl)
	if err != nil {
		return err
	}
	defer lock.release()
	if err := mb.ready(); err != nil {
		return err
	}
	var small, rest []*addJob
	for _, j := range jobs {
		mb.nameJob(j)
		if mb.journalable(j) {
			small = append(small, j)
		} else {
			rest = append(rest, j)
		}
	}
	if len(small) > 0 {
		left, err := mb.journalJobs(small)
		if err != nil {
			return err
		}
		rest = append(rest, left...)
	}
	if len(rest) == 0 {
		return nil
	}
	if err := mb.ready(); err != nil {
		return err
	}
	return mb.placeJobs(rest)
}

// ready brings the picture up to what others added, which has its UIDs before
// ours. The mailbox is entered and Dovecot's lock held.
func (mb *mailbox) ready() error {
	for range looks {
		have, err := mb.readUIDs()
		if err != nil {
			return mb.s.fail("read uidlist", err)
		}
		if err := mb.readKeywords(); err != nil {
			return err
		}
		if have && mb.loaded && len(mb.fresh) == 0 && !mb.freshAll && !mb.reflag && !mb.seen.Damaged() {
			return nil
		}
		if err := mb.decide(); err != nil && !errors.Is(err, errPicture) {
			return err
		}
		mb.load(true)
	}
	return errPicture
}

// giveUIDs gives messages their UIDs. What fails later leaves a gap, unless nobody
// got one since.
func (mb *mailbox) giveUIDs(items []*addItem) (uids []uint32, err error) {
	before := mb.hdr.next
	for _, it := range items {
		u, err := mb.newUIDs(1)
		if err == nil && it.uid != 0 {
			if it.uid < u || it.uid == 1<<32-1 {
				err = errkind.Newf("append", errkind.Invalid, "the UID "+utoa(it.uid)+" was given already")
			}
			u, mb.hdr.next = it.uid, it.uid+1
		}
		if err != nil {
			mb.hdr.next = before
			return nil, err
		}
		uids = append(uids, u)
	}
	return uids, nil
}

// ungive takes a job's UIDs back, which nobody saw.
func (mb *mailbox) ungive(j *addJob) {
	if n := len(j.uids); n > 0 && j.uids[n-1]+1 == mb.hdr.next {
		mb.hdr.next = j.uids[0]
	}
	j.uids = nil
}

// placeJobs puts jobs in place and syncs them there. If it fails as a whole the
// UIDs are given again: nobody saw them.
func (mb *mailbox) placeJobs(jobs []*addJob) (err error) {
	before := mb.hdr.next
	defer func() {
		if err != nil {
			mb.hdr.next = before
		}
	}()
	if err := mb.intend(jobs); err != nil {
		return mb.s.fail("write journal", err)
	}
	defer mb.undecided(jobs) // those that are not in place
	own := mb.beginOwn()
	var ready []*addJob
	for _, j := range jobs {
		if j.src != nil && j.src != mb {
			j.away = j.src.leaving()
		}
		if j.uids, j.err = mb.giveUIDs(j.items); j.err != nil {
			continue
		}
		if j.err = mb.place(j); j.err == nil {
			ready = append(ready, j)
		} else {
			mb.ungive(j)
		}
	}
	if err := mb.syncItems(ready); err != nil {
		mb.undo(ready)
		return mb.s.fail("sync", err)
	}
	if err := mb.record(ready, own); err != nil {
		mb.undo(ready)
		return mb.s.fail("write uidlist", err)
	}
	for _, j := range ready {
		if j.src != nil && !j.noted {
			j.err = j.src.journalMoved(j.moved(), j.movedUnsynced())
		}
		if j.away != nil {
			j.away.left(j.moved())
		}
	}
	return nil
}

// giveNames gives a job's messages their file names. A message without flags goes to
// new/, where every program knows it as one that nobody has seen.
func (mb *mailbox) giveNames(j *addJob) error {
	for _, it := range j.items {
		d, _, err := mb.placeFor(it.keywords, true)
		if err != nil {
			return err
		}
		it.more = d.more
		nf := nameFlags{sys: it.flags, forwarded: d.forwarded, letters: d.letters, other: it.other, tail: it.tail}
		it.name = "c" + it.base + nf.info()
		if it.flags == 0 && len(it.keywords) == 0 && it.other == "" && it.tail == "" {
			it.name = "n" + it.base
		}
	}
	return nil
}

// place puts a job's files into new/ or cur/.
func (mb *mailbox) place(j *addJob) error {
	if err := mb.giveNames(j); err != nil {
		return err
	}
	if err := mb.syncAhead(j); err != nil {
		return err
	}
	for i, it := range j.items {
		err := j.stopped()
		if err == nil {
			err = mb.placeFile(it)
		}
		if err != nil {
			for _, done := range j.items[:i] {
				mb.takeBack(done)
			}
			return err
		}
	}
	return nil
}

// stopped is an error once the job is to be broken off.
func (j *addJob) stopped() error {
	if j.goOn == nil {
		return nil
	}
	return j.goOn()
}

func (mb *mailbox) placeFile(it *addItem) error {
	to := mb.path(it.name)
	var err error
	switch it.kind {
	case moveTmp:
		err = mb.s.fs.RenameNoReplace(join(mb.dir, "tmp/"+it.from), to)
	case linkFile:
		if !mb.s.can.link {
			err = syscall.EPERM
		} else {
			err = mb.s.fs.Link(it.from, to)
		}
	default:
		err = mb.s.fs.RenameNoReplace(it.from, to)
	}
	switch {
	case err == nil:
		return nil
	case it.kind == moveTmp:
		return mb.s.fail("add", err)
	case notExist(err):
		return errSource
	case linkRefused(err):
		return mb.copyFile(it, to)
	}
	return mb.s.fail("add", err)
}

// copyFile writes a copy, where a link or a rename cannot be had.
func (mb *mailbox) copyFile(it *addItem, to string) error {
	src, err := mb.s.fs.OpenFile(it.from, vfs.Read, 0)
	if err != nil {
		if notExist(err) {
			return errSource
		}
		return mb.s.fail("copy", err)
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return mb.s.fail("copy", err)
	}
	tmp := join(mb.dir, "tmp/"+it.base)
	dst, err := mb.s.fs.OpenFile(tmp, vfs.Read|vfs.Write|vfs.Create|vfs.Excl, mb.s.opt.FileMode)
	if err != nil {
		return mb.s.fail("copy", err)
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, 64<<10))
	if err == nil {
		err = dst.SetModTime(info.ModTime)
	}
	if err == nil {
		err = mb.s.fs.RenameNoReplace(tmp, to)
	}
	if err == nil {
		err = dst.Sync()
	}
	if cerr := dst.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		mb.s.fs.Remove(tmp)
		mb.s.fs.Remove(to)
		return mb.s.fail("copy", err)
	}
	it.copied = true
	return nil
}

// takeBack undoes the placing of one file.
func (mb *mailbox) takeBack(it *addItem) {
	if it.kind == moveFile && !it.copied {
		// Renaming back cannot lose the message: if it fails, it stays here and
		// gets a UID at the next look.
		mb.s.fs.RenameNoReplace(mb.path(it.name), it.from)
		return
	}
	mb.s.fs.Remove(mb.path(it.name))
}

func (mb *mailbox) undo(jobs []*addJob) {
	for _, j := range jobs {
		for _, it := range j.items {
			mb.takeBack(it)
		}
	}
}

// record gives UIDs, makes them certain, and shows the messages.
func (mb *mailbox) record(jobs []*addJob, own *ownChange) error {
	var recs []uidRecord
	var beyond []moreChange
	for _, j := range jobs {
		j.uidv = mb.hdr.validity
		for i, it := range j.items {
			base, _ := splitName(it.name[1:])
			recs = append(recs, uidRecord{j.uids[i], it.ext, base})
			if len(it.more) > 0 {
				beyond = append(beyond, moreChange{j.uids[i], base, it.more})
			}
		}
	}
	if len(recs) == 0 {
		mb.keepState(own)
		return nil
	}
	// Keywords first: without its record a line of theirs means nothing.
	err := mb.saveMore(beyond, true)
	if err == nil {
		err = mb.appendUIDs(nil, recs, !mb.s.opt.NoSync)
	}
	if err == nil {
		if err = mb.decided(jobs); err != nil {
			mb.st.dropped += len(recs)
		}
	}
	if err != nil {
		return err
	}
	own.end()
	mb.show(jobs, recs)
	return nil
}

// keepState keeps in the index what the disk's stamps are now.
func (mb *mailbox) keepState(own *ownChange) {
	own.end()
	if tx, err := mb.begin(); err == nil {
		mb.put(tx)
	}
}

// show puts what is in its place and in the uidlist into the index. If that is
// damaged now, the next look finds it.
func (mb *mailbox) show(jobs []*addJob, recs []uidRecord) {
	var recent []uint32
	k := 0
	for _, j := range jobs {
		for _, it := range j.items {
			if it.name[0] == 'c' {
				recent = append(recent, recs[k].uid)
			}
			k++
		}
	}
	mb.recent = mb.recent.Union(numset.FromSorted(recent))
	tx, err := mb.begin()
	if err != nil {
		mb.look = true
		return
	}
	k = 0
	for _, j := range jobs {
		if j.src == mb {
			mb.removeIn(tx, mb.view(), mb.positions(j.moved()))
			mb.st.dropped += len(j.items)
		}
	}
	for _, j := range jobs {
		for _, it := range j.items {
			mb.addIn(tx, recs[k], it.name, it.more, it.known, j.ticket != nil)
			k++
		}
	}
	mb.put(tx)
}

// moved gives the source's UIDs of what a move renamed.
func (j *addJob) moved() (uids []uint32) {
	for i, it := range j.items {
		if !it.copied {
			uids = append(uids, j.from[i])
		}
	}
	return uids
}

// movedUnsynced gives those of them that the journal may bring back.
func (j *addJob) movedUnsynced() (uids []uint32) {
	for i, it := range j.items {
		if it.unsynced {
			uids = append(uids, j.from[i])
		}
	}
	return uids
}

// positions finds those of uids that are there.
func (mb *mailbox) positions(uids []uint32) (out []int) {
	v := mb.view()
	for _, u := range uids {
		if pos, ok := v.Find(u); ok {
			out = append(out, pos)
		}
	}
	return out
}
