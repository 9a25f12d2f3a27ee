package thread

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// msgs reads messages from lines "id: ref ref | date | subject"; a subject that
// begins with "re " is a reply's.
func msgs(text string) []Message {
	var list []Message
	for line := range strings.Lines(strings.TrimSpace(text)) {
		head, rest, _ := strings.Cut(line, "|")
		date, subject, _ := strings.Cut(rest, "|")
		id, refs, _ := strings.Cut(head, ":")
		m := Message{Num: uint32(len(list) + 1)}
		if id = strings.TrimSpace(id); id != "-" {
			m.ID = NewID(id)
		}
		for _, r := range strings.Fields(refs) {
			m.Refs = append(m.Refs, NewID(r))
		}
		m.Sent, _ = strconv.ParseInt(strings.TrimSpace(date), 10, 64)
		m.Subject, m.Reply = strings.CutPrefix(strings.TrimSpace(subject), "re ")
		list = append(list, m)
	}
	return list
}

func TestOrderedSubject(t *testing.T) {
	got := OrderedSubject(msgs(`
		a: | 5 | x
		b: | 3 | y
		c: | 1 | x
		d: | 4 | x
		e: | 3 | y
		f: | 9 |
		g: | 2 |`)).Append(nil)
	// By date of each thread's first message; children are siblings; equal dates
	// stand in the mailbox's order. No subject is a subject, too.
	if want := "(3 (4)(1))(7 6)(2 5)"; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestReferences has a row for each sentence of the algorithm.
func TestReferences(t *testing.T) {
	for _, row := range []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"a chain", "a: | 1 | x\nb: a | 2 | re x\nc: a b | 3 | re x", "(1 2 3)"},
		{"a chain, backwards", "c: a b | 3 | re x\nb: a | 2 | re x\na: | 1 | x", "(3 2 1)"},
		{"it splits", "a: | 1 | x\nb: a | 2 | re x\nc: a | 3 | re x\nd: a c | 4 | re x", "(1 (2)(3 4))"},
		{"a missing parent with one child", "b: a | 2 | re x", "(1)"},
		{"a missing parent with two children", "b: a | 2 | re x\nc: a | 3 | re x", "((1)(2))"},
		{"a missing message in the middle", "a: | 1 | x\nc: a b | 3 | re x\nd: a b | 4 | re x", "(1 (2)(3))"},
		{"missing ones in a row", "d: a b c | 4 | re x\ne: a b c | 5 | re x", "((1)(2))"},
		{"siblings by date", "a: | 1 | x\nb: a | 9 | re x\nc: a | 3 | re x", "(1 (3)(2))"},
		{"threads by date", "a: | 5 | x\nb: | 3 | y\nc: | 4 | z", "(2)(3)(1)"},
		{"the same date: the mailbox's order", "a: | 5 | x\nb: | 5 | y\nc: | 5 | z", "(1)(2)(3)"},
		{"a dummy counts by its first child by date", "b: a | 9 | v\nc: a | 2 | w\nd: | 5 | x", "((2)(1))(3)"},
		{"a loop is not closed", "a: b | 1 | x\nb: a | 2 | y", "(2 1)"},
		{"its own parent", "a: a | 1 | x", "(1)"},
		{"an identifier twice: the first has it", "a: | 1 | x\na: | 2 | y\nb: a | 3 | re x", "(1 3)(2)"},
		{"none has no identifier", "-: | 1 | x\n-: | 2 | y", "(1)(2)"},
		{"an existing link stays", "a: | 1 | x\nc: a b | 3 | re x\nd: c b | 4 | re x", "(1 (2)(3))"},
		{"a message's own references decide", "x: a b c | 1 | x\na: | 2 | y\nc: a | 3 | re y", "(2 3 1)"},
		{"its references say it has no parent", "x: a b | 1 | x\nb: | 2 | y", "(2 1)"},
		{"one subject: a reply goes below", "a: | 1 | x\nb: | 2 | re x", "(1 2)"},
		{"one subject: the reply came first", "b: | 1 | re x\na: | 2 | x", "(2 1)"},
		{"one subject, no replies: siblings", "a: | 1 | x\nb: | 2 | x", "((1)(2))"},
		{"one subject, both replies: siblings", "a: | 1 | re x\nb: | 2 | re x", "((1)(2))"},
		{"three of one subject", "a: | 1 | x\nb: | 2 | x\nc: | 3 | x", "((1)(2)(3))"},
		{"into a dummy", "b: a | 1 | re x\nc: a | 2 | re x\nd: | 3 | x", "((1)(2)(3))"},
		{"two dummies", "b: a | 1 | re x\nc: a | 2 | re x\nd: p | 3 | re x\ne: p | 4 | re x", "((1)(2)(3)(4))"},
		{"a dummy before a message", "d: | 1 | x\nb: a | 2 | re x\nc: a | 3 | re x", "((1)(2)(3))"},
		{"no subject joins nothing", "a: | 1 |\nb: | 2 | re ", "(1)(2)"},
		{"a thread keeps its children when it is joined", "a: | 1 | x\nb: | 2 | re x\nc: b | 3 | re x", "(1 2 3)"},
	} {
		if got := string(References(msgs(row.text)).Append(nil)); got != row.want {
			t.Errorf("%s: got %s, want %s", row.name, got, row.want)
		}
	}
}

