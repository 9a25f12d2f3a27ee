package index

import (
	"encoding/binary"
	"math/bits"
	"runtime"
	"runtime/debug"
	"sort"
	"sync/atomic"

	"rookery/internal/mailstore"
)

// recSize is the length of a record in a snapshot; see FORMAT.md.
const recSize = 48

// hasGUID in a record's flags says that the GUID stands before its Loc.
const hasGUID = 0x80

// base is a mapped snapshot. Everything that is read of it per message goes
// through peek, which survives a file that shrinks, and is compared with a
// checksum of its own at every use: noise that is written over the file while it
// is mapped is found, not believed.
type base struct {
	data     []byte
	n        int   // records
	arena    int64 // where Locs begin
	arenaLen int64
	salt     uint64
	runs     []byte // the UIDs, on the heap: what is left if the file goes
	first    uint32
	dense    bool // UIDs are first, first+1, …
	size     int64
	seq      uint64 // what of the log it holds
	high     uint64 // no record's MODSEQ is above it
	bad      atomic.Bool
	known    atomic.Pointer[[]run]
}

// run is a range of UIDs and the place of its first.
type run struct {
	uid, pos, n uint32
}

// hold ends the mapping when nobody refers to b any more.
func (b *base) hold(unmap func() error) {
	runtime.AddCleanup(b, func(f func() error) { f() }, unmap)
}

func (b *base) pages() int { return (b.n + pageSize - 1) / pageSize }

func (b *base) pageLen(p int) int { return min(pageSize, b.n-p*pageSize) }

// peek copies bytes out of the mapping; false if the file no longer has them.
func (b *base) peek(dst []byte, off int64) bool {
	ok := peek(b.data, dst, off)
	runtime.KeepAlive(b) // or the mapping may end under us
	return ok
}

// peek is the one way to read mapped bytes. The panic of a fault is a
// runtime.Error with an address, and there is nothing else in here that could
// panic.
func peek(data, dst []byte, off int64) (ok bool) {
	if off < 0 || off > int64(len(data))-int64(len(dst)) {
		return false
	}
	was := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(was)
		if !ok {
			recover()
		}
	}()
	copy(dst, data[off:])
	return true
}

const headerSize = 4096

func (b *base) recOff(i int) int64 { return headerSize + int64(i)*recSize }

// raw reads record i.
func (b *base) raw(r *[recSize]byte, i int) bool {
	if b.bad.Load() || !b.peek(r[:], b.recOff(i)) || !b.rawOK(r[:], i) {
		b.bad.Store(true)
		return false
	}
	return true
}

func (b *base) rawOK(r []byte, i int) bool {
	return mix(b.salt+uint64(i), r[:recSize-4]) == binary.LittleEndian.Uint32(r[recSize-4:])
}

func rawCore(r []byte) core {
	return core{uid: binary.LittleEndian.Uint32(r), flags: mailstore.Flags(r[4]) & mailstore.AllFlags, bits: r[5],
		modseq: binary.LittleEndian.Uint64(r[8:]), kw: uint32(r[16]) | uint32(r[17])<<8 | uint32(r[18])<<16}
}

// core gives the changing part of record i.
func (b *base) core(i int) (core, bool) {
	var r [recSize]byte
	if !b.raw(&r, i) {
		return core{}, false
	}
	return rawCore(r[:]), true
}

// sized is core, with the message's size.
func (b *base) sized(i int) (core, int64, bool) {
	var r [recSize]byte
	if !b.raw(&r, i) {
		return core{}, -1, false
	}
	return rawCore(r[:]), get40(r[24:]), true
}

// rec gives all of record i.
func (b *base) rec(i int) (c core, x extra, ok bool) {
	var r [recSize]byte
	if !b.raw(&r, i) {
		return c, x, false
	}
	var buf [4 + 16 + 108]byte
	n := 4 + int(binary.LittleEndian.Uint16(r[6:]))
	if r[4]&hasGUID != 0 {
		n += 16
	}
	off := int64(uint64(get40(r[19:])) & (1<<40 - 1))
	p := buf[:]
	if n > len(buf) {
		p = make([]byte, n)
	}
	p = p[:n]
	if off > b.arenaLen-int64(n) || !b.peek(p, b.arena+off) || mix(b.salt+uint64(i), p[4:]) != binary.LittleEndian.Uint32(p) {
		b.bad.Store(true)
		return c, x, false
	}
	x = extra{size: get40(r[24:]), date: get40(r[29:]), saved: get40(r[34:]), sent: get40(r[39:])}
	p = p[4:]
	if r[4]&hasGUID != 0 {
		x.guid, p = mailstore.GUID(p[:16]), p[16:]
	}
	x.loc = string(p)
	return rawCore(r[:]), x, true
}

