package journal

import (
	"slices"

	"rookery/internal/errkind"
	"rookery/internal/vfs"
)

// How many segments may be live, by who wants to write. One is always left for
// recovery, one more for what must be said even when there is no room.
const (
	ordinaryLive = 6
	urgentLive   = 7
	markLive     = 8

	checkpointAt = 4       // live segments from which checkpoints are made
	drainBytes   = 4 << 17 // written under one sync at most
	maxUnsynced  = 1024    // tickets kept to be written again after a failed sync
)

// drain writes what waits, in order, as far as there is room, and syncs it if
// anybody waits for that. What cannot be written tells its waiters why. io is held.
func (j *Journal) drain(sync bool) error {
	if err := j.mend(); err != nil {
		j.failQueue(err)
		return err
	}
	if j.file == nil {
		return nil // nothing was ever appended
	}
	if err := j.present(); err != nil {
		err = failed("write journal", err)
		j.failQueue(err)
		return err
	}
	var wrote []*Ticket
	for size := 0; size < drainBytes; {
		got, n, err := j.writeBatch()
		if err != nil {
			err = failed("write journal", err)
			j.complete(wrote, sync)
			j.failQueue(err)
			return err
		}
		if n == 0 {
			break
		}
		wrote, size = append(wrote, got...), size+n
	}
	err := j.complete(wrote, sync)
	if j.cycle-j.liveCycle+1 >= checkpointAt {
		j.startCheckpoint()
	}
	return err
}

// complete syncs what was written and tells those who wait.
func (j *Journal) complete(wrote []*Ticket, sync bool) error {
	for _, t := range wrote {
		sync = sync || t.class == Now
	}
	j.finish(wrote, func(t *Ticket) bool { return t.class != Now }, nil)
	if !sync || len(j.ownSeqs) == 0 {
		return nil
	}
	upTo := j.nextSeq - 1
	if err := j.file.DataSync(); err != nil {
		return j.fault(wrote, failed("sync journal", err))
	}
	j.synced, j.unsynced, j.ownSeqs = max(j.synced, upTo), nil, nil
	j.finish(wrote, func(*Ticket) bool { return true }, nil)
	for _, t := range wrote {
		t.body = nil // a driver may hold the ticket for long
	}
	return nil
}

// finish tells those of list that which names; io is held.
func (j *Journal) finish(list []*Ticket, which func(*Ticket) bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, t := range list {
		if which(t) {
			t.done, t.err = true, err
		}
	}
}

// failQueue tells everybody who waits in the queue; what was Soon stays.
func (j *Journal) failQueue(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.queue = slices.DeleteFunc(j.queue, func(t *Ticket) bool {
		if t.class == Soon || t.done {
			return false
		}
		t.done, t.err = true, err
		return true
	})
}

// writeBatch writes one batch of what waits. It gives the size, 0 if nothing
// waits or nothing fits.
func (j *Journal) writeBatch() (wrote []*Ticket, size int, err error) {
	j.mu.Lock()
	waits := len(j.queue)
	j.mu.Unlock()
	if waits == 0 {
		return nil, 0, nil
	}
	if err := j.file.Lock(true, j.o.LockWait); err != nil {
		return nil, 0, err
	}
	defer j.file.Unlock()
	if err := j.refresh(); err != nil {
		return nil, 0, err
	}
	take, cycle, block := j.choose()
	if len(take) == 0 {
		return nil, 0, nil
	}
	b := j.build(take)
	if err := j.put(b, cycle, block, 0); err != nil {
		return nil, 0, err
	}
	j.mu.Lock()
	j.queue = slices.DeleteFunc(j.queue, func(t *Ticket) bool { return slices.Contains(take, t) })
	j.mu.Unlock()
	for _, t := range take {
		t.written, t.cycle = true, cycle
		if t.class != Now {
			j.unsynced = append(j.unsynced, t)
		}
	}
	if len(j.unsynced) > maxUnsynced { // nobody ever syncs, as the settings have it
		j.unsynced = slices.Delete(j.unsynced, 0, len(j.unsynced)-maxUnsynced)
	}
	return take, len(b.buf), nil
}

// choose takes what fits into the next batch, in order, and says where it goes.
// Where there is no room for the first, what is urgent may go alone.
func (j *Journal) choose() (take []*Ticket, cycle uint64, block int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	fits := func(urgent bool, live uint64) bool {
		room := 0
		if cycle < j.liveCycle+live {
			room = (segmentBlocks-block)*blockSize - batchHead
		}
		for _, t := range j.queue {
			if urgent && !t.urgent {
				continue
			}
			if len(t.body) > room {
				break
			}
			take, room = append(take, t), room-len(t.body)
		}
		return len(take) > 0
	}
	for _, who := range [...]struct {
		urgent bool
		live   uint64
	}{{false, ordinaryLive}, {true, urgentLive}} {
		if cycle, block = j.cycle, j.block; fits(who.urgent, who.live) {
			return take, cycle, block
		}
		if cycle, block = j.cycle+1, 1; fits(who.urgent, who.live) {
			return take, cycle, block
		}
	}
	return nil, 0, 0
}

// built is a batch in memory, its head still to be filled.
type built struct {
	buf     []byte
	size    int // of the body
	records uint32
	clean   bool
}

