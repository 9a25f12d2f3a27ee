package maildir_test

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

// tree is a Maildir made by hand on a disk in memory.
type tree struct {
	*testing.T
	disk  *memfs.FS
	clock *memfs.Clock
	notes []string
}

func newTree(t *testing.T) *tree {
	tr := &tree{T: t, clock: memfs.NewClock(time.Unix(1780000000, 0))}
	tr.disk = memfs.New(memfs.Options{Now: tr.clock.Now})
	for _, d := range []string{"Maildir/cur", "Maildir/new", "Maildir/tmp"} {
		tr.must(vfs.MkdirAll(tr.disk, d, 0o700))
	}
	return tr
}

func (t *tree) must(err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (t *tree) put(path, text string) {
	t.Helper()
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		t.must(vfs.MkdirAll(t.disk, "Maildir/"+path[:i], 0o700))
	}
	f, err := t.disk.OpenFile("Maildir/"+path, vfs.Write|vfs.Create|vfs.Trunc, 0o600)
	t.must(err)
	_, err = f.Write([]byte(text))
	t.must(err)
	t.must(f.Close())
}

func (t *tree) get(path string) string {
	t.Helper()
	b, err := vfs.ReadFile(t.disk, "Maildir/"+path, 1<<20)
	t.must(err)
	return string(b)
}

// files lists a directory.
func (t *tree) files(path string) []string {
	var out []string
	t.must(t.disk.ReadDir(strings.TrimSuffix("Maildir/"+path, "/"), func(e vfs.DirEntry) bool { out = append(out, e.Name); return true }))
	slices.Sort(out)
	return out
}

func (t *tree) open(opt maildir.Options) *maildir.Store {
	t.Helper()
	opt.FS, opt.MailPath = t.disk, "Maildir"
	opt.Note = func(s string) { t.notes = append(t.notes, s) }
	s, err := maildir.Open(opt)
	t.must(err)
	return s
}

func (t *tree) box(s *maildir.Store, name string) mailstore.Mailbox {
	t.Helper()
	mb, err := s.Open(name)
	t.must(err)
	return mb
}

func show(mb mailstore.Mailbox) string {
	s := mb.Snapshot()
	var out []string
	for i := range s.Len() {
		e := s.At(i)
		f := ""
		for _, l := range []struct {
			f mailstore.Flags
			c string
		}{{mailstore.Draft, "D"}, {mailstore.Flagged, "F"}, {mailstore.Answered, "R"}, {mailstore.Seen, "S"}, {mailstore.Deleted, "T"}} {
			if e.Flags&l.f != 0 {
				f += l.c
			}
		}
		out = append(out, fmt.Sprintf("%d:%s%v", e.UID, f, s.Keywords(e.Keywords)))
	}
	return strings.Join(out, " ")
}

func (t *tree) is(mb mailstore.Mailbox, want string) {
	t.Helper()
	if got := show(mb); got != want {
		t.Fatalf("shows %s\nwant  %s\n%s", got, want, t.disk.Dump())
	}
}

func (t *tree) body(mb mailstore.Mailbox, uid uint32) string {
	t.Helper()
	m, err := mb.Message(uid)
	t.must(err)
	defer m.Close()
	b, err := io.ReadAll(io.NewSectionReader(m, 0, m.Size()))
	t.must(err)
	return string(b)
}

