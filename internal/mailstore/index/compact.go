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

func (u *User) logDue() bool { return u.log != nil && u.log.pos > u.opt.MaxLog+u.carried }

func (u *User) background() {
	for {
		select {
		case <-u.stop:
			return
		case <-u.kick:
		}
		u.compact(false) // what fails is tried again after the next change
	}
}

// Compact does what the background does, now: it writes snapshots of mailboxes
// of which much is pending, and a new log with the rest. Sessions wait for the
// latter only.
func (u *User) Compact() error { return u.compact(true) }

func (u *User) compact(always bool) error {
	u.compacts.Lock()
	defer u.compacts.Unlock()
	u.mu.Lock()
	all := always || u.logDue()
	var list []mailstore.GUID
	for g, in := range u.info {
		b := u.boxes[g]
		heavy := b != nil && b.View().heavy()
		if b != nil && in.size == 0 && b.View().base != nil {
			in.size = b.View().base.size
		}
		if heavy || all && in.bytes > max(carryBytes, in.size/carryPart) {
			list = append(list, g)
		}
	}
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
		if err := u.snapshot(g); err != nil && failed == nil {
			failed = err
		}
	}
	if !all {
		return failed
	}
	if err := u.Lock(u.opt.LockWait); err != nil {
		return err
	}
	defer u.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.log != nil && (always || u.logDue()) {
		u.replaceLog()
	}
	return failed
}

var errNothing = errors.New("the mailbox changed meanwhile")

// snapshot writes a mailbox's snapshot: without the lock, since views do not
// change; only putting it in place takes it.
func (u *User) snapshot(g mailstore.GUID) error {
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
	if err := u.place(g, t, head); err != nil {
		t.drop(u)
		return err
	}
	// Before its records leave the log, it is certain: see KeepClean.
	err = t.f.Sync()
	t.f.Close()
	if err == nil {
		err = u.syncDirs(dir)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if in := u.info[g]; in != nil && in.snapSeq == t.seq {
		in.synced, in.size = err == nil, t.size
	}
	return err
}

// place puts a snapshot in place. Only the log that it was made from tells of
// newer ones: if another process has compacted it since, ours may be the older.
func (u *User) place(g mailstore.GUID, t *snapTemp, head logHead) error {
	if err := u.Lock(u.opt.LockWait); err != nil {
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
	h.epoch, h.base, h.boot = l.epoch+1, u.seq, bootOf(u.opt.FS)
	h.prevPos, h.prevCRC = l.pos, l.crc
	_, crc, _ = decodeLogHead(h.encode())
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
			r, err := l.at(p.off, p.length)
			if err != nil {
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
	l.f.Close()
	u.log, u.carried = n, n.pos
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
