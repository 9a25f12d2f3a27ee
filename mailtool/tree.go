package mailtool

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"rookery/internal/crc32c"
	"rookery/internal/errkind"
	"rookery/internal/vfs"
)

// tree makes one directory the same as another, again and again until they are:
// same names, octets, modification times (a Maildir's INTERNALDATEs) and links
// between files. A file whose copy has its size and time is taken for copied: it
// got its name once it was on disk and was read back.
//
// A file that may be changed within the tick of the clock in which it was copied
// gets a time that no file has, so that the next pass copies it again; final is
// for when nobody changes files any more.
//
// Index files, which are made again, and lock files are left out and taken away
// at the target.
type tree struct {
	*call
	fs       vfs.FS
	from, to string
	final    bool
	measure  bool // only count what there is to copy

	files, copied int
	octets        uint64            // of what was copied, or is to be
	links         map[uint64]string // what was seen of files with several names: inode → path
	seen          func(rel string, info vfs.Info) error
	total         int // for progress; 0 if not known
}

// racy is how old a file must be for its time to say that nothing came after; no
// file system that mail lies on has ticks as long.
const racy = 2 * time.Second

// The files of a move, at the top of the target.
const (
	relocFile = "rookery-relocate"
	relocList = "rookery-relocate.list"
	relocPart = "rookery-relocate.part" // a file while it is copied
)

// leftOut reports whether a file is none of those that are moved.
func leftOut(rel string, info vfs.Info) bool {
	base := path.Base(rel)
	switch {
	case strings.HasPrefix(rel, relocFile): // at the top only: rel is a path
		return true
	case !info.Mode.IsRegular():
		return false
	case strings.HasPrefix(base, "rookery.index"):
		return true
	}
	// A lock must not be there without its holder. An mbox of such a name is larger.
	dir := path.Base(path.Dir(rel))
	return strings.HasSuffix(base, ".lock") && info.Size <= 256 && dir != "cur" && dir != "new"
}

// run makes one pass.
func (t *tree) run() error {
	t.links, t.files, t.copied, t.octets = map[uint64]string{}, 0, 0, 0
	return t.dir("", 0)
}

func (t *tree) src(rel string) string { return below(t.from, rel) }
func (t *tree) dst(rel string) string { return below(t.to, rel) }

// below is a path below a directory; "" is the directory itself.
func below(dir, rel string) string {
	if rel == "" {
		return dir
	}
	return vfs.Join(dir, rel)
}

// entries reads a directory with what stat says. Names that vanish meanwhile are
// left out.
func (t *tree) entries(dir string) (map[string]vfs.Info, error) {
	var names []string
	if err := t.fs.ReadDir(dir, func(e vfs.DirEntry) bool { names = append(names, e.Name); return true }); err != nil {
		return nil, err
	}
	out := make(map[string]vfs.Info, len(names))
	for _, n := range names {
		info, err := t.fs.Stat(vfs.Join(dir, n))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out[n] = info
	}
	return out, nil
}

func (t *tree) dir(rel string, depth int) error {
	if depth > maxTree {
		return errkind.Newf("copy "+rel, errkind.Limit, "too deep")
	}
	want, err := t.entries(t.src(rel))
	if errors.Is(err, fs.ErrNotExist) && rel != "" && !t.final {
		return nil // the next pass sees it
	}
	if err != nil {
		return err
	}
	have, err := t.entries(t.dst(rel))
	if err != nil && !(t.measure && errors.Is(err, fs.ErrNotExist)) {
		return err
	}
	changed, err := t.clear(rel, want, have)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(want))
	for n := range want {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		was, there := have[n]
		did, err := t.entry(vfs.Join(rel, n), want[n], was, there, depth)
		if err != nil {
			return err
		}
		changed = changed || did
	}
	if changed && !t.measure {
		return t.fs.SyncDir(t.dst(rel))
	}
	return nil
}

// clear takes away at the target what is not to be there, and from want what is
// not to be copied.
func (t *tree) clear(rel string, want, have map[string]vfs.Info) (changed bool, err error) {
	for n, info := range want {
		if leftOut(vfs.Join(rel, n), info) {
			delete(want, n)
		}
	}
	for n, info := range have {
		at := vfs.Join(rel, n)
		if strings.HasPrefix(at, relocFile) {
			continue
		}
		if w, ok := want[n]; ok && w.IsDir() == info.IsDir() {
			continue
		}
		delete(have, n)
		if t.measure {
			continue
		}
		changed = true
		if info.IsDir() {
			err = removeTree(t.fs, t.dst(at), 0)
		} else {
			err = t.fs.Remove(t.dst(at))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return changed, err
		}
	}
	return changed, nil
}

