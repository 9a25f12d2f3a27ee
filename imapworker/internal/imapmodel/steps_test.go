package imapmodel

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"rookery/internal/modelclient"
	"rookery/internal/numset"
)

// step is one thing that happens: what, to whom, and some numbers to choose by.
type step struct {
	what uint16
	n    [6]uint32
}

// action is a kind of step.
type action struct {
	name   string
	weight int
	needs  need
	run    func(w *world, c *conn, n [6]uint32)
}

// need is what a session has to be before an action.
type need uint8

const (
	nothing  need = iota // nothing at all, not even a connection
	awake                // a connection that is not idle
	selected             // a mailbox too
)

// names are those that mailboxes get.
var names = []string{"INBOX", "A", "INBOX", "A/x", "B", "INBOX", "B/y", "C", "C/z/w", "A"}

var flagNames = []string{`\Seen`, `\Flagged`, `\Deleted`, `\Answered`, `\Draft`, "$x", "k1", "k2", "$Y"}

func actions() []action {
	return []action{
		{"select", 12, awake, doSelect}, {"examine", 3, awake, doExamine}, {"unselect", 2, selected, doUnselect}, {"close", 2, selected, doClose},
		{"sync", 14, selected, doSync}, {"noop", 4, awake, doNoop}, {"idle", 5, selected, doIdle},
		{"store", 12, selected, doStore}, {"unchangedsince", 6, selected, doConditional}, {"expunge", 6, selected, doExpunge}, {"uid expunge", 4, selected, doUIDExpunge},
		{"copy", 5, selected, doCopy}, {"move", 5, selected, doMove}, {"append", 7, awake, doAppend}, {"catenate", 3, awake, doCatenate}, {"replace", 5, selected, doReplace},
		{"create", 4, awake, doCreate}, {"delete", 2, awake, doDelete}, {"rename", 4, awake, doRename}, {"list", 2, awake, doList},
		{"fetch", 6, selected, doFetch}, {"body", 5, selected, doBody}, {"changedsince", 4, selected, doChangedSince},
		{"search", 6, selected, doSearch}, {"save", 4, selected, doSave}, {"status", 5, awake, doStatus}, {"notify", 3, awake, doNotify},
		{"foreign", 4, nothing, doForeign}, {"deliver", 3, nothing, doDeliver}, {"damage", 2, nothing, doDamage}, {"kill", 1, nothing, doKill}, {"lose", 5, awake, doLose}, {"together", 6, selected, doTogether},
		{"rights", 8, nothing, doRights}, {"acl", 3, awake, doACL}, {"time", 3, nothing, doTime},
		{"sort", 4, selected, doSort}, {"thread", 4, selected, doThread}, {"partial", 3, selected, doPartial}, {"uidbatches", 3, selected, doBatches},
		{"esearch", 4, awake, doMulti}, {"update", 5, selected, doUpdate}, {"metadata", 5, awake, doMetadata}, {"replace gone", 3, selected, doReplaceGone},
	}
}

// do runs a step.
func (w *world) do(table []action, s step) {
	a := table[int(s.what)%len(table)]
	c := w.conns[s.n[0]%5]
	if a.needs > nothing && !c.ready(s.n, a.needs) {
		w.settle(100 * time.Millisecond)
		return
	}
	w.stats[a.name]++
	a.run(w, c, s.n)
	if s.n[5]%4 > 0 { // else what mailboxes tell waits
		w.settle(100 * time.Millisecond)
	}
}

// ready brings a session where an action can begin; it reports whether it could.
func (c *conn) ready(n [6]uint32, want need) bool {
	if c.s == nil {
		c.connect(n[1] / 7)
	}
	if c.idle != "" {
		c.done()
	}
	if c.s != nil && c.box != nil && !c.open(c.box) {
		c.goneBox(n)
		return false
	}
	if c.s == nil {
		return false
	}
	if want == selected && c.box == nil {
		c.selectBox("SELECT", c.name(n[1]), n)
	}
	return want < selected || c.box != nil
}