// TestDovecotTree adopts a Maildir as Dovecot leaves one, works in it, and gives
// it back with everything that Dovecot had put there.
func TestDovecotTree(t *testing.T) {
	tr := newTree(t)
	tr.put("dovecot-uidlist", "3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1 Xkept\n"+
		"25006 :1276528487.M364837P9451.kurkku,S=36,W=40:2,\n"+
		"25017 W2481 Qunknown :1276533073.M242911P3632.kurkku:2,F\n"+
		"25018 P0000001a4d2f O7 Gabcdef :1276600000.M1P1.kurkku,S=5\n"+
		"25020 :1276700000.gone.kurkku\n")
	tr.put("dovecot-keywords", "0 $Junk\n1 NonJunk\n2 $Forwarded\n")
	tr.put("subscriptions", "V\t2\n\nINBOX\nLists\tgo-nuts\nT&APY-\n")
	tr.put("dovecot-uidvalidity", "4c0a1230")
	tr.put("dovecot-uidvalidity.4c0a1235", "")
	tr.put("cur/1276528487.M364837P9451.kurkku,S=36,W=40:2,RS", "Subject: one\n\nbody of one, yes\nend.\n")
	tr.put("cur/1276533073.M242911P3632.kurkku:2,FXSab,more", "Subject: two\r\n\r\n")
	tr.put("new/1276600000.M1P1.kurkku,S=5", "x\r\n\r\n")
	tr.put("new/1276800000.M1P1.kurkku", "Subject: new\n\n")
	tr.put(".Lists.go-nuts/dovecot-uidlist", "3 V1275660300 N7 G11111111111111111111111111111111\n6 :a.b.c\n")
	tr.put(".Lists.go-nuts/cur/a.b.c:2,P", "f\r\n")
	tr.put(".Lists.go-nuts/maildirfolder", "")

	s := tr.open(maildir.Options{})
	mb := tr.box(s, "INBOX")
	tr.is(mb, "25006:RS[] 25017:FS[$Junk NonJunk] 25018:[] 25022:[]")
	info := mb.Info()
	if info.UIDValidity != 1275660208 || fmt.Sprintf("%x", info.GUID) != "3085f01b7f11094c501100008c4a11c1" {
		t.Fatalf("%+v", info)
	}
	if b := tr.body(mb, 25006); b != "Subject: one\r\n\r\nbody of one, yes\r\nend.\r\n" {
		t.Fatalf("%q", b)
	}
	f, err := mb.Facts(25018, mailstore.FactsWant{UIDL: true, Size: true})
	tr.must(err)
	if f.UIDL != "0000001a4d2f" || f.Order != 7 || f.BaseName != "1276600000.M1P1.kurkku,S=5" || f.Size != 5 {
		t.Fatalf("%+v", f)
	}
	if f, err = mb.Facts(25017, mailstore.FactsWant{Size: true}); err != nil || f.Size != 2481 {
		t.Fatal(f, err) // as Dovecot wrote it down, until somebody reads the message
	}
	subs, err := s.Subscriptions()
	if tr.must(err); !slices.Equal(subs, []string{"INBOX", "Lists/go-nuts", "Tö"}) {
		t.Fatalf("%q", subs)
	}
	nuts := tr.box(s, "Lists/go-nuts")
	tr.is(nuts, "6:[$Forwarded]")

	// Unknown letters and what follows the comma stay; $Forwarded is both its
	// letter here and P.
	_, err = mb.Store(mailstore.FlagChange{UIDs: numset.Of(25017), Op: mailstore.AddFlags, Flags: mailstore.Answered, Keywords: []string{"$forwarded", "third"}})
	tr.must(err)
	if got := tr.files("cur"); !slices.Contains(got, "1276533073.M242911P3632.kurkku:2,FPRSXabcd,more") {
		t.Fatalf("%q", got)
	}
	if got := tr.get("dovecot-keywords"); got != "0 $Junk\n1 NonJunk\n2 $Forwarded\n3 third\n" {
		t.Fatalf("%q", got)
	}
	_, err = mb.Store(mailstore.FlagChange{UIDs: numset.Of(25017), Op: mailstore.SetFlags, Keywords: []string{"NonJunk"}})
	tr.must(err)
	if got := tr.files("cur"); !slices.Contains(got, "1276533073.M242911P3632.kurkku:2,Xb,more") {
		t.Fatalf("%q", got)
	}
	tr.must(s.Subscribe("a.dot/x", true))
	if got := tr.get("subscriptions"); got != "V\t2\n\nINBOX\nLists\tgo-nuts\nT&APY-\na.dot\tx\n" {
		t.Fatalf("%q", got)
	}
	created, err := s.Create("Neu", 0)
	tr.must(err)
	if v := tr.box(s, created).Info().UIDValidity; v != 1780000000 {
		t.Fatal(v) // the time, since the old counter is behind it
	}
	if got := tr.get("dovecot-uidvalidity"); got != "6a18a500" {
		t.Fatalf("%q", got)
	}
	tr.must(mb.Close())
	tr.must(nuts.Close())
	tr.must(s.Close())
	// What Dovecot wrote into the list is there for it, but for the message that is gone.
	got := strings.Split(tr.get("dovecot-uidlist"), "\n")
	if got[0] != "3 V1275660208 N25023 G3085f01b7f11094c501100008c4a11c1 Xkept" ||
		!strings.HasPrefix(got[1], "25006 ") || !strings.HasSuffix(got[1], ":1276528487.M364837P9451.kurkku,S=36,W=40") ||
		got[2] != "25017 W2481 Qunknown :1276533073.M242911P3632.kurkku" ||
		got[3] != "25018 P0000001a4d2f O7 Gabcdef W5 :1276600000.M1P1.kurkku,S=5" && got[3] != "25018 P0000001a4d2f O7 Gabcdef :1276600000.M1P1.kurkku,S=5" ||
		!strings.HasPrefix(got[4], "25022 ") || len(got) != 6 {
		t.Fatalf("%q", got)
	}
}

