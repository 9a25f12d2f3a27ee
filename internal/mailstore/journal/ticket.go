package journal

import (
	"runtime"
	"slices"
	"time"

	"rookery/internal/errkind"
)

// Ticket is what became of one Append.
type Ticket struct {
	j      *Journal
	class  Sync
	body   []byte // the records, encoded
	count  int    // of records
	effect bool   // it holds effects: Done or Cancel must follow
	urgent bool   // it may use the room that is kept free

	// Guarded by Journal.io.
	first   uint64 // ID of the first record; 0 until it is written
	cycle   uint64 // where it was written
	written bool

	// Guarded by Journal.mu.
	done bool // class is fulfilled, or err says why not
	err  error
}

// Append takes records over, all or none of which survive a crash. It makes the
// journal if there is none, which costs one sync of a megabyte. The records'
// memory may be used again after it. errkind: Invalid, TooBig, Limit (too much is
// pending), NoSpace, IO.
func (j *Journal) Append(class Sync, recs ...Record) (*Ticket, error) {
	t := &Ticket{j: j, class: class, count: len(recs), urgent: len(recs) > 0}
	size, pending := 0, 0
	for i := range recs {
		r := &recs[i]
		if err := r.check(); err != nil {
			return nil, err
		}
		if r.Ref == RefFirst && (i == 0 || recs[0].Kind != Intent) {
			return nil, errkind.Newf("journal", errkind.Invalid, "it refers to an intent that is not there")
		}
		n := r.EncodedSize()
		size += n
		t.effect = t.effect || r.Kind.Effect()
		t.urgent = t.urgent && (r.Kind == IntentDone || r.Kind == Settle)
		if r.Kind == Intent || r.Kind == Reservation || r.Kind == Step {
			pending += n
		}
	}
	if size > MaxAppend || len(recs) == 0 {
		return nil, errkind.Newf("journal", errkind.TooBig, "too much for one append")
	}
	if err := j.ready(pending); err != nil {
		return nil, err
	}
	t.body = make([]byte, 0, size)
	for i := range recs {
		t.body = appendRecord(t.body, &recs[i])
	}
	return t, j.enqueue(t)
}

// ready makes sure that there is a file, and room for what will be pending.
func (j *Journal) ready(pending int) error {
	if !j.recovered.Load() {
		return errkind.Newf("journal", errkind.Invalid, "Recover was not called")
	}
	if pending > 0 && int(j.isPending.Load())+pending > MaxPending {
		return errkind.Newf("journal", errkind.Limit, "too many intents and reservations are open")
	}
	if j.made.Load() { // without io, which is held while others' records are synced
		return nil
	}
	j.io.Lock()
	defer j.io.Unlock()
	if j.file == nil && j.broken == nil {
		return j.create()
	}
	return nil
}

func (j *Journal) enqueue(t *Ticket) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return errkind.Newf("journal", errkind.Unavailable, "the journal is closed")
	}
	waits := j.queued()
	if t.class == Soon && waits > maxQueue {
		return errkind.Newf("journal", errkind.Unavailable, "too much waits to be written")
	}
	j.queue = append(j.queue, t)
	if t.effect {
		j.inflight[t] = true
	}
	switch {
	case t.class != Soon || j.o.Manual:
	case j.timer == nil:
		j.work.Add(1)
		j.timer = time.AfterFunc(j.o.Soon, j.soon)
	case waits > muchQueue && j.soonPause == 0 && j.timer.Stop():
		j.timer = time.AfterFunc(0, j.soon)
	}
	return nil
}

// How many bytes may wait: from muchQueue on they are written at once; beyond
// maxQueue the disk does not take them, and memory shall not either.
const (
	muchQueue = 128 << 10
	maxQueue  = 1 << 20
)

// queued gives the bytes that wait; mu is held.
func (j *Journal) queued() (n int) {
	for _, t := range j.queue {
		n += len(t.body)
	}
	return n
}

