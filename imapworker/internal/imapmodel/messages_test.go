package imapmodel

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"rookery/internal/mailstore"
	"rookery/internal/modelclient"
)

// limit is how many messages a mailbox has before steps make room.
const limit = 24

// doStore is STORE and UID STORE.
func doStore(w *world, c *conn, n [6]uint32) { c.store(n, 0) }

// doConditional is STORE with UNCHANGEDSINCE (RFC 7162 §3.1.3).
func doConditional(w *world, c *conn, n [6]uint32) {
	since := uint64(1)
	for _, uid := range slices.Sorted(maps.Keys(c.client.Cache.Messages)) {
		if m := c.client.Cache.Messages[uid]; m.ModSeq > since && (since == 1 || n[4]%3 > 0) {
			since = m.ModSeq
		}
	}
	if n[4]%5 == 0 {
		since = max(c.box.told[c.side(c.box)], 1)
	}
	c.mayModSeq(func() *answer { return c.store(n, since) })
}

func (c *conn) store(n [6]uint32, since uint64) *answer {
	uid, prefix := c.byUID(n[1])
	text, list, bad := c.set(uid, n[2], n[3])
	op := []byte{'+', '-', 0}[n[4]/7%3]
	silent := n[4]/32%2 == 0
	flags := pickFlags(n[4] / 64)
	names := modelclient.FlagText(flags)
	item := "FLAGS"
	if op > 0 {
		item = string(op) + item
	}
	if silent {
		item += ".SILENT"
	}
	condition := ""
	if since > 0 {
		condition = fmt.Sprintf("(UNCHANGEDSINCE %d) ", since)
	}
	rights := c.rights()
	var quiet *modelclient.Quiet
	if silent {
		quiet = &modelclient.Quiet{UIDs: uidsOf(list), Change: func(old string) string { return changed(op, old, names, everything) }}
	}
	return c.doQuiet(fmt.Sprintf("%sSTORE %s %s%s (%s)", prefix, text, condition, item, strings.Join(flags, " ")), nil, quiet, func(a *answer) {
		there := live(list)
		switch any := can(rights, `\seen`) || can(rights, `\deleted`) || can(rights, `\flagged`); {
		case bad:
			c.want(a, "BAD")
			return
		case c.readOnly:
			c.want(a, "NO")
			return
		case op == 0 && !any, op > 0 && len(flags) > 0 && allowed(rights, names) == "":
			c.want(a, "NO NOPERM")
			return
		}
		failed := c.modified(a, uid)
		changes := func(m *message) bool { return !slices.Contains(failed, m) }
		for _, m := range failed {
			if !slices.Contains(list, m) || since == 0 {
				c.fail("MODIFIED names UID %d, which the command did not", m.uid)
			}
			if last := c.now(m).modSeq; last > 0 && last <= since && !m.gone && !c.box.jumps(c.side(c.box)) {
				c.fail("MODIFIED names UID %d, which has MODSEQ %d", m.uid, last)
			}
		}
		for _, m := range there {
			if changes(m) {
				now := c.now(m)
				if since > 0 && !c.box.jumps(c.side(c.box)) && !c.mayChange(m, since, op, names) {
					c.fail("UID %d has MODSEQ %d and was changed: %q", m.uid, now.modSeq, now.flags)
				}
				c.flag(m, changed(op, now.flags, names, rights))
			}
		}
		gone := len(there) < len(list) && !uid && !(silent && len(there) > 0)
		if gone && len(failed) == 0 {
			c.want(a, "NO EXPUNGEISSUED")
		} else {
			c.wantOK(a, !gone)
		}
		c.answeredStore(a, there, failed, silent)
	})
}

// answeredStore checks that each message was answered for.
func (c *conn) answeredStore(a *answer, there, failed []*message, silent bool) {
	told := map[uint32]bool{}
	for _, r := range a.all {
		if _, ok := r.Item("FLAGS"); !ok {
			continue
		}
		told[c.uidOf(r)] = true
	}
	for _, m := range there {
		if !told[m.uid] && (!silent || slices.Contains(failed, m)) {
			c.fail("STORE says nothing of UID %d", m.uid)
		}
	}
}