// goneBox does something in a mailbox that is not there any more for the user.
func (c *conn) goneBox(n [6]uint32) {
	if n[2]%3 == 0 {
		c.do("UNSELECT", nil)
		c.leave()
		return
	}
	if c.notify == notifyNone { // nothing is told, not even that
		c.selectBox("SELECT", "INBOX", n)
		return
	}
	a := c.do("NOOP", nil)
	if !a.bye {
		c.fail("the mailbox is gone, and the client is not told")
	}
}

// want checks the tagged answer: "OK", "NO", "BAD", with a code behind it where that
// is certain.
func (c *conn) want(a *answer, want string) {
	name, code, _ := strings.Cut(want, " ")
	got, _, _ := strings.Cut(a.tagged.Code, " ")
	if a.tagged.Name != name || code != "" && got != code {
		for _, r := range a.all {
			c.w.say("S%d: %s", c.n+1, r.Raw)
		}
		c.fail("answered %q, want %s", a.tagged.Raw, want)
	}
}

// wantOK checks for OK where ok, else for NO.
func (c *conn) wantOK(a *answer, ok bool) {
	if ok {
		c.want(a, "OK")
	} else {
		c.want(a, "NO")
	}
}

// rights are the user's in the selected mailbox.
func (c *conn) rights() string { return c.may(c.box) }

// mayModSeq notes that a CONDSTORE enabling command was sent: whether it counted the
// answer tells.
func (c *conn) mayModSeq(run func() *answer) *answer {
	before := c.client
	before.MayModSeq = true
	a := run()
	if c.client == before && c.s != nil && a.tagged.Name == "OK" {
		c.client.Condstore = true
	}
	return a
}

// set chooses messages: its text, and those of them that the session knows of.
func (c *conn) set(uid bool, n, m uint32) (text string, list []*message, bad bool) {
	if n%31 == 0 && len(c.saved) > 0 {
		return "$", slices.Clone(c.saved), false
	}
	k := uint32(len(c.shadow))
	if k == 0 {
		if uid {
			return "1:*", nil, false
		}
		return "1", nil, true
	}
	if !uid && n%37 == 0 {
		return fmt.Sprintf("1,%d", k+1), nil, true
	}
	i, j := n/41%k, m%k
	if m/k%2 == 0 {
		j = i
	}
	number := func(at uint32) string {
		switch {
		case at == k-1 && m%5 == 0:
			return "*"
		case uid:
			return fmt.Sprint(c.shadow[at].uid)
		}
		return fmt.Sprint(at + 1)
	}
	text = number(i)
	if j != i {
		text += ":" + number(j)
	}
	list = slices.Clone(c.shadow[min(i, j) : max(i, j)+1])
	if extra := m / 64 % k; m%7 == 0 && !slices.Contains(list, c.shadow[extra]) {
		text += "," + number(extra)
		list = append(list, c.shadow[extra])
		slices.SortFunc(list, func(a, b *message) int { return int(a.uid) - int(b.uid) })
	}
	return text, list, false
}

// live leaves those that are there.
func live(list []*message) (out []*message) {
	for _, m := range list {
		if !m.gone {
			out = append(out, m)
		}
	}
	return out
}

func uidsOf(list []*message) (out []uint32) {
	for _, m := range list {
		out = append(out, m.uid)
	}
	return out
}

func setText(uids []uint32) string {
	if len(uids) == 0 {
		return ""
	}
	return numset.FromSorted(uids).String()
}

// byUID says whether a command is to have the UID prefix, and gives it.
func (c *conn) byUID(n uint32) (bool, string) {
	if c.client.UIDOnly || n%2 == 0 {
		return true, "UID "
	}
	return false, ""
}

