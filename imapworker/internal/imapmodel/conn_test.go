package imapmodel

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"rookery/imapworker/internal/session"
	"rookery/internal/modelclient"
)

// device is what outlives a connection: the copies that QRESYNC brings up to date.
type device struct{ caches map[string]*modelclient.Cache }

func newDevice() *device { return &device{map[string]*modelclient.Cache{}} }

// conn is a client with its connection.
type conn struct {
	w      *world
	n      int
	user   int
	device *device

	s       *session.Session // nil without a connection
	out     *line
	changes chan struct{}
	client  *modelclient.Client
	tag     int

	// What the server must believe that the client was told:
	box      *mailbox
	opened   *mailbox // by the SELECT under way
	called   string   // the name that was selected
	readOnly bool
	shadow   []*message // by sequence number
	high     uint32     // the highest UID of a message that was told
	saved    []*message // "$"
	idle     string     // the tag of IDLE, "" without
	notify   notifying
	knows    map[*mailbox]known // of mailboxes that NOTIFY watches; nil: of none
	updates  map[string]*update // searches whose changes are told, by tag
	before   map[*mailbox]known // what was so before the last command
	heard    string             // the mailbox's name when the last command was answered
	shaken   bool               // ann's worker ended: a call may be refused
	cut      int                // the connection breaks after so many responses; 0: not
}

// notifying is what NOTIFY has asked for of the selected mailbox.
type notifying uint8

const (
	plain notifying = iota
	notifyNone
	notifyDelayed
	notifyNow
)

// answer is what a command was answered.
type answer struct {
	all    []modelclient.Response
	tagged modelclient.Response // without Tag where none came
	bye    bool
}

// code gives the arguments of a response code, of the tagged answer or of an untagged
// one.
func (a *answer) code(name string) (args string, ok bool) {
	for _, r := range a.all {
		word, rest, _ := strings.Cut(r.Code, " ")
		if r.Condition && word == name {
			return rest, true
		}
	}
	return "", false
}

func (c *conn) fail(format string, args ...any) {
	c.w.fail("client %d: %s", c.n+1, fmt.Sprintf(format, args...))
}

// connect logs in and enables what bits say.
func (c *conn) connect(bits uint32) {
	c.out, c.changes = &line{pool: c.w.pool}, make(chan struct{}, 1)
	c.s = session.New(session.Config{Settings: session.Defaults(), Store: c.w.stores[c.user], Out: c.out, Log: log{c}, Changes: c.changes,
		Compress: c.out.squeeze, Jobs: jobs()}, c.w.now)
	c.client = &modelclient.Client{}
	c.w.say("(client %d of %s connects)", c.n+1, []string{"ann", "bob"}[c.user])
	var words []string
	add := func(bit uint32, word string, is *bool) {
		if bits&bit != 0 {
			words = append(words, word)
			*is = true
		}
	}
	client := *c.client
	add(1, "CONDSTORE", &client.Condstore)
	add(2, "QRESYNC", &client.Qresync)
	add(8, "UIDONLY", &client.UIDOnly)
	add(16, "IMAP4rev2", &client.Rev2)
	if bits&96 == 0 {
		c.do("COMPRESS DEFLATE", func(a *answer) { c.want(a, "OK") })
		c.do("COMPRESS DEFLATE", func(a *answer) { c.want(a, "NO COMPRESSIONACTIVE") })
	}
	client.Condstore = client.Condstore || client.Qresync
	if len(words) > 0 {
		a := c.do("ENABLE "+strings.Join(words, " "), nil)
		if a.tagged.Name != "OK" || !strings.HasSuffix(a.all[0].Raw, "ENABLED "+strings.Join(words, " ")) {
			c.fail("ENABLE: %q", a.all[0].Raw)
		}
		c.client.Condstore, c.client.Qresync, c.client.UIDOnly, c.client.Rev2 = client.Condstore, client.Qresync, client.UIDOnly, client.Rev2
	}
}

// lose ends the connection without a word.
func (c *conn) lose() {
	if c.s == nil {
		return
	}
	c.w.say("(client %d loses its connection)", c.n+1)
	c.s.Close("gone")
	c.forget()
}

func (c *conn) forget() {
	c.client.Lost()
	c.leave()
	c.out.rest()
	c.s, c.out, c.knows, c.idle, c.notify, c.cut = nil, nil, nil, "", plain, 0
}

// do sends a command and takes its answer in. effect, which may be nil, changes the
// model as the answer says, before anything is compared with it.
func (c *conn) do(command string, effect func(a *answer)) *answer {
	return c.doQuiet(command, nil, nil, effect)
}

