package imapmodel

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"rookery/internal/modelclient"
)

// doFetch asks for flags.
func doFetch(w *world, c *conn, n [6]uint32) {
	uid, prefix := c.byUID(n[1])
	text, _, bad := c.set(uid, n[2], n[3])
	items := []string{"FLAGS", "UID FLAGS", "FLAGS MODSEQ", "UID EMAILID", "INTERNALDATE RFC822.SIZE"}[n[4]%5]
	ask := func() *answer {
		return c.do(fmt.Sprintf("%sFETCH %s (%s)", prefix, text, items), func(a *answer) {
			c.wantFetch(a, bad)
			c.checkEmailIDs(a)
		})
	}
	if strings.Contains(items, "MODSEQ") {
		c.mayModSeq(ask)
	} else {
		ask()
	}
}

func (c *conn) wantFetch(a *answer, bad bool) {
	switch {
	case bad:
		c.want(a, "BAD")
	case a.tagged.Name == "NO" && len(live(c.shadow)) < len(c.shadow):
		c.want(a, "NO EXPUNGEISSUED")
	default:
		c.want(a, "OK")
	}
}

// doBody asks for whole messages; without PEEK that sets \Seen (RFC 3501 §6.4.5).
func doBody(w *world, c *conn, n [6]uint32) {
	uid, prefix := c.byUID(n[1])
	text, list, bad := c.set(uid, n[2], n[3])
	item := []string{"BODY[]", "BODY.PEEK[]", "RFC822"}[n[4]%3]
	if item == "RFC822" && c.client.Rev2 {
		item = "BODY[]"
	}
	rights := c.rights()
	c.do(fmt.Sprintf("%sFETCH %s (UID %s)", prefix, text, item), func(a *answer) {
		c.wantFetch(a, bad)
		if bad {
			return
		}
		c.checkBodies(a, list)
		if item != "BODY.PEEK[]" && !c.readOnly && can(rights, `\seen`) {
			there := c.w.look(c.box, c.side(c.box))
			for _, m := range live(list) {
				old := c.now(m).flags
				if c.loose() && there[m.uid] == old {
					continue // the session took it for seen: the news was on its way
				}
				c.flag(m, withSeen(old, true))
			}
		}
	})
}

func (c *conn) checkBodies(a *answer, list []*message) {
	told := map[uint32]bool{}
	for _, r := range a.all {
		body, ok := r.Item("BODY[]")
		if !ok {
			if body, ok = r.Item("RFC822"); !ok {
				continue
			}
		}
		uid := r.Num
		if v, ok := r.Item("UID"); ok {
			n, _ := strconv.ParseUint(v.Text, 10, 32)
			uid = uint32(n)
		}
		i := slices.IndexFunc(list, func(m *message) bool { return m.uid == uid })
		if i < 0 {
			c.fail("the body of UID %d, which was not asked for", uid)
		}
		if m := list[i]; !m.gone && body.Text != m.body {
			c.fail("UID %d has the body %q, want %q", uid, body.Text, m.body)
		}
		told[uid] = true
	}
	for _, m := range live(list) {
		if !told[m.uid] {
			c.fail("the body of UID %d did not come", m.uid)
		}
	}
}

// uidOf gives the UID that a FETCH response speaks of, 0 for none. Numbers are those from
// before the answer: what comes behind an expunge names UIDs.
func (c *conn) uidOf(r modelclient.Response) uint32 {
	if v, ok := r.Item("UID"); ok {
		return c.number(v.Text)
	}
	switch {
	case r.Name == "UIDFETCH":
		return r.Num
	case r.Name == "FETCH" && int(r.Num) <= len(c.shadow) && r.Num > 0:
		return c.shadow[r.Num-1].uid
	}
	return 0
}

