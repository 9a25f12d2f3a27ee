package imapmodel

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"rookery/internal/modelclient"
)

// header is what a message is sorted and threaded by.
type header struct {
	at            int // its place in the mailbox
	number        string
	subject, from string
	sent          int64
	size          int
	id, parent    string
	reply         bool // the subject has marks of an answer
}

// headerOf reads the header of a message that world.body has made.
func headerOf(body string) (h header) {
	top, _, _ := strings.Cut(body, "\r\n\r\n")
	for line := range strings.SplitSeq(top, "\r\n") {
		name, value, _ := strings.Cut(line, ": ")
		switch name {
		case "Subject":
			h.subject = baseSubject(value)
			h.reply = h.subject != value
		case "From":
			h.from, _, _ = strings.Cut(value, "@")
		case "Date":
			t, _ := time.Parse("Mon, 2 Jan 2006 15:04:05 -0700", value)
			h.sent = t.Unix()
		case "Message-ID":
			h.id = value
		case "References":
			h.parent = value
		}
	}
	h.size = len(body)
	return h
}

// baseSubject takes the marks of answers off (RFC 5256 §2.1), as far as there are any
// here.
func baseSubject(s string) string {
	for {
		low := strings.ToLower(s)
		rest, is := strings.CutPrefix(low, "re: ")
		if !is {
			if rest, is = strings.CutPrefix(low, "fwd: "); !is {
				return low
			}
		}
		s = rest
	}
}

// sortKeys are criteria of SORT, with what they compare.
var sortKeys = []struct {
	name    string
	compare func(a, b *header) int
}{
	{"SUBJECT", func(a, b *header) int { return cmp.Compare(a.subject, b.subject) }},
	{"FROM", func(a, b *header) int { return cmp.Compare(a.from, b.from) }},
	{"DATE", func(a, b *header) int { return cmp.Compare(a.sent, b.sent) }},
	{"SIZE", func(a, b *header) int { return cmp.Compare(a.size, b.size) }},
	{"CC", func(a, b *header) int { return 0 }},
}

// found gives the headers of the messages that a search finds, in the mailbox's order.
// sure is false where nobody can say which these are.
func (c *conn) found(k key, uid bool) (list []*header, sure bool) {
	must, may := c.matches(k, uid)
	for i, m := range c.shadow {
		number := uint32(i) + 1
		if uid {
			number = m.uid
		}
		if slices.Contains(must, number) {
			h := headerOf(m.body)
			h.at, h.number = i, fmt.Sprint(number)
			list = append(list, &h)
		}
	}
	return list, len(must) == len(may)
}

// pickOrder chooses criteria of SORT: their text, and what they come to.
func pickOrder(n uint32) (text string, compare func(a, b *header) int) {
	var names []string
	var by []func(a, b *header) int
	for range 1 + n%3 {
		n /= 3
		one := sortKeys[int(n)%len(sortKeys)]
		if n /= 5; n%3 == 0 {
			names, by = append(names, "REVERSE "+one.name), append(by, func(a, b *header) int { return one.compare(b, a) })
		} else {
			names, by = append(names, one.name), append(by, one.compare)
		}
	}
	return "(" + strings.Join(names, " ") + ")", func(a, b *header) int {
		for _, compare := range by {
			if d := compare(a, b); d != 0 {
				return d
			}
		}
		return cmp.Compare(a.at, b.at) // RFC 5256 §3: then by sequence number
	}
}

// doSort is SORT (RFC 5256), with RETURN too (RFC 5267 §3).
func doSort(w *world, c *conn, n [6]uint32) {
	uid, prefix := c.byUID(n[1])
	k := searchKey(n[2])
	text, compare := pickOrder(n[3])
	options := []string{"", "", " RETURN (ALL)", " RETURN (COUNT MIN MAX)", " RETURN (PARTIAL 2:3)"}[n[4]%5]
	c.do(fmt.Sprintf("%sSORT%s %s UTF-8 %s", prefix, options, text, k.text), func(a *answer) {
		c.want(a, "OK")
		list, sure := c.found(k, uid)
		if !sure {
			return
		}
		slices.SortFunc(list, compare)
		var want []string
		for _, h := range list {
			want = append(want, h.number)
		}
		c.checkSort(a, want, options)
	})
}

