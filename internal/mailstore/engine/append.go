package engine

import (
	"io"
	"runtime"
	"sync"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

// appender collects messages and hands them over at Commit.
type appender struct {
	s    *Store
	mb   *mailbox
	msgs []*draft
	done bool
	goOn func() error // of Commit; nil: it is not broken off
}

// StopBy is mailstore.CommitStopper's.
func (a *appender) StopBy(goOn func() error) { a.goOn = goOn }

// draft is a message being written.
type draft struct {
	meta mailstore.AppendMeta
	size int64 // announced, -1 unknown
	n    int64 // written so far
	sp   spool
	err  error
}

// Append begins to add messages to a mailbox.
func (s *Store) Append(name mailstore.Name) (mailstore.Appender, error) {
	mb, err := s.get(name)
	if err != nil {
		return nil, errkind.Wrap("append", err)
	}
	return &appender{s: s, mb: mb}, nil
}

// Add begins a message.
func (a *appender) Add(meta mailstore.AppendMeta, size int64) (io.Writer, error) {
	if a.done {
		return nil, errkind.Newf("append", errkind.Other, "the appender is done")
	}
	if err := checkKeywords("append", meta.Keywords); err != nil {
		return nil, err
	}
	if len(meta.UIDL) > 512 {
		return nil, errkind.Newf("append", errkind.Invalid, "a UIDL is longer than 512 octets")
	}
	d := &draft{meta: meta, size: size, sp: spool{s: a.s}}
	if size > 0 && size < spoolMemory {
		d.sp.mem = make([]byte, 0, size+size/64+64)
	}
	a.msgs = append(a.msgs, d)
	return d, nil
}

// Write takes the next bytes.
func (d *draft) Write(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	if d.size >= 0 && d.n+int64(len(p)) > d.size {
		d.err = errkind.Newf("append", errkind.Invalid, "more bytes than announced")
		return 0, d.err
	}
	n, err := d.sp.Write(p)
	d.n += int64(n)
	d.err = vfs.Kinded("append", err)
	return n, d.err
}

func (a *appender) drop() {
	for _, d := range a.msgs {
		d.sp.close()
	}
	a.msgs = nil
	a.s.put(a.mb)
}

// Abort leaves no trace.
func (a *appender) Abort() {
	if !a.done {
		a.done = true
		a.drop()
	}
}

// Commit makes all messages durable and visible.
func (a *appender) Commit() (mailstore.AppendResult, error) {
	var res mailstore.AppendResult
	if a.done {
		return res, errkind.Newf("append", errkind.Other, "the appender is done")
	}
	a.done = true
	defer a.drop()
	job := &addJob{mb: a.mb, goOn: a.goOn}
	for _, d := range a.msgs {
		switch {
		case d.err != nil:
			return res, errkind.Wrap("append", d.err)
		case d.n == 0:
			return res, errkind.Newf("append", errkind.Invalid, "an empty message")
		case d.size >= 0 && d.n != d.size:
			return res, errkind.Newf("append", errkind.Invalid, "fewer bytes than announced")
		}
		item, err := d.item(a.s.now())
		if err != nil {
			return res, vfs.Kinded("append", err)
		}
		job.items = append(job.items, item)
	}
	a.s.commit(job)
	if job.err != nil {
		return res, vfs.Kinded("append", job.err)
	}
	return mailstore.AppendResult{UIDValidity: job.uidv, UIDs: job.uids}, nil
}

// headerSize is how much of a message formats see beforehand.
const headerSize = 4 << 10

func (d *draft) item(now time.Time) (*Addition, error) {
	body, err := d.sp.body()
	if err != nil {
		return nil, err
	}
	it := &Addition{Body: body, Message: Message{UID: d.meta.UID, Flags: d.meta.Flags & mailstore.AllFlags, Keywords: d.meta.Keywords, Size: d.sp.size,
		Date: d.meta.InternalDate, Saved: d.meta.SaveDate, GUID: d.meta.GUID, UIDL: d.meta.UIDL, Order: d.meta.Order}}
	if it.Date.IsZero() {
		it.Date = now
	}
	if it.Saved.IsZero() {
		it.Saved = now
	}
	if it.GUID == (mailstore.GUID{}) {
		it.GUID = mailstore.NewGUID()
	}
	it.Header = make([]byte, min(headerSize, d.sp.size))
	if n, err := body.ReadAt(it.Header, 0); n < len(it.Header) {
		return nil, err
	}
	return it, nil
}

// addJob is what one caller adds to one mailbox, all or none.
type addJob struct {
	mb    *mailbox
	items []*Addition
	uids  []uint32
	uidv  uint32
	err   error
	goOn  func() error
	wake  chan bool // true: do the work; false: it is done
}

// addQueue are the jobs that wait. One of those who brought them does the work
// of all.
type addQueue struct {
	mu   sync.Mutex
	jobs []*addJob
	busy bool // somebody is at work: he wakes the rest
}

// commit adds a job. Whoever is first does all jobs that wait, in whatever
// mailboxes, so that they share one sync; of those that come meanwhile one does
// the next.
func (s *Store) commit(job *addJob) {
	q := &s.queue
	job.wake = make(chan bool, 1)
	q.mu.Lock()
	q.jobs = append(q.jobs, job)
	wait := q.busy
	q.busy = true
	q.mu.Unlock()
	if wait && !<-job.wake {
		return
	}
	s.work.Lock()
	q.mu.Lock()
	jobs := q.jobs
	q.jobs = nil
	q.mu.Unlock()
	err := s.index.Lock(s.opt.LockWait)
	if err == nil {
		err = s.batch(jobs)
		s.index.Unlock()
	}
	s.work.Unlock()
	for _, j := range jobs {
		if j.err == nil {
			j.err = err
		}
		if j != job {
			j.wake <- false
		}
	}
	runtime.Gosched() // those who go on may have the next message at hand
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.busy = len(q.jobs) > 0; q.busy {
		q.jobs[0].wake <- true
	}
}

// filling is one mailbox of a batch.
type filling struct {
	mb   *mailbox
	c    *change
	next uint32
	jobs []*addJob
	list []*Batch
}

// batch does jobs under the user's lock. Its error is everybody's.
func (s *Store) batch(jobs []*addJob) error {
	fills := map[*mailbox]*filling{}
	var order []*filling
	defer func() {
		for _, f := range order {
			f.c.abort()
			f.mb.box.Unlock()
		}
	}()
	var all []*Batch
	for _, j := range jobs {
		f := fills[j.mb]
		if f == nil {
			if f, j.err = s.fill(j.mb); j.err != nil {
				continue
			}
			fills[j.mb] = f
			order = append(order, f)
		}
		if b := f.take(j); b != nil {
			all = append(all, b)
		}
	}
	if len(all) == 0 {
		return nil
	}
	if err := s.format.Append(all); err != nil {
		return err
	}
	for _, f := range order {
		f.finish()
	}
	return nil
}

// fill readies a mailbox.
func (s *Store) fill(mb *mailbox) (*filling, error) {
	if err := mb.alive(); err != nil {
		return nil, err
	}
	if mb.box.ReadOnly() {
		return nil, errkind.Newf("append", errkind.ReadOnly, "the mailbox cannot be written")
	}
	if err := mb.box.Lock(true); err != nil {
		return nil, err
	}
	c, err := mb.current()
	if err != nil {
		mb.box.Unlock()
		return nil, err
	}
	return &filling{mb: mb, c: c, next: c.Next()}, nil
}

// take gives a job its UIDs and makes its batch; nil if there is nothing to do.
func (f *filling) take(j *addJob) *Batch {
	next := f.next
	for _, it := range j.items {
		if it.UID == 0 {
			it.UID = next
		}
		if it.UID < next || it.UID == 1<<32-1 {
			j.err = errkind.Newf("append", errkind.Invalid, "the UID is one that the mailbox has given")
			return nil
		}
		next = it.UID + 1
		it.Keywords = f.mb.words.spell(it.Keywords)
	}
	j.uidv = f.mb.where().UIDValidity
	if len(f.mb.words.names) > maxKeywords {
		f.mb.sets = nil
		f.mb.learn(f.c.tx.View())
		j.err = errkind.Newf("append", errkind.Limit, "the mailbox has too many keywords")
		return nil
	}
	if len(j.items) == 0 {
		return nil
	}
	f.next = next
	b := &Batch{Box: f.mb.box, Edit: f.c.Edit, Items: j.items, GoOn: j.goOn}
	f.jobs, f.list = append(f.jobs, j), append(f.list, b)
	return b
}

// finish shows what was added.
func (f *filling) finish() {
	for i, b := range f.list {
		j := f.jobs[i]
		if j.err = b.Err; j.err != nil {
			continue
		}
		for _, it := range b.Items {
			f.c.Add(it.Message)
			j.uids = append(j.uids, it.UID)
		}
	}
	f.c.commit()
}
