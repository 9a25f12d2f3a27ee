package imapmodel

import "fmt"

// checkEmailIDs compares EMAILIDs: messages have one exactly if they have the same
// octets, wherever they were copied to (RFC 8474 §5.1).
func (c *conn) checkEmailIDs(a *answer) {
	for _, r := range a.all {
		v, is := r.Item("EMAILID")
		if !is || len(v.List) != 1 {
			continue
		}
		m := c.named(fmt.Sprint(r.Num), r.Name == "UIDFETCH")[0]
		id := v.List[0].Text
		if body, known := c.w.emails[id]; known && body != m.body {
			c.fail("UID %d has the EMAILID %s, as a message with other octets had", m.uid, id)
		}
		for other, body := range c.w.emails {
			if body == m.body && other != id {
				c.fail("UID %d has the EMAILID %s, the same octets had %s", m.uid, id, other)
			}
		}
		c.w.emails[id] = m.body
	}
}

// mailboxID learns a mailbox's MAILBOXID, which it keeps through RENAME and which no
// other ever has (RFC 8474 §4).
func (c *conn) mailboxID(b *mailbox, id string) {
	if b.id != "" && b.id != id {
		c.fail("MAILBOXID %s of %s, was %s", id, b.name, b.id)
	}
	if other := c.w.ids[id]; other != nil && other != b {
		c.fail("MAILBOXID %s of %s is that of %s", id, b.name, other.name)
	}
	b.id, c.w.ids[id] = id, b
}
