package pack_test

import (
	"fmt"
	"strings"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/pack"
	"rookery/internal/numset"
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
