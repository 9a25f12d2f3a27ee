package maildir

import (
	"errors"
	"io"
	"sync"
	"syscall"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
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

	name   string // stored name, once placed
	more   []uint16
	copied bool // written anew, since a link could not be made
}

// addJob is what one caller adds, all or none.
type addJob struct {
	items []*addItem
	src   *mailbox // of a move: where the messages are now
	from  []uint32 // their UIDs there
	away  *away
	uids  []uint32
	uidv  uint32
	err   error
	done  bool
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
	lock, err := mb.s.lockUIDs(mb.ctl)
	if err != nil {
		return err
	}
	defer lock.release()
	// What others added has its UIDs before ours.
	have, err := mb.readUIDs()
	if err != nil {
		return mb.s.fail("read uidlist", err)
	}
	if err := mb.readKeywords(); err != nil {
		return err
	}
	if !have || len(mb.fresh) > 0 || mb.freshAll || mb.reflag || !mb.loaded {
		if err := mb.decide(); err != nil {
			return err
		}
	}
	own := mb.beginOwn()
	var ready []*addJob
	for _, j := range jobs {
		if j.src != nil && j.src != mb {
			j.away = j.src.leaving()
		}
		if j.err = mb.place(j); j.err == nil {
			ready = append(ready, j)
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
		if j.away != nil {
			j.away.left(j.moved())
		}
	}
	return nil
}

// place puts a job's files into new/ or cur/. A message without flags goes to
// new/, where every program knows it as one that nobody has seen.
func (mb *mailbox) place(j *addJob) error {
	for i, it := range j.items {
		d, _, err := mb.placeFor(it.keywords, true)
		if err == nil {
			it.more = d.more
			nf := nameFlags{sys: it.flags, forwarded: d.forwarded, letters: d.letters, other: it.other, tail: it.tail}
			it.name = "c" + it.base + nf.info()
			if it.flags == 0 && len(it.keywords) == 0 && it.other == "" && it.tail == "" {
				it.name = "n" + it.base
			}
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

// syncers bounds how many files are synced at once: they share commits of the
// file system's journal.
const syncers = 8

// syncItems makes files and their names certain: each new file by its own sync,
// which keeps its name, too, since it was renamed before; links and renames,
// whose bytes are certain already, by one sync of the directory.
func (mb *mailbox) syncItems(jobs []*addJob) error {
	var fresh []*addItem
	dirs := map[byte]bool{}
	for _, j := range jobs {
		for _, it := range j.items {
			if it.kind == moveTmp {
				fresh = append(fresh, it)
			} else {
				dirs[it.name[0]] = true
			}
		}
	}
	for _, d := range []struct {
		letter byte
		name   string
	}{{'c', "cur"}, {'n', "new"}} {
		if dirs[d.letter] {
			if err := mb.s.fs.SyncDir(join(mb.dir, d.name)); err != nil {
				return err
			}
		}
	}
	if len(fresh) == 1 {
		return fresh[0].file.Sync()
	}
	var wg sync.WaitGroup
	errs := make([]error, len(fresh))
	for w := range min(syncers, len(fresh)) {
		wg.Go(func() {
			for i := w; i < len(fresh); i += syncers {
				errs[i] = fresh[i].file.Sync()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// record gives UIDs, makes them certain, and shows the messages.
func (mb *mailbox) record(jobs []*addJob, own *ownChange) error {
	count := 0
	for _, j := range jobs {
		count += len(j.items)
	}
	if count == 0 {
		return mb.keepState(own)
	}
	next := mb.hdr.next
	first, err := mb.newUIDs(count)
	if err != nil {
		return err
	}
	var recs []uidRecord
	var beyond []moreChange
	uid := first
	for _, j := range jobs {
		j.uidv, j.uids = mb.hdr.validity, nil
		for _, it := range j.items {
			j.uids = append(j.uids, uid)
			base, _ := splitName(it.name[1:])
			recs = append(recs, uidRecord{uid, it.ext, base})
			if len(it.more) > 0 {
				beyond = append(beyond, moreChange{uid, base, it.more})
			}
			uid++
		}
	}
	// Keywords first: without its record a line of theirs means nothing.
	err = mb.saveMore(beyond, true)
	if err == nil {
		err = mb.appendUIDs(nil, recs, true)
	}
	if err != nil {
		mb.hdr.next = next // nobody saw the UIDs: they are given again
		return err
	}
	own.end()
	return mb.show(jobs, recs)
}

// keepState keeps in the index what the disk's stamps are now.
func (mb *mailbox) keepState(own *ownChange) error {
	own.end()
	tx, err := mb.begin()
	if err == nil {
		mb.put(tx)
	}
	return err
}

func (mb *mailbox) show(jobs []*addJob, recs []uidRecord) error {
	tx, err := mb.begin()
	if err != nil {
		return err
	}
	var recent []uint32
	k := 0
	for _, j := range jobs {
		if j.src == mb {
			mb.removeIn(tx, mb.view(), mb.positions(j.moved()))
			mb.st.dropped += len(j.items)
		}
	}
	for _, j := range jobs {
		for _, it := range j.items {
			mb.addIn(tx, recs[k], it.name, it.more, it.known)
			if it.name[0] == 'c' {
				recent = append(recent, recs[k].uid)
			}
			k++
		}
	}
	mb.recent = mb.recent.Union(numset.FromSorted(recent))
	mb.put(tx)
	return nil
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
