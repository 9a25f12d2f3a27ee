package foreign

import (
	"slices"
	"strconv"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

// mhTree is a folder of MH with those inside it: a message in each file whose
// name is a number, sequences in .mh_sequences. A file's time is its message's
// INTERNALDATE. Numbers are no UIDs, since MH gives them again.
type mhTree struct {
	fs   vfs.FS
	root string
}

const mhSequences = ".mh_sequences"

// mhNumber gives the number of a message's file; 0 if the name is none.
func mhNumber(name string) uint64 {
	if name == "" || name[0] == '0' || len(name) > 10 || !allIn(name, "0123456789") {
		return 0
	}
	n, _ := strconv.ParseUint(name, 10, 64)
	return n
}

// isMH looks for numbers or sequences in the folder or one right below it.
func isMH(fs vfs.FS, path string, dir bool) bool {
	if !dir {
		return false
	}
	all, err := entries(fs, path)
	if err != nil {
		return false
	}
	if mhFolder(all) {
		return true
	}
	for _, e := range all {
		if isDir(fs, path, e) && !strings.HasPrefix(e.Name, ".") {
			if inside, err := entries(fs, join(path, e.Name)); err == nil && mhFolder(inside) {
				return true
			}
		}
	}
	return false
}

func mhFolder(all []vfs.DirEntry) bool {
	return slices.ContainsFunc(all, func(e vfs.DirEntry) bool {
		return e.Name == mhSequences || mhNumber(e.Name) > 0 && !e.Type.IsDir()
	})
}

func openMH(fs vfs.FS, path string) (Reader, error) {
	if !exists(fs, path, true) {
		return nil, errkind.Newf("open mail", errkind.Invalid, "a folder of MH is a directory")
	}
	return &mhTree{fs, path}, nil
}

func (t *mhTree) Folders() ([]Folder, error) {
	is := func(name string, all []vfs.DirEntry) bool { return name != "" || mhFolder(all) }
	return folderTree(t.fs, t.root, is, func(base string) bool { return !strings.HasPrefix(base, ".") })
}

func (t *mhTree) Read(f Folder, yield func(*Message) error) error {
	all, err := entries(t.fs, f.place)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(e vfs.DirEntry) bool { return mhNumber(e.Name) == 0 || isDir(t.fs, f.place, e) })
	slices.SortFunc(all, func(a, b vfs.DirEntry) int { return int(int64(mhNumber(a.Name)) - int64(mhNumber(b.Name))) })
	seqs, known := t.sequences(f.place)
	for _, e := range all {
		m := &Message{}
		n := mhNumber(e.Name)
		unseen := false
		for _, s := range seqs {
			if !s.has(n) {
				continue
			}
			switch s.name {
			case "unseen":
				unseen = true
			case "flagged":
				m.Flags |= mailstore.Flagged
			case "replied", "answered":
				m.Flags |= mailstore.Answered
			case "cur":
			default:
				if validKeyword(s.name) {
					m.Keywords = append(m.Keywords, s.name)
				}
			}
		}
		// A sequence that would be empty is not written: where there are
		// sequences, what is not in "unseen" was seen.
		if known && !unseen {
			m.Flags |= mailstore.Seen
		}
		if err := readFile(t.fs, join(f.place, e.Name), m, yield); err != nil {
			return err
		}
	}
	return nil
}

func (*mhTree) Close() error { return nil }

// sequence is a line "name: 1 3-5".
type sequence struct {
	name   string
	ranges [][2]uint64
}

func (s *sequence) has(n uint64) bool {
	return slices.ContainsFunc(s.ranges, func(r [2]uint64) bool { return r[0] <= n && n <= r[1] })
}

// maxSequences bounds how many a folder has: each is asked for each message.
const maxSequences = 256

func (t *mhTree) sequences(place string) (out []sequence, known bool) {
	data, err := vfs.ReadFile(t.fs, join(place, mhSequences), maxSmall)
	if err != nil {
		return nil, false
	}
	for line := range strings.Lines(string(data)) {
		name, rest, ok := strings.Cut(line, ":")
		if !ok || len(out) >= maxSequences {
			continue
		}
		s := sequence{name: strings.TrimSpace(name)}
		for _, w := range strings.Fields(rest) {
			first, last, span := strings.Cut(w, "-")
			a := mhNumber(first)
			b := a
			if span {
				b = mhNumber(last)
			}
			if a > 0 && b >= a {
				s.ranges = append(s.ranges, [2]uint64{a, b})
			}
		}
		out = append(out, s)
	}
	return out, true
}

// single is a file that is one message.
type single struct {
	fs   vfs.FS
	path string
}

// isSingle looks for a header field in the first line.
func isSingle(fs vfs.FS, path string, dir bool) bool {
	if dir {
		return false
	}
	file, err := fs.OpenFile(path, vfs.Read, 0)
	if err != nil {
		return false
	}
	defer file.Close()
	buf := make([]byte, prefixLen)
	n, _ := file.ReadAt(buf, 0)
	line, _, _ := strings.Cut(string(buf[:n]), "\n")
	name, _, ok := strings.Cut(line, ":")
	if !ok || name == "" {
		return false
	}
	for i := range len(name) { // RFC 5322 §2.2: printable ASCII without colon or space
		if name[i] <= ' ' || name[i] >= 0x7f {
			return false
		}
	}
	return true
}

func openSingle(fs vfs.FS, path string) (Reader, error) {
	if !exists(fs, path, false) {
		return nil, errkind.Newf("open mail", errkind.Invalid, "one message is one file")
	}
	return &single{fs, path}, nil
}

func (s *single) Folders() ([]Folder, error) { return []Folder{{}}, nil }

func (s *single) Read(_ Folder, yield func(*Message) error) error {
	return readFile(s.fs, s.path, &Message{}, yield)
}

func (*single) Close() error { return nil }