// modified gives the messages that the code MODIFIED names.
func (c *conn) modified(a *answer, uid bool) (out []*message) {
	args, ok := a.code("MODIFIED")
	if !ok {
		return nil
	}
	numbers, err := c.numbers(args)
	if err != nil {
		c.fail("%v", err)
	}
	for _, n := range numbers {
		at := int(n) - 1
		if uid {
			at = slices.IndexFunc(c.shadow, func(m *message) bool { return m.uid == n })
		}
		if at < 0 || at >= len(c.shadow) {
			c.fail("MODIFIED %s", args)
		}
		out = append(out, c.shadow[at])
	}
	return out
}

// mayChange says whether a STORE with UNCHANGEDSINCE may change a message: it has not
// changed since, or what changed is none of the command's business (RFC 7162 §3.1.12).
func (c *conn) mayChange(m *message, since uint64, op byte, names string) bool {
	now := c.now(m)
	if last := now.modSeq; last == 0 || last <= since {
		return true
	}
	if op == 0 {
		return false
	}
	for _, v := range m.versions[c.side(c.box)] {
		same := true
		for f := range strings.FieldsSeq(names) {
			same = same && v.has(f) == now.has(f)
		}
		if same && (v.modSeq == 0 || v.modSeq <= since) {
			return true
		}
	}
	return false
}

// ---- expunging, copying

func deletedOf(list []*message) []*message {
	return slices.DeleteFunc(slices.Clone(list), func(m *message) bool { return !m.deleted() })
}

func doExpunge(w *world, c *conn, n [6]uint32) {
	c.expunge("EXPUNGE", func() []*message { return deletedOf(c.box.messages) })
}

func (c *conn) expunge(command string, list func() []*message) {
	b, ok := c.box, !c.readOnly && strings.Contains(c.rights(), "e")
	c.do(command, func(a *answer) {
		c.wantOK(a, ok)
		if ok {
			b.expunge(list())
		}
	})
}

// doUIDExpunge is RFC 4315 §2.1's.
func doUIDExpunge(w *world, c *conn, n [6]uint32) {
	text, list, _ := c.set(true, n[1]|1, n[2])
	if strings.Contains(text, "*") {
		text, list = "1:4294967295", c.box.messages
	} else if text == "$" {
		list = live(list)
	}
	if strings.Contains(text, ":") && text != "1:4294967295" { // what was not told yet counts too
		first, last := list[0].uid, list[len(list)-1].uid
		text = fmt.Sprintf("%d:%d", first, last)
		list = slices.DeleteFunc(slices.Clone(c.box.messages), func(m *message) bool { return m.uid < first || m.uid > last })
	}
	c.expunge("UID EXPUNGE "+text, func() []*message { return deletedOf(live(list)) })
}

func doCopy(w *world, c *conn, n [6]uint32) { c.transfer(n, false) }
func doMove(w *world, c *conn, n [6]uint32) { c.transfer(n, true) }

// room makes a mailbox small enough, and reports whether it was.
func (c *conn) room(b *mailbox) bool {
	if b == nil || len(b.messages) < limit {
		return true
	}
	w := c.w
	w.foreignExpunge(b)
	return false
}

