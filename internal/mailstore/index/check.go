package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"rookery/internal/crc32c"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

// Bounds of a look for index files.
const (
	maxCheckDepth = 70
	maxCheckDirs  = 1 << 20
)

// Check looks at a user's index as it lies on the disk: the log in logDir, the
// snapshots and caches in tree and below, and rookery-modseq in controlDir. Without
// repair it touches nothing; it takes no lock but for rookery-modseq. With repair it
// removes what is damaged, which is made anew from mail and control files, and gives
// rookery-modseq a ceiling. The kinds:
//
//	index-log-damaged       a record of the log, or its head, cannot be read
//	index-snapshot-damaged  a snapshot's head, a record or its meta has a wrong checksum
//	index-cache-damaged     the same of a cache of facts
//	modseq-damaged          rookery-modseq cannot be read
//	modseq-low              the log or a snapshot has a MODSEQ above the ceiling
func Check(disk vfs.FS, logDir, tree, controlDir string, repair bool, found func(mailstore.Finding)) error {
	c := &checker{fs: disk, repair: repair, found: found}
	c.log(join(logDir, logFile))
	if err := c.walk(tree); err != nil {
		return errkind.Wrap("check index", err)
	}
	return errkind.Wrap("check index", c.ceiling(join(controlDir, modseqFile)))
}

type checker struct {
	fs     vfs.FS
	repair bool
	found  func(mailstore.Finding)
	high   uint64 // the highest MODSEQ seen
}

// tell reports a damaged file, which a repair removes.
func (c *checker) tell(kind, path, what, remedy string) {
	f := mailstore.Finding{Kind: kind, Text: path + ": " + what, Remedy: remedy}
	if c.repair {
		f.Repaired = c.fs.Remove(path) == nil
	}
	c.found(f)
}

const anew = "it is removed; what it says is made anew of mail and control files"

func (c *checker) log(path string) {
	f, err := c.fs.OpenFile(path, vfs.Read, 0)
	if err != nil {
		return // none, or nobody's to read: it is made anew
	}
	defer f.Close()
	l, err := newUserLog(c.fs, f)
	if errors.Is(err, errBoot) {
		return // lawful: it is forgotten and made anew
	}
	if err == nil {
		err = l.readOn(func(r *logRec) error { c.high = max(c.high, r.modseq); return nil })
	}
	if errors.Is(err, errLog) {
		c.tell("index-log-damaged", path, "the log of the index is damaged", anew)
	}
}

// walk looks for the files of mailboxes, wherever a driver puts them.
func (c *checker) walk(tree string) error {
	type at struct {
		dir   string
		depth int
	}
	todo, dirs := []at{{tree, 0}}, 0
	for len(todo) > 0 {
		d := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if dirs++; dirs > maxCheckDirs {
			return errkind.Newf("look for index files", errkind.Limit, "there are too many directories")
		}
		var snaps, caches []string
		err := c.fs.ReadDir(d.dir, func(e vfs.DirEntry) bool {
			path := join(d.dir, e.Name)
			switch {
			case e.Name == "cur" || e.Name == "new" || e.Name == "tmp" || strings.HasPrefix(e.Name, "rookery-store-"):
			case e.Type.IsDir() && d.depth < maxCheckDepth:
				todo = append(todo, at{path, d.depth + 1})
			case e.Name == snapFile && !e.Type.IsDir():
				snaps = append(snaps, path)
			case e.Name == cacheFile && !e.Type.IsDir():
				caches = append(caches, path)
			}
			return true
		})
		for _, p := range snaps {
			c.snapshot(p)
		}
		for _, p := range caches {
			c.cache(p)
		}
		if err != nil && !notExist(err) {
			return err
		}
	}
	return nil
}

// open opens a file of the index and reads its first octets; those that it does
// not have are zero. f is nil where that cannot be done, as of a file that is gone.
func (c *checker) open(path string, first int) (f vfs.File, size int64, head []byte) {
	f, err := c.fs.OpenFile(path, vfs.Read, 0)
	if err != nil {
		return nil, 0, nil
	}
	head = make([]byte, first)
	info, err := f.Stat()
	if err == nil {
		_, err = f.ReadAt(head, 0)
	}
	if err != nil && err != io.EOF {
		f.Close()
		return nil, 0, nil
	}
	return f, info.Size, head
}

