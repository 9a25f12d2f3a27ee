package mailtool

import (
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"strings"
	"testing"
	"time"

	"rookery/internal/ipc/toolmsg"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/mailstore/mbox"
	"rookery/internal/mailstore/pack"
	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
	"rookery/internal/worker"
)

// diskHome keeps mail with the real drivers, as worker.Host does.
type diskHome struct{ fs vfs.FS }

func (h diskHome) Place() (worker.Place, error) {
	data, err := vfs.ReadFile(h.fs, "m/"+worker.PlaceFile, 1<<10)
	if err != nil {
		return worker.Place{Driver: "maildir"}, nil
	}
	return worker.DecodePlace(data)
}

func (h diskHome) OpenPlace(p worker.Place) (mailstore.Store, error) {
	return openDriver(h.fs, p.Driver, path.Join("m", p.Below))
}

// openDriver opens the mail in a directory.
func openDriver(disk vfs.FS, driver, at string, special ...maildir.Special) (mailstore.Store, error) {
	switch driver {
	case "pack":
		return pack.Open(pack.Options{FS: disk, MailPath: at})
	case "mbox":
		return mbox.Open(mbox.Options{Options: engine.Options{FS: disk}, MailPath: at, Zone: time.UTC, JournalSize: 24 << 10})
	}
	return maildir.Open(maildir.Options{FS: disk, MailPath: at, Special: special})
}

func (h diskHome) Open() (mailstore.Store, error) {
	p, err := h.Place()
	if err != nil {
		return nil, err
	}
	return h.OpenPlace(p)
}

func (h diskHome) Controls() (controls, error) { return controls{h.fs, []string{"m"}}, nil }

// with calls do with the user's store.
func (h diskHome) with(t *testing.T, do func(s mailstore.Store)) {
	t.Helper()
	s, err := h.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	do(s)
}

func (h diskHome) dump(t *testing.T) (text string) {
	t.Helper()
	h.with(t, func(s mailstore.Store) { text = dump(t, s) })
	return text
}

// From each driver to each, with UIDs, flags, keywords, dates, GUIDs and UIDLs,
// while the source changes.
func TestConvertDrivers(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 3))
		h := diskHome{memfs.New(memfs.Options{})}
		if err := vfs.MkdirAll(h.fs, "m", 0o700); err != nil {
			t.Fatal(err)
		}
		h.with(t, func(s mailstore.Store) { stir(t, s, r, 120) })
		for _, to := range []string{"mbox", "pack", "maildir", "pack", "mbox", "maildir"} {
			c := dialHome(t, h)
			c.must(toolmsg.Convert, []string{to}, "phase=copy")
			h.with(t, func(s mailstore.Store) { stir(t, s, r, 40) })
			want := h.dump(t)
			c.must(toolmsg.Convert, []string{to}, "phase=finish")
			if p, err := h.Place(); err != nil || p.Driver != to {
				t.Fatalf("seed %d: %v %v", seed, p, err)
			}
			if got := h.dump(t); got != want {
				t.Fatalf("seed %d, to %s: %s", seed, to, differs(got, want))
			}
			c.must(toolmsg.Convert, nil, "phase=discard")
			c.hang()
			if got := h.dump(t); got != want {
				t.Fatalf("seed %d, %s after discarding: %s", seed, to, differs(got, want))
			}
		}
	}
}

// The power fails while mail goes from one driver to another: it stays whole, and
// the next conversion goes on, be a part of the copy lost or not.
func TestConvertDriversPowerCut(t *testing.T) {
	base := memfs.New(memfs.Options{})
	if err := vfs.MkdirAll(base, "m", 0o700); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(7, 4))
	diskHome{base}.with(t, func(s mailstore.Store) { stir(t, s, r, 150) })
	for i, to := range []string{"mbox", "mbox", "pack", "mbox"} {
		if i > 0 { // the power fails in the midst of catching up
			c := dialHome(t, diskHome{base})
			c.must(toolmsg.Convert, []string{to}, "phase=copy")
			c.hang()
			diskHome{base}.with(t, func(s mailstore.Store) { stir(t, s, r, 60) })
		}
		want := diskHome{base}.dump(t)
		for k, over := 1, false; !over; k += 1 + r.IntN(12) {
			f := faultfs.New(base.Survive(memfs.Kept, 0))
			fate := []memfs.Fate{memfs.Lost, memfs.Kept, memfs.Torn, memfs.Torn}[k%4]
			f.CutAfter(k, fate, uint64(k))
			c := dialHome(t, diskHome{f})
			if _, done := c.do(toolmsg.Convert, []string{to}, "phase=copy"); done.Exit == 0 {
				_, done = c.do(toolmsg.Convert, []string{to}, "phase=finish")
				over = done.Exit == 0 && !f.Dead()
			}
			c.hang()
			h := diskHome{f.Survivor(fate, uint64(k))}
			if got := h.dump(t); got != want {
				t.Fatalf("to %s, cut after change %d: %s", to, k, differs(got, want))
			}
			c = dialHome(t, h)
			if p, err := h.Place(); err != nil {
				t.Fatal(err)
			} else if p.Driver != to {
				c.must(toolmsg.Convert, []string{to}, "phase=copy")
				c.must(toolmsg.Convert, []string{to}, "phase=finish")
			}
			if got := h.dump(t); got != want {
				t.Fatalf("to %s, cut after change %d, at the end: %s", to, k, differs(got, want))
			}
			c.hang()
		}
		if i == 0 {
			continue
		}
		c := dialHome(t, diskHome{base})
		c.must(toolmsg.Convert, []string{to}, "phase=copy")
		c.must(toolmsg.Convert, []string{to}, "phase=finish")
		c.must(toolmsg.Convert, nil, "phase=discard")
		c.hang()
	}
}

// Mail that came with an mbox's own headers loses them in an mbox, and nothing else:
// the conversion says so, and goes on.
func TestConvertForeignHeaders(t *testing.T) {
	h := diskHome{memfs.New(memfs.Options{})}
	if err := vfs.MkdirAll(h.fs, "m", 0o700); err != nil {
		t.Fatal(err)
	}
	h.with(t, func(s mailstore.Store) {
		put(t, s, "INBOX", "Subject: plain\r\n\r\nbody\r\n", mailstore.AppendMeta{})
		put(t, s, "INBOX", "X-UID: 7\r\nStatus: RO\r\nSubject: forwarded\r\nX-IMAPbase: 5 9\r\nContent-Length: 99\r\n\r\nbody\r\n", mailstore.AppendMeta{})
		put(t, s, "INBOX", "X-Status: AF\r\n", mailstore.AppendMeta{Flags: mailstore.Seen})
	})
	for i, to := range []string{"mbox", "pack", "mbox", "maildir"} {
		c := dialHome(t, h)
		c.must(toolmsg.Convert, []string{to}, "phase=copy")
		lines := c.must(toolmsg.Convert, []string{to}, "phase=finish")
		c.must(toolmsg.Convert, nil, "phase=discard")
		c.hang()
		if text := fmt.Sprint(lines); strings.Contains(text, "stripped:2") != (i == 0) {
			t.Errorf("to %s: %s", to, text)
		}
	}
	h.with(t, func(s mailstore.Store) {
		box, err := s.Open("INBOX")
		if err != nil {
			t.Fatal(err)
		}
		defer box.Close()
		m, err := box.Message(2)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		b := make([]byte, m.Size())
		if _, err := m.ReadAt(b, 0); err != nil && err != io.EOF || string(b) != "Subject: forwarded\r\n\r\nbody\r\n" {
			t.Errorf("%q, %v", b, err)
		}
	})
}
