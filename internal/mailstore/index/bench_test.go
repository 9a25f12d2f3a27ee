package index

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

// filled makes a mailbox of n messages on the real disk.
func filled(t testing.TB, n int) (*vfs.OS, *User, *Box) {
	t.Helper()
	root, err := vfs.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	u, err := Open(Options{FS: root, NoBackground: true})
	if err != nil {
		t.Fatal(err)
	}
	b, err := u.Box(mailstore.GUID{1}, "box")
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Lock(time.Minute); err != nil {
		t.Fatal(err)
	}
	defer u.Unlock()
	tx, err := b.Begin()
	if err != nil {
		t.Fatal(err)
	}
	tx.Validity(1)
	for i := range n {
		if err := tx.Add(Record{UID: uint32(i + 1), Flags: mailstore.Seen, Size: 4096, Date: int64(1_700_000_000 + i), Sent: int64(1_700_000_000 + i),
			Loc: fmt.Sprintf("1700000%06d.M%06dP4711.mail.example.org,S=4096,W=4196", i, i)}); err != nil {
			t.Fatal(err)
		}
	}
	tx.Commit()
	return root, u, b
}

// cpu reports the processor time of an operation: on a busy machine the clock
// on the wall tells little. It is to be called before the loop, and what it
// returns after it.
func cpu(b *testing.B) func() {
	now := func() int64 {
		var r syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
			b.Fatal(err)
		}
		return r.Utime.Nano() + r.Stime.Nano()
	}
	runtime.GC()
	start := now()
	return func() { b.ReportMetric(float64(now()-start)/float64(b.N), "cpu-ns/op") }
}

func benchOpen(b *testing.B, n int) {
	root, u, box := filled(b, n)
	box.Close()
	u.Close()
	b.ReportAllocs()
	done := cpu(b)
	for b.Loop() {
		u, err := Open(Options{FS: root, NoBackground: true})
		if err != nil {
			b.Fatal(err)
		}
		box, err := u.Box(mailstore.GUID{1}, "box")
		if err != nil || box.View().Len() != n {
			b.Fatal(err, box.View().Len())
		}
		box.Close()
		u.Close()
	}
	done()
}

func BenchmarkOpen100k(b *testing.B) { benchOpen(b, 100_000) }
func BenchmarkOpen1M(b *testing.B)   { benchOpen(b, 1_000_000) }

// BenchmarkBox is what a SELECT costs in a process that has the log open.
func BenchmarkBox100k(b *testing.B) {
	_, u, box := filled(b, 100_000)
	box.Close()
	b.ReportAllocs()
	done := cpu(b)
	for b.Loop() {
		box, err := u.Box(mailstore.GUID{1}, "box")
		if err != nil {
			b.Fatal(err)
		}
		box.View().FirstUnseen()
		box.Close()
	}
	done()
}

func BenchmarkEntries100k(b *testing.B) {
	_, _, box := filled(b, 100_000)
	v := box.View()
	dst := make([]mailstore.Entry, 512)
	done := cpu(b)
	for b.Loop() {
		for from := 0; from < v.Len(); from += v.Entries(from, dst) {
		}
	}
	done()
}

func BenchmarkAt100k(b *testing.B) {
	_, _, box := filled(b, 100_000)
	v := box.View()
	done := cpu(b)
	for b.Loop() {
		for pos := range v.Len() {
			v.At(pos)
		}
	}
	done()
}

func BenchmarkRec100k(b *testing.B) {
	_, _, box := filled(b, 100_000)
	done := cpu(b)
	for b.Loop() {
		box.View().Each(0, func(int, Record) bool { return true })
	}
	done()
}

func BenchmarkFind(b *testing.B) {
	_, _, box := filled(b, 100_000)
	v := box.View()
	uid := uint32(0)
	done := cpu(b)
	for b.Loop() {
		uid = uid*1664525 + 1013904223
		v.Find(uid % 100_000)
	}
	done()
}

func benchFlag(b *testing.B, n int) {
	root, u, box := filled(b, n)
	pos := 0
	size := func() int64 {
		i, err := root.Stat(logFile)
		if err != nil {
			b.Fatal(err)
		}
		return i.Size
	}
	before := size()
	commits := 0
	done := cpu(b)
	for b.Loop() {
		if err := u.Lock(time.Minute); err != nil {
			b.Fatal(err)
		}
		tx, err := box.Begin()
		if err != nil {
			b.Fatal(err)
		}
		pos = (pos + 7919) % n
		tx.Set(pos, tx.View().At(pos).Flags^mailstore.Flagged, 0)
		tx.Commit()
		u.Unlock()
		commits++
	}
	done()
	b.ReportMetric(float64(size()-before)/float64(commits), "logbytes/op")
}

