package foreign

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/control"
	"rookery/internal/vfs"
)

// maildirTree is a Maildir with folders beside (".A.B", Maildir++) or inside
// each other ("A/B"). Flags are read from the names, keywords from
// dovecot-keywords or courierimapkeywords, UIDs from dovecot-uidlist or
// courierimapuiddb, subscriptions from the file of that name or Courier's.
type maildirTree struct {
	fs   vfs.FS
	root string
	subs map[string]bool
}

func hasCur(fs vfs.FS, dir string) bool { return exists(fs, join(dir, "cur"), true) }

func isMaildir(fs vfs.FS, path string, dir bool) bool { return dir && hasCur(fs, path) }

func openMaildir(fs vfs.FS, path string) (Reader, error) {
	t := &maildirTree{fs: fs, root: path, subs: map[string]bool{}}
	t.subscriptions()
	return t, nil
}

// subscriptions reads Dovecot's file, in either version, or else Courier's.
func (t *maildirTree) subscriptions() {
	l, err := control.Dir{FS: t.fs, Path: t.root}.ReadSubs('.', t.root)
	if err != nil {
		return // none that can be read: nothing is subscribed
	}
	for _, n := range l.Names() {
		t.subs[n] = true
	}
}

func (t *maildirTree) Folders() ([]Folder, error) {
	var out []Folder
	if hasCur(t.fs, t.root) {
		out = append(out, t.folder("", t.root, t.subs[imapname.Inbox]))
	}
	add := func(name, place string) error {
		if len(out) >= maxFolders {
			return errkind.Newf("read "+place, errkind.Limit, "too many folders")
		}
		out = append(out, t.folder(name, place, t.subs[name]))
		return nil
	}
	var walk func(place, name string, depth int) error
	walk = func(place, name string, depth int) error {
		all, err := entries(t.fs, place)
		if err != nil {
			return err
		}
		if depth > maxDepth {
			return errkind.Newf("read "+place, errkind.Limit, "too deep")
		}
		for _, e := range all {
			at := join(place, e.Name)
			if !isDir(t.fs, place, e) || e.Name == "cur" || e.Name == "new" || e.Name == "tmp" {
				continue
			}
			if strings.HasPrefix(e.Name, ".") {
				n, _, err := imapname.FromFolder(e.Name)
				if depth == 0 && err == nil && hasCur(t.fs, at) {
					if err := add(string(n), at); err != nil {
						return err
					}
				}
				continue
			}
			below := join(name, strings.ToValidUTF8(e.Name, "_"))
			if hasCur(t.fs, at) {
				if err := add(below, at); err != nil {
					return err
				}
			}
			if err := walk(at, below, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	err := walk(t.root, "", 0)
	slices.SortStableFunc(out, func(a, b Folder) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}

// folder makes a Folder, with what its list of UIDs begins with.
func (t *maildirTree) folder(name, place string, subscribed bool) Folder {
	l := t.uidlist(place)
	return Folder{Name: name, place: place, Subscribed: subscribed, UIDValidity: l.validity, UIDNext: l.next}
}

// keywords reads dovecot-keywords: "NUMBER NAME" a line; the letter a is 0.
func (t *maildirTree) keywords(place string) (names [26]string) {
	data, err := vfs.ReadFile(t.fs, join(place, "dovecot-keywords"), maxSmall)
	if err != nil {
		return names
	}
	for _, line := range strings.Split(string(data), "\n") {
		number, name, _ := strings.Cut(line, " ")
		if n, err := strconv.Atoi(number); err == nil && n >= 0 && n < len(names) {
			names[n] = name
		}
	}
	return names
}

var maildirFlags = map[byte]mailstore.Flags{'R': mailstore.Answered, 'F': mailstore.Flagged, 'T': mailstore.Deleted, 'S': mailstore.Seen, 'D': mailstore.Draft}

func (t *maildirTree) Read(f Folder, yield func(*Message) error) error {
	names, courier, ids := t.keywords(f.place), t.courierKeywords(f.place), t.uidlist(f.place)
	type file struct {
		dir, name string
		uid       uint32
	}
	var all []file
	for _, sub := range []string{"cur", "new"} {
		dir := join(f.place, sub)
		in, err := entries(t.fs, dir)
		if err != nil && !exists(t.fs, dir, true) {
			continue
		}
		if err != nil {
			return err
		}
		for _, e := range in {
			if !strings.HasPrefix(e.Name, ".") && !isDir(t.fs, dir, e) {
				base, _, _ := strings.Cut(e.Name, ":")
				all = append(all, file{dir, e.Name, ids.of[base]})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b file) int {
		if a.uid != b.uid { // none is the highest
			return cmp.Compare(a.uid-1, b.uid-1)
		}
		return compareArrival(a.name, b.name)
	})
	for _, one := range all {
		base, info, _ := strings.Cut(one.name, ":2,")
		m := &Message{UID: one.uid, Keywords: slices.Clone(courier[base])}
		for i := range len(info) {
			if c := info[i]; c >= 'a' && c <= 'z' {
				if n := names[c-'a']; n != "" {
					m.Keywords = append(m.Keywords, n)
				}
			} else {
				m.Flags |= maildirFlags[c]
			}
		}
		if err := readFile(t.fs, join(one.dir, one.name), m, yield); err != nil {
			return err
		}
	}
	return nil
}

// compareArrival puts names in the order in which they came: they begin with
// seconds, then microseconds or a counter (M…, Q…), so numbers in them compare as
// numbers.
func compareArrival(a, b string) int {
	for a != "" && b != "" {
		x, y := digits(a), digits(b)
		if x == 0 || y == 0 {
			if a[0] != b[0] {
				return int(a[0]) - int(b[0])
			}
			a, b = a[1:], b[1:]
			continue
		}
		m, n := strings.TrimLeft(a[:x], "0"), strings.TrimLeft(b[:y], "0")
		if len(m) != len(n) {
			return len(m) - len(n)
		}
		if c := strings.Compare(m, n); c != 0 {
			return c
		}
		a, b = a[x:], b[y:]
	}
	return len(a) - len(b)
}

// digits is how many digits s begins with.
func digits(s string) int {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return i
}

func (*maildirTree) Close() error { return nil }
