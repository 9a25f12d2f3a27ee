package journal

import (
	"slices"
	"sync"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/vfs"
)

// settleMode says which segments a checkpoint settles.
type settleMode uint8

const (
	settleClosed settleMode = iota // those that nobody writes to any more
	settleAll                      // all, with a clean mark; no other process has the journal
)

// Checkpoint settles all closed segments. The journal does it by itself, but
// with Options.Manual.
func (j *Journal) Checkpoint() error { return j.checkpoint(settleClosed) }

// startCheckpoint has one made in the background, if none is.
func (j *Journal) startCheckpoint() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.o.Manual || j.closed || j.checkpointing {
		return
	}
	j.checkpointing = true
	j.work.Add(1)
	go j.runCheckpoints()
}

func (j *Journal) runCheckpoints() {
	defer j.work.Done()
	pause, told := time.Millisecond, false
	for {
		err := j.checkpoint(settleClosed)
		if err != nil && !errkind.Is(err, errkind.InUse) && !told {
			j.o.Note("the checkpoint of " + FileName + " failed: " + err.Error())
			told = true
		}
		j.io.Lock()
		more := j.cycle-j.liveCycle+1 >= checkpointAt
		j.io.Unlock()
		j.mu.Lock()
		j.stuck = err != nil && !errkind.Is(err, errkind.InUse)
		close(j.room)
		j.room = make(chan struct{})
		// After an error only those who wait for room are a reason to try at once;
		// the next batch asks again in any case.
		if j.closed || !more || err != nil && j.waiting == 0 {
			j.checkpointing = false
			j.mu.Unlock()
			return
		}
		j.mu.Unlock()
		if err != nil {
			time.Sleep(pause)
			pause = min(2*pause, 50*time.Millisecond)
		}
	}
}