// entry copies one name; changed says that the target's directory was.
func (t *tree) entry(rel string, info, was vfs.Info, there bool, depth int) (changed bool, err error) {
	switch {
	case info.IsDir():
		if !there && !t.measure {
			if err := t.fs.Mkdir(t.dst(rel), info.Mode.Perm()|0o700); err != nil {
				return false, err
			}
		}
		return !there, t.dir(rel, depth+1)
	case !info.Mode.IsRegular():
		return false, failf(exitData, "%s is a link or another special file, which cannot be moved; replace it by what it leads to, or remove it", t.src(rel))
	}
	t.files++
	if err := t.tell(); err != nil {
		return false, err
	}
	if t.seen != nil {
		defer func() {
			if err == nil {
				err = t.seen(rel, info)
			}
		}()
	}
	first, linked := t.links[info.Inode]
	if info.Links > 1 && !linked {
		t.links[info.Inode] = rel
	}
	if there && was.Size == info.Size && sameTime(was.ModTime, info.ModTime) {
		return false, nil
	}
	t.copied++
	if !linked {
		t.octets += uint64(info.Size)
	}
	if t.measure {
		return true, nil
	}
	if !linked {
		return true, t.file(rel)
	}
	if there {
		if err := t.fs.Remove(t.dst(rel)); err != nil {
			return false, err
		}
	}
	err = t.fs.Link(t.dst(first), t.dst(rel))
	if errors.Is(err, fs.ErrNotExist) { // the first one vanished before it was copied
		t.links[info.Inode] = rel
		return true, t.file(rel)
	}
	return true, err
}

func (t *tree) tell() error {
	text := "copying"
	if t.measure {
		text = "counting"
	}
	return t.progress(text, t.files, max(t.total, t.files+1))
}

// sameTime compares times of two file systems, of which the second may keep whole
// microseconds or seconds only.
func sameTime(a, b time.Time) bool {
	return a.Equal(b) || a.Equal(b.Truncate(time.Microsecond)) || a.Equal(b.Truncate(time.Second))
}

// unsureTime is the time of a copy that has to be made again.
var unsureTime = time.Unix(1, 0)

// tries is how often a file that another program writes is copied anew at the end.
const tries = 5

// file copies one file's octets. One that is gone is no error before the end.
func (t *tree) file(rel string) error {
	for n := 1; ; n++ {
		sure, err := t.copyOnce(rel)
		if errors.Is(err, fs.ErrNotExist) && !t.final {
			return nil
		}
		if err != nil || sure || !t.final {
			return err
		}
		if n == tries {
			return failf(exitTemp, "another program writes %s all the time; stop it, then give the command again", t.src(rel))
		}
	}
}

// copyOnce makes a copy under a name of the move's and renames it: what has its
// name is on disk, with its time, which is a Maildir's INTERNALDATE.
func (t *tree) copyOnce(rel string) (sure bool, err error) {
	tmp := below(t.to, relocPart)
	src, dst, before, err := t.begin(rel, tmp)
	if err != nil {
		return false, err
	}
	defer src.Close()
	sure, err = t.fill(rel, dst, src, before)
	if err = errors.Join(err, dst.Close()); err != nil {
		return false, err
	}
	return sure, t.fs.Rename(tmp, t.dst(rel))
}

// begin opens a file of the source, and a new one for its copy in place of what is
// left of another attempt.
func (t *tree) begin(rel, tmp string) (src, dst vfs.File, info vfs.Info, err error) {
	if src, err = t.fs.OpenFile(t.src(rel), vfs.Read, 0); err != nil {
		return nil, nil, info, err
	}
	if info, err = src.Stat(); err == nil {
		if err = t.fs.Remove(tmp); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err == nil {
		dst, err = t.fs.OpenFile(tmp, vfs.Read|vfs.Write|vfs.Create|vfs.Excl, info.Mode.Perm())
	}
	if err != nil {
		src.Close()
		return nil, nil, info, err
	}
	return src, dst, info, nil
}

// fill copies octets and time, and puts them on disk. sure is false if the file may
// have changed meanwhile.
func (t *tree) fill(rel string, dst, src vfs.File, before vfs.Info) (sure bool, err error) {
	sum, err := t.pour(dst, src)
	if err != nil {
		return false, err
	}
	if err := t.readBack(rel, dst, sum); err != nil {
		return false, err
	}
	after, err := src.Stat()
	if err != nil {
		return false, err
	}
	sure = after.Size == before.Size && after.ModTime.Equal(before.ModTime) && (t.final || t.fs.Now().Sub(after.ModTime) > racy)
	at := before.ModTime
	if !sure {
		at = unsureTime
	}
	if err := dst.SetModTime(at); err != nil {
		return false, err
	}
	return sure, dst.Sync()
}

// pour copies octets and gives their CRC.
func (t *tree) pour(dst io.Writer, src io.Reader) (sum uint32, err error) {
	buf := make([]byte, 256<<10)
	for {
		n, err := src.Read(buf)
		sum = crc32c.Update(sum, buf[:n])
		if n > 0 && dst != nil {
			if _, err := dst.Write(buf[:n]); err != nil {
				return sum, err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return sum, nil
		case err != nil:
			return sum, err
		}
		if err := t.alive(); err != nil {
			return sum, err
		}
	}
}

func (t *tree) readBack(rel string, dst vfs.File, sum uint32) error {
	if _, err := dst.Seek(0, io.SeekStart); err != nil {
		return err
	}
	got, err := t.pour(nil, dst)
	if err == nil && got != sum {
		err = errkind.Newf("copy "+rel, errkind.IO, "what was written reads otherwise")
	}
	return err
}
