package index

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/vfs"
)

// When the cache does what.
const (
	flushBytes = 64 << 10            // facts that are gathered in memory before they are written
	holdBytes  = 512 << 10           // and at most kept there when they cannot be
	fieldDays  = 30                  // a field that nobody asked for so long is forgotten
	slackBytes = 1 << 20             // a cache is packed anew when it is this and twice what it was then
	cacheRetry = 10 * time.Second    // how long a file that cannot be used is left alone
	secondsDay = int64(24 * 60 * 60) // of Unix time
)

type factKey struct {
	uid   uint32
	field string
}

// cache keeps derived facts of one mailbox: those that came last in memory, the
// rest in a file, of which nothing per message is on the heap.
type cache struct {
	b  *Box
	mu sync.Mutex

	asked   map[string]bool // fields that this process was asked for
	last    lastField
	pending map[factKey][]byte
	size    int

	file    *cacheData // nil: not open
	tried   time.Time  // when it could not be opened or written last
	checked time.Time  // when the path was compared with the file last
	packing bool
	shut    bool
}

func (c *cache) now() time.Time { return c.b.u.opt.FS.Now() }

func (c *cache) path(name string) string {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	return join(c.b.dir, name)
}

// open opens the file if there is one. c.mu is held.
func (c *cache) open() *cacheData {
	validity := c.b.View().validity
	if c.file != nil && c.file.validity != validity {
		c.file.close()
		c.file = nil
	}
	if c.file == nil && validity != 0 && !c.shut && c.now().Sub(c.tried).Abs() >= cacheRetry {
		if c.file = openCache(c.b.u.opt.FS, c.path(cacheFile), c.b.guid, validity); c.file == nil {
			c.tried = c.now()
		}
	}
	return c.file
}

func (c *cache) get(uid uint32, field string) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.asked[field] {
		if len(field) > maxField || field == "" || len(c.asked) >= maxFields {
			return nil, false
		}
		if c.asked == nil {
			c.asked = map[string]bool{}
		}
		c.asked[strings.Clone(field)] = true
	}
	if v, ok := c.pending[factKey{uid, field}]; ok {
		return slices.Clone(v), true
	}
	f := c.open()
	if f == nil {
		return nil, false
	}
	for {
		if no := f.field(field); no >= 0 {
			if v, ok := f.lookup(uid, no); ok {
				return v, true
			}
		}
		if f = c.replaced(); f == nil {
			return nil, false
		}
	}
}

// checkEvery is how often a miss makes us look for a file that another process
// has put in place of ours.
const checkEvery = 100 * time.Millisecond

// replaced opens the file that is at the path if it is not ours; nil if it is.
func (c *cache) replaced() *cacheData {
	if now := c.now(); now.Sub(c.checked).Abs() < checkEvery {
		return nil
	} else {
		c.checked = now
	}
	on, err := c.b.u.opt.FS.Stat(c.path(cacheFile))
	if err != nil || on.Inode == c.file.inode {
		if err == nil {
			b := make([]byte, maxFields*fieldSize)
			if _, err := c.file.f.ReadAt(b, cacheHeader); err == nil {
				c.file.readFields(b) // another process may have entered a field
			}
		}
		return nil
	}
	c.file.close()
	c.file, c.tried = nil, time.Time{}
	return c.open()
}

func (c *cache) put(uid uint32, field string, value []byte) {
	if len(value) > maxFact || len(field) > maxField || uid == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.asked[field] && (c.open() == nil || c.file.field(field) < 0) || c.shut {
		return
	}
	key := factKey{uid, field}
	if _, ok := c.pending[key]; ok {
		return
	}
	if c.pending == nil {
		c.pending = map[factKey][]byte{}
	}
	if key.field = c.last.name; key.field != field {
		key.field = strings.Clone(field)
	}
	c.pending[key] = slices.Clone(value)
	c.size += len(value) + len(field) + 96
	if c.size >= flushBytes {
		c.flush()
		if c.size > holdBytes {
			c.pending, c.size = nil, 0
		}
	}
}

