package maildir_test

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/vfs"
)

// cpuOf reports the processor time of an operation: on a busy machine the clock on
// the wall tells little.
func cpuOf(b *testing.B) func() {
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

func benchOpen(b *testing.B, disk vfs.FS) *maildir.Store {
	s, err := maildir.Open(maildir.Options{FS: disk, MailPath: "Maildir", Host: "test.example"})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// benchFolders makes a store of n folders with each messages in them.
func benchFolders(b *testing.B, n, each int) vfs.FS {
	dir := b.TempDir()
	list := []string{""}
	for i := range n {
		list = append(list, fmt.Sprintf("/.f%05d", i))
	}
	for _, f := range list {
		for _, d := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(dir+"/Maildir"+f+"/"+d, 0o700); err != nil {
				b.Fatal(err)
			}
		}
		for i := range each {
			name := fmt.Sprintf("%s/Maildir%s/cur/17%08d.M%dP1.host,S=%d,W=%d:2,S", dir, f, i, i, 8, 8)
			if err := os.WriteFile(name, []byte("a: b\r\n\r\n"), 0o600); err != nil {
				b.Fatal(err)
			}
		}
	}
	disk, err := vfs.OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // nothing is to hide behind a stamp
	return disk
}

// BenchmarkFoldersStatus is STATUS of one of 1,000 folders that did not change, in the
// process that asked before and, per folder, in a new one.
func BenchmarkFoldersStatus(b *testing.B) {
	disk := benchFolders(b, 1000, 3)
	s := benchOpen(b, disk)
	ask := func(s *maildir.Store, i int) {
		if st, err := s.Status(fmt.Sprintf("f%05d", i%1000), mailstore.StatusWant{}); err != nil || st.Messages != 3 {
			b.Fatal(st, err)
		}
	}
	for i := range 1000 {
		ask(s, i)
	}
	b.Run("again", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		done := cpuOf(b)
		for b.Loop() {
			ask(s, i)
			i++
		}
		done()
	})
	s.Close()
	b.Run("new", func(b *testing.B) {
		done := cpuOf(b)
		for b.Loop() {
			s := benchOpen(b, disk)
			for i := range 1000 {
				ask(s, i)
			}
			s.Close()
		}
		done()
	})
}

// BenchmarkFoldersList is LIST of 10,000 folders.
func BenchmarkFoldersList(b *testing.B) {
	disk := benchFolders(b, 10000, 0)
	s := benchOpen(b, disk)
	list := func(s *maildir.Store) {
		if l, err := s.List(); err != nil || len(l) != 10001 {
			b.Fatal(len(l), err)
		}
	}
	list(s)
	b.Run("again", func(b *testing.B) {
		b.ReportAllocs()
		done := cpuOf(b)
		for b.Loop() {
			list(s)
		}
		done()
	})
	s.Close()
	b.Run("new", func(b *testing.B) {
		done := cpuOf(b)
		for b.Loop() {
			s := benchOpen(b, disk)
			list(s)
			s.Close()
		}
		done()
	})
}

// BenchmarkFoldersSelect opens a mailbox that was open before; without says that it is
// a new process, which finds no index.
func BenchmarkFoldersSelect(b *testing.B) {
	disk := benchFolders(b, 2, 20000)
	open := func(s *maildir.Store, name string) {
		mb, err := s.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := mb.ClaimRecent(false); err != nil || mb.Snapshot().Len() != 20000 {
			b.Fatal(err)
		}
		mb.Close()
	}
	s := benchOpen(b, disk)
	for range 3 {
		open(s, "f00000")
		open(s, "f00001")
		time.Sleep(100 * time.Millisecond)
	}
	b.Run("again", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		done := cpuOf(b)
		for b.Loop() {
			open(s, []string{"f00000", "f00001"}[i&1])
			i++
		}
		done()
	})
	s.Close()
	b.Run("noindex", func(b *testing.B) {
		b.ReportAllocs()
		done := cpuOf(b)
		for b.Loop() {
			for _, name := range []string{".log", ".folders", "", ".cache"} {
				disk.Remove("Maildir/rookery.index" + name)
				disk.Remove("Maildir/.f00000/rookery.index" + name)
			}
			s := benchOpen(b, disk)
			open(s, "f00000")
			s.Close()
		}
		done()
	})
}
