package view

import (
	"math/rand/v2"
	"strings"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// sharing is a mailbox whose pictures know what they have in common with others.
type sharing struct{ mailstore.Mailbox }

type sharedPicture struct {
	mailstore.Snapshot
	looked *int // entries that were asked for
}

func (b sharing) Snapshot() mailstore.Snapshot { return &sharedPicture{b.Mailbox.Snapshot(), new(int)} }

func (b sharing) Sync() (mailstore.Snapshot, error) {
	s, err := b.Mailbox.Sync()
	return &sharedPicture{s, new(int)}, err
}

func (s *sharedPicture) At(pos int) mailstore.Entry {
	*s.looked++
	return s.Snapshot.At(pos)
}

// Shared is what two pictures have in common from there on, by a look at all.
func (s *sharedPicture) Shared(pos int, old mailstore.Snapshot, at int) (n int) {
	o := old.(*sharedPicture).Snapshot
	for pos+n < s.Len() && at+n < o.Len() && s.Snapshot.At(pos+n) == o.At(at+n) {
		n++
	}
	return n
}

// What has \Deleted is known whatever came and went, and what the client is told is
// the same whether pictures know what they share or not.
func TestDeletedAndShared(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 4))
		store, box := mailbox(t, 3+rng.IntN(600))
		plain, v := open(t, box), open(t, sharing{box})
		for range 40 {
			uids := numset.Of(uint32(1+rng.IntN(600)), uint32(1+rng.IntN(600)))
			var err error
			switch rng.IntN(5) {
			case 0:
				_, err = box.Expunge(uids)
			case 1:
				deliver(t, store, 1)
			default:
				_, err = box.Store(mailstore.FlagChange{UIDs: uids, Op: mailstore.FlagOp(rng.IntN(3)),
					Flags: []mailstore.Flags{mailstore.Deleted, mailstore.Seen}[rng.IntN(2)]})
			}
			if err != nil {
				t.Fatal(err)
			}
			if rng.IntN(2) == 0 {
				plain.Refresh()
				v.Refresh()
			}
			if uid := uint32(1 + rng.IntN(600)); rng.IntN(2) == 0 {
				plain.MarkTold(uid)
				v.MarkTold(uid)
			}
			if rng.IntN(3) == 0 {
				if got, want := v.Deleted(), allDeleted(v.cur); !got.Equal(want) {
					t.Fatalf("seed %d: deleted are %v, want %v", seed, got, want)
				}
			}
			if rng.IntN(2) == 0 {
				may := May{Expunge: rng.IntN(2) == 0, Exists: true, UID: true}
				if got, want := announce(t, v, may), announce(t, plain, may); withoutRecent(got) != withoutRecent(want) {
					t.Fatalf("seed %d: told\n%swant\n%s", seed, got, want)
				}
			}
		}
	}
}

// A change of one message's flags looks at few of the others.
func TestAnnounceLooksAtFew(t *testing.T) {
	_, box := mailbox(t, 500)
	v := open(t, sharing{box})
	if _, err := box.Store(mailstore.FlagChange{UIDs: numset.Of(250), Op: mailstore.AddFlags, Flags: mailstore.Seen}); err != nil {
		t.Fatal(err)
	}
	v.Refresh()
	v.MarkTold(250)
	announce(t, v, May{Expunge: true, Exists: true})
	if looked := *v.cur.(*sharedPicture).looked; looked > 40 {
		t.Errorf("looked at %d messages", looked)
	}
}

// withoutRecent leaves out who of two sessions was the first to see a message.
func withoutRecent(text string) string {
	var kept []string
	for _, line := range strings.Split(strings.ReplaceAll(text, ` \Recent`, ""), "\r\n") {
		if !strings.HasSuffix(line, " RECENT") {
			kept = append(kept, strings.ReplaceAll(line, `(\Recent)`, "()"))
		}
	}
	return strings.Join(kept, "\n")
}
