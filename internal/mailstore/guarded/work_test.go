package guarded_test

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/annotation"
	"rookery/internal/vfs"
)

// work is what was asked of a disk, one word each.
type work struct {
	mu   sync.Mutex
	done []string
}

func (w *work) add(kind string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = append(w.done, kind)
}

// take gives the kinds of what was done since the last call, and how often each.
func (w *work) take() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.done)
	var out []string
	for i := 0; i < len(w.done); {
		n := i
		for ; n < len(w.done) && w.done[n] == w.done[i]; n++ {
		}
		out = append(out, fmt.Sprint(n-i, " ", w.done[i]))
		i = n
	}
	w.done = nil
	return strings.Join(out, ", ")
}

// watchedFS notes each operation on a disk. What an FS can do beside vfs.FS is not seen
// through it, so all comes by these.
type watchedFS struct {
	in vfs.FS
	*work
}

func (f watchedFS) OpenFile(path string, flag vfs.Flag, perm fs.FileMode) (vfs.File, error) {
	in, err := f.in.OpenFile(path, flag, perm)
	if err != nil {
		f.add("open-fails")
		return nil, err
	}
	f.add("open")
	return watchedFile{in, f.work}, nil
}

func (f watchedFS) Stat(path string) (vfs.Info, error) {
	info, err := f.in.Stat(path)
	if err != nil {
		f.add("stat-fails")
	} else {
		f.add("stat")
	}
	return info, err
}

func (f watchedFS) ReadDir(path string, yield func(vfs.DirEntry) bool) error {
	f.add("readdir")
	return f.in.ReadDir(path, func(e vfs.DirEntry) bool { f.add("entry"); return yield(e) })
}

func (f watchedFS) Mkdir(path string, perm fs.FileMode) error {
	f.add("mkdir")
	return f.in.Mkdir(path, perm)
}
func (f watchedFS) Rename(from, to string) error { f.add("rename"); return f.in.Rename(from, to) }
func (f watchedFS) RenameNoReplace(from, to string) error {
	f.add("rename")
	return f.in.RenameNoReplace(from, to)
}
func (f watchedFS) Link(from, to string) error  { f.add("link"); return f.in.Link(from, to) }
func (f watchedFS) Remove(path string) error    { f.add("remove"); return f.in.Remove(path) }
func (f watchedFS) RemoveDir(path string) error { f.add("rmdir"); return f.in.RemoveDir(path) }
func (f watchedFS) SyncDir(path string) error   { f.add("syncdir"); return f.in.SyncDir(path) }
func (f watchedFS) Sub(path string) (vfs.FS, error) {
	in, err := f.in.Sub(path)
	return watchedFS{in, f.work}, err
}

type watchedFile struct {
	vfs.File
	*work
}

func (f watchedFile) Read(p []byte) (int, error) { f.add("read"); return f.File.Read(p) }
func (f watchedFile) ReadAt(p []byte, off int64) (int, error) {
	f.add("read")
	return f.File.ReadAt(p, off)
}
func (f watchedFile) Write(p []byte) (int, error) { f.add("write"); return f.File.Write(p) }
func (f watchedFile) WriteAt(p []byte, off int64) (int, error) {
	f.add("write")
	return f.File.WriteAt(p, off)
}
func (f watchedFile) Stat() (vfs.Info, error)   { f.add("fstat"); return f.File.Stat() }
func (f watchedFile) Sync() error               { f.add("sync"); return f.File.Sync() }
func (f watchedFile) DataSync() error           { f.add("sync"); return f.File.DataSync() }
func (f watchedFile) Truncate(size int64) error { f.add("truncate"); return f.File.Truncate(size) }

// BootID and Now are no work.
func (f watchedFS) BootID() string { return f.in.BootID() }
func (f watchedFS) Now() time.Time { return f.in.Now() }

// noteCalls are the calls about annotations.
var noteCalls = []struct {
	name string
	want func(r acl.Rights) errkind.Kind
	do   func(s mailstore.Sharer, name mailstore.Name) error
}{
	{"get notes", noting, func(s mailstore.Sharer, n mailstore.Name) error {
		_, err := s.(mailstore.SharedNotes).SharedNotes(n)
		return err
	}},
	{"set notes", noting, func(s mailstore.Sharer, n mailstore.Name) error {
		_, err := s.(mailstore.SharedNotes).SetSharedNotes(n, []mailstore.Annotation{{Entry: "/shared/comment", Value: []byte("x")}})
		return err
	}},
}

// noting is what RFC 5464 §3.3 asks for: l, and one of r, s, w, i and p.
func noting(r acl.Rights) errkind.Kind {
	switch {
	case !r.Has(acl.Lookup):
		return errkind.NotFound
	case r&(acl.Read|acl.Seen|acl.Write|acl.Insert|acl.Post) == 0:
		return errkind.NoPermission
	}
	return ok
}

// hidingPlaces are mailboxes that bob may not know of, each with one that is not there
// beside it.
var hidingPlaces = [][2]mailstore.Name{{"Hidden", "Nothing"}, {"Plain", "Nobody"}, {"Top/Hidden", "Top/Nothing"}, {"Hidden/Below", "Nothing/Below"}, {"Given/Hidden", "Given/Nothing"}}

