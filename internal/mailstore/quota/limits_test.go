package quota_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/mailstore/quota"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

// memory puts limits around a store that has no disk.
func memory(opt quota.Options) *quota.Store {
	disk := memfs.New(memfs.Options{})
	opt.FS = disk
	return quota.Wrap(memstore.New(memstore.Options{}), opt)
}

func refused(t *testing.T, want errkind.Kind, err error) {
	t.Helper()
	if !errkind.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestLimits(t *testing.T) {
	s := memory(quota.Options{Limits: quota.Limits{Octets: 1000, Messages: 4}})
	_, err := add(s, "INBOX", 1001)
	refused(t, errkind.OverQuota, err)
	for range 3 {
		_, err := add(s, "INBOX", 250)
		must(t, err)
	}
	// Refused when announced: no byte is read.
	a, err := s.Append("INBOX")
	must(t, err)
	_, err = a.Add(mailstore.AppendMeta{}, 251)
	refused(t, errkind.OverQuota, err)
	// What is announced by one counts for the others.
	_, err = a.Add(mailstore.AppendMeta{}, 200)
	must(t, err)
	_, err = add(s, "INBOX", 51)
	refused(t, errkind.OverQuota, err)
	a.Abort()
	_, err = add(s, "INBOX", 250)
	must(t, err)
	_, err = add(s, "INBOX", 1) // octets and messages are used up
	refused(t, errkind.OverQuota, err)
	mb, err := s.Open("INBOX")
	must(t, err)
	_, err = mb.Copy(numset.Of(1), "INBOX")
	refused(t, errkind.OverQuota, err)
	_, err = mb.Move(numset.Of(1), "INBOX") // net zero
	must(t, err)
	if _, err := mb.Expunge(numset.Of(2)); err != nil {
		t.Error(err)
	}
	_, err = mb.Copy(numset.Of(3), "INBOX")
	must(t, err)
	same(t, s)
}

// The limit of a message whose size nobody announced holds when it is whole; LFs
// count as the CRLFs that clients see.
func TestUnannounced(t *testing.T) {
	s := memory(quota.Options{Limits: quota.Limits{Octets: 10}})
	try := func(texts ...string) error {
		a, err := s.Append("INBOX")
		must(t, err)
		defer a.Abort()
		for _, text := range texts {
			w, err := a.Add(mailstore.AppendMeta{}, -1)
			must(t, err)
			for _, c := range []byte(text) {
				if _, err := w.Write([]byte{c}); err != nil {
					return err
				}
			}
		}
		_, err = a.Commit()
		return err
	}
	refused(t, errkind.OverQuota, try("12345678\n\n"))
	refused(t, errkind.OverQuota, try("12345", "678901"))
	must(t, try("1234\n\r\n\n"))
	if u := counted(t, s); u != (quota.Use{Octets: 10, Messages: 1}) {
		t.Errorf("%+v", u)
	}
	same(t, s)
}

func TestMailSize(t *testing.T) {
	s := memory(quota.Options{Limits: quota.Limits{MailSize: 10}})
	a, err := s.Append("INBOX")
	must(t, err)
	_, err = a.Add(mailstore.AppendMeta{}, 11)
	refused(t, errkind.TooBig, err)
	w, err := a.Add(mailstore.AppendMeta{}, -1)
	must(t, err)
	_, err = io.WriteString(w, "0123456789a")
	refused(t, errkind.TooBig, err)
	a.Abort()
	_, err = add(s, "INBOX", 10)
	must(t, err)
}

func TestMailboxes(t *testing.T) {
	s := memory(quota.Options{Limits: quota.Limits{Mailboxes: 2}, Rule: func(n mailstore.Name) quota.Rule {
		if strings.HasPrefix(n, "hidden") {
			return quota.Rule{Class: quota.Held}
		}
		return quota.Rule{}
	}})
	for _, c := range []struct {
		name string
		want errkind.Kind
		ok   bool
	}{{"hidden/1", 0, true}, {"a", 0, true}, {"b", errkind.OverQuota, false}, {"a", errkind.Exists, false}, {"hidden/2", 0, true}} {
		_, err := s.Create(c.name, 0)
		if c.ok && err != nil || !c.ok && !errkind.Is(err, c.want) {
			t.Errorf("create %s: %v", c.name, err)
		}
	}
}

// A rule gives Trash more room, leaves a mailbox out, or counts it apart.
func TestRules(t *testing.T) {
	rules := map[string]quota.Rule{"Trash": {Percent: 110, ExtraOctets: 50}, "spool": {Class: quota.Ignored}, "held": {Class: quota.Held}}
	s := memory(quota.Options{Limits: quota.Limits{Octets: 1000}, Rule: func(n mailstore.Name) quota.Rule { return rules[n] }})
	for n := range rules {
		_, err := s.Create(n, 0)
		must(t, err)
	}
	_, err := add(s, "INBOX", 1000)
	must(t, err)
	_, err = add(s, "Trash", 150)
	must(t, err)
	_, err = add(s, "Trash", 1)
	refused(t, errkind.OverQuota, err)
	uid, err := add(s, "spool", 5000)
	must(t, err)
	if u := counted(t, s); u.Octets != 1150 {
		t.Errorf("%+v", u)
	}
	mb, err := s.Open("spool")
	must(t, err)
	defer mb.Close()
	for _, transfer := range []func(numset.Set, string) (mailstore.CopyResult, error){mb.Copy, mb.Move} {
		_, err = transfer(numset.Of(uid), "INBOX")
		refused(t, errkind.OverQuota, err)
	}
	inbox, err := s.Open("INBOX")
	must(t, err)
	_, err = inbox.Move(numset.Of(1), "held")
	must(t, err)
	h, err := s.HeldUse()
	if u := counted(t, s); err != nil || u.Octets != 150 || h.Octets != 1000 {
		t.Errorf("%+v, held %+v, %v", u, h, err)
	}
}

func TestGrace(t *testing.T) {
	s := memory(quota.Options{Limits: quota.Limits{Octets: 100}, Grace: 50})
	_, err := add(s, "INBOX", 150)
	must(t, err)
	_, err = add(s, "INBOX", 1)
	refused(t, errkind.OverQuota, err)
}

// What other programs do is counted: at once where a session saw it, and before
// anything is refused for it.
func TestOtherPrograms(t *testing.T) {
	disk, clock := newDisk()
	opt := quota.Options{Limits: quota.Limits{Octets: 1000}}
	s := start(t, disk, opt)
	_, err := add(s, "INBOX", 450)
	must(t, err)
	mb, err := s.Open("INBOX")
	must(t, err)
	defer mb.Close()
	deliver := func(name string, octets int) {
		f, err := disk.OpenFile("Maildir/new/"+name, vfs.Write|vfs.Create, 0o600)
		must(t, err)
		_, err = f.Write([]byte(strings.Repeat("x", octets)))
		must(t, err)
		f.Close()
	}
	deliver("1.a.b", 500)
	clock.Jump(1e9)
	_, err = mb.Sync()
	must(t, err)
	if u := counted(t, s); u.Octets != 950 {
		t.Errorf("%+v", u)
	}
	_, err = add(s, "INBOX", 200)
	refused(t, errkind.OverQuota, err)
	var file string
	must(t, disk.ReadDir("Maildir/new", func(e vfs.DirEntry) bool { file = e.Name; return e.Name != "1.a.b" }))
	if file != "1.a.b" {
		must(t, disk.ReadDir("Maildir/cur", func(e vfs.DirEntry) bool { file = "../cur/" + e.Name; return false }))
	}
	must(t, disk.Remove("Maildir/new/"+file))
	clock.Jump(31e9) // nobody looked for so long
	if _, err := add(s, "INBOX", 200); err != nil {
		t.Errorf("room that another program made is not found: %v", err)
	}
	same(t, s)
	// The same for a copy, which no client announces.
	_, err = add(s, "INBOX", 200)
	must(t, err)
	_, err = mb.Copy(numset.Of(1), "INBOX")
	refused(t, errkind.OverQuota, err)
	var files []string
	for _, dir := range []string{"Maildir/new", "Maildir/cur"} {
		must(t, disk.ReadDir(dir, func(e vfs.DirEntry) bool { files = append(files, dir+"/"+e.Name); return true }))
	}
	for _, f := range files {
		if info, err := disk.Stat(f); err == nil && info.Size == 200 {
			must(t, disk.Remove(f))
		}
	}
	clock.Jump(31e9)
	if _, err := mb.Copy(numset.Of(1), "INBOX"); err != nil {
		t.Errorf("room that another program made is not found by a copy: %v", err)
	}
	same(t, s)
}

func sizeFile(t *testing.T, disk vfs.FS) (lines int, sum quota.Use, first string) {
	t.Helper()
	b, err := vfs.ReadFile(disk, "Maildir/maildirsize", 1<<20)
	must(t, err)
	first, rest, _ := strings.Cut(string(b), "\n")
	var octets, messages int64
	for line := range strings.Lines(rest) {
		var o, m int64
		if _, err := fmt.Sscanf(line, "%d %d", &o, &m); err != nil {
			t.Fatalf("line %q", line)
		}
		octets, messages = octets+o, messages+m
		lines++
	}
	if len(b) > 5120 {
		t.Errorf("maildirsize has %d octets", len(b))
	}
	return lines, quota.Use{Octets: uint64(octets), Messages: uint64(messages)}, first
}

func TestMaildirsize(t *testing.T) {
	disk, _ := newDisk()
	s := start(t, disk, quota.Options{Limits: quota.Limits{Octets: 1 << 20, Messages: 5000}, SizeFile: "Maildir/maildirsize"})
	most := 0
	for i := range 1100 {
		_, err := add(s, "INBOX", 10+i%7)
		must(t, err)
		n, sum, first := sizeFile(t, disk)
		if most = max(most, n); sum != counted(t, s) || first != "1048576S,5000C" {
			t.Fatalf("after %d: %s, %+v", i, first, sum)
		}
	}
	mb, err := s.Open("INBOX")
	must(t, err)
	defer mb.Close()
	_, err = mb.Expunge(numset.Span(1, 1000))
	must(t, err)
	if n, sum, _ := sizeFile(t, disk); sum != recount(t, s) || most < 800 || n > 400 {
		t.Errorf("%d lines at most, %d at the end, %+v", most, n, sum)
	}
}

func TestWarnings(t *testing.T) {
	s := memory(quota.Options{Limits: quota.Limits{Octets: 10_000, Messages: 100}, User: "ann@example.org", Warnings: []quota.Warning{
		{Percent: 50, From: "postmaster@mx.example"},
		{Percent: 80, From: "postmaster@mx.example", Subject: func(v map[string]string) string { return "Größe " + v["percent"] + "\r\nBcc: x" },
			Text: func(v map[string]string) string {
				return v["used"] + " of " + v["limit"] + " – " + v["user"] + "\n.\n"
			}},
		{Percent: 95, Messages: true, From: "x"}}})
	inbox := func() (out []string) {
		mb, err := s.Open("INBOX")
		must(t, err)
		snap, err := mb.Sync()
		must(t, err)
		for pos := range snap.Len() {
			m, err := mb.Message(snap.At(pos).UID)
			must(t, err)
			b := make([]byte, m.Size())
			_, err = m.ReadAt(b, 0)
			must(t, err)
			out = append(out, string(b))
		}
		return out
	}
	_, err := s.Create("a", 0)
	must(t, err)
	big, err := add(s, "a", 4999)
	must(t, err)
	if got := inbox(); len(got) != 0 {
		t.Fatalf("%q", got)
	}
	small, err := add(s, "a", 1)
	must(t, err)
	got := inbox()
	if len(got) != 1 || !strings.HasPrefix(got[0], "From: postmaster@mx.example\r\nTo: ann@example.org\r\nSubject: Your mailbox is 50 % full\r\nDate: ") ||
		!strings.Contains(got[0], "Auto-Submitted: auto-generated\r\n") || !strings.Contains(got[0], "You use 5 kB of the 10 kB that") {
		t.Fatalf("%q", got)
	}
	same(t, s)
	for range 3 { // once, however often it is above
		_, err := add(s, "a", 1)
		must(t, err)
	}
	if got := inbox(); len(got) != 1 {
		t.Fatalf("told again: %q", got)
	}
	_, err = add(s, "a", 3000)
	must(t, err)
	got = inbox()
	if len(got) != 2 || !strings.Contains(got[1], "Subject: =?utf-8?b?") || strings.Contains(got[1], "\nBcc") || !strings.Contains(got[1], "Content-Transfer-Encoding: 8bit\r\n") ||
		!strings.HasSuffix(got[1], " of 10 kB – ann@example.org\r\n.\r\n") {
		t.Fatalf("%q", got)
	}
	mb, err := s.Open("a")
	must(t, err)
	_, err = mb.Expunge(numset.Of(big, small))
	must(t, err)
	_, err = add(s, "a", 2000) // above 50 per cent again
	must(t, err)
	if got := inbox(); len(got) != 3 {
		t.Fatalf("not told anew: %d", len(got))
	}
	same(t, s)
}

// A warning of "under" comes once use falls below a share that it had reached,
// the lowest of several alone.
func TestUnder(t *testing.T) {
	s := memory(quota.Options{Limits: quota.Limits{Octets: 100_000, Messages: 10}, User: "ann", Warnings: []quota.Warning{
		{Percent: 80, Under: true, From: "x"}, {Percent: 50, Under: true, From: "x", Subject: func(v map[string]string) string { return "below 50 at " + v["percent"] }},
		{Percent: 90, From: "x", Subject: func(map[string]string) string { return "above 90" }},
		{Percent: 60, Messages: true, Under: true, From: "x", Subject: func(v map[string]string) string { return "messages at " + v["used"] }}}})
	_, err := s.Create("a", 0)
	must(t, err)
	mb, err := s.Open("a")
	must(t, err)
	told := 0
	expect := func(subjects ...string) {
		t.Helper()
		inbox, err := s.Open("INBOX")
		must(t, err)
		defer inbox.Close()
		snap, err := inbox.Sync()
		must(t, err)
		var got []string
		for ; told < snap.Len(); told++ {
			m, err := inbox.Message(snap.At(told).UID)
			must(t, err)
			b := make([]byte, m.Size())
			_, err = m.ReadAt(b, 0)
			must(t, err)
			_, rest, _ := strings.Cut(string(b), "Subject: ")
			subject, _, _ := strings.Cut(rest, "\r\n")
			got = append(got, subject)
		}
		if !slices.Equal(got, subjects) {
			t.Fatalf("told %q, want %q", got, subjects)
		}
		same(t, s)
	}
	put := func(octets int) mailstore.UID {
		t.Helper()
		uid, err := add(s, "a", octets)
		must(t, err)
		return uid
	}
	drop := func(uids ...mailstore.UID) {
		t.Helper()
		_, err := mb.Expunge(numset.Of(uids...))
		must(t, err)
	}
	one := put(40_000)
	drop(one) // no share was ever reached
	expect()
	one, two, three := put(45_000), put(40_000), put(10_000)
	expect("above 90")
	drop(three) // 85 per cent
	expect()
	drop(two) // below 80, and below 50
	expect("below 50 at 45")
	two = put(20_000)
	drop(one)
	expect("below 50 at 20")
	one = put(65_000)
	drop(two) // 66 per cent
	expect("Your mailbox is 66 % full")
	drop(one)
	expect("below 50 at 1") // once, though 80 was left before
	var list []mailstore.UID
	for range 4 {
		list = append(list, put(1))
	}
	drop(list...)
	expect("messages at 5")
}
