package index

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"rookery/internal/mailstore"
)

// Bounds that decide what compaction does.
const (
	// A mailbox's records stay in the log as long as they are few: less than
	// carryBytes and one carryPart-th of its snapshot.
	carryBytes = 4 << 10
	carryPart  = 64
	// A mailbox with more than heapBase and one heapPart-th of its messages in
	// memory gets a new snapshot.
	heapBase = 2048
	heapPart = 32
)

// heavy reports whether too much of the view is in memory.
func (v *View) heavy() bool { return v.heap > heapBase+v.Len()/heapPart }

// due asks for compaction if there is something to do. u.mu is held.
func (u *User) due(v *View) {
	if u.opt.NoBackground || u.log == nil || u.ending || !v.heavy() && !u.logDue() {
		return
	}
	if u.kick == nil {
		u.kick = make(chan struct{}, 1)
		u.work.Go(u.background)
	}
	select {
	case u.kick <- struct{}{}:
	default:
	}
}

func (u *User) logDue() bool { return u.logOver(u.opt.MaxLog) }

// logOver reports whether the log has grown by more than limit since it was last
// compacted, as far as this process knows.
func (u *User) logOver(limit int64) bool { return u.log != nil && u.log.pos > limit+u.carried }

func (u *User) background() {
	for {
		select {
		case <-u.stop:
			return
		case <-u.kick:
		}
		u.compact(u.opt.MaxLog, u.opt.LockWait) // what fails is tried again after the next change
	}
}

// Compact does what the background does, now: it writes snapshots of mailboxes
// of which much is pending, and a new log with the rest. Sessions wait for the
// latter only.
func (u *User) Compact() error { return u.compact(-1, u.opt.LockWait) }

// compact writes snapshots of mailboxes of which too much is in memory, and if
// the log has grown by more than limit also of those of which much is pending,
// and a new log. It waits for the user's lock at most wait.
func (u *User) compact(limit int64, wait time.Duration) error {
	u.compacts.Lock()
	defer u.compacts.Unlock()
	always := limit < 0
	u.mu.Lock()
	all := always || u.logOver(limit)
	list := u.pending(all)
	u.mu.Unlock()
	var failed error
	if always {
		u.mu.Lock()
		boxes := slices.Collect(maps.Values(u.boxes))
		u.mu.Unlock()
		for _, b := range boxes {
			b.facts.compact()
		}
	}
	for _, g := range list {
		select {
		case <-u.stop:
			return nil
		default:
		}
		if err := u.snapshot(g, wait); err != nil && failed == nil {
			failed = err
		}
	}
	if !all {
		return failed
	}
	if err := u.Lock(wait); err != nil {
		return err
	}
	defer u.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.log != nil && (always || u.logOver(limit)) {
		u.replaceLog()
	}
	return failed
}

// pending gives the mailboxes that need a new snapshot; u.mu is held.
func (u *User) pending(all bool) (list []mailstore.GUID) {
	for g, in := range u.info {
		b := u.boxes[g]
		heavy := b != nil && b.View().heavy()
		if b != nil && in.size == 0 && b.View().base != nil {
			in.size = b.View().base.size
		}
		if all && in.size == 0 && in.bytes > carryBytes {
			if info, err := u.opt.FS.Stat(join(in.dir, snapFile)); err == nil {
				in.size = info.Size
			}
		}
		if heavy || all && in.bytes > max(carryBytes, in.size/carryPart) {
			list = append(list, g)
		}
	}
	return list
}

var errNothing = errors.New("the mailbox changed meanwhile")

// snapshot writes a mailbox's snapshot: without the lock, since views do not
// change; only putting it in place takes it.
func (u *User) snapshot(g mailstore.GUID, wait time.Duration) error {
	u.mu.Lock()
	in := u.info[g]
	if in == nil || u.log == nil {
		u.mu.Unlock()
		return nil
	}
	b := u.boxes[g]
	if b == nil {
		b = newBox(u, g, in.dir)
		b.view.Store(emptyView(b))
		u.load(b)
	}
	v, seq, dir, head := b.View(), b.seq, in.dir, u.log.logHead
	u.mu.Unlock()
	if !v.built || seq <= in.snapSeq {
		return nil
	}
	t, err := v.writeSnapshot(dir, head.lineage, seq)
	if err != nil {
		return err
	}
	if err := u.place(g, t, head, wait); err != nil {
		t.drop(u)
		return err
	}
	if u.opt.KeepClean { // before its records leave the log it must be certain
		err = t.f.Sync()
		if err == nil {
			err = u.syncDirs(dir)
		}
	}
	t.f.Close()
	u.mu.Lock()
	defer u.mu.Unlock()
	if in := u.info[g]; in != nil && in.snapSeq == t.seq {
		// Until some process syncs it, the log goes on to name it.
		in.synced, in.size = err == nil && u.opt.KeepClean, t.size
	}
	return err
}