// transfer is COPY (RFC 3501 §6.4.7) and MOVE (RFC 6851).
func (c *conn) transfer(n [6]uint32, move bool) {
	uid, prefix := c.byUID(n[1])
	text, list, bad := c.set(uid, n[2], n[3])
	name := c.name(n[4])
	from, to := c.box, c.find(name)
	if !c.room(to) {
		return
	}
	verb := "COPY"
	if move {
		verb = "MOVE"
	}
	rights, there := c.rights(), ""
	if to != nil {
		there = c.may(to)
	}
	allowedHere := !move || hasAll(rights, "te")
	c.do(fmt.Sprintf("%s%s %s %s", prefix, verb, text, c.w.wire(name)), func(a *answer) {
		found := live(list)
		switch {
		case bad:
			c.want(a, "BAD")
			return
		case move && c.readOnly:
			c.want(a, "NO")
			return
		case !uid && len(found) < len(list):
			c.want(a, "NO EXPUNGEISSUED")
			return
		case !allowedHere && to == nil:
			c.want(a, "NO") // which is looked at first nobody says
			return
		case !allowedHere:
			c.want(a, "NO NOPERM")
			return
		case to == nil && len(found) == 0 && a.tagged.Name == "OK":
			return // there was nothing to put there
		case to == nil && c.implied(name):
			c.want(a, "NO")
			return
		case to == nil:
			c.want(a, "NO TRYCREATE")
			return
		case !hasAll(there, "i"):
			c.want(a, "NO NOPERM")
			return
		}
		c.want(a, "OK")
		args, ok := a.code("COPYUID")
		if ok != (len(found) > 0 && hasAll(there, "r")) { // RFC 9051 §6.4.7: not without r
			c.fail("COPYUID %q, and %d messages are there", args, len(found))
		}
		if !ok && len(found) > 0 {
			c.untold(to, len(found))
		}
		first := to.first(args, 2)
		for _, m := range found {
			to.add(c.kept(to, c.now(m).flags), m.body)
		}
		if ok {
			c.wantUIDs("COPYUID", args, to, setText(uidsOf(found)), first, len(found))
		}
		if move {
			from.expunge(found)
		}
	})
}

// untold finds the UIDs of messages that were put into a mailbox which the user may not
// look into, where they cannot be foreseen.
func (c *conn) untold(to *mailbox, count int) {
	if to.of.doubt {
		c.w.elsewhere(to, func(box mailstore.Mailbox) { to.next = max(to.next, box.Snapshot().UIDNext()-uint32(count)) })
	}
}

// first gives the UID that a mailbox's next message gets; a code's word of that place
// has it. Where an index was damaged some may be passed over.
func (b *mailbox) first(args string, word int) uint32 {
	if words := strings.Fields(args); b.of.doubt && len(words) > word {
		text, _, _ := strings.Cut(words[word], ":")
		if n, err := strconv.ParseUint(text, 10, 32); err == nil {
			b.next = max(b.next, uint32(n))
		}
	}
	return b.next
}

// wantUIDs checks the arguments of COPYUID and APPENDUID (RFC 4315 §3).
func (c *conn) wantUIDs(code, args string, to *mailbox, from string, first uint32, count int) {
	var uids []uint32
	for i := range count {
		uids = append(uids, first+uint32(i))
	}
	words := strings.Fields(args)
	if len(words) < 2 {
		c.fail("%s %s", code, args)
	}
	n, err := strconv.ParseUint(words[0], 10, 32)
	if err != nil {
		c.fail("%s %s", code, args)
	}
	c.w.validity(to, uint32(n))
	want := setText(uids)
	if from != "" {
		want = from + " " + want
	}
	if got := strings.Join(words[1:], " "); got != want {
		c.fail("%s %s, want %s", code, got, want)
	}
}

// ---- appending

// literal writes a message for APPEND.
func literal(body string) string { return fmt.Sprintf("{%d+}\r\n%s", len(body), body) }

// part is a message of APPEND: how it is written, and what it becomes.
type part struct{ text, flags, body string }

func (c *conn) part(n uint32) part {
	flags := pickFlags(n)
	body := c.w.body()
	return part{fmt.Sprintf("(%s) %s", strings.Join(flags, " "), literal(body)), modelclient.FlagText(flags), body}
}

func doAppend(w *world, c *conn, n [6]uint32) {
	parts := []part{c.part(n[2])}
	for n[3]%3 == 0 && len(parts) < 3 {
		n[3] /= 3
		parts = append(parts, c.part(n[4]/uint32(len(parts))))
	}
	c.append(c.name(n[1]), parts, true)
}

