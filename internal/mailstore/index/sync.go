package index

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"strconv"
	"syscall"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

// forgetLog gives up what is known of a log. u.mu is held, but in Open.
func (u *User) forgetLog() {
	if u.log != nil {
		u.log.close()
	}
	u.log, u.seq, u.info, u.last, u.carried = nil, 0, map[mailstore.GUID]*boxInfo{}, nil, 0
}

// sync brings this process up to what the log says. u.mu is held; locked says
// whether the user's lock is, too. Damage is no error. u.mu is held.
func (u *User) sync(locked bool) error {
	if u.closed {
		return nil
	}
	if u.void != nil {
		u.voidLog()
	}
	path := join(u.opt.LogDir, logFile)
	on, err := u.statLog(path, locked)
	switch {
	case err != nil && !notExist(err) && !damage(err):
		return err
	case err != nil && !notExist(err):
		if u.log != nil {
			u.lose(err.Error(), fileID{})
		}
		return nil
	case err != nil && u.log == nil:
		if u.why == "" && u.modseq.older([16]byte{}, 0) {
			u.why = "the log is gone"
		}
		return nil
	case err != nil:
		// Removed while it is open: what it said is still to be read, and a writer
		// puts it in place again.
		if err := u.readOn(); err != nil || !locked {
			return err
		}
		switch {
		case u.log == nil:
		case u.modseq.older(u.log.lineage, u.seq):
			// Another process had put one in place, which is gone, too: what it said
			// was read by nobody here.
			u.lose("the log is gone", fileID{})
		default:
			u.replaceLog()
		}
		return nil
	case u.log != nil && u.log.inode == on.Inode && u.log.dev == on.Device:
		return u.readOn()
	}
	return u.openLog(path, fileID{on.Inode, on.Device})
}

// homeTrust is how long the directory of the log is taken for the one at its
// path without a look: nobody moves a user's index away and leaves his processes
// running, but who does finds them in the new place soon.
const homeTrust = time.Second

// statLog tells of the log that is in place. A reader looks below the directory
// that it holds open, which is one system call in place of three; a writer, and
// who finds nothing there, goes by the whole path.
func (u *User) statLog(path string, locked bool) (vfs.Info, error) {
	now := u.opt.FS.Now()
	since := now.Sub(u.homeAt)
	fresh := u.home != nil && since >= 0 && since < homeTrust
	if fresh && !locked {
		if on, err := u.home.Stat(logFile); err == nil {
			return on, nil
		}
		fresh = false
	}
	on, err := u.opt.FS.Stat(path)
	if err != nil || path == logFile || fresh && u.log != nil && u.log.inode == on.Inode {
		return on, err
	}
	if u.home, err = u.opt.FS.Sub(u.opt.LogDir); err != nil {
		u.home = nil
	}
	u.homeAt = now
	return on, nil
}

// readOn reads the open log on.
func (u *User) readOn() error {
	u.last = nil
	err := u.log.readOn(u.take)
	u.last = nil // or what another process does next to the same mailbox would be no news
	u.modseq.see(u.high)
	if err == nil {
		u.modseq.note(u.log.lineage, u.seq, false)
		return nil
	}
	if !damage(err) {
		return err
	}
	u.lose(err.Error(), fileID{u.log.inode, u.log.dev})
	return nil
}