func (c *cache) fieldNames() (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := range c.asked {
		names = append(names, n)
	}
	if f := c.open(); f != nil {
		for i, n := range f.names {
			if n != "" && !c.asked[n] && !c.stale(f.days[i]) {
				names = append(names, n)
			}
		}
	}
	sort.Strings(names)
	return names
}

func (c *cache) today() uint32 { return uint32(max(c.now().Unix()/secondsDay, 0)) }

func (c *cache) stale(day uint32) bool { return c.today() > day+fieldDays }

// close writes what is pending and gives up the file.
func (c *cache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flush()
	c.shut, c.pending, c.size = true, nil, 0
	if c.file != nil {
		c.file.close()
		c.file = nil
	}
}

// drop forgets everything.
func (c *cache) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut, c.pending, c.size = true, nil, 0
	if c.file != nil {
		c.file.close()
		c.file = nil
	}
}

// lockFile locks the file that is at the path now; false if somebody else is at
// work on it, or nothing can be written. c.mu is held.
func (c *cache) lockFile() bool {
	for range 3 {
		f := c.open()
		if f == nil {
			return false
		}
		if err := f.f.Lock(true, 0); errkind.Is(err, errkind.InUse) {
			return false
		}
		on, err := c.b.u.opt.FS.Stat(c.path(cacheFile))
		if err == nil && on.Inode == f.inode {
			// Slots of others are to be seen before ours are written.
			if c.fresh() {
				return true
			}
		}
		f.close()
		c.file, c.tried = nil, time.Time{}
	}
	return false
}

// fresh makes the mapping show what the file has.
func (c *cache) fresh() bool {
	f := c.file
	b := make([]byte, maxFields*fieldSize)
	if _, err := f.f.ReadAt(b, cacheHeader); err != nil {
		return false
	}
	f.readFields(b)
	if _, real := f.f.(vfs.Mapper); real {
		return true
	}
	return f.remap()
}

// flush writes what is pending. Nothing is said of errors: the facts are found
// again by reading the messages. c.mu is held.
func (c *cache) flush() {
	if len(c.pending) == 0 && !c.newDay() || c.packing || c.shut || c.b.View().validity == 0 {
		return
	}
	if c.open() == nil && (len(c.pending) == 0 || !c.create()) {
		return
	}
	if !c.lockFile() {
		return
	}
	f := c.file
	defer func() { f.f.Unlock() }()
	if !c.addFields() {
		c.repack()
		return
	}
	full, err := c.write()
	if err != nil {
		c.b.u.opt.FS.Remove(c.path(cacheFile)) // it may be torn, and is not worth a word
		f.close()
		c.file, c.tried = nil, c.now()
		return
	}
	info, err := f.f.Stat()
	if full || err == nil && info.Size > 2*f.packed+slackBytes {
		c.repack()
	}
	if _, real := f.f.(vfs.Mapper); !real {
		f.remap()
	}
}

// newDay reports whether a field that was asked for is to be stamped.
func (c *cache) newDay() bool {
	if c.file == nil {
		return false
	}
	for n := range c.asked {
		if no := c.file.field(n); no >= 0 && c.file.days[no] != c.today() {
			return true
		}
	}
	return false
}

// addFields enters and stamps the fields that this process was asked for; false
// if there is no room for one that has facts pending.
func (c *cache) addFields() (room bool) {
	f := c.file
	write := func(no int, name string) bool {
		b := encodeField(name, c.today())
		if _, err := f.f.WriteAt(b, int64(cacheHeader+no*fieldSize)); err != nil {
			return false
		}
		f.names[no], f.days[no] = name, c.today()
		return true
	}
	room = true
	for name := range c.asked {
		no := f.field(name)
		if no >= 0 {
			if f.days[no] != c.today() {
				write(no, name)
			}
			continue
		}
		free := slices.Index(f.names[:f.width], "")
		if free < 0 || !write(free, name) {
			room = false
		}
	}
	return room
}

