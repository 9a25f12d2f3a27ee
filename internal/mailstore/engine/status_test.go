package engine_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/mbox"
	"rookery/internal/mailstore/pack"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
	"rookery/internal/vfs/watchfs"
)

// formats are the drivers that stand on the engine.
var formats = map[string]func(vfs.FS) (mailstore.Store, error){
	"pack": func(disk vfs.FS) (mailstore.Store, error) {
		return pack.Open(pack.Options{FS: disk, MailPath: "mail", LockWait: 20 * time.Second, PackSize: 1 << 20, Step: 4096, JournalStep: 4096})
	},
	"mbox": func(disk vfs.FS) (mailstore.Store, error) {
		return mbox.Open(mbox.Options{Options: engine.Options{FS: disk, ControlPath: "control", LockWait: 20 * time.Second}, MailPath: "mail", InboxPath: "inbox",
			Zone: time.UTC, JournalSize: 24 << 10})
	},
}

type bench struct {
	*testing.T
	open  func(vfs.FS) (mailstore.Store, error)
	disk  *memfs.FS
	clock *memfs.Clock
	names []string
}

func newBench(t *testing.T, open func(vfs.FS) (mailstore.Store, error), n int) *bench {
	b := &bench{T: t, open: open, clock: memfs.NewClock(time.Unix(1780000000, 0))}
	b.disk = memfs.New(memfs.Options{Now: b.clock.Now})
	s := b.start(b.disk)
	defer s.Close()
	for i := range n {
		name := fmt.Sprintf("f%02d", i)
		_, err := s.Create(name, 0)
		b.must(err)
		b.names = append(b.names, name)
		b.add(s, name)
	}
	b.clock.Jump(time.Hour)
	return b
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) start(disk vfs.FS) mailstore.Store {
	b.Helper()
	s, err := b.open(disk)
	b.must(err)
	return s
}

func (b *bench) add(s mailstore.Store, name string) {
	b.Helper()
	a, err := s.Append(name)
	b.must(err)
	w, err := a.Add(mailstore.AppendMeta{}, 12)
	b.must(err)
	_, err = w.Write([]byte("a: b\r\n\r\nhi\r\n"))
	b.must(err)
	_, err = a.Commit()
	b.must(err)
}

func (b *bench) status(s mailstore.Store) map[string]mailstore.Status {
	b.Helper()
	out := map[string]mailstore.Status{}
	for _, n := range b.names {
		st, err := s.Status(n, mailstore.StatusWant{Size: true})
		if errkind.Is(err, errkind.NotFound) {
			continue
		}
		b.must(err)
		out[n] = st
	}
	return out
}

func (b *bench) same(what string, got, want map[string]mailstore.Status) {
	b.Helper()
	for _, n := range b.names {
		if got[n] != want[n] {
			b.Fatalf("%s: STATUS of %s is %+v, want %+v", what, n, got[n], want[n])
		}
	}
}

// STATUS of a mailbox that did not change opens nothing of its index.
func TestUnchangedStatus(t *testing.T) {
	for name, open := range formats {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, open, 12)
			disk := watchfs.New(b.disk)
			s := b.start(disk)
			defer s.Close()
			var want, got map[string]mailstore.Status
			if ops := disk.During(func() { want = b.status(s) }); !slices.ContainsFunc(ops, ofIndex) {
				t.Fatal("the first answers opened no index: the watch is blind")
			}
			if st := want["f00"]; st.Messages != 1 || st.Unseen != 1 || st.UIDNext != 2 || st.Size != 12 {
				t.Fatalf("%+v", st)
			}
			b.clock.Jump(time.Hour)
			b.status(s)
			ops := disk.During(func() { got = b.status(s) })
			b.same("again", got, want)
			// An mbox's stat goes by a descriptor of the file.
			if slices.ContainsFunc(ops, ofIndex) || name == "pack" && len(ops) > 0 {
				t.Errorf("%q", ops)
			}
		})
	}
}

// ofIndex reports whether an operation is on a mailbox's own index file.
func ofIndex(op string) bool { return strings.Contains(op, "rookery-index/") }

// Whoever changes a mailbox, the next STATUS tells of it.
func TestChangedStatus(t *testing.T) {
	for name, open := range formats {
		t.Run(name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(1, 2))
			b := newBench(t, open, 6)
			s, other := b.start(b.disk), b.start(b.disk)
			defer s.Close()
			defer other.Close()
			for round := range 150 {
				if rnd.IntN(3) == 0 {
					b.clock.Jump(time.Hour)
				}
				who := []mailstore.Store{s, other}[rnd.IntN(2)]
				box := b.names[rnd.IntN(len(b.names))]
				what := b.change(rnd, who, box)
				fresh := b.start(b.disk)
				want := b.status(fresh)
				b.must(fresh.Close())
				b.same(fmt.Sprintf("round %d: %s %s", round, what, box), b.status(s), want)
			}
		})
	}
}

// change does one thing to a mailbox.
func (b *bench) change(rnd *rand.Rand, s mailstore.Store, name string) string {
	b.Helper()
	if _, err := s.Status(name, mailstore.StatusWant{}); errkind.Is(err, errkind.NotFound) {
		_, err := s.Create(name, 0)
		b.must(err)
		return "create"
	}
	all := numset.Span(1, 1<<32-1)
	mb, err := s.Open(name)
	b.must(err)
	defer mb.Close()
	switch rnd.IntN(6) {
	case 0:
		b.must(s.Delete(name))
		return "delete"
	case 1:
		_, err = mb.ClaimRecent(false)
		b.must(err)
		return "recent"
	case 2:
		_, err = mb.Expunge(all)
		b.must(err)
		return "expunge"
	case 3:
		_, err = mb.Store(mailstore.FlagChange{UIDs: all, Op: mailstore.FlagOp(rnd.IntN(3)), Flags: mailstore.Seen | mailstore.Deleted})
		b.must(err)
		return "store"
	}
	b.add(s, name)
	return "append"
}

// A message that another program appends to an mbox is told of.
func TestStatusOfForeignMail(t *testing.T) {
	b := newBench(t, formats["mbox"], 2)
	s := b.start(b.disk)
	defer s.Close()
	for i := range 3 {
		for range 2 { // the second answer is remembered
			if st := b.status(s)["f00"]; st.Messages != uint32(1+i) {
				t.Fatalf("round %d: %+v", i, st)
			}
			b.clock.Jump(time.Hour)
		}
		f, err := b.disk.OpenFile("mail/f00", vfs.Write|vfs.Append, 0)
		b.must(err)
		_, err = f.Write([]byte("From x@y Thu Jan  1 00:00:00 2026\nSubject: d\n\nbody\n\n"))
		b.must(err)
		b.must(f.Close())
		b.clock.Jump(time.Hour)
	}
}