// hiding is a store on a disk that is watched, with the hidden mailboxes.
func hiding(t *testing.T, open opener) (mailstore.Store, *work) {
	t.Helper()
	disk, clock := newDisk(t)
	done := &work{}
	s, err := open(watchedFS{disk, done})
	must(t, err)
	t.Cleanup(func() { s.Close() })
	inner := annotation.Wrap(s, annotation.Options{FS: watchedFS{disk, done}, Dir: "mail"})
	create(t, inner, "Full", "Hidden", "Plain", "Top", "Top/Hidden", "Hidden/Below", "Given", "Given/Hidden")
	for n, lines := range map[mailstore.Name]string{"Full": "user=bob lrswipkxtea", "Hidden": "user=bob rswipkxtea", "Plain": "", "Top": "user=bob lr", "Top/Hidden": "-user=bob l", "Hidden/Below": "user=carol lr",
		"Given": "user=bob lrswipkxtea", "Given/Hidden": "user=carol lr"} {
		give(t, inner, n, lines)
		add(t, inner, n, mailstore.AppendMeta{Flags: mailstore.AllFlags, Keywords: []string{"old"}}, "one\n", "two\n")
		_, err := inner.Annotate(n, []mailstore.Annotation{{Entry: "/shared/comment", Value: []byte("it is here")}})
		must(t, err)
	}
	clock.Jump(time.Hour) // what was written just now is read again each time
	return inner, done
}

// twice makes a call of a new guest's two times, and tells the work of each.
func twice(t *testing.T, s mailstore.Store, done *work, name mailstore.Name, do func(s mailstore.Sharer, name mailstore.Name) error) (both [2]string) {
	t.Helper()
	g := grantee(t, s, "bob")
	for i := range both {
		done.take()
		err := do(g, name)
		if err == nil {
			t.Fatalf("%s: it is done", name)
		}
		both[i] = err.Error() + ": " + done.take()
	}
	return both
}

// Whoever lacks l tells a mailbox from one that is not there by nothing that its owner's
// process does for him: every call does the same work on the disk, whatever the format,
// at the first call and later.
func TestHiddenWork(t *testing.T) {
	all, places := append(slices.Clone(calls), noteCalls...), hidingPlaces
	if testing.Short() {
		places = places[1:3]
	}
	onEach(t, func(t *testing.T, _ string, open opener) {
		warm, done := hiding(t, open)
		for range 2 { // what a process reads once
			for _, c := range all {
				if c.name != "list" {
					twice(t, warm, done, "Nobody", c.do)
				}
			}
		}
		for _, pair := range places {
			cold1, done1 := hiding(t, open)
			cold2, done2 := hiding(t, open)
			hidden, nothing := twice(t, cold1, done1, pair[0], noteCalls[0].do), twice(t, cold2, done2, pair[1], noteCalls[0].do)
			if hidden != nothing {
				t.Errorf("a process that was started for %s: %q; for %s, which is not there: %q", pair[0], hidden, pair[1], nothing)
			}
			for _, c := range all {
				if strings.HasPrefix(pair[0], "Given/") && (c.name == "create below" || c.name == "rename to below") {
					continue // k of the mailbox above makes what is not there: that tells it in any case
				}
				if c.name == "list" {
					continue // it names nothing
				}
				hidden, nothing := twice(t, warm, done, pair[0], c.do), twice(t, warm, done, pair[1], c.do)
				if hidden != nothing {
					t.Errorf("%s of %s:\n%q\nof %s, which is not there:\n%q", c.name, pair[0], hidden, pair[1], nothing)
				}
			}
		}
	})
}

// The rights for annotations are those of RFC 5464 §3.3, and private ones of the owner's
// are nobody else's.
func TestNotes(t *testing.T) {
	for r := acl.Rights(0); r <= acl.All; r++ {
		store := prepared(t, "user=bob "+r.String())
		_, err := store.Annotate("Box", []mailstore.Annotation{{Entry: "/shared/comment", Value: []byte("all")}, {Entry: "/private/comment", Value: []byte("hers")}})
		must(t, err)
		s := grantee(t, store, "bob").(mailstore.SharedNotes)
		for _, c := range noteCalls {
			if err := c.do(s.(mailstore.Sharer), "Box"); kindOf(err) != c.want(r) {
				t.Fatalf("%s with %q: %v", c.name, r, err)
			}
		}
		boxes, err := s.NotedBoxes()
		must(t, err)
		changed, last, err := s.SharedNotesSince(0)
		must(t, err)
		want := 0
		if noting(r) == ok {
			want = 1
		}
		if len(boxes) != 1+want || len(changed) != want || last == 0 {
			t.Fatalf("with %q: %v, %v, %d", r, boxes, changed, last)
		}
		if want == 0 {
			continue
		}
		got, err := s.SharedNotes("Box")
		must(t, err)
		st, err := store.Status("Box", mailstore.StatusWant{})
		must(t, err)
		if len(got.Entries) != 1 || got.Entries[0].Entry != "/shared/comment" || string(got.Entries[0].Value) != "x" || got.GUID != st.GUID || got.Limits != store.AnnotationLimits() {
			t.Fatalf("with %q: %+v", r, got)
		}
		if _, err := s.SetSharedNotes("Box", []mailstore.Annotation{{Entry: "/shared/a", Value: []byte("x")}, {Entry: "/private/comment"}}); kindOf(err) != errkind.NoPermission {
			t.Fatal(err)
		}
		if list, err := store.Annotations("Box"); err != nil || len(list) != 2 {
			t.Fatalf("%v, %v", list, err)
		}
		if c := changed[0]; c.Mailbox != "Box" || c.Entry != "/shared/comment" || c.Number != last {
			t.Fatalf("%+v", c)
		}
	}
}
