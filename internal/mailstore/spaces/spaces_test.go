package spaces_test

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/mailstore/mbox"
	"rookery/internal/mailstore/spaces"
	"rookery/internal/mailstore/storetest"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

func space(prefix string) mailstore.Namespace {
	return mailstore.Namespace{Prefix: prefix, Separator: '/', List: true}
}

func openMaildir(disk vfs.FS, dir, prefix string, special ...maildir.Special) (mailstore.Store, error) {
	return maildir.Open(maildir.Options{FS: disk, MailPath: dir, Namespace: space(prefix), Special: special, LockWait: 20 * time.Second})
}

func openMbox(disk vfs.FS, dir, prefix string) (mailstore.Store, error) {
	return mbox.Open(mbox.Options{Options: engine.Options{FS: disk, Namespace: space(prefix), LockWait: 20 * time.Second}, MailPath: dir, Zone: time.UTC, JournalSize: 24 << 10})
}

// open joins a Maildir, an archive in mbox files, and a Maildir whose
// subscriptions the first one keeps.
func open(disk vfs.FS) (mailstore.Store, error) {
	var members []spaces.Member
	for _, m := range []struct {
		prefix string
		open   func() (mailstore.Store, error)
	}{
		{"Old/", func() (mailstore.Store, error) { return openMbox(disk, "archive", "Old/") }},
		{"", func() (mailstore.Store, error) { return openMaildir(disk, "Maildir", "") }},
		{"Lists/Far/", func() (mailstore.Store, error) {
			return openMaildir(disk, "far", "Lists/Far/", maildir.Special{Name: "Lists/Far/auto", Auto: maildir.AutoSubscribe})
		}},
	} {
		s, err := m.open()
		if err != nil {
			for _, m := range members {
				m.Store.Close()
			}
			return nil, err
		}
		members = append(members, spaces.Member{Store: s, Inbox: m.prefix == "", Subscriptions: m.prefix != "Lists/Far/"})
	}
	return spaces.Join(members)
}