func (c *conn) checkSort(a *answer, want []string, options string) {
	for _, r := range a.all {
		switch {
		case r.Name == "SORT" && options == "":
			var got []string
			for _, v := range r.Data {
				got = append(got, v.Text)
			}
			if !slices.Equal(got, want) {
				c.fail("SORT %q, want %q", got, want)
			}
			return
		case c.answers(r):
			for i := 0; i+1 < len(r.Data); i++ {
				c.checkSorted(r.Data[i].Text, r.Data[i+1], want)
			}
			return
		}
	}
	c.fail("the order was not told")
}

// checkSorted checks an item of ESEARCH about a sorted result.
func (c *conn) checkSorted(name string, v modelclient.Value, want []string) {
	ok := true
	switch name {
	case "ALL":
		ok = slices.Equal(c.ordered(v.Text), want)
	case "COUNT":
		ok = v.Text == fmt.Sprint(len(want))
	case "MIN":
		ok = len(want) > 0 && v.Text == want[0]
	case "MAX":
		ok = len(want) > 0 && v.Text == want[len(want)-1]
	case "PARTIAL":
		part := want[min(1, len(want)):min(3, len(want))]
		if ok = len(v.List) == 2 && (v.List[1].Text == "NIL") == (len(part) == 0); ok && len(part) > 0 {
			ok = slices.Equal(c.ordered(v.List[1].Text), part)
		}
	}
	if !ok {
		c.fail("%s %v of %q", name, v, want)
	}
}

// ordered reads a set whose order counts (RFC 5267 §3.1).
func (c *conn) ordered(set string) (out []string) {
	for part := range strings.SplitSeq(set, ",") {
		first, last, is := strings.Cut(part, ":")
		if !is {
			last = first
		}
		a, b := c.number(first), c.number(last)
		if max(a, b)-min(a, b) > 10_000 {
			c.fail("a set of too many: %q", set)
		}
		for ; a != b; a += uint32(cmp.Compare(b, a)) {
			out = append(out, fmt.Sprint(a))
		}
		out = append(out, fmt.Sprint(b))
	}
	return out
}

// threads are the algorithms of THREAD: those of RFC 5256 §3, and REFS.
var threads = []struct {
	name    string
	arrange func(list []*header) []*branch
}{{"ORDEREDSUBJECT", bySubject}, {"REFERENCES", gathered}, {"REFS", byReferences}}

// doThread is THREAD.
func doThread(w *world, c *conn, n [6]uint32) {
	uid, prefix := c.byUID(n[1])
	k := searchKey(n[2])
	by := threads[int(n[3])%len(threads)]
	c.do(fmt.Sprintf("%sTHREAD %s UTF-8 %s", prefix, by.name, k.text), func(a *answer) {
		c.want(a, "OK")
		list, sure := c.found(k, uid)
		if !sure {
			return
		}
		want := "* THREAD"
		for i, root := range by.arrange(list) {
			if i == 0 {
				want += " "
			}
			want += "(" + root.text() + ")"
		}
		for _, r := range a.all {
			if r.Name == "THREAD" && r.Raw != want {
				c.fail("%s, want %s", r.Raw, want)
			} else if r.Name == "THREAD" {
				return
			}
		}
		c.fail("no THREAD response")
	})
}

// branch is a message with its answers; without h it stands for one that is not there.
type branch struct {
	h        *header
	children []*branch
}