func (c *conn) doQuiet(command string, cache *modelclient.Cache, quiet *modelclient.Quiet, effect func(a *answer)) *answer {
	c.tag++
	tag := fmt.Sprintf("t%d", c.tag)
	c.w.say("C%d: %s %s", c.n+1, tag, command)
	c.client.Begin(tag, command, cache, quiet)
	c.send(tag + " " + command)
	return c.take(effect)
}

// send writes a line.
func (c *conn) send(text string) {
	if err := c.out.deliver(text+"\r\n", func(p []byte) { c.s.Input(c.w.now, p) }); err != nil {
		c.fail("%v", err)
	}
}

// take reads what has come.
func (c *conn) take(effect func(a *answer)) *answer {
	a := &answer{}
	p, err := c.out.Take()
	if err == nil {
		a.all, err = modelclient.All(p)
	}
	if err != nil {
		c.fail("%v", err)
	}
	for _, r := range a.all {
		switch {
		case r.Tag != "*" && r.Tag != "+":
			a.tagged = r
		case r.Name == "BYE":
			a.bye = true
		}
	}
	if a.bye {
		c.ended(a)
		return a
	}
	if c.shaken && strings.HasPrefix(a.tagged.Code, "UNAVAILABLE") {
		effect = nil // nothing was done
	}
	if a.tagged.Tag != "" {
		c.shaken = false
	}
	if effect != nil {
		c.own(func() { effect(a) })
	} else {
		c.before = nil
	}
	for i, r := range a.all {
		if c.cut > 0 && i >= c.cut {
			c.w.say("(the answer breaks off)")
			c.lose()
			a.bye = true
			return a
		}
		c.w.say("S%d: %s", c.n+1, r.Raw)
		c.learn(r)
	}
	if c.box != nil && a.tagged.Tag != "" {
		c.heard = c.box.name
	}
	c.compare()
	return a
}

// ended is a BYE: it may come only if the mailbox is gone.
func (c *conn) ended(a *answer) {
	for _, r := range a.all {
		c.w.say("S%d: %s", c.n+1, r.Raw)
	}
	if c.box == nil || c.open(c.box) {
		c.fail("BYE, and the mailbox is there")
	}
	if end, _ := c.s.Ended(); end == session.Running {
		c.fail("BYE, and the session goes on")
	}
	c.forget()
}

// learn passes a response to the client, and keeps the shadow in step.
func (c *conn) learn(r modelclient.Response) {
	if err := c.client.Learn(r); err != nil {
		c.fail("%v", err)
	}
	switch {
	case r.Condition:
		c.learnCode(r)
	case r.Name == "STATUS" && c.knows != nil && (c.client.Verb != "STATUS" || c.client.Tagged.Tag != ""):
		c.toldStatus(r)
	case r.Name == "ESEARCH":
		c.toldUpdate(r)
	case r.Name == "EXISTS":
		c.toldExists(int(r.Num))
	case r.Name == "EXPUNGE":
		c.toldExpunge(int(r.Num) - 1)
	case r.Name == "VANISHED" && len(r.Data) == 1:
		uids, err := c.numbers(r.Data[0].Text)
		if err != nil {
			c.fail("%v", err)
		}
		for _, uid := range uids {
			c.toldExpunge(slices.IndexFunc(c.shadow, func(m *message) bool { return m.uid == uid }))
		}
	case (r.Name == "FETCH" && c.box != nil) && int(r.Num) <= len(c.shadow):
		if v, ok := r.Item("UID"); ok && v.Text != strconv.Itoa(int(c.shadow[r.Num-1].uid)) {
			c.fail("message %d is UID %d: %s", r.Num, c.shadow[r.Num-1].uid, r.Raw)
		}
	}
}

func (c *conn) learnCode(r modelclient.Response) {
	if r.Code == "CLOSED" {
		c.leave()
	}
	if rest, is := strings.CutPrefix(r.Code, "HIGHESTMODSEQ "); is && c.box != nil {
		n, _ := strconv.ParseUint(rest, 10, 63)
		told := &c.box.told[c.side(c.box)]
		*told = max(*told, n)
	}
	if c.client.Verb != "SELECT" && c.client.Verb != "EXAMINE" || c.opened == nil {
		return
	}
	name, args, _ := strings.Cut(r.Code, " ")
	n, _ := strconv.ParseUint(args, 10, 64)
	b := c.opened
	switch name {
	case "UIDVALIDITY":
		c.w.validity(b, uint32(n))
	case "UIDNEXT":
		c.nextUID(b, uint32(n))
	case "HIGHESTMODSEQ":
		b.highest(c, n)
	case "MAILBOXID":
		c.mailboxID(b, strings.Trim(args, "()"))
	}
}

