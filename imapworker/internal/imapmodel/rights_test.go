package imapmodel

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"rookery/internal/acl"
	"rookery/internal/mailstore"
	"rookery/internal/modelclient"
)

// grants is an access control list: rights by identifier (RFC 4314 §2).
type grants map[string]string

// groups are bob's.
var groups = []string{"staff", "off"}

// strength has the identifiers that fit bob, the strongest first. Those of one row count
// together, and the first row of which the list has one decides (docs/acl.md).
var strength = [][]string{{"!$staff", "!$off"}, {"bob"}, {"$staff", "$off"}, {"authenticated"}, {"anyone"}}

// bob gives what a list lets bob do.
func (g grants) bob() (rights string) {
	for _, row := range strength {
		said := false
		for _, id := range row {
			r, is := g[id]
			said, rights = said || is, rights+r
		}
		if said {
			break
		}
	}
	for _, row := range strength {
		for _, id := range row {
			rights = without(rights, g["-"+id])
		}
	}
	return rights
}

// without takes letters away.
func without(rights, letters string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(letters, r) {
			return -1
		}
		return r
	}, rights)
}

// wireRights gives rights as a server tells them: each letter once, in the order of RFC
// 4314 §2.1, and the virtual ones behind (§2.1.1).
func wireRights(rights string) (out string) {
	for _, r := range everything {
		if strings.ContainsRune(rights, r) {
			out += string(r)
		}
	}
	if strings.ContainsAny(rights, "kx") {
		out += "c"
	}
	if strings.ContainsAny(rights, "te") {
		out += "d"
	}
	return out
}

// change does a SETACL; op is "+", "-" or "". What takes rights from who is not in the
// list changes nothing.
func (g grants) change(id, op, rights string) {
	switch old, is := g[id]; {
	case op == "-" && is:
		g[id] = without(old, rights)
	case op == "+":
		g[id] = old + without(rights, old)
	case op == "":
		g[id] = rights
	}
}

// inherited is the list of a mailbox that is made: that of the nearest one above it.
func (t *truth) inherited(name string) grants {
	for p := parent(name); p != ""; p = parent(p) {
		if b := t.boxes[p]; b != nil {
			return b.grants
		}
	}
	return nil
}

// may gives somebody's rights on a mailbox; without l he has none.
func (b *mailbox) may(role int) string {
	if role == owner {
		return everything
	}
	if rights := b.grants.bob(); strings.Contains(rights, "l") {
		return rights
	}
	return ""
}

// can reports whether rights allow a flag to be changed (RFC 4314 §4).
func can(rights, flag string) bool {
	right := "w"
	switch flag {
	case `\seen`:
		right = "s"
	case `\deleted`:
		right = "t"
	}
	return strings.Contains(rights, right)
}

// allowed leaves of flags those that rights allow.
func allowed(rights, flags string) string {
	return modelclient.FlagText(slices.DeleteFunc(strings.Fields(flags), func(f string) bool { return !can(rights, f) }))
}

func hasAll(rights, want string) bool {
	for _, r := range want {
		if !strings.ContainsRune(rights, r) {
			return false
		}
	}
	return true
}

// identifiers are those that lists get, of bob and of others.
var identifiers = []string{"bob", "bob", "$staff", "$staff", "$off", "$off", "!$off", "!$staff", "anyone", "authenticated",
	"-bob", "-$staff", "-anyone", "-!$staff", "-authenticated", "carol", "$others", "-carol"}

// rightsOf are what identifiers get, taken those that are taken away.
var (
	rightsOf = []string{everything, "lrswite", "lr", "lrs", "lrst", "lrwi", "l", "", "lrsiek", "lrte", everything, everything, "lrswitekx", "rswi", "li", "lrp"}
	taken    = []string{"w", "s", "te", "r", "l", "i", "x", "a", "k", "", "p", "swi"}
)

// begin shares ann's INBOX with bob, by two groups of his.
func (w *world) begin() {
	b := w.mail[ann].boxes["INBOX"]
	b.grants["$staff"], b.grants["$off"] = "lr", "swite"
	for id, rights := range b.grants {
		who, err := acl.ParseID(id)
		w.must(err)
		change, err := acl.ParseChange(rights)
		w.must(err)
		w.must(w.worker.guard[ann].(mailstore.Sharer).SetACL("INBOX", who, change))
	}
}