// text writes it as THREAD does (RFC 5256 §5).
func (b *branch) text() (out string) {
	if b.h != nil {
		out = b.h.number
	}
	for _, child := range b.children {
		text := child.text()
		if len(b.children) > 1 {
			text = "(" + text + ")"
			if out != "" && !strings.HasSuffix(out, ")") {
				text = " " + text
			}
		} else {
			text = " " + text
		}
		out += text
	}
	return out
}

// top is the message that a branch is sorted by.
func (b *branch) top() *header {
	if b.h == nil {
		return b.children[0].top()
	}
	return b.h
}

func (b *branch) newest() int64 {
	newest := b.top().sent
	for _, child := range b.children {
		newest = max(newest, child.newest())
	}
	return newest
}

func bySent(list []*branch) {
	slices.SortStableFunc(list, func(a, b *branch) int {
		return cmp.Or(cmp.Compare(a.top().sent, b.top().sent), cmp.Compare(a.top().at, b.top().at))
	})
}

// bySubject makes a thread of each subject: the oldest, and the others as its children.
func bySubject(list []*header) (roots []*branch) {
	all := make([]*branch, 0, len(list))
	for _, h := range list {
		all = append(all, &branch{h: h})
	}
	bySent(all)
	known := map[string]*branch{}
	for _, b := range all {
		if root := known[b.h.subject]; root != nil {
			root.children = append(root.children, b)
			continue
		}
		known[b.h.subject] = b
		roots = append(roots, b)
	}
	return roots
}

// linked makes each message a child of the one that it answers, which has at most one
// (RFC 5256 §3, REFERENCES, steps 1 to 3).
func linked(list []*header) (roots []*branch) {
	known := map[string]*branch{}
	all := make([]*branch, 0, len(list))
	for _, h := range list {
		b := &branch{h: h}
		all = append(all, b)
		if known[h.id] == nil { // a second message of one ID has none
			known[h.id] = b
		}
	}
	var missing []*branch
	for _, b := range all {
		if b.h.parent == "" {
			roots = append(roots, b)
			continue
		}
		parent := known[b.h.parent]
		if parent == nil {
			parent = &branch{}
			known[b.h.parent] = parent
			missing = append(missing, parent)
		}
		parent.children = append(parent.children, b)
	}
	for _, b := range all {
		bySent(b.children)
	}
	for _, b := range missing {
		if bySent(b.children); len(b.children) == 1 {
			b = b.children[0]
		}
		roots = append(roots, b)
	}
	return roots
}

// byReferences is REFS: threads stand in the order of their newest message.
func byReferences(list []*header) []*branch {
	roots := linked(list)
	slices.SortStableFunc(roots, func(a, b *branch) int {
		return cmp.Or(cmp.Compare(a.newest(), b.newest()), cmp.Compare(a.top().at, b.top().at))
	})
	return roots
}

// gathered is REFERENCES: threads with the same subject become one (steps 4 to 6).
func gathered(list []*header) (roots []*branch) {
	all := linked(list)
	bySent(all)
	table := map[string]*branch{}
	for _, b := range all {
		if old := table[b.top().subject]; old == nil || old.h != nil && (b.h == nil || old.h.reply && !b.h.reply) {
			table[b.top().subject] = b
		}
	}
	below := map[*branch]bool{}
	for _, b := range all {
		subject := b.top().subject
		switch old := table[subject]; {
		case old == b:
			continue
		case old.h == nil && b.h == nil:
			old.children = append(old.children, b.children...)
		case old.h == nil, b.h != nil && b.h.reply && !old.h.reply:
			old.children = append(old.children, b)
		default:
			below[old] = true
			table[subject] = &branch{children: []*branch{old, b}}
			roots = append(roots, table[subject])
		}
		below[b] = true
	}
	for _, b := range all {
		if !below[b] {
			roots = append(roots, b)
		}
	}
	for _, b := range roots {
		b.sort()
	}
	bySent(roots)
	return roots
}

// sort puts siblings into the order of their dates.
func (b *branch) sort() {
	for _, child := range b.children {
		child.sort()
	}
	bySent(b.children)
}