// change marks one message as read.
func change(t *tree, mb mailstore.Mailbox, uid uint32) {
	t.Helper()
	_, err := mb.Store(mailstore.FlagChange{UIDs: numset.Of(uid), Op: mailstore.AddFlags, Flags: mailstore.Seen})
	t.must(err)
}

func TestOldSubscriptions(t *testing.T) {
	tr := newTree(t)
	tr.put("subscriptions", "INBOX\nLists.go-nuts\nT&APY-.x\nnot&valid\n")
	s := tr.open(maildir.Options{})
	subs, err := s.Subscriptions()
	if tr.must(err); !slices.Equal(subs, []string{"INBOX", "Lists/go-nuts", "Tö/x", "not&valid"}) {
		t.Fatalf("%q", subs)
	}
	tr.must(s.Subscribe("Lists/go-nuts", false))
	tr.must(s.Subscribe("b/c", true))
	if got := tr.get("subscriptions"); got != "INBOX\nT&APY-.x\nnot&valid\nb.c\n" {
		t.Fatalf("version 1 did not stay: %q", got)
	}
	tr.must(s.Subscribe("with.dot", true)) // which version 1 cannot say
	if got := tr.get("subscriptions"); got != "V\t2\n\nINBOX\nT&APY-\tx\nnot&-valid\nb\tc\nwith.dot\n" {
		t.Fatalf("%q", got)
	}
}

// A mailbox that is deleted and made again gets a higher UIDVALIDITY, also where
// another server gave the old one, from another counter.
func TestValidityOfOthers(t *testing.T) {
	tr := newTree(t)
	tr.put(".a/dovecot-uidlist", "3 V4000000000 N7\n")
	tr.put(".a/cur/x:2,", "x\r\n")
	s := tr.open(maildir.Options{})
	tr.must(s.Delete("a"))
	_, err := s.Create("a", 0)
	tr.must(err)
	if v := tr.box(s, "a").Info().UIDValidity; v != 4000000001 {
		t.Fatal(v)
	}
}

func TestCourierList(t *testing.T) {
	tr := newTree(t)
	tr.put("courierimapuiddb", "1 1100000000 9\n3 one.host\n8 two.host\n")
	tr.put("cur/one.host:2,S", "1\r\n")
	tr.put("cur/two.host:2,", "2\r\n")
	mb := tr.box(tr.open(maildir.Options{}), "INBOX")
	tr.is(mb, "3:S[] 8:[]")
	if mb.Info().UIDValidity != 1100000000 || mb.Snapshot().UIDNext() != 9 {
		t.Fatal(mb.Info(), mb.Snapshot().UIDNext())
	}
}

func TestCourierSubscriptions(t *testing.T) {
	tr := newTree(t)
	tr.put("courierimapsubscribed", "INBOX\nINBOX.Sent\nINBOX.Lists.T&APY-\nshared.x\n\n")
	s := tr.open(maildir.Options{})
	subs, err := s.Subscriptions()
	if tr.must(err); !slices.Equal(subs, []string{"INBOX", "Lists/Tö", "Sent"}) {
		t.Fatalf("%q", subs)
	}
	tr.must(s.Subscribe("Sent", false)) // the first change takes the list over
	if got := tr.get("subscriptions"); got != "V\t2\n\nINBOX\nLists\tT&APY-\n" {
		t.Fatalf("%q", got)
	}
	if subs, err = s.Subscriptions(); err != nil || !slices.Equal(subs, []string{"INBOX", "Lists/Tö"}) {
		t.Fatal(subs, err)
	}
}