// pickFlags chooses some flags.
func pickFlags(n uint32) (names []string) {
	for i := range flagNames {
		if n>>i&1 != 0 && n>>(i+9)&1 != 0 {
			names = append(names, flagNames[i])
		}
	}
	if len(names) == 0 && n%8 > 0 {
		names = append(names, flagNames[int(n/16)%len(flagNames)])
	}
	return names
}

// ---- selecting

func doSelect(w *world, c *conn, n [6]uint32) { c.selectBox("SELECT", c.name(n[1]), n) }
func doExamine(w *world, c *conn, n [6]uint32) {
	c.selectBox("EXAMINE", c.name(n[1]), n)
}

// selectBox opens a mailbox. With QRESYNC the client's copy must be right afterwards.
func (c *conn) selectBox(verb, name string, n [6]uint32) {
	w, b := c.w, c.find(name)
	c.called = name
	command, cache := verb+" "+w.wire(name), modelclient.NewCache()
	quick := c.client.Qresync
	switch {
	case quick:
		if cache = c.device.caches[name]; cache == nil {
			cache = modelclient.NewCache()
			c.device.caches[name] = cache
		}
		if cache.Highest > 0 && cache.Validity > 0 {
			var sampled func(int) bool
			if !c.client.UIDOnly && n[3]%2 == 0 {
				sampled = func(pos int) bool { return n[4]>>(pos%31)&1 != 0 }
			}
			command += " (" + cache.Resync(modelclient.Known(n[3]/2%3), sampled) + ")"
			c.cut = max(0, int(n[4]%32)-24)
		}
	case n[3]%4 == 0:
		command += " (CONDSTORE)"
		c.client.MayModSeq = true
	}
	if strings.Contains(command, "QRESYNC") {
		c.client.MayModSeq = true
	} else {
		*cache = *modelclient.NewCache() // what SELECT alone tells is no change of a copy
	}
	a := c.doQuiet(command, cache, nil, func(a *answer) {
		open := b != nil && strings.Contains(c.may(b), "r")
		c.wantOK(a, open)
		if c.box != nil && a.tagged.Name == "NO" {
			c.leave()
		}
		if open {
			c.opened = b
		}
	})
	c.opened, c.cut = nil, 0
	if c.s == nil || c.box == nil || a.bye {
		return
	}
	if strings.Contains(command, "(CONDSTORE)") {
		c.client.Condstore = true
	}
	c.selectedBox(verb, a, quick && strings.Contains(command, "QRESYNC"))
}

// selectedBox checks what SELECT told of the whole.
func (c *conn) selectedBox(verb string, a *answer, quick bool) {
	b := c.box
	rights := c.may(b)
	others := "stwie" // what changes what others see
	if c.side(b) == private {
		others = "twie"
	}
	c.readOnly = verb == "EXAMINE" || !strings.ContainsAny(rights, others+"s")
	if told := a.tagged.Code == "READ-ONLY"; told != (verb == "EXAMINE" || !strings.ContainsAny(rights, others)) {
		c.fail("%s of a mailbox with the rights %q", a.tagged.Code, rights) // RFC 4314 §5.2
	}
	c.checkPermanent()
	if first, ok := a.code("UNSEEN"); ok {
		if at := slices.IndexFunc(c.shadow, func(m *message) bool { return !c.now(m).has(`\seen`) }); fmt.Sprint(at+1) != first {
			c.fail("first unseen %s, want %d", first, at+1)
		}
	}
	if len(c.client.Slots) != len(b.messages) {
		c.fail("%d messages, want %d", len(c.client.Slots), len(b.messages))
	}
	if !quick {
		return
	}
	c.checkPicture()
	known := 0
	for uid := range c.client.Cache.Messages {
		if b.find(uid) == nil {
			c.fail("the copy has UID %d, which is gone", uid)
		}
		known++
	}
	if below := b.count(func(m *message) bool { return m.uid < c.client.Cache.Next }); known < int(below) {
		c.fail("the copy has %d of %d messages below UID %d", known, below, c.client.Cache.Next)
	}
}

