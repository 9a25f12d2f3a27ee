package foreign

import (
	"slices"
	"strconv"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

// maildirTree is a Maildir with folders beside (".A.B", Maildir++) or inside
// each other ("A/B"). Flags are read from the names, keywords from
// dovecot-keywords, subscriptions from the file of that name.
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

// subscriptions reads Dovecot's file, in either version: the first has names in
// modified UTF-7 with the separator ".", the second tabs between the levels.
func (t *maildirTree) subscriptions() {
	data, err := vfs.ReadFile(t.fs, join(t.root, "subscriptions"), maxSmall)
	if err != nil {
		return // there is none, or none that can be read: nothing is subscribed
	}
	sep := "."
	for _, line := range strings.Split(string(data), "\n") {
		if strings.HasPrefix(line, "V\t") {
			sep = "\t"
			continue
		}
		if line == "" || sep == "." && strings.Contains(line, "\t") {
			continue
		}
		if n, err := imapname.Parse(strings.ReplaceAll(line, sep, "/"), sep == "\t"); err == nil {
			t.subs[string(n)] = true
		}
	}
}

func (t *maildirTree) Folders() ([]Folder, error) {
	var out []Folder
	if hasCur(t.fs, t.root) {
		out = append(out, Folder{place: t.root, Subscribed: t.subs[imapname.Inbox]})
	}
	add := func(name, place string) error {
		if len(out) >= maxFolders {
			return errkind.Newf("read "+place, errkind.Limit, "too many folders")
		}
		out = append(out, Folder{Name: name, place: place, Subscribed: t.subs[name]})
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
	names := t.keywords(f.place)
	type file struct{ dir, name string }
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
				all = append(all, file{dir, e.Name})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b file) int { return compareArrival(a.name, b.name) })
	for _, one := range all {
		m := &Message{}
		_, info, _ := strings.Cut(one.name, ":2,")
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
