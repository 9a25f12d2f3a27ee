package memfs

import (
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
)

// keep makes the pending changes of names that pass want certain, in their
// order; older pending changes of the same names are overtaken.
func (d *disk) keep(want func(nameOp) bool) {
	rest := d.pending[:0:0]
	for _, op := range d.pending {
		if !want(op) {
			rest = append(rest, op)
			continue
		}
		for _, s := range op.sets {
			setKept(s)
			for i := range rest {
				rest[i].sets = slices.DeleteFunc(slices.Clone(rest[i].sets),
					func(r nameSet) bool { return r.dir == s.dir && r.name == s.name })
			}
		}
	}
	d.pending = slices.DeleteFunc(rest, func(op nameOp) bool { return len(op.sets) == 0 })
}

func (n *inode) keepBytes() {
	if n.dirty {
		n.keptData, n.dirty = append(n.keptData[:0], n.data...), false
	}
}

func setKept(s nameSet) {
	if s.node == nil {
		delete(s.dir.keptNames, s.name)
	} else {
		s.dir.keptNames[s.name] = s.node
	}
}

// keepFile is fsync: the bytes, the times, and the names that lead to the file.
func (d *disk) keepFile(n *inode) {
	n.keepBytes()
	n.grown, n.keptTime = false, n.mtime
	d.keep(func(op nameOp) bool {
		return slices.ContainsFunc(op.sets, func(s nameSet) bool { return s.node == n })
	})
}

// Fate says what becomes of what was not synced.
type Fate uint8

// The fates. Torn draws by the seed, for each change of names and for each
// block of bytes, whether it reached the disk.
const (
	Lost Fate = iota
	Kept
	Torn
)

// tornBlock is what a disk writes whole.
const tornBlock = 512

// Survive gives the tree that the next boot finds if the power goes now. The
// tree itself is not changed; its users are not told (faultfs does that).
func (f *FS) Survive(fate Fate, seed uint64) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := survivor{fate: fate, rnd: rand.New(rand.NewPCG(seed, 7)), made: map[*inode]*inode{}, names: map[*inode]map[string]*inode{}}
	for _, op := range f.pending {
		if fate == Kept || fate == Torn && s.rnd.IntN(2) == 0 {
			for _, set := range op.sets {
				s.set(set)
			}
		}
	}
	opt := f.opt
	opt.BootID += "+"
	d := &disk{opt: opt, nextIno: f.nextIno}
	s.disk = d
	d.top = s.copy(f.top)
	return &FS{disk: d, root: s.made[f.root]}
}

// survivor copies what is left of a tree.
type survivor struct {
	fate  Fate
	rnd   *rand.Rand
	disk  *disk
	made  map[*inode]*inode
	names map[*inode]map[string]*inode // directories with pending changes that survive
}

func (s *survivor) set(set nameSet) {
	m := s.names[set.dir]
	if m == nil {
		m = maps.Clone(set.dir.keptNames)
		s.names[set.dir] = m
	}
	if set.node == nil {
		delete(m, set.name)
	} else {
		m[set.name] = set.node
	}
}

func (s *survivor) copy(n *inode) *inode {
	if c := s.made[n]; c != nil {
		c.links++
		return c
	}
	c := &inode{ino: n.ino, mode: n.mode, links: 1, mtime: n.keptTime, ctime: n.ctime, keptTime: n.keptTime, locks: map[*file]bool{}, flocks: map[*file]bool{}}
	s.made[n] = c
	if !n.mode.IsDir() {
		c.data = s.bytes(n)
		c.keptData = slices.Clone(c.data)
		return c
	}
	c.mtime, c.keptTime = n.mtime, n.mtime
	c.names, c.keptNames = map[string]*inode{}, map[string]*inode{}
	from := s.names[n]
	if from == nil {
		from = n.keptNames
	}
	for _, name := range slices.Sorted(maps.Keys(from)) {
		child := s.copy(from[name])
		c.names[name], c.keptNames[name] = child, child
	}
	return c
}

// bytes draws what a file holds: for each block the old or the new bytes, and
// the old, the new or a length between them.
func (s *survivor) bytes(n *inode) []byte {
	if n.mode&fs.ModeSymlink != 0 || s.fate == Kept || !n.dirty {
		return slices.Clone(n.data)
	}
	if s.fate == Lost {
		return slices.Clone(n.keptData)
	}
	size := len(n.keptData)
	switch s.rnd.IntN(3) {
	case 0:
		size = len(n.data)
	case 1:
		lo, hi := min(size, len(n.data)), max(size, len(n.data))
		size = lo + s.rnd.IntN(hi-lo+1)
	}
	out := make([]byte, size)
	copy(out, n.keptData)
	for at := 0; at < size; at += tornBlock {
		if end := min(at+tornBlock, size); s.rnd.IntN(2) == 0 && at < len(n.data) {
			copy(out[at:end], n.data[at:])
		}
	}
	return out
}

// Dump gives the tree as text, one name a line, sorted: for failing tests.
func (f *FS) Dump() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []byte
	var walk func(path string, n *inode)
	walk = func(path string, n *inode) {
		for _, name := range slices.Sorted(maps.Keys(n.names)) {
			c := n.names[name]
			out = fmt.Appendf(out, "%s%s %v ino=%d size=%d\n", path, name, c.mode, c.ino, len(c.data))
			walk(path+name+"/", c)
		}
	}
	walk("", f.root)
	return string(out)
}
