package storetest

import (
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
)

// testRaise raises a mailbox's HIGHESTMODSEQ, where a store can: nothing else is to be
// seen of it, and it stays, for the other process and for the next one.
func testRaise(e *env) {
	p, q := e.start(), e.start()
	mb, other := p.open("INBOX"), q.open("INBOX")
	p.add("INBOX", mailstore.AppendMeta{Flags: mailstore.Seen}, "1", "2")
	was := e.see(mb, "1:s 2:s")
	e.see(other, "1:s 2:s")
	told := make(chan struct{}, 1)
	defer mb.Watch(told)()
	e.must(mailstore.RaiseModSeq(p, "INBOX"))
	high := e.see(mb, "1:s 2:s").HighestModSeq()
	if high == was.HighestModSeq() { // it stands before one over a channel
		return
	}
	if high < was.HighestModSeq() || len(told) != 1 {
		e.Fatalf("raised from %d to %d; told %d times", was.HighestModSeq(), high, len(told))
	}
	for i := range was.Len() {
		if got := mb.Snapshot().At(i); got != was.At(i) {
			e.Errorf("the message %+v became %+v", was.At(i), got)
		}
	}
	if got := e.see(other, "1:s 2:s").HighestModSeq(); got != high {
		e.Errorf("another process sees %d, not %d", got, high)
	}
	for _, s := range []mailstore.Store{p, q} {
		if st, err := s.Status("INBOX", mailstore.StatusWant{}); err != nil || st.HighestModSeq != high {
			e.Errorf("STATUS tells %d, %v, not %d", st.HighestModSeq, err, high)
		}
	}
	// A change that follows is above it.
	store(e, mb, uids(1), mailstore.AddFlags, mailstore.Flagged)
	if got := e.see(other, "1:fs 2:s").At(0).ModSeq; got <= high {
		e.Errorf("a flag has %d after %d", got, high)
	}
	e.must(mailstore.RaiseModSeq(q, "INBOX"))
	high = e.see(other, "1:fs 2:s").HighestModSeq()
	e.must(mb.Close())
	e.must(other.Close())
	p.stop()
	q.stop()
	e.procs = nil
	r := e.start()
	if got := e.see(r.open("INBOX"), "1:fs 2:s").HighestModSeq(); got < high {
		e.Errorf("the next process sees %d, before it was %d", got, high)
	}
	e.kind(mailstore.RaiseModSeq(r, "nowhere"), errkind.NotFound)
}