// damage reports whether an error means that the file cannot be used, rather
// than that the machine is short of something now.
func damage(err error) bool {
	for _, e := range [...]error{errLog, errBoot, errOld, fs.ErrPermission, fs.ErrInvalid, syscall.EIO, syscall.EROFS, syscall.ELOOP, syscall.EISDIR} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// lose gives up the log, and what every mailbox knew by it.
func (u *User) lose(why string, id fileID) {
	u.bad, u.why = id, why
	u.forgetLog()
	for _, b := range u.boxes {
		b.seq = 0
		b.unbuild(why)
	}
}

var errOld = errors.New("the log is an older one that was put back")

// openLog opens another log than the one that is open.
func (u *User) openLog(path string, id fileID) error {
	if u.bad == id {
		return nil // it is known, and waits for a writer
	}
	l, err := openLog(u.opt.FS, path)
	if err != nil {
		if notExist(err) {
			return nil // just replaced: the next look finds it
		}
		if !damage(err) {
			return err
		}
		u.lose(err.Error(), id)
		return nil
	}
	if u.log != nil {
		// The old one first: then all that open mailboxes lack is in the new one.
		if err := u.readOn(); err != nil {
			l.close()
			return err
		}
	}
	old, seen, missed := logHead{}, u.seq, true
	if u.log != nil { // else it was damaged, too
		old, missed = u.log.logHead, u.log.pos != l.prevPos || u.log.crc != l.prevCRC
	}
	follows := old.lineage == l.lineage
	u.forgetLog()
	u.log, u.seq, u.carried = l, l.base, l.carried
	u.alone.Store(false)
	if err := u.readOn(); err != nil || u.log == nil {
		return err
	}
	if follows && l.epoch <= old.epoch || !follows && u.modseq.older(l.lineage, u.seq) {
		u.lose(errOld.Error(), id)
		return nil
	}
	u.seq = max(u.seq, l.base)
	if follows && !missed {
		u.seq = max(u.seq, seen)
		return nil
	}
	// Another lineage, or a log between the two, or one that had grown out of an
	// older version: what we lack may be in snapshots alone.
	for _, b := range u.boxes {
		u.load(b)
	}
	return nil
}

// take notes one record of the log, and brings an open mailbox up to it. Of a
// mailbox that nobody opened, what a transaction says is not even looked at.
func (u *User) take(r *logRec) error {
	u.seq = max(u.seq, r.seq)
	u.high = max(u.high, r.modseq)
	in := u.last
	if in == nil || u.lastOf != r.guid {
		if in = u.info[r.guid]; in == nil {
			in = &boxInfo{}
			u.info[r.guid] = in
		}
		u.last, u.lastOf = in, r.guid
		u.changed[r.guid] = struct{}{}
	}
	var b *Box
	if len(u.boxes) > 0 {
		b = u.boxes[r.guid]
	}
	if r.kind == kindTx {
		reset := isReset(r.body)
		if (reset || b != nil) && !r.whole() {
			return errLog
		}
		if reset { // what came before is of no use any more
			in.recs, in.bytes = nil, 0
		}
		in.recs = append(in.recs, recPos{r.off, r.length, r.seq})
		in.bytes += r.length
		if b != nil && r.seq > b.seq {
			u.advance(b, r)
		}
		return nil
	}
	if !r.whole() {
		return errLog
	}
	switch r.kind {
	case kindBox:
		in.dir = string(r.body)
	case kindSnap:
		u.tookSnap(b, in, r)
	case kindDrop:
		delete(u.info, r.guid)
		u.last = nil
		if b != nil {
			b.mu.Lock()
			b.dropped = true
			b.mu.Unlock()
			delete(u.boxes, r.guid)
		}
	}
	return nil
}

// tookSnap notes that a snapshot holds all up to a record: u64 sequence, and 1 if
// what it holds is not in the log.
func (u *User) tookSnap(b *Box, in *boxInfo, r *logRec) {
	if len(r.body) != 9 {
		return
	}
	in.snap(binary.LittleEndian.Uint64(r.body))
	if b == nil || b.seq >= r.seq {
		return
	}
	if r.body[8] == 1 && b.seq < in.snapSeq || b.View().heap > rebaseAt {
		u.load(b)
	}
}

// rebaseAt is how many records and changes a process keeps on the heap though
// there is a newer snapshot.
const rebaseAt = 1024

// snap notes that transactions up to seq are in a snapshot.
func (in *boxInfo) snap(seq uint64) {
	if seq > in.snapSeq {
		in.snapSeq, in.synced, in.size = seq, false, 0
	}
	k := 0
	for k < len(in.recs) && in.recs[k].seq <= in.snapSeq {
		in.bytes -= in.recs[k].length
		k++
	}
	in.recs = append([]recPos(nil), in.recs[k:]...)
}

// advance replays one record over what a mailbox shows.
func (u *User) advance(b *Box, r *logRec) {
	re := newReplayer(b, b.View())
	if err := re.apply(r); err != nil {
		if b.View().built || !errors.Is(err, errUnbase) {
			b.unbuild(err.Error())
		}
		return
	}
	v := re.view()
	if v.high < b.View().high {
		b.unbuild(errLess.Error())
		return
	}
	b.seq = r.seq
	b.forgetSets()
	b.view.Store(v)
}

// errLess is what is wrong with a log that another process wrote without what this
// one showed already: its HIGHESTMODSEQ would go down.
var errLess = errors.New("the log lacks what was shown before")

func (b *Box) forgetSets() {
	b.mu.Lock()
	b.setNo = nil
	b.mu.Unlock()
}

// load makes a mailbox's view from snapshot and log. u.mu is held.
func (u *User) load(b *Box) {
	b.seq = 0
	if u.log == nil {
		b.unbuild(u.why)
		return
	}
	in := u.info[b.guid]
	if in == nil {
		in = &boxInfo{}
	}
	b.mu.Lock()
	dir := b.dir
	b.mu.Unlock()
	why := ""
	v, err := b.readSnapshot(dir, u.log.lineage)
	switch {
	case err == nil && v.base.seq < in.snapSeq:
		v, why = nil, "its snapshot is an older one that was put back"
	case err == nil:
		b.seq = v.base.seq
	case !notExist(err):
		why = err.Error()
	case in.snapSeq > 0:
		why = errUnbase.Error()
	}
	if v == nil {
		v = emptyView(b)
	}
	v, rwhy := u.replay(b, v, in.recs)
	if why == "" {
		why = rwhy
	}
	if v.built && v.high >= b.View().high {
		b.forgetSets()
		b.view.Store(v)
		return
	}
	if v.built {
		why = errLess.Error()
	}
	if why == "" {
		why = u.why
	}
	b.seq = 0
	if b.View().Len() == 0 && v.Len() > 0 {
		b.view.Store(v) // for what it remembers of facts
	}
	b.unbuild(why)
}

// replay brings v up to date by those of a mailbox's records that it lacks. why
// says what was wrong with the first that could not be used: the picture is then
// not Built, unless a later one begins anew.
func (u *User) replay(b *Box, v *View, recs []recPos) (_ *View, why string) {
	for len(recs) > 0 && recs[0].seq <= b.seq {
		recs = recs[1:]
	}
	for len(recs) > 0 {
		n, err := u.replaySome(b, &v, recs)
		if err == nil {
			return v, why
		}
		if n > 0 {
			// Up to there it was good: once more, and no further.
			u.replaySome(b, &v, recs[:n])
		}
		if v.built {
			v = v.unbuilt()
		}
		if why == "" {
			why = err.Error()
		}
		recs = recs[n+1:]
	}
	return v, why
}

// replaySome replays records over v, all or none. n is the one that failed.
func (u *User) replaySome(b *Box, v **View, recs []recPos) (n int, err error) {
	find := finder{l: u.log}
	var r logRec
	re := newReplayer(b, *v)
	for n, p := range recs {
		err := find.at(&r, p.off, p.length)
		if err == nil {
			err = re.apply(&r)
		}
		if err != nil {
			return n, err
		}
	}
	*v = re.view()
	b.seq = recs[len(recs)-1].seq
	return len(recs), nil
}

// commit writes a transaction to the log and publishes its view.
func (u *User) commit(tx *Tx, v *View) *View {
	u.mu.Lock()
	defer u.mu.Unlock()
	b := tx.b
	if tx.broken {
		v = v.unbuilt()
		b.unbuild("its snapshot was damaged while it was in use")
		b.view.Store(v)
		return v
	}
	if !tx.old.built {
		b.mu.Lock()
		why, dir := b.why, b.dir
		b.why = ""
		b.mu.Unlock()
		// A mailbox that was never indexed is no news.
		if v.Len() > 0 && why != "" {
			u.opt.Note("index: " + join(dir, snapFile) + " was built anew, messages=" + strconv.Itoa(v.Len()) + ": " + why)
		}
	}
	had := u.log != nil
	if u.ready() && !had && tx.old.built {
		// The new log has nothing that this change could be added to.
		v = v.unbuilt()
		b.unbuild(u.why)
	} else {
		v = u.store(tx, v)
	}
	b.view.Store(v)
	u.due(v)
	return v
}

// Transactions that are larger go into a snapshot at once.
const (
	bigReset  = 128       // messages of a mailbox that is built anew
	bigRecord = 256 << 10 // bytes
)

// store writes the transaction to the log, or a snapshot with it, and gives the
// view to publish.
func (u *User) store(tx *Tx, v *View) *View {
	if u.log == nil {
		return v
	}
	b := tx.b
	if !tx.old.built && v.Len() > bigReset {
		if nv, ok := u.storeBig(tx, v); ok {
			return nv
		}
	}
	body := tx.encode(v)
	if len(body) > bigRecord {
		if nv, ok := u.storeBig(tx, v); ok {
			return nv
		}
	}
	if len(body) > maxRecord-recHeader {
		u.giveUp(errors.New("a change is larger than the log takes"))
		return v
	}
	u.append(b, kindTx, tx.modseq, body)
	return v
}

// storeBig writes the view's snapshot, and says so in the log.
func (u *User) storeBig(tx *Tx, v *View) (*View, bool) {
	b := tx.b
	b.mu.Lock()
	dir := b.dir
	b.mu.Unlock()
	seq := u.seq + 1 // of the record that will say so
	if in := u.info[b.guid]; in == nil || in.dir != dir {
		seq++ // after the one that says where the mailbox lies
	}
	t, err := v.writeSnapshot(dir, u.log.lineage, seq)
	if err != nil {
		return v, false
	}
	if err := t.install(u); err != nil {
		t.drop(u)
		return v, false
	}
	t.f.Close()
	b.seq = seq
	u.append(b, kindSnap, max(tx.modseq, v.high), snapBody(seq, true))
	if u.log != nil {
		if nv, err := b.readSnapshot(dir, u.log.lineage); err == nil {
			return nv, true
		}
	}
	return v, true
}

func snapBody(seq uint64, needed bool) []byte {
	b := append(binary.LittleEndian.AppendUint64(nil, seq), 0)
	if needed {
		b[8] = 1
	}
	return b
}

// append writes one record, after one that says where the mailbox lies if the
// log does not say so yet. What fails gives the log up. u.mu and the user's lock
// are held.
func (u *User) append(b *Box, kind byte, modseq uint64, body []byte) {
	if !u.ready() {
		return
	}
	b.mu.Lock()
	dir := b.dir
	b.mu.Unlock()
	var buf []byte
	recs := make([]logRec, 0, 2)
	if in := u.info[b.guid]; (in == nil || in.dir != dir) && kind != kindBox && kind != kindDrop {
		recs = append(recs, logRec{guid: b.guid, kind: kindBox, body: []byte(dir)})
	}
	recs = append(recs, logRec{guid: b.guid, kind: kind, modseq: modseq, body: body})
	crc, seq, off := u.log.crc, u.seq, u.log.pos
	for i := range recs {
		r := &recs[i]
		seq++
		r.seq, r.off = seq, off
		start := len(buf)
		buf, crc = appendRecord(buf, crc, r)
		r.length = int64(len(buf) - start)
		off += r.length
	}
	if err := u.log.write(buf, crc); err != nil {
		u.giveUp(err)
		return
	}
	b.seq = seq
	_, told := u.changed[b.guid]
	u.last = nil
	for i := range recs {
		u.take(&recs[i])
	}
	u.last = nil
	if !told {
		delete(u.changed, b.guid)
	}
	u.modseq.note(u.log.lineage, u.seq, true)
}
