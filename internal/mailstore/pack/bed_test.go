package pack_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/pack"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

// bed is a disk with a store on it.
type bed struct {
	*testing.T
	disk  *memfs.FS
	s     *engine.Store
	opt   pack.Options
	mu    sync.Mutex
	notes []string
	clock *memfs.Clock
}

func newBed(t *testing.T, change func(*pack.Options)) *bed {
	t.Helper()
	b := &bed{T: t, clock: memfs.NewClock(time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC))}
	b.disk = memfs.New(memfs.Options{Now: b.clock.Now})
	b.opt = options(b.disk)
	b.opt.Note = func(text string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.notes = append(b.notes, text)
	}
	if change != nil {
		change(&b.opt)
	}
	b.start()
	t.Cleanup(func() { b.s.Close() })
	return b
}

func (b *bed) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bed) start() {
	b.Helper()
	var err error
	b.s, err = pack.Open(b.opt)
	b.must(err)
}

func (b *bed) restart() { b.Helper(); b.must(b.s.Close()); b.start() }

func (b *bed) noted() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(slices.DeleteFunc(slices.Clone(b.notes), func(n string) bool { return strings.HasPrefix(n, "index: ") }), "\n")
}

func textOf(n int) string {
	return fmt.Sprintf("Subject: m%d\r\n\r\n", n) + strings.Repeat(fmt.Sprintf("line of the message %d\r\n", n), 20)
}

// fill appends messages from to to-1, each with a keyword of its own tens.
func (b *bed) fill(name string, from, to int) {
	b.Helper()
	for i := from; i < to; i++ {
		a, err := b.s.Append(name)
		b.must(err)
		w, err := a.Add(mailstore.AppendMeta{Flags: mailstore.Flags(i) & mailstore.AllFlags, Keywords: []string{fmt.Sprint("k", i/10)}}, -1)
		b.must(err)
		_, err = io.WriteString(w, textOf(i))
		b.must(err)
		_, err = a.Commit()
		b.must(err)
	}
}

func (b *bed) open(name string) mailstore.Mailbox {
	b.Helper()
	mb, err := b.s.Open(name)
	b.must(err)
	return mb
}

// picture says which messages a mailbox shows, by their content.
func (b *bed) picture(name string) string {
	b.Helper()
	mb := b.open(name)
	defer mb.Close()
	s, err := mb.Sync()
	b.must(err)
	var out []string
	for i := range s.Len() {
		e := s.At(i)
		text, err := read(mb, e.UID)
		id := "?" + fmt.Sprint(errkind.Of(err))
		if err == nil {
			id, _, _ = strings.Cut(strings.TrimPrefix(text, "Subject: "), "\r\n")
			var n int
			if fmt.Sscanf(id, "m%d", &n); text != textOf(n) {
				id = "WRONG"
			}
		}
		out = append(out, fmt.Sprintf("%d=%s/%d%v", e.UID, id, e.Flags, s.Keywords(e.Keywords)))
	}
	return strings.Join(out, " ")
}

func read(mb mailstore.Mailbox, uid uint32) (string, error) {
	m, err := mb.Message(uid)
	if err != nil {
		return "", err
	}
	defer m.Close()
	text, err := io.ReadAll(io.NewSectionReader(m, 0, m.Size()))
	return string(text), err
}

func (b *bed) files(dir string) (out []string) {
	b.disk.ReadDir(dir, func(e vfs.DirEntry) bool {
		if strings.Contains(e.Name, ".pack") {
			out = append(out, e.Name)
		}
		return true
	})
	slices.Sort(out)
	return out
}

func (b *bed) used() (n int64) {
	for _, f := range b.files("mail") {
		i, err := b.disk.Stat("mail/" + f)
		b.must(err)
		n += i.Size
	}
	return n
}

// setUp makes two mailboxes with copies and moves between them.
func (b *bed) setUp() (inbox, box string) {
	b.Helper()
	_, err := b.s.Create("box", 0)
	b.must(err)
	b.fill("INBOX", 0, 60)
	mb := b.open("INBOX")
	defer mb.Close()
	_, err = mb.Copy(numset.Of(1, 2, 30, 31), "box")
	b.must(err)
	_, err = mb.Move(numset.Of(40, 41), "box")
	b.must(err)
	_, err = mb.Expunge(numset.Span(3, 38))
	b.must(err)
	_, err = mb.Store(mailstore.FlagChange{UIDs: numset.Of(1, 39, 60), Op: mailstore.SetFlags, Flags: mailstore.Seen, Keywords: []string{"late"}})
	b.must(err)
	inbox, box = b.picture("INBOX"), b.picture("box")
	if strings.Contains(inbox+box, "?") || strings.Contains(inbox+box, "WRONG") {
		b.Fatal(inbox, box)
	}
	return inbox, box
}

func (b *bed) still(what, inbox, box string) {
	b.Helper()
	if got := b.picture("INBOX"); got != inbox {
		b.Fatalf("%s: INBOX shows\n%s\nand showed\n%s\n%s", what, got, inbox, b.noted())
	}
	if got := b.picture("box"); got != box {
		b.Fatalf("%s: box shows\n%s\nand showed\n%s\n%s", what, got, box, b.noted())
	}
}

func (b *bed) kind(err error, want errkind.Kind) {
	b.Helper()
	if !errkind.Is(err, want) {
		b.Fatalf("%v (%v), want %v", err, errkind.Of(err), want)
	}
}