func doUnselect(w *world, c *conn, n [6]uint32) {
	c.do("UNSELECT", func(a *answer) { c.want(a, "OK") })
	c.leave()
}

// RFC 3501 §6.4.2; RFC 4314 §4: without the right CLOSE removes nothing.
func doClose(w *world, c *conn, n [6]uint32) {
	b, expunge := c.box, !c.readOnly && strings.Contains(c.rights(), "e")
	var list []*message
	if expunge {
		list = slices.DeleteFunc(slices.Clone(b.messages), func(m *message) bool { return !m.deleted() })
	}
	c.do("CLOSE", func(a *answer) {
		c.want(a, "OK")
		b.expunge(list)
	})
	c.leave()
}

// ---- being told

func doNoop(w *world, c *conn, n [6]uint32) {
	c.do("NOOP", func(a *answer) { c.want(a, "OK") })
}

// doSync asks to be told, and compares the whole picture.
func doSync(w *world, c *conn, n [6]uint32) {
	if c.notify == notifyNone {
		c.listen(n[1])
	}
	for try := 0; ; try++ {
		doNoop(w, c, n)
		if c.s == nil || c.box == nil {
			return
		}
		// What another process did may be seen a moment later.
		if len(c.shadow) == len(c.box.messages) || w.other == nil && !c.loose() || try == 100 {
			break
		}
		w.settle(50 * time.Millisecond)
		if try > 10 {
			time.Sleep(time.Millisecond) // for a look in the background
		}
	}
	c.checkPicture()
	if c.user == ann || !w.sharing.channel() {
		c.checkPermanent()
	}
	if n[2]%2 == 0 {
		items := "FLAGS"
		if c.client.Condstore {
			items += " MODSEQ"
		}
		c.do("UID FETCH 1:* ("+items+")", func(a *answer) { c.want(a, "OK") })
		if c.s != nil && c.box != nil {
			c.checkPicture()
		}
		for _, m := range c.box.messages {
			if !c.client.Cache.Messages[m.uid].Known {
				c.fail("UID %d was not told", m.uid)
			}
		}
	}
}

// checkPicture compares what the client believes with the truth.
func (c *conn) checkPicture() {
	b := c.box
	if len(c.shadow) != len(b.messages) || len(c.client.Slots) != len(b.messages) {
		c.fail("the client counts %d messages in %s, there are %d", len(c.client.Slots), b.name, len(b.messages))
	}
	for i, m := range b.messages {
		uid := c.client.Slots[i]
		if c.client.UIDOnly {
			uid = m.uid
		}
		if uid != 0 && uid != m.uid {
			c.fail("message %d: the client believes UID %d, it is %d", i+1, uid, m.uid)
		}
		if uid == 0 {
			continue
		}
		got, ok := c.client.Cache.Messages[uid]
		if !ok {
			continue
		}
		now := c.now(m)
		if got.Known && got.Flags != now.flags {
			c.fail("UID %d: the client believes the flags %q, they are %q", uid, got.Flags, now.flags)
		}
		if c.client.Condstore && got.ModSeq > 0 && got.ModSeq != now.modSeq {
			c.fail("UID %d: the client believes MODSEQ %d, it is %d", uid, got.ModSeq, now.modSeq)
		}
	}
	for uid := range c.client.Cache.Messages {
		if b.find(uid) == nil {
			c.fail("the client knows of UID %d, which is gone", uid)
		}
	}
	c.checkUpdates()
}

func doIdle(w *world, c *conn, n [6]uint32) {
	c.tag++
	c.idle = fmt.Sprintf("t%d", c.tag)
	c.w.say("C%d: %s IDLE", c.n+1, c.idle)
	c.client.Begin(c.idle, "IDLE", nil, nil)
	c.send(c.idle + " IDLE")
	c.take(nil)
}

