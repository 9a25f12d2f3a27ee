package journal

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"slices"

	"rookery/internal/errkind"
	"rookery/internal/vfs"
)

// batch is one that was found in the file. Its body shares memory with what was read.
type batch struct {
	head
	block int
	body  []byte
}

// openFile opens the journal and learns its state; io is held. fs.ErrNotExist if
// there is none.
func (j *Journal) openFile() error {
	file, err := j.o.FS.OpenFile(j.path(FileName), vfs.Read|vfs.Write, 0)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && !j.recovered.Load() {
			j.wasClean = true
		}
		return err
	}
	err = j.identify(file)
	if err == nil {
		err = j.load(file)
	}
	if err != nil {
		file.Close()
		if !errkind.Is(err, errkind.Corrupt) || !j.alone {
			return err
		}
		return j.setAside(err)
	}
	j.file = file
	if !j.recovered.Load() {
		j.wasClean = j.lastClean
	}
	j.made.Store(true)
	return nil
}

// setAside puts a file away that is no journal: nobody can read it, and mail
// must go on. What was in it is in the mail already, unless the power was cut.
func (j *Journal) setAside(why error) error {
	to := FileName + ".damaged"
	if err := j.o.FS.Rename(j.path(FileName), j.path(to)); err != nil {
		return err
	}
	if err := j.syncDir(); err != nil {
		return err
	}
	j.o.Note(FileName + " cannot be read (" + why.Error() + "); kept as " + to + ", a new one is begun; " +
		"if the machine has just lost power, messages and flag changes of its last seconds may be missing")
	return fs.ErrNotExist
}

func (j *Journal) syncDir() error {
	dir := j.o.Dir
	if dir == "" {
		dir = "."
	}
	return j.o.FS.SyncDir(dir)
}

// create makes the journal, or opens the one that another process made meanwhile;
// io is held.
func (j *Journal) create() error {
	err := j.openFile()
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return failed("open journal", err)
	}
	tmp := j.path(newName)
	file, err := j.o.FS.OpenFile(tmp, vfs.Read|vfs.Write|vfs.Create, j.o.FileMode)
	if err != nil {
		return failed("make journal", err)
	}
	err = file.Lock(true, j.o.LockWait)
	if err == nil {
		if _, serr := j.o.FS.Stat(j.path(FileName)); serr == nil {
			file.Close() // another process was first
			return failed("open journal", j.openFile())
		}
		err = j.make(file, tmp)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			j.o.FS.Remove(tmp) // a full disk wants its megabyte back
		}
	}
	if err != nil {
		file.Close()
		return failed("make journal", err)
	}
	file.Unlock()
	return nil
}

