package maildir_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// The benchmarks run on a real directory, which ROOKERY_BENCH_DIR names or else
// the system chooses. Beside the time each reports the CPU of the process for one
// operation, which says more on a busy machine.

func realDisk(b *testing.B) vfs.FS {
	b.Helper()
	dir, err := os.MkdirTemp(os.Getenv("ROOKERY_BENCH_DIR"), "maildir-bench")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	disk, err := vfs.OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	return disk
}

func openReal(b *testing.B, disk vfs.FS) *maildir.Store {
	b.Helper()
	s, err := maildir.Open(maildir.Options{FS: disk, MailPath: "Maildir", Host: "bench.example"})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// fill puts n messages into INBOX as another server left them, read and named in
// its uidlist.
func fill(b *testing.B, disk vfs.FS, n int) {
	b.Helper()
	for _, d := range []string{"cur", "new", "tmp"} {
		if err := vfs.MkdirAll(disk, "Maildir/"+d, 0o700); err != nil {
			b.Fatal(err)
		}
	}
	var list strings.Builder
	fmt.Fprintf(&list, "3 V1700000000 N%d G3085f01b7f11094c501100008c4a11c1\n", n+1)
	for i := range n {
		base := fmt.Sprintf("%d.M%dP%d.bench,S=20,W=20", 1700000000+i, i%1000000, i%30000)
		fmt.Fprintf(&list, "%d :%s\n", i+1, base)
		write(b, disk, "Maildir/cur/"+base+":2,S", "Subject: message\r\n\r\n")
	}
	write(b, disk, "Maildir/dovecot-uidlist", list.String())
}

func write(b *testing.B, disk vfs.FS, path, text string) {
	f, err := disk.OpenFile(path, vfs.Write|vfs.Create, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := f.Write([]byte(text)); err != nil {
		b.Fatal(err)
	}
	f.Close()
}

// cpu is what the process has used, in µs.
func cpu() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Sec+u.Stime.Sec)*1e6 + float64(u.Utime.Usec+u.Stime.Usec)
}

// measure runs op b.N times.
func measure(b *testing.B, op func(i int)) {
	b.Helper()
	b.ResetTimer()
	before := cpu()
	for i := range b.N {
		op(i)
	}
	b.StopTimer()
	b.ReportMetric((cpu()-before)/float64(b.N), "cpu-µs/op")
}

func BenchmarkSelect(b *testing.B) {
	for _, n := range []int{1000, 100000} {
		disk := realDisk(b)
		fill(b, disk, n)
		open := func(b *testing.B) {
			s := openReal(b, disk)
			mb, err := s.Open("INBOX")
			if err != nil || mb.Snapshot().Len() != n {
				b.Fatal(err)
			}
			mb.Close()
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(fmt.Sprintf("%d/none", n), func(b *testing.B) {
			measure(b, func(int) {
				if err := dropIndex(disk); err != nil {
					b.Fatal(err)
				}
				open(b)
			})
		})
		b.Run(fmt.Sprintf("%d/index", n), func(b *testing.B) {
			open(b)
			measure(b, func(int) { open(b) })
		})
	}
}

func BenchmarkChanges(b *testing.B) {
	for _, n := range []int{1000, 100000} {
		disk := realDisk(b)
		fill(b, disk, n)
		s := openReal(b, disk)
		mb, err := s.Open("INBOX")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Create("other", 0); err != nil {
			b.Fatal(err)
		}
		run := func(name string, op func(uid uint32) error) {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				measure(b, func(i int) {
					if err := op(uint32(i%n) + 1); err != nil {
						b.Fatal(err)
					}
					if _, err := mb.Sync(); err != nil {
						b.Fatal(err)
					}
				})
			})
		}
		k := 0
		run("Store", func(uid uint32) error {
			k++
			_, err := mb.Store(mailstore.FlagChange{UIDs: numset.Of(uid), Op: mailstore.SetFlags, Flags: mailstore.Flags(1 << (k % 5))})
			return err
		})
		run("Copy", func(uid uint32) error { _, err := mb.Copy(numset.Of(uid), "other"); return err })
		run("Append", func(uint32) error { return appendOne(s, "INBOX") })
		next := uint32(0)
		run("Move", func(uint32) error { next++; _, err := mb.Move(numset.Of(next), "other"); return err })
		run("Expunge", func(uint32) error { next++; _, err := mb.Expunge(numset.Of(next)); return err })
		mb.Close()
		s.Close()
	}
}

func appendOne(s *maildir.Store, box string) error {
	a, err := s.Append(box)
	if err != nil {
		return err
	}
	defer a.Abort()
	text := "Subject: appended\r\n\r\n" + strings.Repeat("a line of the message's text, which is not long\r\n", 81)
	w, err := a.Add(mailstore.AppendMeta{}, int64(len(text)))
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(text)); err != nil {
		return err
	}
	_, err = a.Commit()
	return err
}

func BenchmarkAppend(b *testing.B) {
	for _, clients := range []int{1, 10} {
		b.Run(fmt.Sprintf("%d", clients), func(b *testing.B) {
			s := openReal(b, realDisk(b))
			defer s.Close()
			if err := appendOne(s, "INBOX"); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			before := cpu()
			var wg sync.WaitGroup
			for c := range clients {
				wg.Go(func() {
					for i := c; i < b.N; i += clients {
						if err := appendOne(s, "INBOX"); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric((cpu()-before)/float64(b.N), "cpu-µs/op")
		})
	}
}

func BenchmarkStatus(b *testing.B) {
	disk := realDisk(b)
	s := openReal(b, disk)
	const n = 1000
	for i := range n {
		if _, err := s.Create(fmt.Sprintf("f%d", i), 0); err != nil {
			b.Fatal(err)
		}
	}
	status := func() {
		for i := range n {
			if _, err := s.Status(fmt.Sprintf("f%d", i), mailstore.StatusWant{}); err != nil {
				b.Fatal(err)
			}
		}
	}
	status()
	b.Run("1000 folders", func(b *testing.B) { measure(b, func(int) { status() }) })
	b.Run("List", func(b *testing.B) {
		measure(b, func(int) {
			if l, err := s.List(); err != nil || len(l) != n+1 {
				b.Fatal(len(l), err)
			}
		})
	})
	s.Close()
}
