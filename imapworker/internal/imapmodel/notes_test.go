package imapmodel

import (
	"fmt"
	"maps"
	"strings"

	"rookery/internal/modelclient"
)

// entries are the names of annotations.
var entries = []string{"/private/comment", "/shared/comment", "/private/vendor/x/a", "/private/vendor/x/b", "/shared/vendor/x/a"}

// notes gives the annotations of a name, the server's with "", as the user has them: of
// another's mailbox those below /shared are everybody's, and the others his own
// (docs/acl.md). ok is false where he may have none.
func (c *conn) notes(name string) (notes map[string]string, ok bool) {
	if c.user == bob && c.w.sharing == byNames {
		return nil, false
	}
	if name == "" {
		return c.w.mail[c.user].notes, true
	}
	b := c.find(name)
	if b == nil || !strings.ContainsAny(c.may(b), "rswip") {
		return nil, false
	}
	notes = map[string]string{}
	for entry, value := range b.notes {
		if b.of.user == c.user || strings.HasPrefix(entry, "/shared/") {
			notes[entry] = value
		}
	}
	if b.of.user != c.user {
		maps.Copy(notes, b.own)
	}
	return notes, true
}

// note sets an annotation, or with "" removes it.
func (c *conn) note(name, entry, value string) {
	notes := c.w.mail[c.user].notes
	if b := c.find(name); name != "" && b.of.user != c.user && !strings.HasPrefix(entry, "/shared/") {
		notes = b.own
	} else if name != "" {
		if notes = b.notes; notes[entry] != value {
			b.above = b.told // RFC 7162 §3.2
		}
	}
	if delete(notes, entry); value != "" {
		notes[entry] = value
	}
}

// doMetadata is SETMETADATA and GETMETADATA (RFC 5464).
func doMetadata(w *world, c *conn, n [6]uint32) {
	name, shown := c.name(n[1]), `""`
	if n[1]/64%8 == 0 {
		name = ""
	} else {
		shown = w.wire(name)
	}
	if n[2]%2 == 0 {
		c.setMetadata(name, shown, n)
		return
	}
	asked := entries[int(n[3])%len(entries)]
	list, options, deep := asked, "", func(entry string) bool { return entry == asked }
	switch n[4] % 3 {
	case 0:
		other := entries[int(n[3]/8)%len(entries)]
		list = fmt.Sprintf("(%s %s)", asked, other)
		deep = func(entry string) bool { return entry == asked || entry == other }
	case 1:
		asked = []string{"/private", "/shared", "/private/vendor/x"}[n[3]%3]
		list, options = asked, "(DEPTH infinity) "
		deep = func(entry string) bool { return strings.HasPrefix(entry, asked+"/") }
	}
	c.do(fmt.Sprintf("GETMETADATA %s%s %s", options, shown, list), func(a *answer) {
		notes, ok := c.notes(name)
		c.wantOK(a, ok)
		if !ok {
			return
		}
		want := map[string]string{}
		for entry, value := range notes {
			if deep(entry) {
				want[entry] = value
			}
		}
		c.checkMetadata(a, name, want)
	})
}

// setMetadata sets some entries and removes others, all at once.
func (c *conn) setMetadata(name, shown string, n [6]uint32) {
	change, list := map[string]string{}, []string{}
	server := false // something that is everybody's on the server, and the administrator's to say
	for range 1 + n[3]%3 {
		n[3] /= 3
		n[4] /= 3
		entry := entries[int(n[3])%len(entries)]
		if _, twice := change[entry]; twice {
			continue
		}
		value, text := "", "NIL"
		if n[4]%4 > 0 {
			value = fmt.Sprintf("v%d", n[4]%100)
			text = fmt.Sprintf("%q", value)
			if n[4]%4 == 1 {
				value += "\r\nmore"
				text = literal(value)
			}
		}
		change[entry] = value
		server = server || name == "" && strings.HasPrefix(entry, "/shared/")
		list = append(list, entry+" "+text)
	}
	c.do(fmt.Sprintf("SETMETADATA %s (%s)", shown, strings.Join(list, " ")), func(a *answer) {
		_, ok := c.notes(name)
		c.wantOK(a, ok && !server)
		for entry, value := range change {
			if ok && !server { // all or none
				c.note(name, entry, value)
			}
		}
	})
}

// checkMetadata compares what was told of entries: NIL is one that is not there.
func (c *conn) checkMetadata(a *answer, name string, want map[string]string) {
	got := map[string]string{}
	for _, r := range a.all {
		if r.Name != "METADATA" || len(r.Data) != 2 || r.Data[1].Kind != modelclient.List {
			continue // what has changed is told without values
		}
		if r.Data[0].Text != c.w.told(name) {
			c.fail("%s", r.Raw)
		}
		for i := 0; i+1 < len(r.Data[1].List); i += 2 {
			entry, value := r.Data[1].List[i].Text, r.Data[1].List[i+1]
			if _, twice := got[entry]; twice {
				c.fail("%s is told twice", entry)
			}
			if value.Kind == modelclient.String {
				got[entry] = value.Text
			}
		}
	}
	if !maps.Equal(got, want) {
		c.fail("annotations of %s: %q, want %q", name, got, want)
	}
}