// encodeRec fills r, and gives arena with its Loc put behind.
func encodeRec(r []byte, arena []byte, arenaOff int64, salt uint64, i int, c core, x *extra) []byte {
	binary.LittleEndian.PutUint32(r, c.uid)
	r[4], r[5] = byte(c.flags), c.bits
	binary.LittleEndian.PutUint16(r[6:], uint16(len(x.loc)))
	binary.LittleEndian.PutUint64(r[8:], c.modseq)
	r[16], r[17], r[18] = byte(c.kw), byte(c.kw>>8), byte(c.kw>>16)
	put40(r[19:], arenaOff)
	put40(r[24:], x.size)
	put40(r[29:], x.date)
	put40(r[34:], x.saved)
	put40(r[39:], x.sent)
	start := len(arena)
	arena = append(arena, 0, 0, 0, 0)
	if x.guid != (mailstore.GUID{}) {
		r[4] |= hasGUID
		arena = append(arena, x.guid[:]...)
	}
	arena = append(arena, x.loc...)
	binary.LittleEndian.PutUint32(arena[start:], mix(salt+uint64(i), arena[start+4:]))
	binary.LittleEndian.PutUint32(r[recSize-4:], mix(salt+uint64(i), r[:recSize-4]))
	return arena
}

// uid gives the UID of record i, also of a damaged snapshot.
func (b *base) uid(i int) uint32 {
	if b.dense {
		return b.first + uint32(i)
	}
	var r [recSize]byte
	if b.raw(&r, i) {
		return binary.LittleEndian.Uint32(r[:])
	}
	list := *b.runList()
	k := sort.Search(len(list), func(k int) bool { return int(list[k].pos+list[k].n) > i })
	if k == len(list) {
		return 0
	}
	return list[k].uid + uint32(i) - list[k].pos
}

// runList reads the runs: only needed of a damaged snapshot.
func (b *base) runList() *[]run {
	if l := b.known.Load(); l != nil {
		return l
	}
	d := decode(b.runs)
	list := make([]run, 0, 16)
	pos := uint32(0)
	for _, r := range d.Ranges().Ranges() {
		n := r.Last - r.First + 1
		list = append(list, run{r.First, pos, n})
		pos += n
	}
	b.known.Store(&list)
	return &list
}

// find gives the first record whose UID is at least uid: by interpolation, since
// UIDs are mostly dense; every third guess halves, so that holes cost little.
func (b *base) find(uid uint32) int {
	if b.n == 0 || uid <= b.first {
		return 0
	}
	if b.dense {
		return min(int(uid-b.first), b.n)
	}
	lo, hi := 0, b.n-1
	from, to := b.first, b.uid(b.n-1)
	if uid > to {
		return b.n
	}
	for step := 0; lo < hi; step++ { // uid(lo) < uid ≤ uid(hi), or lo is the answer
		if from >= uid {
			return lo
		}
		mid := lo + (hi-lo)/2
		if step%3 != 2 && to > from {
			over, under := bits.Mul64(uint64(hi-lo), uint64(uid-from))
			quo, _ := bits.Div64(over, under, uint64(to-from))
			mid = min(lo+int(quo), hi-1)
		}
		if u := b.uid(mid); u < uid {
			lo = mid + 1
			if lo < hi {
				from = b.uid(lo)
			}
		} else {
			hi, to = mid, u
		}
	}
	return lo
}

// entries fills dst from record i on, reading many at once.
func (b *base) entries(i int, dst []mailstore.Entry) bool {
	if b.bad.Load() {
		return false
	}
	var buf [64 * recSize]byte
	for len(dst) > 0 {
		n := min(64, len(dst))
		p := buf[:n*recSize]
		if !b.peek(p, b.recOff(i)) {
			b.bad.Store(true)
			return false
		}
		for k := range n {
			r := p[k*recSize : k*recSize+recSize : k*recSize+recSize]
			if !b.rawOK(r, i+k) {
				b.bad.Store(true)
				return false
			}
			dst[k] = entryOf(rawCore(r))
		}
		i, dst = i+n, dst[n:]
	}
	return true
}