// make fills the file and gives it its name. Zeroes are written, not only
// allocated: overwriting them needs no commit of the file system later.
func (j *Journal) make(file vfs.File, tmp string) error {
	var n nonce
	rand.Read(n[:])
	if err := file.Allocate(fileSize); err != nil {
		return err
	}
	seg := make([]byte, segmentSize)
	copy(seg, encodeHead(n))
	for i := range segments {
		if _, err := file.WriteAt(seg, int64(i)*segmentSize); err != nil {
			return err
		}
	}
	if err := file.Truncate(fileSize); err != nil { // what a crash left may have been longer
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := j.o.FS.RenameNoReplace(tmp, j.path(FileName)); err != nil {
		return err
	}
	if err := j.syncDir(); err != nil {
		return err
	}
	if err := j.identify(file); err != nil {
		return err
	}
	j.adopt(n, nil)
	j.file = file
	j.made.Store(true)
	return nil
}

// identify notes which file it is.
func (j *Journal) identify(file vfs.File) error {
	info, err := file.Stat()
	j.inode = [2]uint64{info.Device, info.Inode}
	return err
}

// present makes sure that the file is still the one that has the name: one that
// somebody removed or replaced would keep nothing.
func (j *Journal) present() error {
	info, err := j.o.FS.Stat(j.path(FileName))
	switch {
	case err == nil && j.inode == [2]uint64{info.Device, info.Inode}:
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	j.o.Note(FileName + " was removed or replaced while it was in use; another is used from now on; " +
		"what was in it is safe unless the machine loses power in the next seconds")
	j.file.Close()
	j.file = nil
	j.unsynced, j.ownSeqs = nil, nil
	return j.create()
}

// load reads the whole file and takes its state from it.
func (j *Journal) load(file vfs.File) error {
	n, found, err := j.readAll(file)
	if err != nil {
		return err
	}
	j.adopt(n, found)
	return nil
}

// readAll gives the nonce and all valid batches that can be live, in the order of
// their sequence.
func (j *Journal) readAll(file vfs.File) (n nonce, found []batch, err error) {
	buf, _ := j.segmentBufs.Get().(*[segmentSize]byte)
	if buf == nil {
		buf = new([segmentSize]byte)
	}
	defer j.segmentBufs.Put(buf)
	known := false
	for i := 0; i < segments && !known; i++ {
		if err := readFull(file, buf[:fileHead], int64(i)*segmentSize); err != nil {
			return n, nil, err
		}
		n, known = decodeHead(buf[:fileHead])
	}
	if !known {
		return n, nil, errkind.Newf("read journal", errkind.Corrupt, "it has no head")
	}
	live, err := firstLive(file, n, buf[:])
	if err != nil {
		return n, nil, err
	}
	for i := range segments {
		if err := readFull(file, buf[:], int64(i)*segmentSize); err != nil {
			return n, nil, err
		}
		for _, b := range scanSegment(buf[:], n, i, live) {
			b.body = slices.Clone(b.body)
			found = append(found, b)
		}
	}
	slices.SortFunc(found, func(a, b batch) int {
		if a.seq != b.seq {
			return cmpUint(a.seq, b.seq)
		}
		return cmpUint(a.cycle, b.cycle)
	})
	return n, found, nil
}

// firstLive gives a cycle below which nothing is live, by the first batch of each
// segment: most of a ring is usually dead, and its bytes need not be looked at.
func firstLive(file vfs.File, n nonce, buf []byte) (live uint64, err error) {
	for i := range segments {
		off := int64(i)*segmentSize + blockSize
		if err := readFull(file, buf[:batchHead], off); err != nil {
			return 0, err
		}
		h, ok := parseHead(buf[:batchHead], n)
		if !ok || h.liveCycle <= live || h.blocks() >= segmentBlocks {
			continue
		}
		p := buf[:h.blocks()*blockSize]
		if err := readFull(file, p, off); err != nil {
			return 0, err
		}
		if b, ok := parseBatch(p, n); ok {
			live = max(live, b.liveCycle)
		}
	}
	return live, nil
}

func cmpUint(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// scanSegment finds the valid batches of one segment, whatever lies between them,
// but for those of cycles below live.
func scanSegment(seg []byte, n nonce, number int, live uint64) (found []batch) {
	for block := 1; block < segmentBlocks; {
		p := seg[block*blockSize:]
		if h, ok := parseHead(p, n); !ok || h.cycle < live || h.cycle%segments != uint64(number) {
			block++
			continue
		}
		b, ok := parseBatch(p, n)
		if !ok {
			block++
			continue
		}
		b.block = block
		found = append(found, b)
		block += b.blocks()
	}
	return found
}

// parseBatch reads a batch at the beginning of p and checks its body.
func parseBatch(p []byte, n nonce) (b batch, ok bool) {
	h, ok := parseHead(p, n)
	if !ok || h.blocks()*blockSize > len(p) {
		return b, false
	}
	body := p[batchHead : batchHead+int(h.size)]
	if crcOf(body) != h.bodyCRC {
		return b, false
	}
	return batch{head: h, body: body}, true
}

// adopt takes the state from what was found: where to write next, what is live,
// what is pending.
func (j *Journal) adopt(n nonce, found []batch) {
	j.nonce = n
	j.cycle, j.block, j.nextSeq, j.nextID = 1, 1, 1, 1
	j.liveCycle, j.liveSeq, j.synced = 1, 1, 0
	j.starts = [segments]uint64{}
	j.pending, j.lastClean = map[uint64]*Record{}, len(found) == 0
	j.isPending.Store(0)
	for _, b := range found {
		if b.liveCycle > j.liveCycle {
			j.liveCycle, j.liveSeq = b.liveCycle, b.liveSeq
		}
	}
	skip := voided(found)
	for _, b := range found {
		if b.cycle < j.liveCycle {
			continue
		}
		j.passed(&b)
		if !skip[b.seq] {
			if recs, ok := decodeBody(&b.head, b.body); ok {
				j.track(recs, b.cycle, b.owner == j.owner)
			}
		}
	}
	j.starts[j.liveCycle%segments] = j.liveSeq
}

// passed moves the end past a batch.
func (j *Journal) passed(b *batch) {
	if b.cycle != j.cycle || j.starts[b.cycle%segments] == 0 {
		j.starts[b.cycle%segments] = b.seq
	}
	j.cycle, j.block = b.cycle, b.block+b.blocks()
	j.nextSeq, j.nextID = b.seq+1, max(j.nextID, b.nextID)
	j.synced = max(j.synced, b.synced)
	if b.liveCycle > j.liveCycle {
		j.liveCycle, j.liveSeq = b.liveCycle, b.liveSeq
	}
	j.lastClean = b.clean
}

// voided gives the sequence numbers that later batches take back.
func voided(found []batch) map[uint64]bool {
	skip := map[uint64]bool{}
	for _, b := range found {
		if b.records != 1 || len(b.body) < recordHead || Kind(b.body[4]) != void {
			continue // such a record is alone in its batch
		}
		recs, _ := decodeBody(&b.head, b.body)
		for _, r := range recs {
			if r.Kind == void {
				for _, s := range fromUints(r.Payload) {
					skip[s] = true
				}
			}
		}
	}
	return skip
}

// refresh follows what other processes wrote; the file's lock is held.
func (j *Journal) refresh() error {
	for {
		b, ok, err := j.readAt(j.cycle, j.block)
		if err == nil && !ok {
			b, ok, err = j.readAt(j.cycle+1, 1)
		}
		if err == errLapped {
			next := j.nextID
			if err = j.load(j.file); err == nil {
				j.nextID = max(j.nextID, next)
			}
			return err
		}
		if err != nil || !ok {
			return err
		}
		j.passed(&b)
		if recs, ok := decodeBody(&b.head, b.body); ok {
			j.track(recs, b.cycle, b.owner == j.owner)
		}
	}
}

// errLapped says that others went round the ring since this process looked: what
// it expects to find next is overwritten. As long as they did not, the first
// batch of the next cycle is still there; where they are just coming round, it is
// there too, but what lies before it is gone: its number is too high.
var errLapped = errkind.Newf("read journal", errkind.Other, "others have gone round")

// readAt reads the batch that comes next if it is at this place.
func (j *Journal) readAt(cycle uint64, block int) (b batch, ok bool, err error) {
	if block >= segmentBlocks {
		return b, false, nil
	}
	var first [batchHead]byte
	off := offset(cycle, block)
	if err := readFull(j.file, first[:], off); err != nil {
		return b, false, err
	}
	h, ok := parseHead(first[:], j.nonce)
	if ok && (h.cycle > cycle || h.cycle == cycle && h.seq > j.nextSeq) {
		return b, false, errLapped
	}
	if !ok || h.cycle != cycle || h.seq != j.nextSeq || block+h.blocks() > segmentBlocks {
		return b, false, nil
	}
	buf := make([]byte, batchHead+int(h.size))
	if err := readFull(j.file, buf, off); err != nil {
		return b, false, err
	}
	b, ok = parseBatch(append(buf, make([]byte, h.blocks()*blockSize-len(buf))...), j.nonce)
	b.block = block
	return b, ok && b.seq == h.seq, nil
}

// readFull reads what is there; a file that was cut short reads as zeroes.
func readFull(f io.ReaderAt, p []byte, off int64) error {
	n, err := f.ReadAt(p, off)
	if errors.Is(err, io.EOF) {
		clear(p[n:])
		return nil
	}
	return err
}

func offset(cycle uint64, block int) int64 {
	return int64(cycle%segments)*segmentSize + int64(block)*blockSize
}

// track keeps what is pending: intents with their steps, and reservations.
func (j *Journal) track(recs []Record, cycle uint64, own bool) {
	for i := range recs {
		r := &recs[i]
		switch r.Kind {
		case Intent, Reservation:
			old := j.pending[r.ID]
			if old == nil {
				c := *r
				c.Payload, c.Data, c.Own, c.cycle = slices.Clone(r.Payload), nil, own, cycle
				j.pending[r.ID] = &c
				j.isPending.Add(int64(c.EncodedSize()))
			} else {
				old.cycle = cycle // carried on
			}
		case Step:
			in := j.pending[r.Ref]
			if in == nil || slices.ContainsFunc(in.steps, func(s Record) bool { return s.ID == r.ID }) {
				continue
			}
			c := *r
			c.Payload, c.Data = slices.Clone(r.Payload), nil
			in.steps = append(in.steps, c)
			j.isPending.Add(int64(c.EncodedSize()))
		case IntentDone, Settle:
			j.forget(r.Ref)
		case cancel:
			for id := r.Ref; id < r.Ref+uint64(r.UID); id++ {
				j.forget(id)
			}
		}
	}
}

func (j *Journal) forget(id uint64) {
	if in := j.pending[id]; in != nil {
		j.isPending.Add(-int64(in.EncodedSize()))
		for i := range in.steps {
			j.isPending.Add(-int64(in.steps[i].EncodedSize()))
		}
		delete(j.pending, id)
	}
}
