package guarded_test

import (
	"sync"
	"testing"

	"rookery/internal/acl"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/guarded"
	"rookery/internal/numset"
)

// seenBook keeps what a user has seen, in memory.
type seenBook struct {
	mu   sync.Mutex
	sets map[[2]any]guarded.Own
}

func (b *seenBook) Own(box mailstore.GUID, v uint32) (guarded.Own, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sets[[2]any{box, v}], nil
}

func (b *seenBook) Change(box mailstore.GUID, v uint32, change func(guarded.Own) guarded.Own) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sets == nil {
		b.sets = map[[2]any]guarded.Own{}
	}
	b.sets[[2]any{box, v}] = change(b.sets[[2]any{box, v}])
	return nil
}

// Whoever may change his own \Seen alone can do so in a mailbox that is READ-ONLY to
// clients (RFC 4314 §5.2, example 1).
func TestPrivateReadOnly(t *testing.T) {
	for _, c := range []struct {
		rights            string
		private           bool
		readOnly, ownOnly bool
	}{{"lr", true, true, true}, {"lrs", true, false, true}, {"lrs", false, false, false}, {"lrsw", true, false, false}, {"lri", true, false, false}, {"lrpkxa", true, true, true}, {"lr", false, true, true}} {
		opt := guarded.Options{Who: acl.Who{User: "bob"}, Owner: "ann"}
		if c.private {
			opt.Private = &seenBook{}
		}
		s, _ := guarded.Wrap(prepared(t, "user=bob "+c.rights), opt)
		mb, err := s.Open("Box")
		must(t, err)
		if i := mb.Info(); i.ReadOnly != c.readOnly || i.OwnOnly != c.ownOnly {
			t.Errorf("%+v: %+v", c, i)
		}
		mb.Close()
	}
}

// A grantee's own \Seen is his own, and the shared one is nobody's of his.
func TestPrivateSeen(t *testing.T) {
	store := prepared(t, "user=bob lrswit")
	book := &seenBook{}
	s, _ := guarded.Wrap(store, guarded.Options{Who: acl.Who{User: "bob"}, Owner: "ann", Private: book})
	mb, err := s.Open("Box")
	must(t, err)
	defer mb.Close()
	flags := func(want string) {
		t.Helper()
		snap, err := mb.Sync()
		must(t, err)
		got := ""
		var all [4]mailstore.Entry
		n := mailstore.Entries(snap, 0, all[:])
		for i := range n {
			if all[i] != snap.At(i) {
				t.Errorf("%+v and %+v", all[i], snap.At(i))
			}
			got += letters(all[i].Flags) + " "
		}
		if got != want {
			t.Errorf("bob sees %q, want %q", got, want)
		}
	}
	unseen := func(want uint32) {
		t.Helper()
		st, err := s.Status("Box", mailstore.StatusWant{})
		if err != nil || st.Unseen != want {
			t.Errorf("%d are unseen, %v, want %d", st.Unseen, err, want)
		}
	}
	put := func(op mailstore.FlagOp, f mailstore.Flags, uids ...uint32) numset.Set {
		t.Helper()
		res, err := mb.Store(mailstore.FlagChange{UIDs: numset.Of(uids...), Op: op, Flags: f})
		must(t, err)
		return res.Changed
	}
	flags("afdt afdt ")
	unseen(2)
	if got := put(mailstore.AddFlags, mailstore.Seen, 1, 9); !got.Equal(numset.Of(1)) {
		t.Errorf("changed %s", got)
	}
	flags("afdst afdt ")
	unseen(1)
	put(mailstore.SetFlags, mailstore.Deleted|mailstore.Seen, 2)
	flags("afdst ds ")
	put(mailstore.RemoveFlags, mailstore.Seen|mailstore.Deleted, 1)
	flags("aft ds ")
	put(mailstore.SetFlags, mailstore.Flagged, 2)
	flags("aft f ")
	if got := flagsIn(t, store, "Box"); got != "1:afst[old] 2:fs[]" {
		t.Errorf("the owner has %q", got)
	}
	// What is copied or appended brings no shared \Seen along.
	_, err = mb.Copy(numset.Of(1), "Box")
	must(t, err)
	add(t, s, "Box", mailstore.AppendMeta{Flags: mailstore.Seen | mailstore.Draft}, "x\n")
	if got := flagsIn(t, store, "Box"); got != "1:afst[old] 2:fs[] 3:aft[old] 4:t[]" {
		t.Errorf("the owner has %q", got)
	}
	// Without s it is not his to change.
	give(t, store, "Box", "user=bob lrt")
	if _, err := mb.Store(mailstore.FlagChange{UIDs: numset.Of(1), Op: mailstore.AddFlags, Flags: mailstore.Seen}); err == nil {
		t.Error("\\Seen without s")
	}
	// Another UIDVALIDITY, another mailbox: nothing is seen.
	_, err = store.Renew("Box")
	must(t, err)
	unseen(4)
}

// A user's other sessions are told of what he has seen, and the owner's are not.
func TestPrivateTold(t *testing.T) {
	store := prepared(t, "user=bob lrs")
	s, _ := guarded.Wrap(store, guarded.Options{Who: acl.Who{User: "bob"}, Owner: "ann", Private: &seenBook{}})
	told := map[string]chan struct{}{}
	for name, of := range map[string]mailstore.Store{"bob": s, "ann": owner(t, store)} {
		mb, err := of.Open("Box")
		must(t, err)
		defer mb.Close()
		told[name] = make(chan struct{}, 1)
		defer mb.Watch(told[name])()
	}
	mb, err := s.Open("Box")
	must(t, err)
	defer mb.Close()
	before, err := mb.Sync()
	must(t, err)
	_, err = mb.Store(mailstore.FlagChange{UIDs: numset.Of(1), Op: mailstore.AddFlags, Flags: mailstore.Seen})
	must(t, err)
	if len(told["bob"]) != 1 || len(told["ann"]) != 0 {
		t.Errorf("bob's other session was told %d times, the owner's %d", len(told["bob"]), len(told["ann"]))
	}
	after := mb.Snapshot()
	if after.HighestModSeq() <= before.HighestModSeq() || after.At(0).ModSeq != after.HighestModSeq() || after.At(1).ModSeq != before.At(1).ModSeq {
		t.Errorf("%d after %d, message 1 has %d", after.HighestModSeq(), before.HighestModSeq(), after.At(0).ModSeq)
	}
	if st, err := s.Status("Box", mailstore.StatusWant{}); err != nil || st.HighestModSeq != after.HighestModSeq() {
		t.Errorf("STATUS tells %d, %v", st.HighestModSeq, err)
	}
}
