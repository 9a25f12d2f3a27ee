package pack_test

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/pack"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// realStore opens a store in a directory of a real disk: BENCH_DIR, or the
// system's for temporary files.
func realStore(b *testing.B, o pack.Options) mailstore.Store {
	b.Helper()
	dir, err := os.MkdirTemp(os.Getenv("BENCH_DIR"), "pack-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	disk, err := vfs.OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	o.FS = disk
	s, err := pack.Open(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close(); disk.Close() })
	return s
}

func BenchmarkAppend4K(b *testing.B) {
	text := append([]byte("Subject: a\r\n\r\n"), bytes.Repeat([]byte("some text of a message that is not short\r\n"), 97)...)[:4096]
	for _, writers := range []int{1, 10} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := realStore(b, pack.Options{})
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ResetTimer()
			for range writers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if err := add(s, "INBOX", text); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}

func add(s mailstore.Store, name string, text []byte) error {
	a, err := s.Append(name)
	if err != nil {
		return err
	}
	defer a.Abort()
	w, err := a.Add(mailstore.AppendMeta{}, int64(len(text)))
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	_, err = a.Commit()
	return err
}

// BenchmarkChange is STORE, COPY and a body's FETCH in a mailbox of some size.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{1000, 20000} {
		s := realStore(b, pack.Options{Fsync: pack.Never})
		a, err := s.Append("INBOX")
		if err != nil {
			b.Fatal(err)
		}
		for range n {
			w, err := a.Add(mailstore.AppendMeta{}, -1)
			if err == nil {
				_, err = w.Write([]byte("Subject: a\r\n\r\ntext\r\n"))
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		if _, err := a.Commit(); err != nil {
			b.Fatal(err)
		}
		mb, err := s.Open("INBOX")
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("store/%d", n), func(b *testing.B) {
			for i := range b.N {
				if _, err := mb.Store(mailstore.FlagChange{UIDs: numset.Of(uint32(i%n + 1)), Op: mailstore.SetFlags, Flags: mailstore.Flags(i/n%2*8 + 1)}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("copy/%d", n), func(b *testing.B) {
			for i := range b.N {
				if _, err := mb.Copy(numset.Of(uint32(i%n+1)), "INBOX"); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("message/%d", n), func(b *testing.B) {
			for i := range b.N {
				m, err := mb.Message(uint32(i%n + 1))
				if err != nil {
					b.Fatal(err)
				}
				m.Close()
			}
		})
		mb.Close()
	}
}

// BenchmarkFloor is what the disk takes for one write of a message and its sync,
// in a file that is there.
func BenchmarkFloor(b *testing.B) {
	dir, err := os.MkdirTemp(os.Getenv("BENCH_DIR"), "pack-bench-")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	disk, err := vfs.OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer disk.Close()
	f, err := disk.OpenFile("f", vfs.Read|vfs.Write|vfs.Create, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 64<<20)); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 4608)
	b.ResetTimer()
	for i := range b.N {
		if _, err := f.WriteAt(p, int64(i)*4608%(60<<20)); err != nil {
			b.Fatal(err)
		}
		if err := f.DataSync(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen opens a store whose last messages and changes are in no
// checkpoint, and its mailbox, whose index is there.
func BenchmarkOpen(b *testing.B) {
	dir, err := os.MkdirTemp(os.Getenv("BENCH_DIR"), "pack-bench-")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	disk, err := vfs.OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer disk.Close()
	s, err := pack.Open(pack.Options{FS: disk, Fsync: pack.Never})
	if err != nil {
		b.Fatal(err)
	}
	for range 10 {
		a, err := s.Append("INBOX")
		if err != nil {
			b.Fatal(err)
		}
		for range 10000 {
			w, err := a.Add(mailstore.AppendMeta{}, -1)
			if err == nil {
				_, err = w.Write([]byte("Subject: a\r\n\r\ntext\r\n"))
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		if _, err := a.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	mb, err := s.Open("INBOX")
	if err != nil {
		b.Fatal(err)
	}
	for i := range 5000 {
		if _, err := mb.Store(mailstore.FlagChange{UIDs: numset.Of(uint32(i + 1)), Op: mailstore.SetFlags, Flags: mailstore.Seen}); err != nil {
			b.Fatal(err)
		}
	}
	mb.Close()
	s.Close()
	b.Run("store", func(b *testing.B) {
		for range b.N {
			s, err := pack.Open(pack.Options{FS: disk})
			if err != nil {
				b.Fatal(err)
			}
			mb, err := s.Open("INBOX")
			if err != nil {
				b.Fatal(err)
			}
			mb.Close()
			s.Close()
		}
	})
	s, err = pack.Open(pack.Options{FS: disk})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.Run("mailbox", func(b *testing.B) {
		for range b.N {
			mb, err := s.Open("INBOX")
			if err != nil {
				b.Fatal(err)
			}
			if _, err := mb.Sync(); err != nil {
				b.Fatal(err)
			}
			mb.Close()
		}
	})
}