func TestDamagedList(t *testing.T) {
	for _, c := range []struct{ name, list, want string }{
		{"no header", "x\n1 :a\n", "1:[] 2:S[]"},
		{"empty", "", "1:[] 2:S[]"},
		{"bad lines are left out", "3 V5 N9\n2 :a\nnonsense\n1 :b\n4 :b\n0 :c\n", "2:[] 4:S[]"},
		{"a cut line does not count", "3 V5 N9\n2 :a\n4 :b", "2:[] 9:S[]"},
		{"a long cut line", "3 V5 N9\n2 :a\n4 :bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "2:[] 9:S[]"},
		{"next is too low", "3 V5 N1\n7 :a\n", "7:[] 8:S[]"},
		{"one name twice: the newer counts", "3 V5 N9\n2 :a\n3 :a\n4 :b\n", "3:[] 4:S[]"},
		{"NUL", "3 V5 N9\n2 :a\n4 :b\x00\n", "2:[] 9:S[]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := newTree(t)
			tr.put("dovecot-uidlist", c.list)
			tr.put("cur/a:2,", "1\r\n")
			tr.put("cur/b:2,S", "2\r\n")
			s := tr.open(maildir.Options{})
			mb := tr.box(s, "INBOX")
			tr.is(mb, c.want)
			a, err := s.Append("INBOX")
			tr.must(err)
			w, err := a.Add(mailstore.AppendMeta{}, -1)
			tr.must(err)
			_, err = w.Write([]byte("3\r\n"))
			tr.must(err)
			_, err = a.Commit()
			tr.must(err)
			want := show(mb)
			tr.must(mb.Close())
			tr.must(s.Close())
			tr.is(tr.box(tr.open(maildir.Options{}), "INBOX"), want)
		})
	}
}

func TestDoublesAndReborn(t *testing.T) {
	tr := newTree(t)
	tr.put("cur/same:2,S", "first\r\n")
	tr.put("new/same", "second\r\n")
	s := tr.open(maildir.Options{})
	mb := tr.box(s, "INBOX")
	if mb.Snapshot().Len() != 2 {
		t.Fatal(show(mb), tr.files("cur"), tr.files("new"))
	}
	if a, b := tr.body(mb, 1), tr.body(mb, 2); a == b {
		t.Fatal("one message twice")
	}
	// One file in new/ and cur/ is a delivery that stopped between link and unlink.
	tr.put("cur/linked:2,", "third\r\n")
	tr.must(tr.disk.Link("Maildir/cur/linked:2,", "Maildir/new/linked"))
	_, err := mb.Sync()
	tr.must(err)
	if mb.Snapshot().Len() != 3 || len(tr.files("cur"))+len(tr.files("new")) != 3 {
		t.Fatal(show(mb), tr.files("cur"), tr.files("new"))
	}
	// A message that comes back after its expunge is a new one.
	_, err = mb.Expunge(numset.Of(3))
	tr.must(err)
	tr.put("cur/linked:2,F", "third\r\n")
	tr.clock.Jump(time.Second)
	_, err = mb.Sync()
	tr.must(err)
	if got := mb.Snapshot(); got.Len() != 3 || got.At(2).UID != 4 || got.At(2).Flags != mailstore.Flagged {
		t.Fatal(show(mb))
	}
	want := show(mb)
	s = tr.open(maildir.Options{}) // beside the first, which did not write the list anew
	tr.is(tr.box(s, "INBOX"), want)
}

func TestSizesAreMended(t *testing.T) {
	tr := newTree(t)
	tr.put("cur/a,S=999,W=1000:2,S", "Subject: x\n\nbody\n")
	tr.put("cur/b,S=17,W=17:2,", "Subject: x\n\nbody\n")     // W wrong, S right: believed
	tr.put("cur/c,S=17,W=99,X=1:2,", "Subject: x\n\nbody\n") // W is neither
	tr.put("cur/d:2,", "Subject: x\n\nbody\n")
	s := tr.open(maildir.Options{})
	mb := tr.box(s, "INBOX")
	guids := map[uint32]mailstore.GUID{}
	for u := uint32(1); u <= 4; u++ {
		f, err := mb.Facts(u, mailstore.FactsWant{GUID: true})
		tr.must(err)
		guids[u] = f.GUID
	}
	for u := uint32(1); u <= 4; u++ {
		if u != 2 && tr.body(mb, u) != "Subject: x\r\n\r\nbody\r\n" {
			t.Fatalf("%d: %q", u, tr.body(mb, u))
		}
	}
	if got := tr.files("cur"); !slices.Equal(got, []string{"a,S=17,W=20:2,S", "b,S=17,W=17:2,", "c,S=17,W=20,X=1:2,", "d:2,"}) {
		t.Fatalf("%q", got)
	}
	want := show(mb)
	tr.must(mb.Close())
	tr.must(s.Close())
	s = tr.open(maildir.Options{})
	mb = tr.box(s, "INBOX")
	tr.is(mb, want)
	for u, g := range guids {
		f, err := mb.Facts(u, mailstore.FactsWant{GUID: true})
		if err != nil || f.GUID != g {
			t.Fatalf("UID %d has another GUID: %v", u, err)
		}
	}
	if f, err := mb.Facts(4, mailstore.FactsWant{}); err != nil || f.Size != 20 {
		t.Fatalf("the counted size was not written down: %+v %v", f, err)
	}
}

