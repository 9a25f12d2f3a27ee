package imapmodel

import (
	"maps"
	"slices"
	"strings"

	"rookery/internal/modelclient"
)

// The two users: ann, and bob, who may do with her mail what her lists say.
const (
	ann = iota
	bob
)

// What a user is to a mailbox.
const (
	owner = iota
	guest
)

// The two sides that a mailbox is seen from: everybody's, and bob's where \Seen is each
// guest's own matter. Flags and mod-sequences are others there.
const (
	common = iota
	private
)

// everything is what an owner may do (RFC 4314 §2.1).
const everything = "lrswipkxtea"

// truth is one user's mail, as IMAP has it. Names are the owner's own, with '/' between
// the levels.
type truth struct {
	user  int
	boxes map[string]*mailbox
	valid map[string]uint32 // the highest UIDVALIDITY that a name ever had
	doubt bool              // an index was damaged: mod-sequences may have jumped
	split bool              // guests have a \Seen of their own
	notes map[string]string // the annotations that are no mailbox's
}

// mailbox is one mailbox, which keeps what it is through RENAME.
type mailbox struct {
	name     string
	validity uint32 // 0 while it was not told
	id       string // MAILBOXID; "" while it was not told
	next     uint32 // UIDNEXT
	messages []*message
	grants   grants            // its access control list
	notes    map[string]string // its annotations
	own      map[string]string // bob's own of it, where it is another's
	gone     bool              // it was deleted
	told     [2]uint64         // by side: the highest mod-sequence that anybody was told
	above    [2]uint64         // HIGHESTMODSEQ must be above this (RFC 7162 §3.1.2.1)
	marks    int               // changes of bob's own \Seen
	of       *truth
}

// message is one message.
type message struct {
	uid      uint32
	body     string
	versions [2][]version // by side; the last is what it is now
	gone     bool
}

// version is what a message's flags were for a time.
type version struct {
	flags  string // modelclient.FlagText
	modSeq uint64 // 0 while nobody was told
	above  uint64 // and it must be above this
}

func (v *version) has(flag string) bool { return hasFlag(v.flags, flag) }

func (m *message) now(side int) *version { return &m.versions[side][len(m.versions[side])-1] }

// deleted is the same from every side.
func (m *message) deleted() bool { return m.now(common).has(`\deleted`) }

func hasFlag(flags, flag string) bool {
	return slices.Contains(strings.Fields(flags), strings.ToLower(flag))
}

// withSeen gives flags with \Seen, or without.
func withSeen(flags string, seen bool) string {
	rest := slices.DeleteFunc(strings.Fields(flags), func(f string) bool { return f == `\seen` })
	if seen {
		rest = append(rest, `\seen`)
	}
	return modelclient.FlagText(rest)
}

func newTruth(user int) *truth {
	t := &truth{user: user, boxes: map[string]*mailbox{}, valid: map[string]uint32{}, notes: map[string]string{}}
	t.make("INBOX", nil)
	return t
}

func (t *truth) make(name string, list grants) *mailbox {
	b := &mailbox{name: name, next: 1, grants: maps.Clone(list), notes: map[string]string{}, own: map[string]string{}, of: t}
	if b.grants == nil {
		b.grants = grants{}
	}
	t.boxes[name] = b
	return b
}

// jumps reports whether mod-sequences of a side may rise without a change: after an
// index was built anew, and where bob's own changes are too many to be kept apart.
func (b *mailbox) jumps(side int) bool { return b.of.doubt || side == private && b.marks >= 32 }

// add puts a message into a mailbox. What is new nobody has a \Seen of his own of.
func (b *mailbox) add(flags, body string) *message {
	m := &message{uid: b.next, body: body}
	for side, f := range []string{common: flags, private: withSeen(flags, false)} {
		m.versions[side] = []version{{flags: f, above: b.told[side]}}
	}
	b.next++
	b.messages = append(b.messages, m)
	b.above = b.told
	return m
}

// last is the highest UID that a message has, 0 for none.
func (b *mailbox) last() uint32 {
	if len(b.messages) == 0 {
		return 0
	}
	return b.messages[len(b.messages)-1].uid
}

// set gives a message flags, as they are seen from a side. A change has a mod-sequence
// of its own, from the other side too unless it is one of bob's own \Seen alone.
func (b *mailbox) set(side int, m *message, flags string) {
	var old, after [2]string
	for s := range old {
		old[s] = m.now(s).flags
		after[s] = flags
		if s != side {
			after[s] = withSeen(flags, hasFlag(old[s], `\seen`))
		}
	}
	if old[side] == flags {
		return
	}
	if hasFlag(old[private], `\seen`) != hasFlag(after[private], `\seen`) {
		b.marks++
	}
	for s := range old {
		if s == private || old[common] != after[common] {
			m.versions[s] = append(m.versions[s], version{flags: after[s], above: b.told[s]})
			b.above[s] = b.told[s]
		}
	}
}

