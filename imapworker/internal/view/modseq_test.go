package view

import (
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// finderBox is a mailbox whose pictures know where nothing has changed.
type finderBox struct {
	mailstore.Mailbox
	asked *int
}

type finderSnapshot struct {
	mailstore.Snapshot
	asked *int
}

func (b finderBox) Snapshot() mailstore.Snapshot {
	return finderSnapshot{b.Mailbox.Snapshot(), b.asked}
}

func (b finderBox) Sync() (mailstore.Snapshot, error) {
	s, err := b.Mailbox.Sync()
	return finderSnapshot{s, b.asked}, err
}

func (s finderSnapshot) NextChanged(pos int, since mailstore.ModSeq) int {
	*s.asked++
	for pos < s.Len() && s.At(pos).ModSeq <= since {
		pos++
	}
	return pos
}

// What has changed is found by the picture's own knowledge, as long as there is
// nothing that the client has not been told: its picture is older then.
func TestWalkChanged(t *testing.T) {
	_, mem := mailbox(t, 9)
	asked := 0
	box := finderBox{mem, &asked}
	v := open(t, box)
	store := func(uid mailstore.UID) {
		t.Helper()
		if _, err := box.Store(mailstore.FlagChange{UIDs: numset.Of(uid), Op: mailstore.AddFlags, Flags: mailstore.Seen}); err != nil {
			t.Fatal(err)
		}
		v.Refresh()
	}
	walk := func(since mailstore.ModSeq, buf int) (seqs numset.Set) {
		t.Helper()
		err := v.WalkChanged(v.All(), since, make([]Item, buf), nil, func(items []Item) error {
			if len(items) == 0 {
				t.Error("called for nothing")
			}
			for _, it := range items {
				if it.ModSeq <= since {
					t.Errorf("message %d has MODSEQ %d", it.Seq, it.ModSeq)
				}
				seqs.Add(it.Seq)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return seqs
	}
	start := v.Told().HighestModSeq()
	if got := walk(start, 4); !got.Empty() || asked != 0 {
		t.Errorf("nothing has changed: %v, asked %d times", got, asked)
	}
	store(8)
	if got := walk(start, 4); got.String() != "8" || asked != 0 {
		t.Errorf("changed and not told: %v, asked %d times", got, asked)
	}
	announce(t, v, May{Expunge: true, Exists: true})
	if got := walk(start, 4); got.String() != "8" || asked == 0 {
		t.Errorf("changed and told: %v, asked %d times", got, asked)
	}
	middle := v.Told().HighestModSeq()
	store(2)
	store(9)
	announce(t, v, May{})
	for buf := 1; buf < 11; buf++ {
		if got := walk(start, buf); got.String() != "2,8:9" {
			t.Errorf("%d at once: %v", buf, got)
		}
		if got := walk(middle, buf); got.String() != "2,9" {
			t.Errorf("%d at once: %v", buf, got)
		}
	}
}
