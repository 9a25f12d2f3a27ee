package imapmodel

import (
	"testing"

	"rookery/internal/modelclient"
)

// An index that is built anew gives messages higher mod-sequences. Who looks over a
// channel may be told the number from before although another client has heard the new
// one: that is no loss as long as the copy of his client gets the new one by QRESYNC, since
// the HIGHESTMODSEQ that he was told is as old as his numbers (RFC 7162 §3.1.2.1).
func TestOlderNumbers(t *testing.T) {
	for _, driver := range drivers[1:] {
		t.Run(driver, func(t *testing.T) {
			w := newWorld(driver, byChannel)
			defer w.abandon()
			defer func() {
				if f, is := recover().(failure); is {
					t.Fatal(f, w.said)
				}
			}()
			a, b := w.conns[0], w.conns[3]
			a.connect(32 | 1)
			b.connect(32 | 2)
			a.append("INBOX", []part{a.part(1)}, true)
			b.selectBox("SELECT", b.w.sharing.abroad()+"INBOX", [6]uint32{})
			b.do("UID FETCH 1:* (FLAGS)", func(r *answer) { b.want(r, "OK") })
			m := w.mail[ann].boxes["INBOX"].messages[0]
			was := m.now(common).modSeq
			a.selectBox("SELECT", "INBOX", [6]uint32{})
			w.damage(520)   // all files are cut
			for range 100 { // until the index is missed
				a.do("NOOP", nil)
				a.do("UID FETCH 1:* (FLAGS MODSEQ)", func(r *answer) { a.want(r, "OK") })
				if m.now(common).modSeq > was {
					break
				}
				w.settle(1e9)
			}
			now := m.now(common).modSeq
			if was == 0 || now <= was {
				t.Fatalf("MODSEQ %d, was %d", now, was)
			}
			told := modelclient.Message{Known: true, Flags: m.now(common).flags}
			for n, right := range map[uint64]bool{was: true, now: true, now - 1: now-1 == was} {
				if told.ModSeq = n; accepts(b, m, told) != right {
					t.Errorf("MODSEQ %d of %d and %d: taken %t", n, was, now, !right)
				}
			}
			b.do("UID FETCH 1:* (FLAGS)", func(r *answer) { b.want(r, "OK") })
			b.lose()
			b.connect(32 | 2)
			b.selectBox("SELECT", b.w.sharing.abroad()+"INBOX", [6]uint32{}) // compares the copy
			if got := b.client.Cache.Messages[m.uid].ModSeq; got != m.now(common).modSeq {
				t.Errorf("the copy has MODSEQ %d, it is %d", got, m.now(common).modSeq)
			}
		})
	}
}

// accepts reports whether a client may be told this of a message that was another.
func accepts(c *conn, m *message, told modelclient.Message) (ok bool) {
	defer func() {
		if _, failed := recover().(failure); failed {
			ok = false
		}
	}()
	c.was(m, told)
	return true
}