// doChangedSince is FETCH with CHANGEDSINCE (RFC 7162 §3.1.4.1), with VANISHED too
// (§3.2.6).
func doChangedSince(w *world, c *conn, n [6]uint32) {
	uid, prefix := c.byUID(n[1])
	text, list, bad := c.set(uid, n[2], n[3])
	if text == "$" {
		text, list = "1:*", slices.Clone(c.shadow)
		bad = !uid && len(list) == 0
	}
	var seen []uint64
	for _, m := range c.box.messages {
		if s := c.now(m).modSeq; s > 0 {
			seen = append(seen, s)
		}
	}
	since := uint64(1)
	if len(seen) > 0 {
		since = seen[int(n[4])%len(seen)]
	}
	args := fmt.Sprintf("CHANGEDSINCE %d", since)
	if uid && c.client.Qresync && n[4]/32%2 == 0 {
		args += " VANISHED"
	}
	b := c.box
	c.mayModSeq(func() *answer {
		return c.do(fmt.Sprintf("%sFETCH %s (FLAGS) (%s)", prefix, text, args), func(a *answer) {
			c.wantFetch(a, bad)
			if a.tagged.Name != "OK" {
				return
			}
			told := map[uint32]bool{}
			for _, r := range a.all {
				told[c.uidOf(r)] = true
			}
			for _, m := range live(list) {
				switch last := c.now(m).modSeq; {
				case c.loose(): // what has changed may be on its way
				case !told[m.uid] && (last > since || last == 0 && c.now(m).above >= since):
					c.fail("UID %d has changed since %d, and was not told", m.uid, since)
				case told[m.uid] && last > 0 && last <= since && !b.jumps(c.side(b)) && !c.waits(m):
					c.fail("UID %d has not changed since %d, and was told", m.uid, since)
				}
			}
		})
	})
}

// waits reports whether the server may still have to tell a message's flags to a
// session: that may come with any answer.
func (c *conn) waits(m *message) bool {
	got, now := c.client.Cache.Messages[m.uid], c.now(m)
	return !got.Known || got.Flags != now.flags || got.ModSeq != now.modSeq
}

// ---- searching

type key struct {
	text string
	is   func(m *message, v *version) bool
}

func searchKey(n uint32) key {
	flags := func(text string, is func(v *version) bool) key {
		return key{text, func(_ *message, v *version) bool { return is(v) }}
	}
	switch n % 8 {
	case 0:
		return flags("ALL", func(*version) bool { return true })
	case 1:
		return flags("UNSEEN", func(v *version) bool { return !v.has(`\seen`) })
	case 2:
		return flags("DELETED FLAGGED", func(v *version) bool { return v.has(`\deleted`) && v.has(`\flagged`) })
	case 3:
		return flags("KEYWORD $x", func(v *version) bool { return v.has("$x") })
	case 4:
		return flags("NOT (KEYWORD k1 UNDELETED)", func(v *version) bool { return !(v.has("k1") && !v.has(`\deleted`)) })
	case 5:
		words := fmt.Sprintf("text %d", n/8%30)
		return key{`BODY "` + words + `"`, func(m *message, _ *version) bool { return strings.Contains(m.body, words) }}
	case 6:
		k := 1 + n/8%20
		return key{fmt.Sprintf("UID %d:%d", k, k+8), func(m *message, _ *version) bool { return m.uid >= k && m.uid <= k+8 }}
	}
	return flags("OR ANSWERED DRAFT", func(v *version) bool { return v.has(`\answered`) || v.has(`\draft`) })
}

// answers reports whether a response is ESEARCH for the command under way, and not news
// of another one.
func (c *conn) answers(r modelclient.Response) bool {
	if r.Name != "ESEARCH" {
		return false
	}
	tag, news := eSearchTag(r)
	return !news && tag == c.client.Tag
}

// eSearchTag gives the tag that an ESEARCH response names, and whether it tells what has
// changed (RFC 5267 §4.3).
func eSearchTag(r modelclient.Response) (tag string, news bool) {
	if len(r.Data) == 0 || r.Data[0].Kind != modelclient.List || len(r.Data[0].List) < 2 || r.Data[0].List[0].Text != "TAG" {
		return "", false
	}
	news = slices.ContainsFunc(r.Data, func(v modelclient.Value) bool { return v.Text == "ADDTO" || v.Text == "REMOVEFROM" })
	return r.Data[0].List[1].Text, news
}

// doSearch is SEARCH, with RETURN and without; PARTIAL is RFC 9394's.
func doSearch(w *world, c *conn, n [6]uint32) {
	_, prefix := c.byUID(n[1])
	k := searchKey(n[2])
	options := []string{"", " RETURN (ALL)", " RETURN (MIN MAX COUNT)", " RETURN (PARTIAL 2:4)", " RETURN (PARTIAL -1:-3)"}[n[3]%5]
	c.do(prefix+"SEARCH"+options+" "+k.text, func(a *answer) {
		c.want(a, "OK")
		c.checkSearch(a, prefix != "", options, k)
	})
}