func TestRefs(t *testing.T) {
	got := string(Refs(msgs("a: | 1 | x\nb: | 5 | x\nc: a | 9 | re x\nd: | 7 | re y\ne: m | 2 | z\nf: m | 8 | z")).Append(nil))
	if want := "(2)(4)((5)(6))(1 3)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestEachOnce: whatever the references say, each message is in the answer once,
// parentheses match, and no thread is empty.
func TestEachOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 1))
	for range 3000 {
		list := make([]Message, r.IntN(12))
		for i := range list {
			list[i] = Message{Num: uint32(i + 1), Sent: int64(r.IntN(4)), Subject: []string{"", "x", "y"}[r.IntN(3)], Reply: r.IntN(2) == 0}
			if r.IntN(8) > 0 {
				list[i].ID = NewID(fmt.Sprint(r.IntN(14)))
			}
			for range r.IntN(5) {
				list[i].Refs = append(list[i].Refs, NewID(fmt.Sprint(r.IntN(14))))
			}
		}
		for name, f := range map[string]*Forest{"ORDEREDSUBJECT": OrderedSubject(list), "REFERENCES": References(list), "REFS": Refs(list)} {
			text := string(f.Append(nil))
			var seen []int
			for _, w := range strings.FieldsFunc(text, func(c rune) bool { return strings.ContainsRune("() ", c) }) {
				n, _ := strconv.Atoi(w)
				seen = append(seen, n)
			}
			slices.Sort(seen)
			for i, n := range seen {
				if n != i+1 {
					t.Fatalf("%s: %s of %d messages", name, text, len(list))
				}
			}
			if len(seen) != len(list) || strings.Count(text, "(") != strings.Count(text, ")") || strings.Contains(text, "()") {
				t.Fatalf("%s: %s of %d messages", name, text, len(list))
			}
		}
	}
}

// TestLargeShapes are those that would take very long, or much stack, if a step
// grew with the square of a thread's length.
func TestLargeShapes(t *testing.T) {
	const n = 100_000
	id := func(i int) ID { return NewID(strconv.Itoa(i)) }
	for name, refs := range map[string]func(i int) []ID{
		"chain":           func(i int) []ID { return []ID{id(i - 1)} },
		"chain, reversed": func(i int) []ID { return []ID{id(i + 1)} },
		"star":            func(int) []ID { return []ID{id(0)} },
		"star, guessed":   func(i int) []ID { return []ID{id(-1), id(n - i), id(0)} },
		"pairs":           func(i int) []ID { return []ID{id(-i), id(i / 2)} },
	} {
		list := make([]Message, n)
		for i := range list {
			list[i] = Message{Num: uint32(i + 1), ID: id(i), Refs: refs(i), Sent: int64(i), Subject: "x"}
		}
		if text := References(list).Append(nil); len(text) < n {
			t.Errorf("%s: %d bytes", name, len(text))
		}
		Refs(list)
	}
}
