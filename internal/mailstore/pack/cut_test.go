package pack_test

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/pack"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

// A power cut during checkpoints and changes of file is no damage: nothing has
// to be made anew, and nobody is told of anything.
func TestCheckpointPowerCut(t *testing.T) {
	b := newBed(t, func(o *pack.Options) { o.JournalSize, o.PackSize = 600, 1500 })
	b.must(b.s.Close())
	origin := b.disk.Survive(memfs.Kept, 0)
	for k, done := 1, false; !done; k++ {
		for seed := range uint64(4) {
			fate := []memfs.Fate{memfs.Lost, memfs.Kept, memfs.Torn, memfs.Torn}[seed]
			f := faultfs.New(origin.Survive(memfs.Kept, 0))
			f.CutAfter(k, fate, seed)
			b.opt.FS, b.notes = f, nil
			sure := 0
			if s, err := pack.Open(b.opt); err == nil {
				sure = b.history(s, f)
				s.Close()
			}
			done = !f.Dead()
			if text := b.noted(); strings.Contains(text, "damaged") || strings.Contains(text, "anew") {
				t.Fatalf("before the cut after change %d: %s", k, text)
			}
			b.disk, b.notes = f.Survivor(fate, seed), nil
			b.opt.FS = b.disk
			b.start()
			got := strings.Count(b.picture("INBOX"), "=m")
			if text := b.noted(); text != "" || got < sure || strings.Contains(b.picture("INBOX"), "?") {
				t.Fatalf("cut after change %d, seed %d: %d messages of %d: %s", k, seed, got, sure, text)
			}
			b.must(b.s.Close())
		}
	}
	b.start()
}

// history appends and copies and gives how many messages were answered for.
func (b *bed) history(s mailstore.Store, f *faultfs.FS) (sure int) {
	for i := range 6 {
		if add(s, "INBOX", []byte(textOf(i))) == nil {
			sure++
		}
		mb, err := s.Open("INBOX")
		if err != nil {
			return sure
		}
		if r, err := mb.Copy(numset.Of(uint32(i+1)), "INBOX"); err == nil {
			sure += len(r.To)
		}
		mb.Store(mailstore.FlagChange{UIDs: numset.Span(1, 9), Op: mailstore.SetFlags, Keywords: []string{fmt.Sprint("k", i)}})
		mb.Close()
		if f.Dead() {
			return sure
		}
	}
	return sure
}

// What a killed process wrote and had not synced is synced before anybody sees
// it: else a power cut would take a UID back that a client knows.
func TestShownIsSynced(t *testing.T) {
	for _, copies := range []bool{false, true} {
		b := newBed(t, func(o *pack.Options) { o.JournalSize = 1 << 20 })
		b.fill("INBOX", 0, 1)
		f := faultfs.New(b.disk)
		dying := &dyingFS{FS: f, kill: f.Kill}
		o := b.opt
		o.FS = dying
		s, err := pack.Open(o)
		b.must(err)
		mb, err := s.Open("INBOX")
		b.must(err)
		dying.armed = true // it dies when it is about to sync
		if copies {
			_, err = mb.Copy(numset.Of(1), "INBOX")
		} else {
			err = add(s, "INBOX", []byte(textOf(1)))
		}
		if err == nil {
			t.Fatal("it lives")
		}
		want := b.picture("INBOX")
		if n := strings.Count(want, "=m"); n != 2 {
			t.Fatal(want)
		}
		b.must(b.s.Close())
		b.disk = b.disk.Survive(memfs.Lost, 0)
		b.opt.FS = b.disk
		b.start()
		if got := b.picture("INBOX"); got != want {
			t.Fatalf("after the cut: %s\nwas shown: %s", got, want)
		}
	}
}

// dyingFS is a disk whose process is killed at a data sync.
type dyingFS struct {
	vfs.FS
	kill  func()
	armed bool
}

func (d *dyingFS) OpenFile(path string, flag vfs.Flag, perm fs.FileMode) (vfs.File, error) {
	f, err := d.FS.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err
	}
	return dyingFile{f, d}, nil
}

type dyingFile struct {
	vfs.File
	d *dyingFS
}

func (f dyingFile) DataSync() error {
	if f.d.armed {
		f.d.kill()
	}
	return f.File.DataSync()
}