func TestTornLeftovers(t *testing.T) {
	tr := newTree(t)
	s := tr.open(maildir.Options{})
	mb := tr.box(s, "INBOX")
	a, err := s.Append("INBOX")
	tr.must(err)
	w, err := a.Add(mailstore.AppendMeta{}, -1)
	tr.must(err)
	text := strings.Repeat("a line of text\r\n", 200)
	_, err = w.Write([]byte(text))
	tr.must(err)
	_, err = a.Commit()
	tr.must(err)
	name := tr.files("new")[0]
	other := strings.Replace(name, "Q1.", "Q77.", 1)
	for i, c := range []struct {
		bytes string
		kept  bool
	}{
		{"", false}, {text[:1000], false}, {text[:1024] + string(make([]byte, 512)) + text[1536:], false},
		{text, true}, {strings.ToUpper(text), true}, {text + "grown", true},
	} {
		n := mb.Snapshot().Len()
		tr.put("new/"+strings.Replace(other, "Q77.", fmt.Sprintf("Q%d.", 100+i), 1), c.bytes)
		tr.clock.Jump(time.Second)
		_, err := mb.Sync()
		tr.must(err)
		if kept := mb.Snapshot().Len() > n; kept != c.kept {
			t.Fatalf("case %d: kept is %v", i, kept)
		}
	}
}

func TestStaleLocksAndTmp(t *testing.T) {
	tr := newTree(t)
	tr.put("dovecot-uidlist.lock", "123:otherhost")
	tr.put("tmp/old", "x")
	tr.put("tmp/young", "x")
	tr.put("new/a", "x\r\n")
	tr.clock.Jump(3 * time.Minute)
	s := tr.open(maildir.Options{})
	mb := tr.box(s, "INBOX")
	tr.is(mb, "1:[]")
	if len(tr.notes) != 1 || !strings.Contains(tr.notes[0], "dovecot-uidlist.lock") {
		t.Fatalf("%q", tr.notes)
	}
	tr.clock.Jump(36 * time.Hour)
	tr.put("tmp/young", "y")
	tr.must(mb.Close())
	tr.must(s.Close())
	if got := tr.files("tmp"); !slices.Equal(got, []string{"young"}) {
		t.Fatalf("%q", got)
	}
	// A lock that is young is another program's: we wait, and give up in time.
	tr.put("dovecot-uidlist.lock", "123:otherhost")
	tr.put("new/b", "x\r\n")
	s = tr.open(maildir.Options{LockWait: 30 * time.Millisecond})
	if _, err := s.Open("INBOX"); err == nil || !strings.Contains(err.Error(), "holds it") {
		t.Fatal(err)
	}
}

