package remote

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// Sessions of guests and of the owner work on one mailbox at the same time, some through
// one open mailbox of one channel: each picture is sound, and at the end all see the
// same.
func TestAtOnce(t *testing.T) {
	noneLeft(t)
	store := shared(t)
	for _, name := range []string{"Box", "Look"} {
		give(t, store, name, "user=bob lrswipkxtea;user=carol lrswipkxtea")
	}
	wake := make(chan struct{}, 1)
	opt := ServeOptions{Wake: wake, Limits: Limits{Boxes: 200, Pause: 1}}
	bob := serve(t, asGuest(t, store, "bob"), opt, ClientOptions{Facts: 4000})
	carol := serve(t, asGuest(t, store, "carol"), opt, ClientOptions{Facts: 4000})
	one := open(t, bob, "Box")
	boxes := []mailstore.Mailbox{one, one, open(t, bob, "Box"), open(t, carol, "Box"), open(t, store, "Box")}
	stores := []mailstore.Store{bob, bob, bob, carol, store}
	var wg sync.WaitGroup
	for i := range boxes {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 3))
			s, mb := stores[i], boxes[i]
			c := make(chan struct{}, 1)
			defer mb.Watch(c)()
			for step := range 150 {
				if err := oneOf(t, rnd, s, mb); err != nil && !errkind.Is(err, errkind.Expunged) && !errkind.Is(err, errkind.Limit) {
					t.Errorf("session %d, step %d: %v", i, step, err)
					return
				}
				select {
				case wake <- struct{}{}:
				default:
				}
			}
		})
	}
	wg.Wait()
	truth, err := boxes[4].Sync()
	must(t, err)
	for i, mb := range boxes[:4] {
		snap, err := mb.Sync()
		must(t, err)
		if got, want := show(snap), show(truth); got != want {
			t.Errorf("session %d sees\n  %s\nwant\n  %s", i, got, want)
		}
	}
	for _, g := range []*served{bob, carol} {
		g.stop()
		if g.err != nil || g.Err() != nil {
			t.Errorf("a channel ended: %v, %v", g.err, g.Err())
		}
	}
}

// oneOf does one of the things that sessions do.
func oneOf(t *testing.T, rnd *rand.Rand, s mailstore.Store, mb mailstore.Mailbox) error {
	snap := mb.Snapshot()
	sound(t, snap)
	uid := mailstore.UID(1 + rnd.IntN(int(snap.UIDNext())))
	var err error
	switch rnd.IntN(10) {
	case 0:
		var a mailstore.Appender
		if a, err = s.Append("Box"); err == nil {
			var w interface{ Write([]byte) (int, error) }
			if w, err = a.Add(mailstore.AppendMeta{}, -1); err == nil {
				fmt.Fprintf(w, "Subject: %d\r\n\r\nx", uid)
				_, err = a.Commit()
			}
			a.Abort()
		}
	case 1, 2:
		_, err = mb.Store(mailstore.FlagChange{UIDs: numset.Span(uid, uid+3), Op: mailstore.FlagOp(rnd.IntN(3)), Flags: mailstore.Flags(rnd.IntN(32)), Keywords: []string{fmt.Sprint("k", rnd.IntN(5))}})
	case 3:
		if snap.Len() > 20 {
			_, err = mb.Expunge(numset.Of(uid))
		}
	case 4:
		snap, err = mb.Sync()
		if err == nil {
			sound(t, snap)
		}
	case 5:
		var m mailstore.Message
		if m, err = mb.Message(uid); err == nil {
			_, err = m.ReadAt(make([]byte, m.Size()), 0)
			m.Close()
		}
	case 6:
		_, err = mb.Facts(uid, mailstore.FactsWant{Size: true, GUID: true})
	case 7:
		mb.Cached(uid, "f")
		mb.PutCached(uid, "g", make([]byte, 100))
		mb.Info()
		mb.Keywords()
	case 8:
		var other mailstore.Mailbox
		if other, err = s.Open("Look"); err == nil {
			_, err = other.Copy(numset.Of(1), "Box")
			other.Close()
		}
	default:
		_, _, err = mb.ExpungedSince(snap.HighestModSeq() - 1)
	}
	return err
}