func BenchmarkFlag1k(b *testing.B)   { benchFlag(b, 1_000) }
func BenchmarkFlag100k(b *testing.B) { benchFlag(b, 100_000) }
func BenchmarkFlag1M(b *testing.B)   { benchFlag(b, 1_000_000) }

func BenchmarkFollow(b *testing.B) {
	_, _, box := filled(b, 1000)
	done := cpu(b)
	for b.Loop() {
		box.Follow()
	}
	done()
}

// TestMemory shows what ten sessions cost on a mailbox of 100,000 messages, each
// with a view of its own after two changes: bytes of heap beyond the mapping.
func TestMemory(t *testing.T) {
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	root, u, box := filled(t, 100_000)
	box.Close()
	u.Close()
	before := heap()
	u, err := Open(Options{FS: root, NoBackground: true})
	if err != nil {
		t.Fatal(err)
	}
	box, err = u.Box(mailstore.GUID{1}, "box")
	if err != nil {
		t.Fatal(err)
	}
	var views []*View
	for s := range 10 {
		for k := range 2 {
			if err := u.Lock(time.Minute); err != nil {
				t.Fatal(err)
			}
			tx, err := box.Begin()
			if err != nil {
				t.Fatal(err)
			}
			tx.Set(s*9973+k*31, mailstore.Flagged, 0)
			tx.Commit()
			u.Unlock()
		}
		views = append(views, box.View())
	}
	used := heap() - before
	t.Logf("%d bytes of heap for ten views", used)
	if used > 256<<10 {
		t.Errorf("ten views of 100,000 messages cost %d bytes", used)
	}
	info, err := root.Stat("box/" + snapFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.1f bytes of snapshot a message", float64(info.Size)/100_000)
	runtime.KeepAlive(views)
	box.Close()
	u.Close()
}

// logged makes a user whose log holds n flag changes, of one mailbox of 1,000
// messages or of a hundred of ten.
func logged(b *testing.B, n int, spread bool) *vfs.OS {
	root, err := vfs.OpenRoot(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	u, err := Open(Options{FS: root, NoBackground: true, MaxLog: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	boxes, size := 1, 1000
	if spread {
		boxes, size = 100, 10
	}
	var list []*Box
	for k := range boxes {
		box, err := u.Box(mailstore.GUID{1, byte(k)}, fmt.Sprintf("box%d", k))
		if err != nil {
			b.Fatal(err)
		}
		list = append(list, box)
	}
	change := func(box *Box, f func(tx *Tx)) {
		if err := u.Lock(time.Minute); err != nil {
			b.Fatal(err)
		}
		defer u.Unlock()
		tx, err := box.Begin()
		if err != nil {
			b.Fatal(err)
		}
		f(tx)
		tx.Commit()
	}
	for _, box := range list {
		change(box, func(tx *Tx) {
			tx.Validity(1)
			for i := range size {
				if err := tx.Add(Record{UID: uint32(i + 1), Size: 4096, Loc: fmt.Sprintf("1700000%06d.M%06dP4711.mail.example.org", i, i)}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for i := range n {
		change(list[i%boxes], func(tx *Tx) {
			pos := i * 7 % size
			tx.Set(pos, tx.View().At(pos).Flags^mailstore.Flagged, 0)
		})
	}
	for _, box := range list {
		box.Close()
	}
	u.Close()
	return root
}

// BenchmarkOpenLog is what the first SELECT of a new process costs beside the
// driver: the user's log is read, and a mailbox opened.
func BenchmarkOpenLog(b *testing.B) {
	for _, spread := range []bool{false, true} {
		for _, n := range []int{10, 1000, 20000} {
			name := fmt.Sprintf("one/%d", n)
			if spread {
				name = fmt.Sprintf("spread/%d", n)
			}
			b.Run(name, func(b *testing.B) {
				root := logged(b, n, spread)
				b.ReportAllocs()
				done := cpu(b)
				for b.Loop() {
					u, err := Open(Options{FS: root, NoBackground: true, MaxLog: 1 << 30})
					if err != nil {
						b.Fatal(err)
					}
					box, err := u.Box(mailstore.GUID{1}, "box0")
					if err != nil || !box.View().Built() {
						b.Fatal(err, "not built")
					}
					box.Close()
					u.Close()
				}
				done()
			})
		}
	}
}
