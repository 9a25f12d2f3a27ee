package imapmodel

import (
	"fmt"
	"slices"
	"strings"

	"rookery/internal/modelclient"
)

// doMulti is ESEARCH of several mailboxes (RFC 7377). Of those that the user may not
// read, and those that are not there, nothing is said.
func doMulti(w *world, c *conn, n [6]uint32) {
	var sources []string
	in := map[string]bool{}
	one, other := c.name(n[1]), c.name(n[2])
	add := func(source string, holds func(name string) bool) {
		sources = append(sources, source)
		for _, name := range c.visible() {
			in[name] = in[name] || holds(name)
		}
	}
	if n[3]%2 == 0 || n[3]/2%16 == 0 {
		add(fmt.Sprintf("mailboxes (%s %s)", w.wire(one), w.wire(other)), func(name string) bool { return name == one || name == other })
	}
	if n[3]/2%4 == 0 {
		add("subtree "+w.wire(one), func(name string) bool { return name == one || strings.HasPrefix(name, one+"/") })
	}
	if n[3]/8%4 == 0 {
		add("subtree-one "+w.wire(other), func(name string) bool { return name == other || parent(name) == other })
	}
	if n[3]/32%4 == 0 {
		add("personal", func(name string) bool { at := c.where(name); return at.of.user == c.user || w.sharing == byNames })
	}
	if c.box != nil && (n[3]/128%3 == 0 || len(sources) == 0) {
		add("selected", func(name string) bool { return c.find(name) == c.box })
	}
	if len(sources) == 0 {
		add("mailboxes "+w.wire(one), func(name string) bool { return name == one })
	}
	k := searchKey(n[4])
	command := fmt.Sprintf("ESEARCH IN (%s) RETURN (ALL COUNT) %s", strings.Join(sources, " "), k.text)
	c.do(command, func(a *answer) {
		c.want(a, "OK")
		c.checkMulti(a, k, in)
	})
}

// checkMulti checks that each mailbox in which something is found is told once.
func (c *conn) checkMulti(a *answer, k key, in map[string]bool) {
	told := map[*mailbox]string{}
	for _, r := range a.all {
		if !c.answers(r) {
			continue
		}
		head := r.Data[0].List
		if len(head) != 6 || head[2].Text != "MAILBOX" || head[4].Text != "UIDVALIDITY" {
			c.fail("%s", r.Raw)
		}
		name := strings.ReplaceAll(head[3].Text, c.w.sep, "/")
		b := c.find(name)
		if b == nil || !in[name] || !c.open(b) || told[b] != "" {
			c.fail("%s is searched, twice or at all", name)
		}
		c.w.validity(b, c.number(head[5].Text))
		told[b] = c.foundIn(r, b)
	}
	for name, is := range in {
		b := c.find(name)
		if !is || !c.open(b) {
			continue
		}
		if b == c.box && c.loose() {
			continue // it may have another name by now
		}
		must, may := c.matchesIn(b, k)
		if got := told[b]; got == "" && len(must) > 0 || got != "" && len(must) == len(may) && got != setText(must) {
			c.fail("in %s %q is found, want %d", name, got, must)
		}
	}
}

// foundIn gives the UIDs that were found.
func (c *conn) foundIn(r modelclient.Response, b *mailbox) (set string) {
	count := ""
	for i := 1; i+1 < len(r.Data); i++ {
		switch r.Data[i].Text {
		case "ALL":
			set = r.Data[i+1].Text
		case "COUNT":
			count = r.Data[i+1].Text
		}
	}
	uids, err := c.numbers(set)
	if err != nil || count != fmt.Sprint(len(uids)) {
		c.fail("in %s: %s", b.name, r.Raw)
	}
	return set
}

// matchesIn is matches for a mailbox that may be another than the selected one, which
// is seen as it is.
func (c *conn) matchesIn(b *mailbox, k key) (must, may []uint32) {
	if b == c.box {
		return c.matches(k, true)
	}
	for _, m := range b.messages {
		if k.is(m, m.now(c.side(b))) {
			must = append(must, m.uid)
		}
	}
	return must, slices.Clone(must)
}
