package guarded_test

import (
	"testing"
	"time"

	"rookery/internal/acl"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/guarded"
	"rookery/internal/mailstore/memstore"
)

// counted counts how often lists are looked at.
type counted struct {
	*memstore.Store
	looks int
}

func (c *counted) ACL(name mailstore.Name) (acl.List, error) {
	c.looks++
	return c.Store.ACL(name)
}

// The owner's Sync looks for what other processes did to a list once a second, and at
// once after a change by this one or a RENAME; a grantee's each time.
func TestSyncLooks(t *testing.T) {
	now := time.Unix(1e9, 0)
	store := &counted{Store: prepared(t, "user=bob lrs")}
	wrap := func(who acl.Who) mailstore.Sharer {
		s, ok := guarded.Wrap(store, guarded.Options{Who: who, Owner: "ann", Now: func() time.Time { return now }})
		if !ok {
			t.Fatal("the store keeps no lists")
		}
		return s
	}
	own, other := wrap(acl.Who{User: "ann", Owner: true}), wrap(acl.Who{User: "bob"})
	mb, err := own.Open("Box")
	must(t, err)
	defer mb.Close()
	syncs := func(mb mailstore.Mailbox, want int) {
		t.Helper()
		before := store.looks
		_, err := mb.Sync()
		must(t, err)
		if got := store.looks - before; got != want {
			t.Errorf("%d looks, want %d", got, want)
		}
	}
	syncs(mb, 1)
	syncs(mb, 0)
	now = now.Add(time.Second - 1)
	syncs(mb, 0)
	now = now.Add(1)
	syncs(mb, 1)
	now = now.Add(-time.Hour) // a clock that was set back
	syncs(mb, 1)
	id, err := acl.ParseID("owner")
	must(t, err)
	must(t, own.SetACL("Box", id, acl.Change{Op: '-', Rights: acl.Seen}))
	syncs(mb, 1)
	if f := mb.Info().PermanentFlags; f&mailstore.Seen != 0 {
		t.Errorf("permanent flags %b", f)
	}
	must(t, own.DeleteACL("Box", id))
	syncs(mb, 1)
	syncs(mb, 0)
	must(t, own.Rename("Box", "Other"))
	syncs(mb, 1)
	syncs(mb, 0)

	theirs, err := other.Open("Other")
	must(t, err)
	defer theirs.Close()
	syncs(theirs, 1)
	syncs(theirs, 1)
}
