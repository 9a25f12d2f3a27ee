package mbox

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/mailstore/mbox/mboxfmt"
	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

func letterText(id, size int) string {
	line := fmt.Sprintf("X-UID: %d\nSubject: m%d\n\n", id, id)
	var body strings.Builder
	for body.Len() < size {
		fmt.Fprintf(&body, "line %d of message %d\n", body.Len(), id)
	}
	return "From a@b Sat Nov 29 22:33:52 2003\n" + line + body.String() + "\n"
}

// subjects reads a file back: the messages' subjects in order, each checked to
// be whole, however its head has grown.
func subjects(t *testing.T, disk vfs.FS, whole map[string]int) string {
	t.Helper()
	b, err := vfs.ReadFile(disk, "mbox", 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	s := mboxfmt.NewScanner(strings.NewReader(string(b)), 0, int64(len(b)), time.UTC)
	var out []string
	for {
		m, err := s.Next()
		if err == io.EOF {
			return strings.Join(out, " ")
		}
		if err != nil {
			t.Fatalf("%v in %q", err, clip(b))
		}
		text := ""
		for _, r := range m.Shown() {
			text += string(b[r.From:r.To])
		}
		name, body, _ := strings.Cut(strings.TrimPrefix(text, "Subject: "), "\n")
		if want, ok := whole[name]; !ok || len(body) != want || strings.Count(body, "From ") != 0 {
			t.Fatalf("%q is not whole: %d octets, want %d: %q", name, len(body), want, clip([]byte(text)))
		}
		out = append(out, name)
	}
}

func clip(b []byte) []byte { return b[:min(len(b), 600)] }

// testChunk makes large what is larger than it.
const testChunk = 3000

// one is a change of an mbox of some messages, and what may be there after it,
// whenever it was cut short.
type one struct {
	name   string
	sizes  []int
	do     func(m *mover, at []int64) error
	lawful func(got string) bool
	done   string
}

func cases() []one {
	cut := func(kept string, which ...int) one {
		return one{do: func(m *mover, at []int64) error {
			var list []splice
			for _, i := range which {
				list = append(list, splice{from: at[i-1], to: at[i]})
			}
			return m.apply(list)
		}, done: kept, lawful: func(got string) bool {
			// What stays is there, and in order; what goes may be, too.
			i := 0
			for _, w := range strings.Fields("m1 m2 m3 m4 m5") {
				if i < len(strings.Fields(got)) && strings.Fields(got)[i] == w {
					i++
				} else if slices.Contains(strings.Fields(kept), w) {
					return false
				}
			}
			return i == len(strings.Fields(got))
		}}
	}
	all := "m1 m2 m3 m4 m5"
	grow := one{done: all, lawful: func(got string) bool { return got == all }, do: func(m *mover, at []int64) error {
		var list []splice
		for i := range 5 {
			off := at[i] + int64(len("From a@b Sat Nov 29 22:33:52 2003\n"))
			list = append(list, splice{from: off, to: off, lit: []byte("X-Keywords: " + strings.Repeat(" ", 90) + "\n")})
		}
		return m.apply(list[1:])
	}}
	add := one{done: all + " new", lawful: func(got string) bool { return got == all || got == all+" new" }}
	small, large := []int{100, 700, 40, 1500, 300}, []int{1500, 6000, 10, 9000, 50}
	var out []one
	for _, c := range []struct {
		name  string
		sizes []int
		one
	}{{"first", small, cut("m2 m3 m4 m5", 1)}, {"last", small, cut("m1 m2 m3 m4", 5)}, {"two", small, cut("m1 m3 m5", 2, 4)}, {"all", small, cut("", 1, 2, 3, 4, 5)},
		{"large first", large, cut("m2 m3 m4 m5", 1)}, {"large in the midst", large, cut("m1 m3 m4 m5", 2)}, {"large last", large, cut("m1 m2 m3", 4, 5)},
		{"grow", small, grow}, {"grow large", large, grow}, {"add", small, add}, {"add large", large, add}} {
		c.one.name, c.one.sizes = c.name, c.sizes
		if strings.HasPrefix(c.name, "add") {
			text := letterText(6, 200)
			if c.name == "add large" {
				text = letterText(6, 7000)
			}
			text = strings.Replace(text, "m6", "new", 1)
			c.one.do = func(m *mover, _ []int64) error { return m.append(strings.NewReader(text), int64(len(text))) }
		}
		out = append(out, c.one)
	}
	return out
}

// TestPowerCuts cuts the power after each change of each kind of step; then a
// program that locks rightly appends, or does not; then the file is mended. All
// that nobody removed is there once, whole.
func TestPowerCuts(t *testing.T) {
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(1, 2))
			for k := 1; ; k++ {
				finished := false
				for seed := range uint64(8) {
					fate := memfs.Torn
					if seed < 2 {
						fate = []memfs.Fate{memfs.Lost, memfs.Kept}[seed]
					}
					finished = cutOnce(t, c, k, fate, seed, rnd.IntN(3))
					if t.Failed() {
						t.Fatalf("cut after change %d, fate %d, seed %d", k, fate, seed)
					}
				}
				if finished {
					return
				}
			}
		})
	}
}