// soon writes what was to be written soon.
func (j *Journal) soon() {
	defer j.work.Done()
	j.mu.Lock()
	j.timer = nil
	j.mu.Unlock()
	err := j.Flush()
	j.mu.Lock()
	defer j.mu.Unlock()
	if err == nil {
		j.soonPause = 0
		return
	}
	if j.soonPause == 0 {
		j.soonPause = j.o.Soon
		j.o.Note("flag changes and expunges wait to be written to " + FileName + ": " + err.Error())
	}
	j.soonPause = min(2*j.soonPause, maxSoonPause)
	if !j.closed && j.timer == nil && len(j.queue) > 0 {
		j.work.Add(1)
		j.timer = time.AfterFunc(j.soonPause, j.soon)
	}
}

// maxSoonPause is how seldom a disk that fails is tried again at least.
const maxSoonPause = time.Minute

// Wait returns when the class is fulfilled; for Soon at once. After an error the
// records will not be replayed, and the driver must not do what they say.
func (t *Ticket) Wait() error {
	if t.class == Soon {
		return nil
	}
	j := t.j
	end := time.Now().Add(min(j.o.LockWait, roomWait))
	for {
		done, err := t.lead()
		if done {
			if err != nil {
				t.settle()
			}
			return err
		}
		if !j.waitRoom(end) && t.withdraw() {
			t.settle()
			return errkind.Newf("journal", errkind.Unavailable, "the journal has no room and its checkpoint does not get on")
		}
	}
}

// roomWait is how long Wait waits for room: there is another way for the driver,
// and it costs less than a second.
const roomWait = 2 * time.Second

// lead waits until a leader has written the ticket, or leads. It is not done
// where there was no room.
func (t *Ticket) lead() (done bool, err error) {
	j := t.j
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.leader && !t.done {
		j.led.Wait()
	}
	if t.done {
		return true, t.err
	}
	j.leader = true
	j.mu.Unlock()
	// Those whom the last leader woke append again now: they shall be in this batch.
	runtime.Gosched()
	j.io.Lock()
	j.drain(t.class == Now)
	j.io.Unlock()
	j.mu.Lock()
	j.leader = false
	j.led.Broadcast()
	return t.done, t.err
}

// withdraw takes a ticket that was not written out of the queue; false if it was
// written meanwhile.
func (t *Ticket) withdraw() bool {
	t.j.mu.Lock()
	defer t.j.mu.Unlock()
	i := slices.Index(t.j.queue, t)
	if i >= 0 {
		t.j.queue = slices.Delete(t.j.queue, i, i+1)
		t.done = true
	}
	return i >= 0
}

// Done says that the effects are in place, in the kernel's hands at least, so
// that a checkpoint may make them certain. Without effects it does nothing.
func (t *Ticket) Done() { t.settle() }

func (t *Ticket) settle() {
	t.j.mu.Lock()
	delete(t.j.inflight, t)
	t.j.mu.Unlock()
}

// Cancel takes the records back, certainly before it returns, since a driver
// that could not do what they say is about to answer NO. The effects must not be
// there any more. An error means that a power cut may bring them back.
func (t *Ticket) Cancel() error {
	defer t.settle()
	t.j.io.Lock()
	first := t.first
	t.withdraw()
	t.j.io.Unlock()
	if first == 0 { // never written, nor tried to
		return nil
	}
	r := Record{Kind: cancel, Ref: first, UID: uint32(t.count)}
	c := &Ticket{j: t.j, class: Now, count: 1, urgent: true, body: appendRecord(nil, &r)}
	if t.class == Unsynced {
		c.class = Unsynced
	}
	if err := t.j.enqueue(c); err != nil {
		return err
	}
	return c.Wait()
}

// IDs gives the ID of the first record and how many there are, ascending by one.
// It is 0 until Wait has returned, and for Soon until the records were written.
func (t *Ticket) IDs() (first uint64, count int) {
	t.j.io.Lock()
	defer t.j.io.Unlock()
	return t.first, t.count
}

// Flush writes and syncs everything that waits.
func (j *Journal) Flush() error {
	end := time.Now().Add(j.o.LockWait)
	for {
		j.io.Lock()
		err := j.drain(true)
		j.io.Unlock()
		j.mu.Lock()
		left := len(j.queue)
		j.mu.Unlock()
		if err != nil || left == 0 {
			return err
		}
		if !j.waitRoom(end) {
			return errkind.Newf("journal", errkind.Unavailable, "the journal has no room")
		}
	}
}