// nextUID checks UIDNEXT. Where an index was damaged it may be higher than it was.
func (c *conn) nextUID(b *mailbox, n uint32) {
	if n < b.next || n > b.next && !b.of.doubt {
		c.fail("UIDNEXT %d of %s, want %d", n, b.name, b.next)
	}
	b.next = n
}

// validity learns a mailbox's UIDVALIDITY, which must be another one than any that the
// name had before.
func (w *world) validity(b *mailbox, n uint32) {
	switch {
	case n == 0 || b.validity != 0 && b.validity != n:
		w.fail("UIDVALIDITY %d of %s, was %d", n, b.name, b.validity)
	case b.validity == 0 && n <= b.of.valid[b.name]:
		w.fail("UIDVALIDITY %d of %s, which had %d before", n, b.name, b.of.valid[b.name])
	}
	b.validity = n
	b.of.valid[b.name] = max(b.of.valid[b.name], n)
}

// highest checks a HIGHESTMODSEQ that tells of all up to now.
func (b *mailbox) highest(c *conn, n uint64) {
	side := c.side(b)
	if n < b.told[side] || n <= b.above[side] && !b.of.doubt {
		c.fail("HIGHESTMODSEQ %d of %s, must be at least %d and above %d", n, b.name, b.told[side], b.above[side])
	}
	b.told[side] = n
}

// toldExists counts new messages in: those of the truth, in its order.
func (c *conn) toldExists(n int) {
	if c.opened != nil {
		if n != len(c.opened.messages) {
			c.fail("%d EXISTS in %s, there are %d", n, c.opened.name, len(c.opened.messages))
		}
		c.box, c.shadow, c.high = c.opened, slices.Clone(c.opened.messages), c.opened.last()
		c.saved = nil
		return
	}
	if c.box == nil {
		c.fail("EXISTS without a mailbox")
	}
	for _, m := range c.box.messages {
		if len(c.shadow) == n {
			break
		}
		if m.uid > c.high {
			c.shadow, c.high = append(c.shadow, m), m.uid
		}
	}
	if len(c.shadow) != n {
		c.fail("%d EXISTS in %s, must be at most %d", n, c.box.name, len(c.shadow))
	}
}

func (c *conn) toldExpunge(at int) {
	if at < 0 || at >= len(c.shadow) {
		c.fail("an expunge of what was never told")
	}
	if m := c.shadow[at]; !m.gone {
		c.fail("message %d (UID %d) is expunged, and is there", at+1, m.uid)
	} else {
		c.leaves(m)
		c.saved = slices.DeleteFunc(c.saved, func(s *message) bool { return s == m })
	}
	c.shadow = slices.Delete(c.shadow, at, at+1)
}

// known is what a client knows of a mailbox that it has not selected.
type known struct {
	name           string
	next, messages uint32
}

func knownOf(b *mailbox) known { return known{b.name, b.next, uint32(len(b.messages))} }

// own does what a client's own command does: it knows of that.
func (c *conn) own(effect func()) {
	c.before = map[*mailbox]known{}
	for _, b := range c.w.mail[c.user].boxes {
		c.before[b] = knownOf(b)
	}
	effect()
	for b, k := range c.before {
		if _, is := c.knows[b]; is && knownOf(b) != k {
			c.knows[b] = knownOf(b)
		}
	}
}

// toldStatus is what NOTIFY tells of a mailbox.
func (c *conn) toldStatus(r modelclient.Response) {
	b := c.find(strings.ReplaceAll(r.Data[0].Text, c.w.sep, "/"))
	if b == nil || b.of.user != c.user {
		return
	}
	k := known{name: b.name}
	if was, is := c.before[b]; is && was != knownOf(b) && statusOf(r) == (known{next: was.next, messages: was.messages}) {
		return // what was so before the client's own command did something
	}
	for i := 0; i+1 < len(r.Data[1].List); i += 2 {
		switch n := r.Data[1].List[i+1].Text; r.Data[1].List[i].Text {
		case "MESSAGES":
			k.messages = uint32(len(b.messages))
			if n != strconv.Itoa(len(b.messages)) {
				c.fail("NOTIFY tells of %s messages in %s, there are %d", n, b.name, len(b.messages))
			}
		case "UIDNEXT":
			next, _ := strconv.ParseUint(n, 10, 32)
			c.nextUID(b, uint32(next))
			k.next = b.next
		}
	}
	if k == knownOf(b) {
		c.knows[b] = k
	}
}

// statusOf gives what a STATUS response says, with the name left out that it has in it.
func statusOf(r modelclient.Response) (k known) {
	for i := 0; i+1 < len(r.Data[1].List); i += 2 {
		n, _ := strconv.ParseUint(r.Data[1].List[i+1].Text, 10, 32)
		switch r.Data[1].List[i].Text {
		case "MESSAGES":
			k.messages = uint32(n)
		case "UIDNEXT":
			k.next = uint32(n)
		}
	}
	return k
}

