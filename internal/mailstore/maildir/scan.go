package maildir

import (
	"hash/maphash"
	"io/fs"
	"strings"
	"time"

	"rookery/internal/vfs"
)

// found is a file of new/ or cur/.
type found struct {
	name string // 'n' or 'c', then the name
	base int    // length of the base name
	used bool
}

func (f found) baseName() string { return f.name[1 : 1+f.base] }

// files is what one look found.
type files struct {
	list   []found
	table  []int32 // open addressing, by base name; -1 is free
	seed   maphash.Seed
	twins  [][2]int // same base name
	cur    fileStamp
	new    fileStamp
	start  time.Time
	took   time.Duration
	stable bool // nothing moved while we looked
	racy   bool // something may yet change behind the same stamps
}

// scan reads new/ and cur/. It needs no lock.
func (s *Store) scan(dir string) (*files, error) {
	f := &files{start: s.now(), seed: maphash.MakeSeed()}
	begin := time.Now()
	var err error
	if f.cur, f.new, err = s.stampDirs(dir); err != nil {
		return nil, err
	}
	// All names go into one text: no string, and no place in memory, for each.
	var text []byte
	var ends []int
	for _, d := range []string{"new", "cur"} {
		err := vfs.ReadNames(s.fs, join(dir, d), func(name []byte, kind fs.FileMode) bool {
			if goodFile(name) && (kind == 0 || kind == fs.ModeIrregular) {
				text = append(append(text, d[0]), name...)
				ends = append(ends, len(text))
			}
			return true
		})
		if err != nil {
			return nil, s.fail("read "+d, err)
		}
	}
	names, from := string(text), 0
	f.list = make([]found, len(ends))
	for i, end := range ends {
		base, _ := splitName(names[from+1 : end])
		f.list[i] = found{name: names[from:end], base: len(base)}
		from = end
	}
	cur, new, err := s.stampDirs(dir)
	if err != nil {
		return nil, err
	}
	old := func(at fileStamp) bool { return f.start.Sub(at.when()) > tick(at) }
	f.racy = !old(cur) || !old(new)
	f.stable = cur == f.cur && new == f.new && !f.racy
	f.index()
	f.took = time.Since(begin)
	return f, nil
}

func (s *Store) stampDirs(dir string) (cur, new fileStamp, err error) {
	var at [2]vfs.Info
	err = vfs.StatIn(s.fs, dir, []string{"cur", "new"}, at[:])
	return stampOrNone(at[0]), stampOrNone(at[1]), s.fail("stat mailbox", err)
}

func (f *files) index() {
	size := 16
	for size < 2*len(f.list) {
		size *= 2
	}
	f.table = make([]int32, size)
	for i := range f.table {
		f.table[i] = -1
	}
	for i := range f.list {
		slot, other := f.slot(f.list[i].baseName())
		if other >= 0 {
			f.twins = append(f.twins, [2]int{other, i})
			continue
		}
		f.table[slot] = int32(i)
	}
}

// slot gives where base stands or would stand, and the file there or -1.
func (f *files) slot(base string) (slot, file int) {
	mask := len(f.table) - 1
	for s := int(maphash.String(f.seed, base)) & mask; ; s = (s + 1) & mask {
		i := f.table[s]
		if i < 0 {
			return s, -1
		}
		if f.list[i].baseName() == base {
			return s, int(i)
		}
	}
}

// merge adds what an earlier look found and this one did not.
func (f *files) merge(old *files) {
	for _, o := range old.list {
		slot, i := f.slot(o.baseName())
		if i < 0 {
			f.list = append(f.list, found{name: o.name, base: o.base})
			if 2*len(f.list) > len(f.table) {
				f.twins = nil
				f.index()
			} else {
				f.table[slot] = int32(len(f.list) - 1)
			}
		}
	}
}

// rootTrust is how long the mail directory that is held open is taken for the one
// at its path without a look.
const rootTrust = time.Second

// glance is vfs.StatIn for who only asks whether something changed: below the mail
// directory that is held open, which spares the way there.
func (s *Store) glance(dir string, names []string, out []vfs.Info) error {
	rel, below := strings.CutPrefix(dir, s.opt.MailPath+"/")
	if !below {
		return vfs.StatIn(s.fs, dir, names, out)
	}
	now := s.now()
	s.mu.Lock()
	root, since := s.root, now.Sub(s.rootAt)
	s.mu.Unlock()
	if root == nil || since < 0 || since >= rootTrust {
		var err error
		if root, err = s.fs.Sub(s.opt.MailPath); err != nil {
			return vfs.StatIn(s.fs, dir, names, out)
		}
		s.mu.Lock()
		s.root, s.rootAt = root, now
		s.mu.Unlock()
	}
	return vfs.StatIn(root, rel, names, out)
}