// place puts a snapshot in place. Only the log that it was made from tells of
// newer ones: if another process has compacted it since, ours may be the older.
func (u *User) place(g mailstore.GUID, t *snapTemp, head logHead, wait time.Duration) error {
	if err := u.Lock(wait); err != nil {
		return err
	}
	defer u.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	in := u.info[g]
	if in == nil || u.log == nil || u.log.logHead != head || in.dir != t.dir || in.snapSeq >= t.seq {
		return errNothing
	}
	if err := t.install(u); err != nil {
		return err
	}
	b := u.boxes[g]
	who := b
	if who == nil {
		who = newBox(u, g, t.dir)
	}
	was := who.seq
	u.append(who, kindSnap, 0, snapBody(t.seq, false))
	if b != nil && u.log != nil && b.View().built {
		who.seq = was
		u.load(b)
	}
	return nil
}

// replaceLog writes a new log with what no snapshot holds. u.mu and the user's
// lock are held.
func (u *User) replaceLog() {
	l := u.log
	var buf []byte
	crc := uint32(0)
	h := l.logHead
	// A number is left out: rookery-modseq names it, so that who still has the old
	// log open, and finds the new one gone, knows that there was one.
	h.epoch, h.base, h.boot = l.epoch+1, u.seq+1, bootOf(u.opt.FS)
	h.prevPos, h.prevCRC = l.pos, l.crc
	_, crc, _ = decodeLogHead(h.encode())
	find := finder{l: l}
	var r logRec
	at := map[mailstore.GUID][]recPos{}
	put := func(r *logRec) recPos {
		p := recPos{off: logHeader + int64(len(buf)), seq: r.seq}
		buf, crc = appendRecord(buf, crc, r)
		p.length = logHeader + int64(len(buf)) - p.off
		return p
	}
	for g, in := range u.info {
		if len(in.recs) == 0 && (in.snapSeq == 0 || in.synced) {
			continue
		}
		put(&logRec{seq: in.firstSeq(), guid: g, kind: kindBox, body: []byte(in.dir)})
		if in.snapSeq > 0 && !in.synced {
			put(&logRec{seq: in.snapSeq, guid: g, kind: kindSnap, body: snapBody(in.snapSeq, false)})
		}
		for _, p := range in.recs {
			if err := find.at(&r, p.off, p.length); err != nil {
				u.lose(err.Error(), fileID{l.inode, l.dev})
				return
			}
			at[g] = append(at[g], put(&r))
		}
	}
	n, err := u.writeLog(h, buf, crc)
	if err != nil {
		// The old one still stands, if it does.
		if on, serr := u.opt.FS.Stat(join(u.opt.LogDir, logFile)); serr != nil || on.Inode != l.inode {
			u.giveUp(err)
		} else if l.other {
			u.giveUp(err)
		}
		return
	}
	l.close()
	u.log, u.carried, u.last, u.seq = n, n.pos, nil, h.base
	u.modseq.replaced(n.lineage, u.seq)
	for g, in := range u.info {
		in.recs = at[g]
		if len(in.recs) == 0 && (in.snapSeq == 0 || in.synced) {
			delete(u.info, g)
		}
	}
}

// firstSeq is a number not above any of the mailbox's records.
func (in *boxInfo) firstSeq() uint64 {
	if in.snapSeq > 0 {
		return in.snapSeq
	}
	return in.recs[0].seq
}

// syncDirs syncs a directory and those above it: they may be new.
func (u *User) syncDirs(dir string) error {
	for {
		if err := u.opt.FS.SyncDir(cmp.Or(dir, ".")); err != nil {
			return err
		}
		if dir == "" || dir == "." {
			return nil
		}
		dir = dir[:max(strings.LastIndexByte(dir, '/'), 0)]
	}
}

// keepClean syncs the log and marks it so.
func (u *User) keepClean() {
	if u.Lock(time.Second) != nil {
		return
	}
	defer u.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	l := u.log
	if l == nil || l.clean || l.other || l.f.DataSync() != nil || u.syncDirs(u.opt.LogDir) != nil {
		return
	}
	if _, err := l.f.WriteAt(encodeMarks(uint64(l.pos), uint64(l.pos)), markOff); err == nil {
		l.f.DataSync() // the mark must survive to be of use; if not, the index is rebuilt
	}
}