func (c *conn) done() {
	c.w.say("C%d: DONE", c.n+1)
	c.idle = ""
	c.send("DONE")
	if a := c.take(nil); !a.bye && a.tagged.Name != "OK" {
		c.fail("IDLE is answered %q", a.tagged.Raw)
	}
}

// listen asks for news of the selected mailbox.
func (c *conn) listen(n uint32) {
	filter, after, unasked := "SELECTED", notifyNow, modelclient.AllMessages
	if n%2 == 0 {
		filter, after, unasked = "SELECTED-DELAYED", notifyDelayed, modelclient.NoExpunges
	}
	items := []string{"", " (UID FLAGS)"}[n/2%2]
	status, other := "", ""
	if n/4%2 == 0 {
		status, other = "STATUS ", " (PERSONAL (MessageNew MessageExpunge))"
	}
	c.knows = nil
	c.do("NOTIFY SET "+status+"("+filter+" (MessageNew"+items+" MessageExpunge FlagChange))"+other, func(a *answer) {
		c.want(a, "OK")
		if other != "" {
			c.knows = map[*mailbox]known{}
		}
	})
	if c.s == nil {
		return
	}
	c.notify, c.client.Unasked = after, unasked
	for _, b := range c.w.mail[c.user].boxes {
		if _, told := c.knows[b]; other != "" && !told && b != c.box && (c.user == ann || c.w.sharing != byNames) {
			c.fail("NOTIFY SET STATUS says nothing of %s", b.name) // RFC 5465 §3.1
		}
	}
}

func doNotify(w *world, c *conn, n [6]uint32) {
	if n[1]%3 > 0 {
		c.listen(n[2])
		return
	}
	c.knows = nil
	c.do("NOTIFY NONE", func(a *answer) { c.want(a, "OK") })
	if c.s != nil {
		c.notify, c.client.Unasked = notifyNone, modelclient.Nothing
	}
}

// doTime lets time pass. Who waits in IDLE, or has asked for it by NOTIFY, hears what
// is new without asking.
func doTime(w *world, _ *conn, n [6]uint32) {
	w.settle(time.Duration(n[1]%20_000) * time.Millisecond)
	if n[3]%2 == 0 {
		w.settle(1100 * time.Millisecond) // other mailboxes are looked at each second
		for _, c := range w.conns {
			if c.s != nil {
				c.checkOthers()
			}
		}
	}
	for _, c := range w.conns {
		if n[2]%2 == 0 {
			c.hear()
		}
	}
}

// hear waits until the client has been told all, without a word of it.
func (c *conn) hear() {
	for try := 0; c.s != nil && c.box != nil && c.open(c.box); try++ {
		if c.idle == "" && c.notify != notifyNow || c.notify == notifyNone {
			return
		}
		if c.told() || try == 100 {
			c.checkPicture()
			return
		}
		c.w.settle(1100 * time.Millisecond) // sessions look at the disk each second
		if try > 3 {
			time.Sleep(time.Millisecond) // for what comes by a channel
		}
	}
}

// checkOthers compares what a client of NOTIFY knows of mailboxes that it has not
// selected, by what it was told and has done itself.
func (c *conn) checkOthers() {
	for b, k := range c.knows {
		if b != c.box && !b.gone && b.name == k.name && k != knownOf(b) {
			c.fail("of %s the client knows %+v, it is %+v", b.name, k, knownOf(b))
		}
	}
}

// told reports whether the client has been told all that it can be.
func (c *conn) told() bool {
	if len(c.shadow) != len(c.box.messages) {
		return false
	}
	for i, m := range c.box.messages {
		got, now := c.client.Cache.Messages[m.uid], c.now(m)
		if c.shadow[i] != m || got.Known && got.Flags != now.flags || got.ModSeq > 0 && c.client.Condstore && got.ModSeq != now.modSeq {
			return false
		}
	}
	return true
}