// expunge takes messages out.
func (b *mailbox) expunge(list []*message) {
	for _, m := range list {
		m.gone = true
		b.above = b.told
	}
	b.messages = slices.DeleteFunc(b.messages, func(m *message) bool { return m.gone })
}

// find gives the message of a UID, nil if there is none.
func (b *mailbox) find(uid uint32) *message {
	for _, m := range b.messages {
		if m.uid == uid {
			return m
		}
	}
	return nil
}

func (b *mailbox) count(is func(m *message) bool) (n uint32) {
	for _, m := range b.messages {
		if is(m) {
			n++
		}
	}
	return n
}

// parent is the name of the level above, "" for none.
func parent(name string) string {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return ""
	}
	return name[:i]
}

// implied reports whether a name is, for a user, that of no mailbox, but of mailboxes'
// parent.
func (t *truth) implied(role int, name string) bool {
	for other, b := range t.boxes {
		if strings.HasPrefix(other, name+"/") && b.may(role) != "" {
			return t.box(role, name) == nil
		}
	}
	return false
}

// parentOf reports whether there are mailboxes below a name.
func (t *truth) parentOf(name string) bool {
	for other := range t.boxes {
		if strings.HasPrefix(other, name+"/") {
			return true
		}
	}
	return false
}

// box gives the mailbox that somebody knows by a name, nil for none.
func (t *truth) box(role int, name string) *mailbox {
	if b := t.boxes[name]; b != nil && b.may(role) != "" {
		return b
	}
	return nil
}

// changed gives what STORE makes of flags: op is '+', '-' or 0.
func changed(op byte, old, names, rights string) string {
	var out []string
	for _, f := range strings.Fields(old) {
		if named := hasFlag(names, f); !can(rights, f) || op == '+' || op == '-' && !named || op == 0 && named {
			out = append(out, f)
		}
	}
	if op != '-' {
		out = append(out, strings.Fields(allowed(rights, names))...)
	}
	return modelclient.FlagText(out)
}

// create makes a mailbox if somebody may; it reports whether it did.
func (t *truth) create(role int, name string) bool {
	list := t.inherited(name)
	if t.boxes[name] != nil || role == guest && !hasAll(list.bob(), "lk") {
		return false
	}
	t.make(name, list)
	return true
}

// remove deletes a mailbox if somebody may.
func (t *truth) remove(role int, name string) bool {
	b := t.box(role, name)
	if b == nil || name == "INBOX" || !hasAll(b.may(role), "x") {
		return false
	}
	b.gone = true
	delete(t.boxes, name)
	return true
}

// unsaid reports whether RENAME's new name is that of a mere parent, below which nothing
// is in the way: nothing says what a server does then.
func (t *truth) unsaid(from, to string) bool {
	if t.boxes[to] != nil || !t.parentOf(to) || strings.HasPrefix(to, from+"/") || t.boxes[from] == nil && !t.parentOf(from) {
		return false
	}
	for name := range t.boxes {
		rest, below := strings.CutPrefix(name, from+"/")
		if other := t.boxes[to+"/"+rest]; below && from != "INBOX" && other != nil && !strings.HasPrefix(other.name, from+"/") {
			return false
		}
	}
	return true
}

// mayRename says whether RENAME can be done (RFC 3501 §6.3.5, RFC 4314 §4).
func (t *truth) mayRename(role int, from, to string) bool {
	if t.boxes[from] == nil && !t.parentOf(from) || t.boxes[to] != nil || t.parentOf(to) || from == to || strings.HasPrefix(to, from+"/") {
		return false
	}
	if role == owner {
		return true
	}
	want := "lx"
	if from == "INBOX" {
		want = "lxrte"
	}
	if b := t.boxes[from]; b != nil && !hasAll(b.grants.bob(), want) {
		return false
	} else if b == nil {
		for name, b := range t.boxes {
			if strings.HasPrefix(name, from+"/") && !hasAll(b.grants.bob(), want) {
				return false
			}
		}
	}
	return hasAll(t.inherited(to).bob(), "lk")
}

// rename does it. INBOX gives its messages to the new mailbox (RFC 3501 §6.3.5), and a
// copy of its annotations (RFC 5464 §4.1).
func (t *truth) rename(from, to string) {
	if from == "INBOX" {
		inbox, target := t.boxes[from], t.make(to, t.inherited(to))
		for _, m := range inbox.messages {
			target.add(m.now(common).flags, m.body)
		}
		target.notes = maps.Clone(inbox.notes)
		inbox.expunge(slices.Clone(inbox.messages))
		return
	}
	for _, name := range t.names() {
		if name == from || strings.HasPrefix(name, from+"/") {
			b := t.boxes[name]
			delete(t.boxes, name)
			b.name = to + strings.TrimPrefix(name, from)
			t.boxes[b.name] = b
		}
	}
}

func (t *truth) names() (out []string) {
	for name := range t.boxes {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