func fresh(t *testing.T) mailstore.Store {
	t.Helper()
	s, err := open(memfs.New(memfs.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// What is true of one store is true of several: the suite sees the main one's
// names beside another, which gets none of them.
func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Harness {
		return storetest.Harness{Sampled: true, Open: func(disk vfs.FS) (mailstore.Store, error) {
			main, err := openMaildir(disk, "Maildir", "")
			if err != nil {
				return nil, err
			}
			far, err := openMaildir(disk, "far", "Elsewhere/")
			if err != nil {
				return nil, errors.Join(err, main.Close())
			}
			return spaces.Join([]spaces.Member{{Store: far, Subscriptions: true}, {Store: main, Inbox: true, Subscriptions: true}})
		}}
	})
}

func put(t *testing.T, s mailstore.Store, name string, meta mailstore.AppendMeta, texts ...string) []mailstore.UID {
	t.Helper()
	a, err := s.Append(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		w, err := a.Add(meta, int64(len(text)))
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	res, err := a.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return res.UIDs
}

// shown lists the names as LIST would: a bare parent in parentheses, a subscribed
// one with a star.
func shown(t *testing.T, s mailstore.Store) string {
	t.Helper()
	list, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range list {
		text := f.Name
		if f.Attrs&mailstore.Subscribed != 0 {
			text += "*"
		}
		if f.Attrs&mailstore.HasChildren != 0 {
			text += "+"
		}
		if f.Attrs&mailstore.NonExistent != 0 {
			text = "(" + text + ")"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func box(t *testing.T, s mailstore.Store, name string) mailstore.Mailbox {
	t.Helper()
	mb, err := s.Open(name)
	if err != nil {
		t.Fatal(name, err)
	}
	t.Cleanup(func() { mb.Close() })
	if _, err := mb.Sync(); err != nil {
		t.Fatal(name, err)
	}
	return mb
}

// content tells a mailbox's messages.
func content(t *testing.T, s mailstore.Store, name string) string {
	t.Helper()
	mb := box(t, s, name)
	snap := mb.Snapshot()
	var out []string
	for i := range snap.Len() {
		e := snap.At(i)
		m, err := mb.Message(e.UID)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, m.Size())
		if _, err := m.ReadAt(b, 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		m.Close()
		f, err := mb.Facts(e.UID, mailstore.FactsWant{InternalDate: true, GUID: true})
		if err != nil {
			t.Fatal(err)
		}
		_, text, _ := strings.Cut(string(b), "\r\n\r\n")
		out = append(out, fmt.Sprintf("%d:%s flags=%d %v %d guid=%x", e.UID, strings.TrimSpace(text), e.Flags, snap.Keywords(e.Keywords), f.InternalDate.Unix(), f.GUID[:2]))
	}
	return strings.Join(out, "\n")
}

func kind(t *testing.T, err error, want errkind.Kind) {
	t.Helper()
	if err == nil || errkind.Of(err) != want {
		t.Errorf("%v, want %v", err, want)
	}
}

// Every name is of the namespace with the longest prefix; a prefix is no mailbox.
func TestNames(t *testing.T) {
	s := fresh(t)
	if n := s.Namespaces(); len(n) != 3 || n[0].Prefix != "" || n[1].Prefix != "Old/" || n[2].Prefix != "Lists/Far/" {
		t.Errorf("%+v", n)
	}
	if got := shown(t, s); got != "INBOX (Lists+) Lists/Far/auto*" {
		t.Error(got)
	}
	for _, name := range []string{"Work", "Old/2020", "Lists/Near", "Lists/Far/go"} {
		if got, err := s.Create(name, 0); err != nil || got != name {
			t.Error(got, err)
		}
	}
	if got := shown(t, s); got != "INBOX (Lists+) Lists/Far/auto* Lists/Far/go Lists/Near Old/2020 Work" {
		t.Error(got)
	}
	for _, root := range []string{"Old", "Lists/Far"} {
		_, err := s.Create(root, 0)
		kind(t, err, errkind.Exists)
		_, err = s.Open(root)
		kind(t, err, errkind.Invalid)
		_, err = s.Status(root, mailstore.StatusWant{})
		kind(t, err, errkind.Invalid)
		kind(t, s.Delete(root), errkind.Invalid)
		kind(t, s.Rename(root, "x"), errkind.Invalid)
		kind(t, s.Rename("Work", root), errkind.Exists)
	}
	kind(t, s.Rename("Work", "Old/Work"), errkind.Invalid)
	kind(t, s.Rename("Old/2020", "2020"), errkind.Invalid)
	kind(t, s.Rename("INBOX", "Old/x"), errkind.Invalid)
	kind(t, s.Rename("Work", "Lists"), errkind.Invalid)
	if err := s.Rename("Old/2020", "Old/y/2021"); err != nil {
		t.Error(err)
	}
	if err := s.Delete("Lists/Far/go"); err != nil {
		t.Error(err)
	}
	// A namespace's own INBOX is listed once there is mail in it.
	put(t, s, "Old/INBOX", mailstore.AppendMeta{}, "a: b\r\n\r\nx\r\n")
	if got := shown(t, s); got != "INBOX (Lists+) Lists/Far/auto* Lists/Near Old/INBOX (Old/y+) Old/y/2021 Work" {
		t.Error(got)
	}
	if i := box(t, s, "Old/INBOX").Info(); i.Name != "Old/INBOX" || i.Namespace.Prefix != "Old/" {
		t.Errorf("%+v", i)
	}
	if st, err := s.Status("INBOX", mailstore.StatusWant{}); err != nil || st.Messages != 0 {
		t.Error(st, err)
	}
	if f, err := s.Lookup("Lists/Far/INBOX"); err != nil || f.Name != "Lists/Far/INBOX" {
		t.Error(f, err)
	}
	kind(t, s.Delete("Old/INBOX"), errkind.Invalid)
}

// What a store has under a name of another namespace cannot be seen.
func TestShadowed(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	main, err := openMaildir(disk, "Maildir", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"Old", "Old/hidden", "Older"} {
		if _, err := main.Create(n, 0); err != nil {
			t.Fatal(err)
		}
	}
	main.Close()
	s, err := open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := shown(t, s); got != "INBOX (Lists+) Lists/Far/auto* Older" {
		t.Error(got)
	}
	_, err = s.Open("Old/hidden")
	kind(t, err, errkind.NotFound)
}

// Subscriptions are kept by the namespace itself or by the one above it.
func TestSubscriptions(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	s, err := open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, n := range []string{"Work", "Old/2020", "Lists/Far/go", "INBOX", "Old/INBOX"} {
		if err := s.Subscribe(n, true); err != nil {
			t.Fatal(n, err)
		}
	}
	want := []string{"INBOX", "Lists/Far/auto", "Lists/Far/go", "Old/2020", "Old/INBOX", "Work"}
	if got, err := s.Subscriptions(); err != nil || !reflect.DeepEqual(got, want) {
		t.Error(got, err)
	}
	for dir, want := range map[string]string{"Maildir": "INBOX Lists/Far/go Work", "archive/.rookery": "2020 INBOX", "far": ""} {
		b, _ := vfs.ReadFile(disk, dir+"/subscriptions", 1<<20)
		var names []string
		for _, line := range strings.Split(strings.NewReplacer("\t", "/", ".", "/").Replace(string(b)), "\n") {
			if line != "V/2" {
				names = append(names, line)
			}
		}
		if got := strings.Join(names, " "); !sameWords(got, want) {
			t.Errorf("%s/subscriptions has %q, want %q", dir, got, want)
		}
	}
	if _, err := s.Create("Lists/Far/go", 0); err != nil {
		t.Fatal(err)
	}
	if got := shown(t, s); !strings.Contains(got, "Lists/Far/go*") {
		t.Error(got)
	}
	for _, n := range []string{"Lists/Far/go", "Lists/Far/auto", "Old/2020"} {
		if err := s.Subscribe(n, false); err != nil {
			t.Error(n, err)
		}
		kind(t, s.Subscribe(n, false), errkind.NotFound)
	}
	if got, _ := s.Subscriptions(); !reflect.DeepEqual(got, []string{"INBOX", "Old/INBOX", "Work"}) {
		t.Error(got)
	}
}

func sameWords(a, b string) bool {
	count := map[string]int{}
	for _, w := range strings.Fields(a) {
		count[w]++
	}
	for _, w := range strings.Fields(b) {
		count[w]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

// COPY and MOVE between formats keep flags, keywords, dates and GUIDs.
func TestAcross(t *testing.T) {
	s := fresh(t)
	if _, err := s.Create("Old/2020", 0); err != nil {
		t.Fatal(err)
	}
	date := time.Unix(1600000000, 0)
	put(t, s, "INBOX", mailstore.AppendMeta{Flags: mailstore.Seen | mailstore.Flagged, Keywords: []string{"$x"}, InternalDate: date, GUID: mailstore.GUID{1}}, "Subject: a\r\n\r\none\r\n")
	put(t, s, "INBOX", mailstore.AppendMeta{InternalDate: date, GUID: mailstore.GUID{2}}, "Subject: a\r\n\r\ntwo\r\n")
	put(t, s, "INBOX", mailstore.AppendMeta{Flags: mailstore.Deleted, InternalDate: date, GUID: mailstore.GUID{3}}, "Subject: a\r\n\r\nthree\r\n")
	put(t, s, "Old/2020", mailstore.AppendMeta{InternalDate: date, GUID: mailstore.GUID{4}}, "Subject: a\r\n\r\nbefore\r\n")
	inbox := box(t, s, "INBOX")
	res, err := inbox.Copy(numset.Of(1, 3, 77), "Old/2020")
	if err != nil || !reflect.DeepEqual(res.From, []mailstore.UID{1, 3}) || !reflect.DeepEqual(res.To, []mailstore.UID{2, 3}) || res.UIDValidity != box(t, s, "Old/2020").Info().UIDValidity {
		t.Fatal(res, err)
	}
	const first = "1:before flags=0 [] 1600000000 guid=0400\n2:one flags=10 [$x] 1600000000 guid=0100\n3:three flags=4 [] 1600000000 guid=0300"
	if got := content(t, s, "Old/2020"); got != first {
		t.Error(got)
	}
	res, err = inbox.Move(numset.Span(1, 2), "Old/2020")
	if err != nil || !reflect.DeepEqual(res.From, []mailstore.UID{1, 2}) || !reflect.DeepEqual(res.To, []mailstore.UID{4, 5}) {
		t.Fatal(res, err)
	}
	if got := content(t, s, "INBOX"); got != "3:three flags=4 [] 1600000000 guid=0300" {
		t.Error(got)
	}
	// And back, more than one step of a move.
	var many []string
	for i := range 450 {
		many = append(many, fmt.Sprintf("Subject: m\r\n\r\nm%d\r\n", i))
	}
	put(t, s, "Old/2020", mailstore.AppendMeta{}, many...)
	res, err = box(t, s, "Old/2020").Move(numset.Span(6, 1<<32-1), "Lists/Far/auto")
	if err != nil || len(res.From) != 450 || len(res.To) != 450 || res.To[449] != 450 {
		t.Fatal(len(res.From), len(res.To), err)
	}
	if got := content(t, s, "Lists/Far/auto"); strings.Count(got, "\n") != 449 || !strings.HasPrefix(got, "1:m0 ") {
		t.Error(len(got))
	}
	for name, want := range map[string]errkind.Kind{"Old/none": errkind.NotFound, "Old": errkind.Invalid} {
		_, err := inbox.Copy(numset.Of(3), name)
		kind(t, err, want)
		_, err = inbox.Move(numset.Of(3), name)
		kind(t, err, want)
	}
	if res, err := inbox.Copy(numset.Of(99), "Old/2020"); err != nil || len(res.From) != 0 || res.UIDValidity == 0 {
		t.Error(res, err)
	}
}

// stubborn is a store whose mailboxes expunge one message only, then fail.
type stubborn struct{ mailstore.Store }

type stubbornBox struct{ mailstore.Mailbox }

func (s stubborn) Open(n mailstore.Name) (mailstore.Mailbox, error) {
	mb, err := s.Store.Open(n)
	return stubbornBox{mb}, err
}

func (b stubbornBox) Expunge(uids numset.Set) (numset.Set, error) {
	gone, err := b.Mailbox.Expunge(numset.Of(uids.Min()))
	return gone, errors.Join(err, errkind.Newf("expunge", errkind.IO, "the disk"))
}

// A move whose expunge fails leaves each message in one place.
func TestMoveFails(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	main, err := openMaildir(disk, "Maildir", "")
	if err != nil {
		t.Fatal(err)
	}
	old, err := openMbox(disk, "archive", "Old/")
	if err != nil {
		t.Fatal(err)
	}
	s, err := spaces.Join([]spaces.Member{{Store: stubborn{main}, Inbox: true, Subscriptions: true}, {Store: old, Subscriptions: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Create("Old/x", 0); err != nil {
		t.Fatal(err)
	}
	put(t, s, "INBOX", mailstore.AppendMeta{}, "a: b\r\n\r\none\r\n", "a: b\r\n\r\ntwo\r\n")
	mb, err := s.Open("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	res, err := mb.Move(numset.Span(1, 2), "Old/x")
	mb.Close()
	kind(t, err, errkind.IO)
	if !reflect.DeepEqual(res.From, []mailstore.UID{1}) || !reflect.DeepEqual(res.To, []mailstore.UID{1}) {
		t.Error(res)
	}
	if got := content(t, s, "INBOX"); !strings.HasPrefix(got, "2:two") {
		t.Error(got)
	}
	if got := content(t, s, "Old/x"); !strings.HasPrefix(got, "1:one") || strings.Contains(got, "two") {
		t.Error(got)
	}
}

// What cannot be one tree of names is refused.
func TestJoinRefuses(t *testing.T) {
	member := func(ns mailstore.Namespace, inbox, subs bool) spaces.Member {
		s, err := maildir.Open(maildir.Options{FS: memfs.New(memfs.Options{}), MailPath: ".", Namespace: ns})
		if err != nil {
			t.Fatal(err)
		}
		return spaces.Member{Store: s, Inbox: inbox, Subscriptions: subs}
	}
	dot := mailstore.Namespace{Prefix: "b.", Separator: '.', List: true}
	for name, members := range map[string][]spaces.Member{
		"no INBOX":      {member(space("a/"), false, true), member(space("b/"), false, true)},
		"two INBOXes":   {member(space("a/"), true, true), member(space("b/"), true, true)},
		"same prefix":   {member(space("a/"), true, true), member(space("a/"), false, true)},
		"separators":    {member(space("a/"), true, true), member(dot, false, true)},
		"subscriptions": {member(space("a/"), true, true), member(space("b/"), false, false)},
	} {
		if s, err := spaces.Join(members); !errkind.Is(err, errkind.Invalid) || s != nil {
			t.Errorf("%s: %v %v", name, s, err)
		}
	}
}