// waitRoom waits until a checkpoint has been tried; false once it is too late, or
// no use.
func (j *Journal) waitRoom(end time.Time) bool {
	j.mu.Lock()
	room := j.room
	alone := j.o.Manual || j.closed
	if !alone {
		j.waiting++
	}
	j.mu.Unlock()
	if alone {
		return j.checkpoint(settleClosed) == nil
	}
	j.startCheckpoint()
	timer := time.NewTimer(time.Until(end))
	defer timer.Stop()
	select {
	case <-room:
	case <-timer.C:
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.waiting--
	return !j.stuck && time.Now().Before(end)
}

// work is what a checkpoint is to settle.
type work struct {
	recs []Record
	from uint64 // the oldest live cycle when it was gathered
	upTo uint64 // the first cycle that stays
	seq  uint64 // the next sequence number when it was gathered

	bufs []*[segmentSize]byte // what recs refer to
}

// release gives the memory back that the records lie in.
func (j *Journal) release(w *work) {
	for _, b := range w.bufs {
		j.segmentBufs.Put(b)
	}
	w.bufs, w.recs = nil, nil
}

func (j *Journal) checkpoint(mode settleMode) error {
	j.cp.Lock()
	defer j.cp.Unlock()
	w, err := j.gather(mode)
	if err != nil || w == nil {
		return err
	}
	defer j.release(w)
	err = j.settleEffects(w.recs)
	if errkind.Is(err, errkind.InUse) && mode == settleClosed && w.upTo > w.from+1 {
		// Something is under way; what is oldest may be free of it.
		w.upTo = w.from + 1
		w.recs = slices.DeleteFunc(w.recs, func(r Record) bool { return r.cycle >= w.upTo })
		err = j.settleEffects(w.recs)
	}
	if err != nil {
		return err
	}
	j.io.Lock()
	defer j.io.Unlock()
	return j.mark(w, mode == settleAll)
}

func (j *Journal) settleEffects(recs []Record) error {
	if len(recs) == 0 || j.o.Checkpoint == nil {
		return nil
	}
	return j.o.Checkpoint(recs)
}

// gather reads what is to be settled; nil if there is nothing.
func (j *Journal) gather(mode settleMode) (*work, error) {
	j.io.Lock()
	defer j.io.Unlock()
	if j.file == nil {
		return nil, j.broken
	}
	if err := j.file.Lock(true, j.o.LockWait); err != nil {
		return nil, failed("lock journal", err)
	}
	defer j.file.Unlock()
	if err := j.refresh(); err != nil {
		return nil, failed("read journal", err)
	}
	w := &work{from: j.liveCycle, upTo: j.cycle, seq: j.nextSeq}
	if mode == settleAll {
		if j.lastClean {
			return nil, nil
		}
		w.upTo = j.cycle + 1
	}
	wanted := w.upTo
	j.mu.Lock()
	for t := range j.inflight {
		if t.written && t.cycle < w.upTo {
			w.upTo = t.cycle
		}
	}
	j.mu.Unlock()
	if mode == settleAll && w.upTo < wanted || w.upTo <= w.from && wanted > w.from {
		return nil, errkind.Newf("checkpoint", errkind.InUse, "records are neither done nor cancelled")
	}
	if w.upTo <= w.from {
		return nil, nil
	}
	found, err := j.readLive(w)
	if err != nil {
		j.release(w)
		return nil, failed("read journal", err)
	}
	set := resolve(found, j.boot)
	for i := range set.recs {
		if r := &set.recs[i]; r.Kind.Effect() && r.cycle < w.upTo {
			r.Own = r.owner == j.owner
			w.recs = append(w.recs, *r)
		}
	}
	return w, nil
}

// readLive reads the live segments into memory of w.
func (j *Journal) readLive(w *work) (found []batch, err error) {
	for c := j.liveCycle; c <= j.cycle; c++ {
		buf, _ := j.segmentBufs.Get().(*[segmentSize]byte)
		if buf == nil {
			buf = new([segmentSize]byte)
		}
		w.bufs = append(w.bufs, buf)
		if err := readFull(j.file, buf[:], offset(c, 0)); err != nil {
			return nil, err
		}
		for _, b := range scanSegment(buf[:], j.nonce, int(c%segments), c) {
			if b.cycle == c {
				found = append(found, b)
			}
		}
	}
	return found, nil
}

// mark makes it certain that the segments below w.upTo are settled, carrying on
// what is pending in them. io is held.
func (j *Journal) mark(w *work, all bool) error {
	if j.file == nil {
		return j.broken
	}
	if err := j.file.Lock(true, j.o.LockWait); err != nil {
		return failed("lock journal", err)
	}
	err := j.writeMark(w, all)
	if err == nil {
		// Under the lock: nobody may use a segment again before this is on disk.
		if err = j.file.DataSync(); err == nil {
			j.markDone(w, all)
			return j.file.Unlock()
		}
		return j.fault(nil, failed("sync journal", err)) // closes the file, and so unlocks it
	}
	j.file.Unlock()
	if err == errSettled {
		return nil
	}
	return failed("write journal", err)
}

// errSettled says that another process has been faster.
var errSettled = errkind.Newf("checkpoint", errkind.Exists, "it is settled")

func (j *Journal) writeMark(w *work, all bool) error {
	if err := j.refresh(); err != nil {
		return err
	}
	if j.liveCycle >= w.upTo {
		return errSettled
	}
	if all && j.nextSeq != w.seq {
		return errkind.Newf("checkpoint", errkind.InUse, "somebody writes")
	}
	b := &built{buf: make([]byte, batchHead), clean: all}
	j.carry(b, w.upTo, all)
	cycle, block := j.place(len(b.buf) - batchHead)
	if all {
		cycle, block = j.cycle+1, 1
	}
	return j.put(b, cycle, block, w.upTo)
}

// carry writes anew what is pending in the segments that go. When nobody has the
// journal any more, no reservation is anybody's.
func (j *Journal) carry(b *built, upTo uint64, all bool) {
	ids := make([]uint64, 0, len(j.pending))
	for id, r := range j.pending {
		if all && r.Kind == Reservation {
			j.forget(id)
		} else if r.cycle < upTo {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		r := j.pending[id]
		b.buf, b.records, b.clean = appendRecord(b.buf, r), b.records+1, false
		for i := range r.steps {
			b.buf, b.records = appendRecord(b.buf, &r.steps[i]), b.records+1
		}
	}
}

// markDone takes the mark into the state, now that it is on disk.
func (j *Journal) markDone(w *work, all bool) {
	j.liveCycle, j.liveSeq = w.upTo, j.starts[w.upTo%segments]
	j.synced, j.ownSeqs = j.nextSeq-1, nil
	j.unsynced = nil
}

// syncers is how many files SyncFiles waits for at once: they share commits and
// flushes. Eight take a quarter of the time of one.
const syncers = 8

// SyncFiles makes files certain, fast: the writing of all is started before any
// is waited for. It goes on after an error and gives one.
func SyncFiles(files []vfs.File) error {
	errs := make([]error, len(files))
	for i, f := range files {
		errs[i] = vfs.StartSync(f)
	}
	var wg sync.WaitGroup
	for w := range min(syncers, len(files)) {
		wg.Go(func() {
			for i := w; i < len(files); i += syncers {
				if err := files[i].Sync(); err != nil {
					errs[i] = err
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