// snapshot reads all of a snapshot.
func (c *checker) snapshot(path string) {
	const remedy = anew
	f, size, head := c.open(path, headerSize)
	if f == nil {
		return
	}
	defer f.Close()
	h, ok := decodeHeader(head)
	if !ok || h.total() != size {
		c.tell("index-snapshot-damaged", path, "the snapshot of the index is cut, or has no head that can be read", remedy)
		return
	}
	data, unmap, err := vfs.Map(f, size)
	if err != nil {
		return
	}
	defer unmap()
	v, ok := (&Box{}).viewOf(h, data)
	if !ok {
		c.tell("index-snapshot-damaged", path, "the snapshot of the index has a wrong checksum", remedy)
		return
	}
	for i := range v.base.n {
		if _, _, ok := v.base.rec(i); !ok {
			c.tell("index-snapshot-damaged", path, fmt.Sprintf("record %d of the snapshot of the index has a wrong checksum", i), remedy)
			return
		}
	}
	c.high = max(c.high, h.high)
}

// cache reads all facts of a cache. Between two of them nothing has to lie, so a
// damaged one is found by the slot that names it.
func (c *checker) cache(path string) {
	const remedy = "it is removed; what is asked for is read from the messages again"
	f, size, head := c.open(path, slotsOff)
	if f == nil {
		return
	}
	defer f.Close()
	h, ok := decodeCacheHead(head)
	if !ok || size < h.facts() {
		c.tell("index-cache-damaged", path, "the cache of the index is cut, or has no head that can be read", remedy)
		return
	}
	for i := range maxFields {
		b := head[cacheHeader+i*fieldSize:][:fieldSize]
		if _, _, ok := decodeField(b); !ok && !bytes.Equal(b, make([]byte, fieldSize)) {
			c.tell("index-cache-damaged", path, fmt.Sprintf("field %d of the cache of the index has a wrong checksum", i), remedy)
			return
		}
	}
	if at, bad := badFact(f, &h, size); bad {
		c.tell("index-cache-damaged", path, fmt.Sprintf("the fact at octet %d of the cache of the index has a wrong checksum", at), remedy)
	}
}

// badFact finds a fact that is not whole.
func badFact(f vfs.File, h *cacheHead, size int64) (at int64, bad bool) {
	slots := make([]byte, 64<<10)
	for off := int64(slotsOff); off < h.facts(); off += int64(len(slots)) {
		p := slots[:min(int64(len(slots)), h.facts()-off)]
		if _, err := f.ReadAt(p, off); err != nil && err != io.EOF {
			return 0, false
		}
		for ; len(p) >= slotSize; p = p[slotSize:] {
			s := binary.LittleEndian.Uint64(p)
			if s == 0 {
				continue
			}
			if !wholeFact(f, slotOff(s), size) {
				return slotOff(s), true
			}
		}
	}
	return 0, false
}

func wholeFact(f vfs.File, off, size int64) bool {
	if off < slotsOff || off > size-factHeader {
		return false
	}
	var head [factHeader]byte
	if _, err := f.ReadAt(head[:], off); err != nil {
		return false
	}
	n := binary.LittleEndian.Uint32(head[8:])
	if n > maxFact || off+factHeader+int64(n) > size {
		return false
	}
	b := make([]byte, factHeader+int(n))
	if _, err := f.ReadAt(b, off); err != nil && err != io.EOF {
		return false
	}
	return crc32c.Checksum(b[4:]) == binary.LittleEndian.Uint32(b)
}

// ceiling compares rookery-modseq with the MODSEQs that were seen.
func (c *checker) ceiling(path string) error {
	data, err := vfs.ReadFile(c.fs, path, 1<<10)
	if notExist(err) {
		return nil
	}
	if err != nil && !errkind.Is(err, errkind.TooBig) {
		return err
	}
	is := parseControl(string(data))
	x := mailstore.Finding{Remedy: "it gets a ceiling above every MODSEQ that is known, and above the clock"}
	switch {
	case is.ceiling == 0:
		x.Kind, x.Text = "modseq-damaged", path+", which keeps the ceiling of MODSEQs, cannot be read"
	case is.ceiling < c.high:
		x.Kind, x.Text = "modseq-low", fmt.Sprintf("%s says that no MODSEQ is above %d, and the index has %d", path, is.ceiling, c.high)
	default:
		return nil
	}
	if c.repair {
		if err := c.raise(path); err != nil {
			return err
		}
		x.Repaired = true
	}
	c.found(x)
	return nil
}

// raise writes a ceiling that holds. Who has the file open reads it again before
// he takes more numbers.
func (c *checker) raise(path string) error {
	f, err := c.fs.OpenFile(path, vfs.Read|vfs.Write, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Lock(true, 10*time.Second); err != nil {
		return err
	}
	b := make([]byte, 1<<10)
	n, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return err
	}
	is := parseControl(string(b[:n]))
	is.ceiling = max(is.ceiling, c.high, uint64(max(c.fs.Now().UnixMicro(), 1))) + modseqBlock
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.WriteAt(fmt.Appendf(nil, "%020d\n%x %020d\n", is.ceiling, is.lineage, is.seq), 0); err != nil {
		return err
	}
	return f.DataSync()
}
