package mailtool

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/vfs"
)

// The list of what was copied is the file rookery-relocate.list at the top of the
// target:
//
//	rookery-relocate-list 1
//	boot "ID"
//	SIZE MTIME CTIME INODE "PATH"
//	end N
//
// Times are of the old file, in nanoseconds since 1970; PATH is below the old
// place, quoted as Go does. Only a file that is still exactly so is freed. CTIME is 0
// for a file with several names: to remove one of them changes it for the others. ID
// names the boot of the machine: in another one CTIMEs do not count, since a power
// cut may have taken back the removal of a file but not what that did to its CTIME.
const (
	relocMagic = "rookery-relocate-list 1"
	maxLine    = 64 << 10
)

// fileFacts say whether a file is as it was.
type fileFacts struct {
	size, mtime, ctime int64
	inode              uint64
}

func factsOf(i vfs.Info) fileFacts {
	f := fileFacts{i.Size, i.ModTime.UnixNano(), i.ChangeTime.UnixNano(), i.Inode}
	if i.Links > 1 {
		f.ctime = 0
	}
	return f
}

// still reports whether a file is as it was.
func (f fileFacts) still(i vfs.Info) bool {
	now := factsOf(i)
	if f.ctime == 0 {
		now.ctime = 0
	}
	return f == now
}

// settled is when the kernel has written a file's times by itself, and long so.
const settled = 10 * time.Minute

// settle makes the times of a file at the old place durable: a power cut that took
// one back would make the file another than the list says.
func (m *move) settle(rel string) error {
	f, err := m.tree.fs.OpenFile(m.tree.src(rel), vfs.Read, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// manifest makes a last pass and writes the list of what is the same at both
// places.
func (m *move) manifest() error {
	at := vfs.Join(m.tree.to, relocList) // one that is there stays until the new one is
	tmp := at + ".tmp"
	if err := m.tree.fs.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	type line struct {
		rel string
		fileFacts
	}
	var all []line
	m.tree.seen = func(rel string, info vfs.Info) error {
		all = append(all, line{rel, factsOf(info)})
		if info.ChangeTime.Before(m.now().Add(-settled)) {
			return nil
		}
		return m.settle(rel)
	}
	err := m.tree.run()
	m.tree.seen = nil
	if err != nil {
		return err
	}
	f, err := m.tree.fs.OpenFile(tmp, vfs.Write|vfs.Create|vfs.Excl, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	fmt.Fprintf(w, "%s\nboot %q\n", relocMagic, m.tree.fs.BootID())
	for _, l := range all {
		fmt.Fprintf(w, "%d %d %d %d %q\n", l.size, l.mtime, l.ctime, l.inode, l.rel)
	}
	fmt.Fprintf(w, "end %d\n", len(all))
	if err = w.Flush(); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := m.tree.fs.Rename(tmp, at); err != nil {
		return err
	}
	return m.tree.fs.SyncDir(m.tree.to)
}

// readManifest reads the list: errkind.Corrupt if it is none.
func (m *move) readManifest() (map[string]fileFacts, error) {
	f, err := m.tree.fs.OpenFile(vfs.Join(m.tree.to, relocList), vfs.Read, 0)
	if errors.Is(err, fs.ErrNotExist) {
		some := errors.New("a file")
		if m.walk("", 0, func(string, vfs.Info) error { return some }) == nil {
			return map[string]fileFacts{}, nil // all was freed, and that was not noted any more
		}
		return nil, failf(exitNoInput, "there is no list of what was copied to %s: nothing is freed; compare both directories yourself", m.to)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return decodeList(f, m.tree.fs.BootID())
}

// decodeList reads a list as it counts in a boot of the machine.
func decodeList(r io.Reader, boot string) (map[string]fileFacts, error) {
	bad := errkind.Newf("read "+relocList, errkind.Corrupt, "it is not in the form of this version; nothing is freed")
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 4<<10), maxLine)
	if !s.Scan() || s.Text() != relocMagic || !s.Scan() {
		return nil, bad
	}
	text, ok := strings.CutPrefix(s.Text(), "boot ")
	written, err := strconv.Unquote(text)
	if !ok || err != nil {
		return nil, bad
	}
	out := map[string]fileFacts{}
	for s.Scan() {
		if n, ok := strings.CutPrefix(s.Text(), "end "); ok {
			if n != strconv.Itoa(len(out)) || s.Scan() {
				return nil, bad
			}
			return out, nil
		}
		f := strings.SplitN(s.Text(), " ", 5)
		if len(f) != 5 {
			return nil, bad
		}
		var v fileFacts
		var errs [5]error
		v.size, errs[0] = strconv.ParseInt(f[0], 10, 64)
		v.mtime, errs[1] = strconv.ParseInt(f[1], 10, 64)
		v.ctime, errs[2] = strconv.ParseInt(f[2], 10, 64)
		v.inode, errs[3] = strconv.ParseUint(f[3], 10, 64)
		rel, err := strconv.Unquote(f[4])
		errs[4] = err
		if _, twice := out[rel]; errors.Join(errs[:]...) != nil || twice || rel == "" {
			return nil, bad
		}
		if written != boot {
			v.ctime = 0
		}
		out[rel] = v
	}
	if err := s.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) {
		return nil, err
	}
	return nil, bad
}
