package pack_test

import (
	"context"
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/pack"
	"rookery/internal/mailstore/storetest"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

// TestSyncs: small histories, each for one sync or a few: docs/syncs.md says which.
// Every one is done with the power gone after each change of the disk, and once it
// was answered: what was answered is there, and what was not is there whole or not
// at all.
func TestSyncs(t *testing.T) {
	put := func(n int) func(mailstore.Store) error {
		return func(s mailstore.Store) error {
			for i := range n {
				if err := storetest.Put(s, "INBOX", mailstore.AppendMeta{}, textOf(i)); err != nil {
					return err
				}
			}
			return nil
		}
	}
	expunge := func(s mailstore.Store) error {
		return storetest.Within(s, "INBOX", func(mb mailstore.Mailbox) error {
			_, err := mb.Expunge(numset.Span(2, 5))
			return err
		})
	}
	purge := func(s mailstore.Store) error {
		_, err := s.(mailstore.Maintainer).Purge(context.Background(), nil)
		return err
	}
	anything := func(string) bool { return true }
	for _, c := range []struct {
		name  string
		prep  func(mailstore.Store) error
		wait  time.Duration // before do
		do    func(mailstore.Store) error
		whole bool // also while the store is opened
		torn  int
		may   func(string) bool
	}{
		{name: "FirstUse", do: put(1), whole: true, may: anything},
		{name: "Append", prep: put(2), do: put(1)},
		{name: "AppendMany", prep: put(2), do: put(12), may: anything},
		{name: "Purge", prep: func(s mailstore.Store) error {
			if err := put(9)(s); err != nil {
				return err
			}
			return expunge(s)
		}, do: purge, torn: 10},
		{name: "ToAlt", prep: put(12), wait: 31 * 24 * time.Hour, do: purge, torn: 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			clock := memfs.NewClock(time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC))
			disk := memfs.New(memfs.Options{Now: clock.Now})
			for _, d := range []string{"mail", "alt"} {
				if err := disk.Mkdir(d, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			open := func(disk vfs.FS) (mailstore.Store, error) {
				opt := options(disk)
				opt.AltPath, opt.DeadSize, opt.LockWait = "alt", 1, 500*time.Millisecond
				return pack.Open(opt)
			}
			cut := storetest.Cut{Name: c.name, Open: open, Opening: c.whole, Torn: c.torn, May: c.may, ByClock: true, Later: func() { clock.Jump(time.Hour) }}
			cut.Do = func(s mailstore.Store) error { clock.Jump(c.wait); return c.do(s) }
			cut.Base = func() *memfs.FS { return disk.Survive(memfs.Kept, 0) }
			if c.prep != nil {
				cut.Base = storetest.Prepared(t, open, disk, c.prep)
			}
			cut.Run(t)
		})
	}
}