// build puts tickets together and gives their records IDs.
func (j *Journal) build(take []*Ticket) *built {
	size := 0
	for _, t := range take {
		size += len(t.body)
	}
	b := &built{buf: make([]byte, batchHead, batchHead+size+recordHead+blockSize)}
	id := j.nextID
	for _, t := range take {
		if t.first == 0 {
			t.first = id
			id += uint64(t.count)
		}
		at := len(b.buf)
		b.buf = append(b.buf, t.body...)
		n := t.first
		for p := b.buf[at:]; len(p) > 0; p = p[le.Uint32(p):] {
			ref := uint64(0)
			if le.Uint64(p[16:]) == RefFirst {
				ref = t.first
			}
			patch(p, n, ref)
			n++
		}
		b.records += uint32(t.count)
	}
	j.nextID = id
	return b
}

// put writes a batch and moves the end past it. The file's lock is held.
func (j *Journal) put(b *built, cycle uint64, block int, live uint64) error {
	b.size = len(b.buf) - batchHead
	h := head{cycle: cycle, seq: j.nextSeq, liveCycle: j.liveCycle, liveSeq: j.liveSeq, synced: j.synced, nextID: j.nextID,
		owner: j.owner, size: uint32(b.size), bodyCRC: crcOf(b.buf[batchHead:]), records: b.records, clean: b.clean, boot: j.boot}
	if live > j.liveCycle {
		h.liveCycle, h.liveSeq = live, j.starts[live%segments]
		if live == cycle && block == 1 {
			h.liveSeq = h.seq
		}
	}
	if block+h.blocks() > segmentBlocks || cycle >= j.liveCycle+markLive {
		return errkind.Newf("journal", errkind.Unavailable, "the journal has no room")
	}
	b.buf = append(b.buf, make([]byte, h.blocks()*blockSize-len(b.buf))...)
	h.put(b.buf, j.nonce)
	if _, err := j.file.WriteAt(b.buf, offset(cycle, block)); err != nil {
		return err
	}
	// The mark of what is live counts once it is on disk: markDone.
	keepCycle, keepSeq := j.liveCycle, j.liveSeq
	done := batch{head: h, block: block}
	j.passed(&done)
	j.liveCycle, j.liveSeq = keepCycle, keepSeq
	if recs, ok := decodeBody(&h, b.buf[batchHead:]); ok {
		j.track(recs, cycle, true)
	}
	j.ownSeqs = append(j.ownSeqs, h.seq)
	return nil
}

// fault is after a failed sync: those who wait are told, the descriptor is given
// up, and what it wrote is doubtful. It returns err.
func (j *Journal) fault(wrote []*Ticket, err error) error {
	j.o.Note(FileName + " could not be synced: " + err.Error())
	j.finish(wrote, func(t *Ticket) bool { return t.class == Now }, err)
	j.mu.Lock()
	for _, t := range j.unsynced {
		t.written = false
	}
	j.queue = append(j.unsynced, j.queue...)
	j.mu.Unlock()
	j.voids = append(j.voids, j.ownSeqs...)
	j.unsynced, j.ownSeqs = nil, nil
	j.file.Close()
	j.file, j.broken = nil, err
	if merr := j.mend(); merr != nil {
		j.o.Note(FileName + " is out of use until it can be written again: " + merr.Error())
	}
	return err
}

// mend opens the file again after a failed sync and believes only what it reads:
// what is there of the failed batches is voided by a new one.
func (j *Journal) mend() error {
	if j.broken == nil {
		return nil
	}
	file, err := j.o.FS.OpenFile(j.path(FileName), vfs.Read|vfs.Write, 0)
	if err != nil {
		return failed("open journal", err)
	}
	if err := j.mendWith(file); err != nil {
		file.Close()
		j.file = nil
		return failed("write journal", err)
	}
	j.broken = nil
	return nil
}

func (j *Journal) mendWith(file vfs.File) error {
	n, found, err := j.readAll(file)
	if err != nil {
		return err
	}
	next := j.nextID // what waits to be written again has its IDs
	j.adopt(n, found)
	j.file, j.nextID = file, max(j.nextID, next)
	var there []uint64
	for _, b := range found {
		if b.owner != j.owner || !slices.Contains(j.voids, b.seq) {
			continue
		}
		there = append(there, b.seq)
		recs, _ := decodeBody(&b.head, b.body)
		for i := range recs {
			j.forget(recs[i].ID)
		}
	}
	if len(there) > 0 {
		if err := j.writeVoid(there); err != nil {
			j.voids, j.ownSeqs = append(j.voids, j.ownSeqs...), nil
			return err
		}
	}
	j.voids = nil
	return nil
}

// writeVoid takes batches back, on disk.
func (j *Journal) writeVoid(seqs []uint64) error {
	if err := j.file.Lock(true, j.o.LockWait); err != nil {
		return err
	}
	defer j.file.Unlock()
	if err := j.refresh(); err != nil {
		return err
	}
	r := Record{Kind: void, ID: j.nextID, Payload: uints(seqs)}
	j.nextID++
	b := &built{buf: appendRecord(make([]byte, batchHead), &r), records: 1}
	cycle, block := j.place(len(b.buf) - batchHead)
	if err := j.put(b, cycle, block, 0); err != nil {
		return err
	}
	if err := j.file.DataSync(); err != nil {
		return err
	}
	j.synced, j.ownSeqs = j.nextSeq-1, nil
	return nil
}

// place gives where a batch that may use all room goes.
func (j *Journal) place(body int) (cycle uint64, block int) {
	if blocksFor(body) > segmentBlocks-j.block {
		return j.cycle + 1, 1
	}
	return j.cycle, j.block
}