func cutOnce(t *testing.T, c one, k int, fate memfs.Fate, seed uint64, appended int) (finished bool) {
	disk := memfs.New(memfs.Options{})
	whole := map[string]int{"new": 0, "late": len(letterText(7, 150)) - len("From a@b Sat Nov 29 22:33:52 2003\nX-UID: 7\nSubject: m7\n\n")}
	var text string
	var at []int64
	for i, n := range c.sizes {
		at = append(at, int64(len(text)))
		l := letterText(i+1, n)
		whole[fmt.Sprint("m", i+1)] = len(l) - len("From a@b Sat Nov 29 22:33:52 2003\nX-UID: 1\nSubject: m1\n\n")
		text += l
	}
	at = append(at, int64(len(text)))
	newLen := 200
	if c.name == "add large" {
		newLen = 7000
	}
	whole["new"] = len(letterText(6, newLen)) - len("From a@b Sat Nov 29 22:33:52 2003\nX-UID: 6\nSubject: m6\n\n")
	ready := func(d vfs.FS) (*redo, vfs.File) {
		r := &redo{fs: d, path: "redo", sync: true, size: dataAt + 2*testChunk}
		f, err := d.OpenFile("mbox", vfs.Read|vfs.Write|vfs.Create, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return r, f
	}
	r, f := ready(disk)
	if _, err := f.Write([]byte(text)); err != nil || f.Sync() != nil || disk.SyncDir(".") != nil || r.open() != nil {
		t.Fatal(err)
	}
	f.Close()
	r.close()
	ff := faultfs.New(disk)
	ff.Trace(true)
	ff.CutAfter(k, fate, seed)
	r, f = ready(ff)
	if m, err := r.mover(f, "INBOX"); err == nil {
		if _, err := r.pending(); err == nil {
			err = c.do(m, at)
			if finished = err == nil && !ff.Dead(); finished && subjects(t, disk, whole) != c.done {
				t.Errorf("undisturbed: %s, want %s", subjects(t, disk, whole), c.done)
			}
		}
	}
	after := ff.Survivor(fate, seed)
	late := ""
	for range appended {
		f, err := after.OpenFile("mbox", vfs.Write|vfs.Append, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte(strings.Replace(letterText(7, 150), "m7", "late", 1)))
		f.Close()
		late += " late"
	}
	r, f = ready(after)
	s, err := r.pending()
	if err != nil {
		t.Fatal(err)
	}
	why := ""
	if s != nil {
		m, err := r.mover(f, "INBOX")
		if err == nil {
			why, err = m.recover(s)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	got := subjects(t, after, whole)
	if !c.lawful(strings.TrimSpace(strings.TrimSuffix(" "+got, late))) || !strings.HasSuffix(" "+got, late) {
		t.Errorf("%q (want %q at the end); step %+v; %s\n%s", got, late, s, why, strings.Join(ff.Traced(), "\n"))
	}
	return finished
}

// A file whose end just does not fit into one step together with what is put before
// it grows all the same.
func TestGrowRoundTheChunk(t *testing.T) {
	lit := "X-Keywords: " + strings.Repeat(" ", 90) + "\n"
	for tail := testChunk - len(lit) - 2; tail <= testChunk+2; tail++ {
		for _, both := range []bool{false, true} {
			disk := memfs.New(memfs.Options{})
			text := "head\n" + strings.Repeat("x", tail)
			f, err := disk.OpenFile("mbox", vfs.Read|vfs.Write|vfs.Create, 0o600)
			if err == nil {
				_, err = f.Write([]byte(text))
			}
			if err != nil {
				t.Fatal(err)
			}
			r := &redo{fs: disk, path: "redo", sync: true, size: dataAt + 2*testChunk}
			m, err := r.mover(f, "INBOX")
			if err != nil {
				t.Fatal(err)
			}
			list, want := []splice{{from: 5, to: 5, lit: []byte(lit)}}, "head\n"+lit+text[5:]
			if both {
				list, want = append([]splice{{from: 0, to: 0, lit: []byte("new\n")}}, list...), "new\n"+want
			}
			if err := m.apply(list); err != nil {
				t.Errorf("%d octets behind it: %v", tail, err)
			}
			if got, err := vfs.ReadFile(disk, "mbox", 1<<20); err != nil || string(got) != want {
				t.Errorf("%d octets behind it: %q, %v", tail, clip(got), err)
			}
			f.Close()
			r.close()
		}
	}
}