// write appends the pending facts and then their slots; full says that some
// found none.
func (c *cache) write() (full bool, err error) {
	f := c.file
	info, err := f.f.Stat()
	if err != nil {
		return false, err
	}
	off := max(info.Size, f.cacheHead.facts())
	keys := make([]factKey, 0, len(c.pending))
	for k := range c.pending {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b factKey) int {
		return cmp.Or(cmp.Compare(a.uid, b.uid), strings.Compare(a.field, b.field))
	})
	var buf []byte
	var slots []placed
	taken := map[int64]bool{}
	for _, k := range keys {
		no := f.field(k.field)
		if no < 0 {
			continue
		}
		at, ok := f.place(k.uid, no, taken)
		if !ok {
			full = true
			continue
		}
		taken[at] = true
		slots = append(slots, placed{at, encodeSlot(off+int64(len(buf)), k.uid)})
		buf = appendFact(buf, k.uid, no, c.pending[k])
	}
	c.pending, c.size = nil, 0
	if off+int64(len(buf)) > c.b.u.opt.MaxCache {
		return true, nil
	}
	if _, err := f.f.WriteAt(buf, off); err != nil {
		return false, err
	}
	slices.SortFunc(slots, func(a, b placed) int { return cmp.Compare(a.at, b.at) })
	return full, f.writeSlots(slots)
}

// create makes an empty file. c.mu is held.
func (c *cache) create() bool {
	v := c.b.View()
	h := cacheHead{guid: c.b.guid, validity: v.validity, width: 4, rows: rowsFor(v)}
	fs := c.b.u.opt.FS
	c.b.mu.Lock()
	dir, dropped := c.b.dir, c.b.dropped
	c.b.mu.Unlock()
	if dropped || vfs.MkdirAll(fs, dir, c.b.u.opt.DirMode) != nil {
		return false
	}
	f := c.newFile(h)
	if f == nil {
		c.tried = c.now()
		return false
	}
	f.Close()
	if err := fs.Rename(join(dir, cacheNew), join(dir, cacheFile)); err != nil {
		fs.Remove(join(dir, cacheNew))
		c.tried = c.now()
		return false
	}
	c.tried = time.Time{}
	return c.open() != nil
}

// rowsFor gives how many rows a mailbox needs: as many as UIDs lie between the
// first and UIDNEXT, unless most of them are free.
func rowsFor(v *View) uint32 {
	span := uint64(minRows)
	if v.Len() > 0 {
		first := uint64(v.uidAt(v.locate(0)))
		span = min(uint64(v.next)-min(first, uint64(v.next)), 4*uint64(v.Len())) * 5 / 4
	}
	rows := uint32(minRows)
	for uint64(rows) < span && rows < maxRows {
		rows *= 2
	}
	return rows
}

// newFile begins a file beside the cache, locked, or gives nil.
func (c *cache) newFile(h cacheHead) vfs.File {
	f, err := c.b.u.opt.FS.OpenFile(c.path(cacheNew), vfs.Read|vfs.Write|vfs.Create, c.b.u.opt.FileMode)
	if err != nil {
		return nil
	}
	if err := f.Lock(true, 0); errkind.Is(err, errkind.InUse) {
		f.Close()
		return nil
	}
	on, err := c.b.u.opt.FS.Stat(c.path(cacheNew))
	info, serr := f.Stat()
	if err != nil || serr != nil || on.Inode != info.Inode || f.Truncate(0) != nil {
		f.Close()
		return nil
	}
	if _, err = f.WriteAt(h.encode(), 0); err == nil {
		err = f.Truncate(h.facts()) // the slots are a hole until they are used
	}
	if err != nil {
		c.b.u.opt.FS.Remove(c.path(cacheNew))
		f.Close()
		return nil
	}
	return f
}

