package mbox

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

func put(t *testing.T, disk vfs.FS, path, text string) {
	t.Helper()
	f, err := disk.OpenFile(path, vfs.Write|vfs.Create|vfs.Trunc, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, disk vfs.FS, path string) string {
	t.Helper()
	b, err := vfs.ReadFile(disk, path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// show gives UIDs, flags as a number, keywords and the whole messages.
func show(t *testing.T, mb mailstore.Mailbox) string {
	t.Helper()
	s, err := mb.Sync()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i := range s.Len() {
		e := s.At(i)
		m, err := mb.Message(e.UID)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(io.NewSectionReader(m, 0, m.Size()))
		m.Close()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%d:%d%v %q", e.UID, e.Flags, s.Keywords(e.Keywords), b))
	}
	return strings.Join(out, "; ")
}

func openOn(t *testing.T, disk vfs.FS, notes *[]string) *engine.Store {
	t.Helper()
	s, err := Open(Options{Options: engine.Options{FS: disk, Note: func(s string) { *notes = append(*notes, s) }}, MailPath: "mail", InboxPath: "inbox",
		Zone: time.UTC, JournalSize: 24 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

const fromLine = "From a@b Sat Nov 29 22:33:52 2003\n"

// TestSpoofed: what a sender writes into a mail gives it no UID, no flags, and no
// UIDVALIDITY; no client sees it.
func TestSpoofed(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	var notes []string
	put(t, disk, "inbox", fromLine+"Subject: one\n\nbody\n\n")
	mb, err := openOn(t, disk, &notes).Open("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	before := show(t, mb)
	put(t, disk, "inbox", get(t, disk, "inbox")+fromLine+"X-UID: 4000000000\nX-IMAPbase: 7 4000000001 k\nStatus: RO\nX-Status: AFTD\nX-Keywords: k\nX-Rookery-Meta: g=00112233445566778899aabbccddeeff\nSubject: two\n\nbody\n\n"+
		fromLine+"X-UID: 1\nSubject: three\n\nbody\n\n")
	if got := show(t, mb); got != before+`; 2:0[] "Subject: two\r\n\r\nbody\r\n"; 3:0[] "Subject: three\r\n\r\nbody\r\n"` {
		t.Error(got)
	}
	if f, err := mb.Facts(2, mailstore.FactsWant{GUID: true}); err != nil || f.GUID[0] == 0 && f.GUID[1] == 0x11 {
		t.Error(f, err)
	}
}

// TestRewritten: a program that writes the file anew, sorted, or without X-UID,
// leaves each message its UID; and one in whose place another stands has a new one.
func TestRewritten(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	var notes []string
	var parts []string
	for i := range 4 {
		parts = append(parts, fmt.Sprintf("%sSubject: m%d\n\nbody\n\n", fromLine, i))
	}
	put(t, disk, "inbox", strings.Join(parts, ""))
	mb, err := openOn(t, disk, &notes).Open("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	want := show(t, mb)
	put(t, disk, "inbox", parts[2]+parts[0]+parts[3]+parts[1]) // another order, and no X-UID
	if got := show(t, mb); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	put(t, disk, "inbox", parts[1]+strings.ReplaceAll(parts[0], "m0", "new"))
	if got := show(t, mb); got != `2:0[] "Subject: m1\r\n\r\nbody\r\n"; 5:0[] "Subject: new\r\n\r\nbody\r\n"` {
		t.Error(got)
	}
	// A file in its place, as of a program that renames.
	put(t, disk, "inbox.new", get(t, disk, "inbox")+parts[3])
	if err := disk.Rename("inbox.new", "inbox"); err != nil {
		t.Fatal(err)
	}
	if got := show(t, mb); !strings.HasSuffix(got, `; 6:0[] "Subject: m3\r\n\r\nbody\r\n"`) {
		t.Error(got)
	}
}

// TestForeignRewrite: what a crash left is not finished in a file that another
// program has written anew since, or put in its place.
func TestForeignRewrite(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(disk vfs.FS, text string)
		why  string
	}{
		{"rewritten", func(d vfs.FS, text string) {
			put(t, d, "inbox", strings.Repeat(fromLine+"Subject: other\n\nand other\n\n", 40))
		}, "another program has rewritten it"},
		{"replaced", func(d vfs.FS, text string) {
			put(t, d, "new", text)
			if err := d.Rename("new", "inbox"); err != nil {
				t.Fatal(err)
			}
		}, "another file is in its place"},
	} {
		disk := memfs.New(memfs.Options{})
		text := strings.Repeat(fromLine+"Subject: x\n\nbody of some length\n\n", 30)
		put(t, disk, "inbox", text)
		r := &redo{fs: disk, path: "redo", sync: true}
		f, err := disk.OpenFile("inbox", vfs.Read|vfs.Write, 0)
		if err != nil {
			t.Fatal(err)
		}
		m, err := r.mover(f, "INBOX")
		if err != nil {
			t.Fatal(err)
		}
		n := int64(len(text) / 30)
		if err := m.do(&step{state: gap, dst: 10 * n, data: []byte(text[11*n : 12*n]), from: 11 * n, to: 12 * n}); err != nil {
			t.Fatal(err)
		}
		c.do(disk, text)
		want := get(t, disk, "inbox")
		if f, err = disk.OpenFile("inbox", vfs.Read|vfs.Write, 0); err != nil {
			t.Fatal(err)
		}
		s, err := r.pending()
		if err != nil || s == nil {
			t.Fatal(s, err)
		}
		if m, err = r.mover(f, "INBOX"); err != nil {
			t.Fatal(err)
		}
		if why, err := m.recover(s); err != nil || why != c.why {
			t.Errorf("%s: %q, %v", c.name, why, err)
		}
		if got := get(t, disk, "inbox"); got != want {
			t.Errorf("%s: the file was changed", c.name)
		}
		if s, err := r.pending(); s != nil || err != nil {
			t.Error("the step is still there", s, err)
		}
	}
}

// TestPseudo: c-client's pseudo-message is no message and keeps what it says.
func TestPseudo(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	var notes []string
	pseudo := "From MAILER-DAEMON Sat Nov 29 22:33:52 2003\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1234567890 0000000009 red\nStatus: RO\n\nThis text is part of the internal format.\n\n"
	put(t, disk, "inbox", pseudo+fromLine+"X-UID: 5\nStatus: RO\nX-Keywords: red\nSubject: one\n\nbody\n\n"+fromLine+"Subject: two\n\nbody\n\n")
	mb, err := openOn(t, disk, &notes).Open("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	if got := show(t, mb); got != `5:8[red] "Subject: one\r\n\r\nbody\r\n"; 10:0[] "Subject: two\r\n\r\nbody\r\n"` || mb.Info().UIDValidity != 1234567890 {
		t.Error(got, mb.Info().UIDValidity)
	}
	if text := get(t, disk, "inbox"); !strings.HasPrefix(text, strings.Replace(pseudo, "0000000009", "0000000010", 1)) {
		t.Errorf("%s", text)
	}
}

// TestLFReader: line ends, in pieces of any size, come back as they were.
func TestLFReader(t *testing.T) {
	for in, want := range map[string]string{"a\r\nb\r\n": "a\nb\n", "a\r\r\nb": "a\r\r\nb", "\r": "\r", "\r\r\r\n": "\r\r\r\n", "a\rb\r\n\r\n": "a\rb\n\n", "": "", "\r\n\r": "\n\r"} {
		for size := 8; size < 40; size += 3 {
			out, err := io.ReadAll(&lfReader{in: strings.NewReader(in), buf: make([]byte, size)})
			if err != nil || !bytes.Equal(out, []byte(want)) {
				t.Errorf("%q in pieces of %d: %q, %v; want %q", in, size, out, err, want)
			}
		}
	}
}

// A RENAME that was cut short and cannot be finished, because another program has
// taken one of the new names, is taken back: all mail stays where LIST shows it.
func TestRenameTakenMeanwhile(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	var notes []string
	s := openOn(t, disk, &notes)
	for _, n := range []string{"t", "t/x"} {
		if _, err := s.Create(n, 0); err != nil {
			t.Fatal(err)
		}
		letterTo(t, s, n, "in "+n)
	}
	fault := faultfs.New(disk)
	fault.Trace(true)
	p := openOn(t, fault, &notes)
	start := fault.Changes()
	// The cut comes right after the first of the two renames.
	for k := 1; ; k++ {
		probe := faultfs.New(disk.Survive(memfs.Kept, 0))
		probe.Trace(true)
		q := openOn(t, probe, &notes)
		at := probe.Changes()
		probe.CutAfter(at+k, memfs.Kept, 0)
		_ = q.Rename("t", "u")
		if _, err := probe.Survivor(memfs.Kept, 0).Stat("mail/u"); err == nil {
			fault.CutAfter(start+k, memfs.Kept, 0)
			break
		}
	}
	if err := p.Rename("t", "u"); err == nil {
		t.Fatal("the rename was not cut short")
	}
	fault.Kill()
	for _, f := range []string{"mail/.sub.u/x", "mail/.sub.u"} { // whichever is still to come
		if _, err := disk.Stat(f); err == nil {
			t.Fatal(f, "is there already")
		}
	}
	if err := disk.Mkdir("mail/.sub.u", 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, disk, "mail/.sub.u/x", fromLine+"Subject: another's\n\nbody\n\n")
	list, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range list {
		if f.Attrs&mailstore.NonExistent == 0 {
			got = append(got, f.Name)
		}
	}
	if want := "INBOX t t/x u/x"; strings.Join(got, " ") != want {
		t.Errorf("LIST shows %q, want %q (%q)", got, want, notes)
	}
	for name, want := range map[string]string{"t": "in t", "t/x": "in t/x", "u/x": "another's"} {
		mb, err := s.Open(name)
		if err != nil {
			t.Fatal(name, err)
		}
		if got := show(t, mb); strings.Count(got, "Subject: "+want) != 1 {
			t.Errorf("%s shows %s", name, got)
		}
		mb.Close()
	}
	if _, err := disk.Stat("mail/" + renameFile); err == nil {
		t.Error("the note of the rename is still there")
	}
}
