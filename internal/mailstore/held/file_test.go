package held

import (
	"context"
	"io"
	"testing"
	"time"

	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

// A line after one that a crash cut short is a line of its own.
func TestTornTail(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	f, err := disk.OpenFile(controlFile, vfs.Write|vfs.Create, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f.Write([]byte("M 0102"))
	f.Close()
	s := Wrap(memstore.New(memstore.Options{}), Options{FS: disk})
	if err := s.write(mailboxLine(mailstore.GUID{7}, 1, "a"), true); err != nil {
		t.Fatal(err)
	}
	if all, err := s.origins(); err != nil || len(all) != 1 || all[mailstore.GUID{7}].name != "a" {
		t.Fatal(all, err)
	}
}

// The file is written anew without what is over once it is large.
func TestCompact(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	s := Wrap(memstore.New(memstore.Options{}), Options{FS: disk})
	old, live := mailstore.GUID{1}, mailstore.GUID{2}
	write := func(line string) {
		if err := s.write(line, false); err != nil {
			t.Fatal(err)
		}
	}
	write(mailboxLine(old, 1, "old"))
	write(mailboxLine(live, 1, "live"))
	for i := range uint32(6000) {
		write(moveLine(live, move{1, numset.Of(i + 1), numset.Of(i + 1)}))
	}
	if err := s.compact(map[mailstore.GUID]mailstore.UID{live: 5990}); err != nil {
		t.Fatal(err)
	}
	all, err := s.origins()
	if err != nil || len(all) != 1 || all[live].name != "live" || len(all[live].moves) != 11 {
		t.Fatal(len(all), err)
	}
}

// A deletion that was cut after its copies leaves both; nothing comes back twice.
func TestCutDelete(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	s := Wrap(memstore.New(memstore.Options{}), Options{FS: disk, Hold: time.Hour})
	a, err := s.Append("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w, err := a.Add(mailstore.AppendMeta{}, -1)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, "x\r\n")
	}
	if _, err := a.Commit(); err != nil {
		t.Fatal(err)
	}
	mb, err := s.Store.Open("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.hold(mb, numset.Span(1, 9), mb.Copy); err != nil {
		t.Fatal(err)
	}
	if _, err := s.hold(mb, numset.Of(1), mb.Move); err != nil {
		t.Fatal(err)
	}
	out, err := s.Undelete(context.Background(), Request{})
	if err != nil || mb.Snapshot().Len() != 2 {
		t.Fatalf("%+v, %v: the mailbox has %d messages", out, err, mb.Snapshot().Len())
	}
	if out, err = s.Undelete(context.Background(), Request{}); err != nil || len(out) != 0 {
		t.Fatalf("%+v, %v", out, err)
	}
}

// FuzzParse reads a control file of any bytes, and what it found once more.
func FuzzParse(f *testing.F) {
	g := mailstore.GUID{1, 15: 255}
	f.Add([]byte(mailboxLine(g, 7, "a/b ü") + moveLine(g, move{7, numset.Span(1, 3), numset.Span(4, 6)})))
	f.Add([]byte("M x\nU \n\nM 0102 1 a\n"))
	f.Add([]byte("U 00000000000000000000000000000000 1 1:4294967295 1:4294967295\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		again := ""
		first := parse(text)
		for guid, o := range first {
			if o.name != "" {
				if err := imapname.Name(o.name).Check(); err != nil {
					t.Errorf("the name %q: %v", o.name, err)
				}
				again += mailboxLine(guid, o.validity, o.name)
			}
			for _, m := range o.moves {
				if m.from.Len() != m.to.Len() || m.from.Len() > stepSize {
					t.Errorf("%d UIDs became %d", m.from.Len(), m.to.Len())
				}
				again += moveLine(guid, m)
			}
			were(o, []mailstore.UID{1, 5, 9})
		}
		second := parse([]byte(again))
		for guid, o := range first {
			p := second[guid]
			if p == nil || p.name != o.name || len(p.moves) != len(o.moves) {
				t.Errorf("%+v became %+v", o, p)
			}
		}
	})
}