// append is APPEND; readable says that what its URLs name is there.
func (c *conn) append(name string, parts []part, readable bool) {
	to := c.find(name)
	if !c.room(to) {
		return
	}
	command := "APPEND " + c.w.wire(name)
	for _, p := range parts {
		command += " " + p.text
	}
	there := ""
	if to != nil {
		there = c.may(to)
	}
	c.do(command, func(a *answer) {
		switch {
		case to == nil && c.implied(name):
			c.want(a, "NO")
			return
		case to == nil:
			c.want(a, "NO TRYCREATE")
			return
		case !hasAll(there, "i"):
			c.want(a, "NO NOPERM")
			return
		case !readable:
			c.want(a, "NO BADURL")
			return
		}
		c.appended(a, to, parts)
	})
}

// appended takes in what was put into a mailbox. Who may not read it is told no UIDs
// (RFC 9051 §6.3.12).
func (c *conn) appended(a *answer, to *mailbox, parts []part) {
	c.want(a, "OK")
	args, ok := a.code("APPENDUID")
	if ok != hasAll(c.may(to), "r") {
		c.fail("APPENDUID %q, and the rights are %q", args, c.may(to))
	}
	if !ok {
		c.untold(to, len(parts))
	}
	first := to.first(args, 1)
	for _, p := range parts {
		to.add(c.kept(to, p.flags), p.body)
	}
	if ok {
		c.wantUIDs("APPENDUID", args, to, "", first, len(parts))
	}
}

// url chooses a message, and gives its URL (RFC 4469, RFC 5092).
func (c *conn) url(n uint32) (url string, body string, readable bool) {
	name := c.name(n)
	b := c.find(name)
	url = "/" + strings.NewReplacer("/", "%2F", " ", "%20").Replace(c.w.told(name))
	if b == nil || len(b.messages) == 0 {
		return url + "/;UID=7", "", false
	}
	m := b.messages[int(n/16)%len(b.messages)]
	if n/256%8 == 0 {
		return fmt.Sprintf("%s/;UID=%d", url, b.next), "", false
	}
	return fmt.Sprintf("%s/;UID=%d", url, m.uid), m.body, strings.Contains(c.may(b), "r")
}

func doCatenate(w *world, c *conn, n [6]uint32) {
	url, body, readable := c.url(n[2])
	if len(body) > 500 {
		return
	}
	tail := fmt.Sprintf("tail %d\r\n", n[3]%100)
	flags := pickFlags(n[4])
	p := part{fmt.Sprintf("(%s) CATENATE (URL \"%s\" TEXT %s)", strings.Join(flags, " "), url, literal(tail)), modelclient.FlagText(flags), body + tail}
	c.append(c.name(n[1]), []part{p}, readable)
}

// doReplace is REPLACE (RFC 8508).
func doReplace(w *world, c *conn, n [6]uint32) {
	to := c.find(c.name(n[4]))
	if len(c.shadow) == 0 || !c.room(to) {
		return
	}
	c.replace(int(n[2])%len(c.shadow), n, to)
}

// replace replaces a message that the client knows of, by its number or its UID.
func (c *conn) replace(at int, n [6]uint32, to *mailbox) {
	uid, prefix := c.byUID(n[1])
	name := c.name(n[4])
	old, number := c.shadow[at], fmt.Sprint(at+1)
	if uid {
		number = fmt.Sprint(old.uid)
	}
	p := c.part(n[3])
	rights, there := c.rights(), ""
	if to != nil {
		there = c.may(to)
	}
	from := c.box
	c.do(fmt.Sprintf("%sREPLACE %s %s %s", prefix, number, c.w.wire(name), p.text), func(a *answer) {
		switch {
		case c.readOnly:
			c.want(a, "NO")
			return
		case !hasAll(rights, "te"):
			c.want(a, "NO NOPERM")
			return
		case old.gone:
			c.want(a, "NO EXPUNGEISSUED")
			return
		case to == nil && c.implied(name):
			c.want(a, "NO")
			return
		case to == nil:
			c.want(a, "NO TRYCREATE")
			return
		case !hasAll(there, "i"):
			c.want(a, "NO NOPERM")
			return
		}
		c.appended(a, to, []part{p})
		from.expunge([]*message{old})
	})
}
