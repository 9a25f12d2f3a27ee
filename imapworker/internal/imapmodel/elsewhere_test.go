package imapmodel

import (
	"fmt"
	"slices"

	"rookery/internal/modelclient"
)

func doForeign(w *world, c *conn, n [6]uint32) {
	name := names[int(n[1])%len(names)]
	if b := w.mail[ann].boxes[name]; b != nil && c.room(b) {
		w.foreign(name, modelclient.FlagText(pickFlags(n[2])))
		for i := uint32(1); n[4]%5 == 0 && i < 8; i++ { // several at once
			w.foreign(name, modelclient.FlagText(pickFlags(n[2]>>i)))
		}
		if n[3]%2 == 0 {
			w.wake()
		}
	}
}

func doDeliver(w *world, c *conn, n [6]uint32) {
	name := names[int(n[1])%len(names)]
	if b := w.mail[ann].boxes[name]; w.driver == "maildir" && b != nil && c.room(b) {
		w.deliver(b, w.conns[n[2]%5])
	}
}

func doDamage(w *world, c *conn, n [6]uint32) { w.damage(n[1]) }

func doKill(w *world, c *conn, n [6]uint32) { w.kill() }

// doLose breaks a connection, in the midst of an answer if there is one.
func doLose(w *world, c *conn, n [6]uint32) {
	quick, name := c.client.Qresync, c.name(n[4])
	if c.box != nil {
		name = c.called
	}
	switch {
	case c.box != nil && n[2]%3 == 0 && !c.client.UIDOnly && len(c.shadow) > 0: // expunges have to wait
		c.do("FETCH 1 (FLAGS)", func(a *answer) { c.wantFetch(a, false) })
	case c.box != nil && n[2]%3 == 1:
		c.cut = 1 + int(n[1]%4)
		c.do("UID FETCH 1:* (FLAGS)", func(a *answer) { c.want(a, "OK") })
	default:
		c.cut = 1 + int(n[1]%4)
		c.do("NOOP", func(a *answer) { c.want(a, "OK") })
	}
	c.lose()
	if quick && n[3]%2 == 0 { // it comes back at once
		c.connect(n[1]/7 | 2)
		c.selectBox("SELECT", name, n)
	}
}

// doTogether has somebody else change and expunge messages where a session is, and the
// session ask by number meanwhile, so that it is told some of it and not all.
func doTogether(w *world, c *conn, n [6]uint32) {
	other := w.conns[(c.n+1+int(n[1]%4))%5]
	name, ok := other.nameOf(c.box)
	if !ok || !c.open(c.box) || !other.ready(n, awake) {
		return
	}
	if other.box != c.box {
		other.selectBox("SELECT", name, n)
	}
	for i := range uint32(4) {
		if other.s == nil || other.box == nil || !other.open(other.box) || len(other.shadow) == 0 {
			return
		}
		if n[2]>>i%3 == 0 {
			doExpunge(w, other, n)
		} else {
			doStore(w, other, [6]uint32{n[0], n[1] >> i, n[2] >> i, n[3] >> i, n[4] >> i})
		}
	}
	if c.s == nil || c.box == nil || !c.open(c.box) || len(c.shadow) == 0 || c.client.UIDOnly {
		return
	}
	if n[5]%8 < 3 {
		c.do("FETCH 1 (FLAGS)", func(a *answer) { c.wantFetch(a, false) })
		return
	}
	n[2], n[3] = n[2]-n[2]%3, n[3]&^1
	doLose(w, c, n)
}

// doReplaceGone has a client of ann's expunge a message, and the session replace it
// before it was told (RFC 8508 §4.1).
func doReplaceGone(w *world, c *conn, n [6]uint32) {
	other := w.conns[n[1]%3]
	b := c.box
	if other == c || b.of.user != ann || len(c.shadow) == 0 || !other.ready(n, awake) {
		return
	}
	if other.box != b || other.readOnly {
		other.selectBox("SELECT", b.name, n)
	}
	at := int(n[2]) % len(c.shadow)
	m := c.shadow[at]
	if other.s == nil || other.box != b || other.readOnly || !slices.Contains(other.shadow, m) || m.gone || c.s == nil || c.box != b || !c.open(b) || at >= len(c.shadow) || c.shadow[at] != m {
		return
	}
	other.do(fmt.Sprintf("UID STORE %d +FLAGS (\\Deleted)", m.uid), func(a *answer) {
		other.want(a, "OK")
		other.flag(m, changed('+', other.now(m).flags, `\deleted`, everything))
	})
	other.do(fmt.Sprintf("UID EXPUNGE %d", m.uid), func(a *answer) {
		other.want(a, "OK")
		b.expunge([]*message{m})
	})
	if to := c.find(c.name(n[4])); c.s != nil && c.room(to) {
		c.replace(at, n, to)
	}
}