// doRights changes a list, by whoever may.
func doRights(w *world, _ *conn, n [6]uint32) {
	c := w.conns[n[2]%5]
	if !c.ready(n, awake) {
		return
	}
	wire := c.name(n[1])
	at, b := c.where(wire), c.find(wire)
	if at.of.user != ann {
		return
	}
	id, rights, op := identifiers[int(n[3]%256)%len(identifiers)], rightsOf[int(n[4]%256)%len(rightsOf)], []string{"", "", "+", "-"}[n[4]/256%4]
	if id[0] == '-' {
		rights = taken[int(n[4]%256)%len(taken)]
	}
	command := fmt.Sprintf("SETACL %s \"%s\" \"%s%s\"", w.wire(wire), id, op, rights)
	remove := n[3]/256%4 == 0 || (id[0] == '-' || id == "bob") && n[3]/256%2 == 0
	if remove {
		command = fmt.Sprintf("DELETEACL %s \"%s\"", w.wire(wire), id)
	}
	wide := (id == "anyone" || id == "authenticated") && rights != "" && op != "-" && !remove
	after := grants{}
	if b != nil {
		after = maps.Clone(b.grants)
	}
	if after.change(id, op, rights); remove {
		delete(after, id)
	}
	may := b != nil && hasAll(c.may(b), "a")
	if may && b == c.box && c.user == bob && !hasAll(after.bob(), "lr") && (!wide || w.sharing.wide()) {
		b.grants = after // who takes it from himself may be sent away before he is answered
	}
	c.do(command, func(a *answer) {
		switch {
		case b == nil:
			c.want(a, "NO")
			return
		case !may, wide && !w.sharing.wide():
			c.want(a, "NO NOPERM")
			return
		}
		c.want(a, "OK")
		b.grants = after
	})
}

// doACL looks at a list: GETACL (RFC 4314 §3.3), MYRIGHTS (§3.5), or LIST with RETURN
// (MYRIGHTS) (RFC 8440 §3).
func doACL(w *world, c *conn, n [6]uint32) {
	wire := c.name(n[1])
	b := c.find(wire)
	switch {
	case n[2]%3 == 0:
		c.do("GETACL "+w.wire(wire), func(a *answer) { c.checkACL(a, wire, b) })
	case n[2]%3 == 1:
		c.do("MYRIGHTS "+w.wire(wire), func(a *answer) {
			c.wantOK(a, b != nil)
			c.checkRights(a, wire, b)
		})
	default:
		c.do(`LIST "" `+w.wire(wire)+" RETURN (MYRIGHTS)", func(a *answer) {
			c.want(a, "OK")
			c.checkRights(a, wire, b)
		})
	}
}

func (c *conn) checkACL(a *answer, name string, b *mailbox) {
	switch {
	case b == nil:
		c.want(a, "NO")
		return
	case !hasAll(c.may(b), "a"):
		c.want(a, "NO NOPERM")
		return
	}
	c.want(a, "OK")
	want := map[string]string{"owner": wireRights(everything)}
	for id, rights := range b.grants {
		want[id] = wireRights(rights)
	}
	for _, r := range a.all {
		if r.Name != "ACL" || len(r.Data)%2 != 1 || r.Data[0].Text != c.w.told(name) {
			continue
		}
		got := map[string]string{}
		for i := 1; i < len(r.Data); i += 2 {
			got[r.Data[i].Text] = r.Data[i+1].Text
		}
		if !maps.Equal(got, want) {
			c.fail("%s, want %q", r.Raw, want)
		}
		return
	}
	c.fail("no ACL response")
}

// checkRights checks a MYRIGHTS response: there is one where there is a mailbox.
func (c *conn) checkRights(a *answer, name string, b *mailbox) {
	told := false
	for _, r := range a.all {
		if r.Name != "MYRIGHTS" {
			continue
		}
		if b == nil || told || len(r.Data) != 2 || r.Data[0].Text != c.w.told(name) || r.Data[1].Text != wireRights(c.may(b)) {
			c.fail("%s", r.Raw)
		}
		told = true
	}
	if b != nil && !told && a.tagged.Name == "OK" {
		c.fail("no MYRIGHTS response for %s, where the rights are %q", name, c.may(b))
	}
}

// checkPermanent compares PERMANENTFLAGS with the rights as they are now (RFC 4314
// §5.1.1).
func (c *conn) checkPermanent() {
	var want []string
	if !c.readOnly {
		for _, f := range []string{`\answered`, `\flagged`, `\deleted`, `\seen`, `\draft`, `\*`} {
			if can(c.rights(), f) {
				want = append(want, f)
			}
		}
	}
	got := slices.DeleteFunc(slices.Clone(c.client.Permanent), func(f string) bool { return f[0] != '\\' })
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		c.fail("PERMANENTFLAGS %q, want %q", got, want)
	}
}