// repack packs the file anew, in the background if there may be one. c.mu is held.
func (c *cache) repack() {
	u := c.b.u
	if c.packing || u.opt.NoBackground {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.ending {
		u.work.Go(c.compact)
	}
}

// compact writes the facts of messages that are still there, in fields that are
// still asked for, into a new file. Nobody waits for it: meanwhile the old file is
// read, and new facts wait in memory.
func (c *cache) compact() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.packing || c.shut || !c.lockFile() {
		return
	}
	locked := c.file
	v := c.b.View()
	// The copy reads through a file and a mapping of its own, while others use ours.
	old := openCache(c.b.u.opt.FS, c.path(cacheFile), c.b.guid, v.validity)
	if old == nil {
		locked.f.Unlock()
		return
	}
	defer old.close()
	h := cacheHead{guid: old.guid, validity: old.validity, width: 4, rows: rowsFor(v)}
	fields, names := c.keptFields(old)
	for int(h.width) < min(len(names)+2, maxFields) {
		h.width *= 2
	}
	f := c.newFile(h)
	if f == nil {
		locked.f.Unlock()
		return
	}
	defer f.Close()
	table := make([]byte, 0, len(names)*fieldSize)
	for i, n := range names {
		table = append(table, encodeField(n, old.days[fields[i]])...)
	}
	c.packing = true
	c.mu.Unlock()
	next := &cacheData{cacheHead: h, f: f}
	err := next.fill(old, v, fields, table, c.b.u.opt.MaxCache, c.b.u.stop)
	c.mu.Lock()
	c.packing = false
	fs := c.b.u.opt.FS
	if err != nil || c.file != locked || fs.Rename(c.path(cacheNew), c.path(cacheFile)) != nil {
		fs.Remove(c.path(cacheNew))
	}
	if c.file == locked {
		locked.close() // and with it its lock
		c.file, c.tried = nil, time.Time{}
	}
}

// keptFields gives the old numbers and the names of the fields to keep.
func (c *cache) keptFields(old *cacheData) (fields []int, names []string) {
	for i, n := range old.names {
		if n != "" && i < int(old.width) && (c.asked[n] || !c.stale(old.days[i])) {
			fields, names = append(fields, i), append(names, n)
		}
	}
	return fields, names
}

// fill copies facts into a file that is new; stop ends it early.
func (c *cacheData) fill(old *cacheData, v *View, fields []int, table []byte, limit int64, stop <-chan struct{}) error {
	if len(table) > 0 {
		if _, err := c.f.WriteAt(table, cacheHeader); err != nil {
			return err
		}
	}
	rows := make([]byte, c.cacheHead.facts()-slotsOff)
	out := gather{f: c.f, off: c.cacheHead.facts()}
	var err error
	whole := v.walk(0, func(pos int, k core, _ extra) bool {
		if pos%1024 == 0 {
			select {
			case <-stop:
				err = errNothing
				return false
			default:
			}
		}
		for no, was := range fields {
			value, ok := old.lookup(k.uid, was)
			if !ok || out.off+int64(len(out.buf)) > limit/2 {
				continue
			}
			for try := range uint32(maxProbe) {
				at := c.slot(k.uid, no, try) - slotsOff
				if binary.LittleEndian.Uint64(rows[at:]) == 0 {
					binary.LittleEndian.PutUint64(rows[at:], encodeSlot(out.off+int64(len(out.buf)), k.uid))
					out.buf = appendFact(out.buf, k.uid, no, value)
					break
				}
			}
		}
		err = out.flush(writeChunk)
		return err == nil
	}, nil)
	if err == nil && !whole {
		err = errSnapshot
	}
	if err != nil {
		return err
	}
	if err := out.flush(1); err != nil {
		return err
	}
	if _, err := c.f.WriteAt(rows, slotsOff); err != nil {
		return err
	}
	c.packed = out.off
	_, err = c.f.WriteAt(c.cacheHead.encode(), 0)
	return err
}