// matches gives the numbers that a search must find, and those that it may: of
// messages that are gone nobody can say.
func (c *conn) matches(k key, uid bool) (must, may []uint32) {
	for i, m := range c.shadow {
		number := uint32(i) + 1
		if uid {
			number = m.uid
		}
		switch {
		case m.gone:
			may = append(may, number)
		case c.loose():
			some, all := c.ever(k, m)
			if some {
				may = append(may, number)
			}
			if all {
				must = append(must, number)
			}
		case k.is(m, c.now(m)):
			must = append(must, number)
			may = append(may, number)
		}
	}
	return must, may
}

// ever reports whether a message was at some time, or always, what a search looks for.
func (c *conn) ever(k key, m *message) (some, all bool) {
	all = true
	for i := range m.versions[c.side(c.box)] {
		is := k.is(m, &m.versions[c.side(c.box)][i])
		some, all = some || is, all && is
	}
	return some, all
}

func (c *conn) checkSearch(a *answer, uid bool, options string, k key) {
	must, may := c.matches(k, uid)
	sure := len(must) == len(may)
	var found []uint32
	for _, r := range a.all {
		switch {
		case r.Name == "SEARCH":
			for _, v := range r.Data {
				found = append(found, c.number(v.Text))
			}
		case c.answers(r):
			if options == "" && !c.client.Rev2 {
				c.fail("ESEARCH was not asked for")
			}
			c.checkESearch(r, must, sure, &found)
		}
	}
	if options != "" && options != " RETURN (ALL)" {
		return
	}
	for _, n := range must {
		if !slices.Contains(found, n) {
			c.fail("SEARCH %s does not find %d: %d", k.text, n, found)
		}
	}
	for _, n := range found {
		if !slices.Contains(may, n) {
			c.fail("SEARCH %s finds %d", k.text, n)
		}
	}
}

// checkESearch checks the items of an ESEARCH response.
func (c *conn) checkESearch(r modelclient.Response, must []uint32, sure bool, found *[]uint32) {
	for i := 0; i+1 < len(r.Data); i++ {
		text := r.Data[i+1].Text
		switch r.Data[i].Text {
		case "ALL":
			*found, _ = c.numbers(text)
		case "COUNT":
			if sure && text != fmt.Sprint(len(must)) {
				c.fail("COUNT %s, want %d", text, len(must))
			}
		case "MIN", "MAX":
			if sure && (len(must) == 0 || c.number(text) != map[string]uint32{"MIN": must[0], "MAX": must[len(must)-1]}[r.Data[i].Text]) {
				c.fail("%s %s of %d", r.Data[i].Text, text, must)
			}
		case "PARTIAL":
			want := slices.Clone(must)
			switch r.Data[i+1].List[0].Text {
			case "2:4":
				want = want[min(1, len(want)):min(4, len(want))]
			case "-1:-3":
				want = want[max(0, len(want)-3):]
			}
			text := setText(want)
			if text == "" {
				text = "NIL"
			}
			if got := r.Data[i+1].List[1].Text; sure && got != text {
				c.fail("PARTIAL %s, want %s", got, text)
			}
		}
	}
}

func (c *conn) number(text string) uint32 {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 0 {
		c.fail("no number: %q", text)
	}
	return uint32(n)
}

// doSave makes "$" something new (RFC 5182).
func doSave(w *world, c *conn, n [6]uint32) {
	_, prefix := c.byUID(n[1])
	k := searchKey(n[2])
	var found []*message
	c.do(prefix+"SEARCH RETURN (SAVE ALL) "+k.text, func(a *answer) {
		c.want(a, "OK")
		var numbers []uint32
		for _, r := range a.all {
			for i, v := range r.Data {
				if c.answers(r) && v.Text == "ALL" {
					numbers, _ = c.numbers(r.Data[i+1].Text)
				}
			}
		}
		c.checkSearch(a, prefix != "", " RETURN (ALL)", k)
		for i, m := range c.shadow {
			number := uint32(i) + 1
			if prefix != "" {
				number = m.uid
			}
			if slices.Contains(numbers, number) {
				found = append(found, m)
			}
		}
		c.saved = found // expunges that come with this answer take theirs out
	})
}

// ---- mailboxes