func TestAutoMailboxes(t *testing.T) {
	tr := newTree(t)
	s := tr.open(maildir.Options{Special: []maildir.Special{
		{Name: "Drafts", Use: mailstore.UseDrafts, Auto: maildir.AutoSubscribe},
		{Name: "Sent", Use: mailstore.UseSent, Auto: maildir.AutoCreate},
		{Name: "Archive", Use: mailstore.UseArchive},
	}})
	list := func() string {
		fs, err := s.List()
		tr.must(err)
		var out []string
		for _, f := range fs {
			out = append(out, fmt.Sprintf("%s:%x", f.Name, f.Attrs))
		}
		return strings.Join(out, " ")
	}
	drafts := mailstore.UseDrafts | mailstore.Subscribed
	want := fmt.Sprintf("Drafts:%x INBOX:0 Sent:%x", drafts, mailstore.UseSent)
	if got := list(); got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	if slices.Contains(tr.files(""), ".Drafts") {
		t.Fatal("listing made it")
	}
	subs, err := s.Subscriptions()
	if tr.must(err); !slices.Equal(subs, []string{"Drafts"}) {
		t.Fatal(subs)
	}
	mb := tr.box(s, "Drafts")
	tr.is(mb, "")
	if got := list(); got != want || tr.get("subscriptions") != "V\t2\n\nDrafts\n" {
		t.Fatal(got)
	}
	tr.must(s.Subscribe("Drafts", false))
	if subs, err = s.Subscriptions(); err != nil || len(subs) != 0 {
		t.Fatal(subs, err)
	}
	if _, err = s.Create("Archive", mailstore.UseArchive); err != nil {
		t.Fatal(err)
	}
	if _, err = s.Create("Other", mailstore.UseJunk); err == nil {
		t.Fatal("a special use that the settings do not give")
	}
	if got, want := list(), fmt.Sprintf("Archive:%x ", mailstore.UseArchive); !strings.HasPrefix(got, want) {
		t.Fatal(got)
	}
}

func TestPrefix(t *testing.T) {
	tr := newTree(t)
	tr.put(".Sent/cur/x:2,", "x\r\n")
	s := tr.open(maildir.Options{Namespace: mailstore.Namespace{Prefix: "INBOX.", Separator: '.', List: true}})
	list, err := s.List()
	tr.must(err)
	if len(list) != 2 || list[0].Name != "INBOX" || list[1].Name != "INBOX/Sent" {
		t.Fatalf("%+v", list)
	}
	if mb := tr.box(s, "INBOX/Sent"); show(mb) != "1:[]" || mb.Info().Name != "INBOX/Sent" {
		t.Fatal(show(mb), mb.Info().Name)
	}
	tr.must(s.Rename("INBOX/Sent", "INBOX/Out/x"))
	if got := tr.files(""); !slices.Contains(got, ".Out.x") {
		t.Fatal(got)
	}
}

func TestLinksAreNotFollowed(t *testing.T) {
	tr := newTree(t)
	tr.must(vfs.MkdirAll(tr.disk, "secret/cur", 0o700))
	tr.put("cur/own:2,", "mine\r\n")
	f, err := tr.disk.OpenFile("secret/cur/x:2,", vfs.Write|vfs.Create, 0o600)
	tr.must(err)
	tr.must(f.Close())
	tr.must(tr.disk.Symlink("../secret", "Maildir/.linked"))
	tr.must(tr.disk.Symlink("../../secret/cur/x:2,", "Maildir/cur/link:2,"))
	s := tr.open(maildir.Options{})
	if list, err := s.List(); err != nil || len(list) != 1 {
		t.Fatalf("%+v %v", list, err)
	}
	if _, err := s.Open("linked"); err == nil {
		t.Fatal("opened a folder through a link")
	}
	tr.is(tr.box(s, "INBOX"), "1:[]")
}

func TestWithoutHardLinks(t *testing.T) {
	tr := newTree(t)
	tr.disk = memfs.New(memfs.Options{NoLink: true})
	tr.must(vfs.MkdirAll(tr.disk, "Maildir", 0o700))
	s := tr.open(maildir.Options{Probe: true})
	if len(tr.notes) != 1 || !strings.Contains(tr.notes[0], "hard links") {
		t.Fatalf("%q", tr.notes)
	}
	a, err := s.Append("INBOX")
	tr.must(err)
	when := time.Unix(1000000000, 0)
	w, err := a.Add(mailstore.AppendMeta{InternalDate: when, Flags: mailstore.Seen}, -1)
	tr.must(err)
	_, err = w.Write(bytes.Repeat([]byte("text\r\n"), 30000))
	tr.must(err)
	_, err = a.Commit()
	tr.must(err)
	mb := tr.box(s, "INBOX")
	_, err = s.Create("b", 0)
	tr.must(err)
	r, err := mb.Copy(numset.Of(1), "b")
	tr.must(err)
	if len(r.To) != 1 || tr.body(tr.box(s, "b"), 1) != tr.body(mb, 1) {
		t.Fatal(r)
	}
	f, err := tr.box(s, "b").Facts(1, mailstore.FactsWant{InternalDate: true})
	if err != nil || !f.InternalDate.Equal(when) {
		t.Fatal(f, err)
	}
}
