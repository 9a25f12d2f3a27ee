package journal

import (
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"testing"

	"rookery/internal/vfs"
)

// What an APPEND of 4 KB costs on a real disk, without anything but making it
// certain: through the journal, with checkpoints that sync the files; and by a
// file of its own and one fsync.

func benchFS(b *testing.B) *vfs.OS {
	fs, err := vfs.OpenRoot(b.TempDir()) // TMPDIR chooses the disk
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { fs.Close() })
	return fs
}

// each calls f for b.N numbers from so many goroutines.
func each(b *testing.B, writers int, f func(n int) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range writers {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				if err := f(int(n)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

func BenchmarkAppend4K(b *testing.B) {
	for _, writers := range []int{1, 10} {
		b.Run(fmt.Sprintf("fsync/%d", writers), func(b *testing.B) {
			fs := benchFS(b)
			body := msg(1, 4096).Data
			each(b, writers, func(n int) error {
				f, err := writeFile(fs, n, body)
				if err != nil {
					return err
				}
				defer f.Close()
				return f.Sync()
			})
		})
		for _, files := range []bool{false, true} {
			b.Run(fmt.Sprintf("journal/files=%v/%d", files, writers), func(b *testing.B) { benchJournal(b, writers, files) })
		}
	}
}

func writeFile(fs vfs.FS, n int, body []byte) (vfs.File, error) {
	f, err := fs.OpenFile(fmt.Sprintf("m%d", n), vfs.Write|vfs.Create|vfs.Excl, 0o600)
	if err == nil {
		_, err = f.Write(body)
	}
	return f, err
}

// countFS counts the syncs of the journal.
type countFS struct {
	vfs.FS
	syncs *atomic.Int64
}

func (c countFS) OpenFile(path string, flag vfs.Flag, perm fs.FileMode) (vfs.File, error) {
	f, err := c.FS.OpenFile(path, flag, perm)
	return countFile{f, c.syncs}, err
}

type countFile struct {
	vfs.File
	syncs *atomic.Int64
}

func (c countFile) DataSync() error { c.syncs.Add(1); return c.File.DataSync() }

func benchJournal(b *testing.B, writers int, files bool) {
	fs := benchFS(b)
	var syncs atomic.Int64
	var mu sync.Mutex
	open := map[uint32]vfs.File{}
	o := Options{FS: countFS{fs, &syncs}, Checkpoint: func(recs []Record) error {
		var list []vfs.File
		mu.Lock()
		for _, r := range recs {
			if f := open[r.UID]; f != nil {
				list = append(list, f)
			}
			delete(open, r.UID)
		}
		mu.Unlock()
		err := SyncFiles(list)
		for _, f := range list {
			f.Close()
		}
		return err
	}}
	j, err := Open(o)
	if err == nil {
		err = j.Recover(func(Record) error { return nil })
	}
	if err != nil {
		b.Fatal(err)
	}
	m := msg(1, 4096)
	m.UID = 1 << 30
	k, err := j.Append(Now, m) // makes the file
	if err != nil {
		b.Fatal(err)
	}
	k.Wait()
	k.Done()
	each(b, writers, func(n int) error {
		r := m
		r.UID = uint32(n)
		if files {
			f, err := writeFile(fs, n, m.Data)
			if err != nil {
				return err
			}
			mu.Lock()
			open[r.UID] = f
			mu.Unlock()
		}
		k, err := j.Append(Now, r)
		if err == nil {
			err = k.Wait()
		}
		if err == nil {
			k.Done()
		}
		return err
	})
	b.ReportMetric(float64(syncs.Load())/float64(b.N), "syncs/msg")
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
}

// What a worker pays at its start.
func BenchmarkOpenClean(b *testing.B) {
	fs := benchFS(b)
	open := func() *Journal {
		j, err := Open(Options{FS: fs})
		if err == nil {
			err = j.Recover(func(Record) error { return nil })
		}
		if err != nil {
			b.Fatal(err)
		}
		return j
	}
	j := open()
	for u := range uint32(200) { // round the ring, so that it is full of old batches
		k, err := j.Append(Unsynced, msg(u+1, 4096))
		if err != nil {
			b.Fatal(err)
		}
		k.Wait()
		k.Done()
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := open().Close(); err != nil {
			b.Fatal(err)
		}
	}
}