func doStatus(w *world, c *conn, n [6]uint32) {
	name := c.name(n[1])
	b := c.find(name)
	items := []string{"MESSAGES UIDNEXT UIDVALIDITY UNSEEN", "MESSAGES DELETED MAILBOXID", "HIGHESTMODSEQ UIDNEXT"}[n[2]%3]
	ask := func() *answer {
		return c.do("STATUS "+w.wire(name)+" ("+items+")", func(a *answer) {
			readable := b != nil && strings.Contains(c.may(b), "r")
			c.wantOK(a, readable)
			if readable {
				c.checkStatus(a, name, b)
			}
		})
	}
	if strings.Contains(items, "MODSEQ") {
		c.mayModSeq(ask)
	} else {
		ask()
	}
}

func (c *conn) checkStatus(a *answer, name string, b *mailbox) {
	for _, r := range a.all {
		if r.Name != "STATUS" {
			continue
		}
		if len(r.Data) != 2 || r.Data[0].Text != c.w.told(name) {
			c.fail("%s", r.Raw)
		}
		for i := 0; i+1 < len(r.Data[1].List); i += 2 {
			if r.Data[1].List[i].Text == "MAILBOXID" && len(r.Data[1].List[i+1].List) == 1 {
				c.mailboxID(b, r.Data[1].List[i+1].List[0].Text)
				continue
			}
			got, _ := strconv.ParseUint(r.Data[1].List[i+1].Text, 10, 63)
			want := got
			switch r.Data[1].List[i].Text {
			case "MESSAGES":
				want = uint64(len(b.messages))
			case "UIDNEXT":
				c.nextUID(b, uint32(got))
			case "UIDVALIDITY":
				c.w.validity(b, uint32(got))
			case "UNSEEN":
				want = uint64(b.count(func(m *message) bool { return !m.now(c.side(b)).has(`\seen`) }))
			case "DELETED":
				want = uint64(b.count(func(m *message) bool { return m.deleted() }))
			case "HIGHESTMODSEQ":
				b.highest(c, got)
			}
			if got != want {
				c.fail("%s: %s must be %d", r.Raw, r.Data[1].List[i].Text, want)
			}
		}
		return
	}
	c.fail("no STATUS response")
}

func doCreate(w *world, c *conn, n [6]uint32) {
	at := c.where(c.name(n[1]))
	c.do("CREATE "+w.wire(at.wire), func(a *answer) { c.wantOK(a, at.of.create(at.role, at.name)) })
}

func doDelete(w *world, c *conn, n [6]uint32) {
	at := c.where(c.name(n[1]))
	own := c.box != nil && c.box == c.find(at.wire)
	c.do("DELETE "+w.wire(at.wire), func(a *answer) {
		ok := at.of.remove(at.role, at.name)
		c.wantOK(a, ok)
		if ok && own {
			c.client.Deselect()
			c.leave()
		}
	})
}

func doRename(w *world, c *conn, n [6]uint32) {
	from, to := c.where(c.name(n[1])), c.where(c.name(n[2]))
	c.do("RENAME "+w.wire(from.wire)+" "+w.wire(to.wire), func(a *answer) {
		ok := from.of == to.of && from.of.mayRename(from.role, from.name, to.name)
		if from.of == to.of && from.of.unsaid(from.name, to.name) && (from.role == owner || hasAll(from.of.inherited(to.name).bob(), "lk")) {
			ok = a.tagged.Name == "OK"
		}
		c.wantOK(a, ok)
		if ok {
			from.of.rename(from.name, to.name)
		}
	})
}

// doList compares all names.
func doList(w *world, c *conn, n [6]uint32) {
	c.do(`LIST "" *`, func(a *answer) {
		c.want(a, "OK")
		want, may := map[string]bool{}, map[string]bool{} // a mere parent matches "%" alone (RFC 3501 §6.3.8)
		for _, name := range c.visible() {
			want[name] = true
			for p := parent(name); p != ""; p = parent(p) {
				may[p] = true
			}
		}
		for _, r := range a.all {
			if r.Name != "LIST" {
				continue
			}
			name := strings.ReplaceAll(r.Data[2].Text, w.sep, "/")
			if !want[name] && !may[name] {
				c.fail("LIST tells of %s, twice or at all", name)
			}
			delete(want, name)
			delete(may, name)
			b := c.find(name)
			bare := slices.ContainsFunc(r.Data[0].List, func(v modelclient.Value) bool {
				return strings.EqualFold(v.Text, `\Noselect`) || strings.EqualFold(v.Text, `\NonExistent`)
			})
			if bare != (b == nil) {
				c.fail("%s", r.Raw)
			}
		}
		if len(want) > 0 {
			c.fail("LIST leaves out %v", want)
		}
	})
}
