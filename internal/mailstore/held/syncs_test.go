package held

import (
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

// TestSyncsOfRewrite: whatever change of the disk the power is cut after while the
// file is written anew, what it says of mailboxes that still hold messages is there,
// and so is a line that was answered afterwards.
func TestSyncsOfRewrite(t *testing.T) {
	live, later := mailstore.GUID{2}, mailstore.GUID{3}
	on := func(disk vfs.FS) *Store { return Wrap(memstore.New(memstore.Options{}), Options{FS: disk}) }
	first := memfs.New(memfs.Options{})
	for _, line := range []string{mailboxLine(mailstore.GUID{1}, 1, "old"), mailboxLine(live, 1, "live"), moveLine(live, move{1, numset.Of(5), numset.Of(6)})} {
		if err := on(first).write(line, true); err != nil {
			t.Fatal(err)
		}
	}
	base := first.Survive(memfs.Lost, 0)
	do := func(s *Store) (done bool) {
		if s.rewrite(map[mailstore.GUID]mailstore.UID{live: 1}) != nil {
			return false
		}
		return s.write(mailboxLine(later, 1, "later"), true) == nil
	}
	for k := 1; ; k++ {
		whole := false
		for seed := range uint64(12) {
			fate := memfs.Torn
			if seed == 0 {
				fate = memfs.Lost
			}
			f := faultfs.New(base.Survive(memfs.Kept, 0))
			f.CutAfter(k, fate, seed)
			done := do(on(f))
			whole = whole || !f.Dead()
			all, err := on(f.Survivor(fate, seed)).origins()
			if err != nil || all[live].name != "live" || len(all[live].moves) != 1 || done && all[later].name != "later" {
				t.Fatalf("cut after change %d, seed %d, answered %v: %+v, %v", k, seed, done, all, err)
			}
		}
		if whole {
			return
		}
	}
}