// leave is the end of a mailbox's selection.
func (c *conn) leave() {
	delete(c.knows, c.box)
	c.box, c.shadow, c.saved, c.readOnly, c.updates = nil, nil, nil, false, nil
}

// compare holds what was told of messages in this answer against the truth.
func (c *conn) compare() {
	for uid, told := range c.client.Told {
		if c.box == nil {
			continue
		}
		highest := &c.box.told[c.side(c.box)]
		*highest = max(*highest, told.ModSeq)
		m := c.box.find(uid)
		if m == nil {
			continue // it is gone, and that could not be told yet
		}
		if c.loose() {
			c.was(m, told)
			continue
		}
		if now := c.now(m); told.Known && told.Flags != now.flags {
			c.fail("UID %d of %s is told with the flags %q, it has %q", uid, c.box.name, told.Flags, now.flags)
		}
		if told.ModSeq > 0 {
			c.box.modSeq(c, m, told.ModSeq)
		}
	}
	clear(c.client.Told)
	if c.box != nil && !c.client.UIDOnly {
		for i, uid := range c.client.Slots {
			if i >= len(c.shadow) || uid != 0 && uid != c.shadow[i].uid {
				c.fail("message %d: the client believes UID %d, of %d", i+1, uid, len(c.shadow))
			}
		}
	}
}

// loose reports whether what happens elsewhere is told the session by a channel, or by a
// process that may have been started anew since: then it may speak of what was a moment
// ago, until it asks.
func (c *conn) loose() bool { return c.user == bob && c.w.sharing != byNames }

// was checks what was told of a message that may be another by now.
func (c *conn) was(m *message, told modelclient.Message) {
	if now := c.now(m); told.ModSeq > now.above && (!told.Known || told.Flags == now.flags) {
		c.box.modSeq(c, m, told.ModSeq)
		return
	}
	for _, v := range m.versions[c.side(c.box)] {
		same := told.ModSeq == 0 || v.modSeq == 0 || v.modSeq == told.ModSeq || c.box.jumps(c.side(c.box))
		if same && (!told.Known || v.flags == told.Flags) {
			return
		}
	}
	c.fail("UID %d is told with the flags %q and MODSEQ %d, which it never had", m.uid, told.Flags, told.ModSeq)
}

// modSeq checks a mod-sequence that was told of a message as it is now (RFC 7162 §3.1.1):
// one number for one state, above all that was told before it came to be.
func (b *mailbox) modSeq(c *conn, m *message, n uint64) {
	side := c.side(b)
	v := m.now(side)
	switch {
	case n < v.modSeq || n > v.modSeq && v.modSeq > 0 && !b.jumps(side):
		c.fail("UID %d of %s has MODSEQ %d, had %d", m.uid, b.name, n, v.modSeq)
	case v.modSeq == 0 && n <= v.above && !b.jumps(side):
		c.fail("UID %d of %s has MODSEQ %d, must be above %d", m.uid, b.name, n, v.above)
	}
	if v.modSeq > 0 && n > v.modSeq { // the index was built anew: the same flags, at another time
		m.versions[side] = append(m.versions[side], version{flags: v.flags, modSeq: n, above: v.modSeq})
		return
	}
	v.modSeq = n
}

// numbers reads a set of numbers.
func (c *conn) numbers(set string) (out []uint32, err error) {
	for part := range strings.SplitSeq(set, ",") {
		first, last, is := strings.Cut(part, ":")
		if !is {
			last = first
		}
		a, err := strconv.ParseUint(first, 10, 32)
		b, err2 := strconv.ParseUint(last, 10, 32)
		if err != nil || err2 != nil || a == 0 || b < a || b-a > 10_000 {
			return nil, fmt.Errorf("no set of numbers: %q", set)
		}
		for n := a; n <= b; n++ {
			out = append(out, uint32(n))
		}
	}
	return out, nil
}

// settle tells every session what its mailbox has told it, and lets time pass.
func (w *world) settle(d time.Duration) {
	w.now = w.now.Add(d)
	w.clock.Jump(d)
	for _, c := range w.conns {
		if c.s == nil {
			continue
		}
		if d >= time.Second {
			c.out.rest()
		}
		select {
		case <-c.changes:
			c.s.Changed(w.now)
		default:
		}
		if due := c.s.Deadline(); !due.IsZero() && !due.After(w.now) {
			c.s.Tick(w.now)
		}
		c.unasked()
	}
}

// unasked takes what came without a command.
func (c *conn) unasked() {
	if c.s != nil {
		c.take(nil)
	}
}
