package imapwire

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

var small = Limits{Line: 60, Literal: 10, LiteralsTotal: 16, LiteralCount: 3, Depth: 3, Items: 4}

// streamAppend streams the literals of APPEND and refuses those of DENY.
func streamAppend(lit Announced) Verdict {
	switch {
	case strings.Contains(string(lit.Prefix), "APPEND"):
		return Verdict{Action: Stream}
	case strings.Contains(string(lit.Prefix), "DENY"):
		return Verdict{Action: Refuse, Tag: lit.Size}
	}
	return Verdict{}
}

// drive feeds input in portions that cut gives and writes down the events;
// neighbouring chunks are joined, since portions decide where they are cut.
func drive(f *Framer, input string, cut func(left int) int) string {
	var out strings.Builder
	chunk := ""
	flush := func() {
		if chunk != "" {
			fmt.Fprintf(&out, "chunk %q\n", chunk)
			chunk = ""
		}
	}
	for len(input) > 0 {
		n := cut(len(input))
		p := []byte(input[:n])
		input = input[n:]
		for {
			used, ev := f.Next(p)
			p = p[used:]
			if ev.Kind == NeedMore {
				if len(p) > 0 {
					fmt.Fprintf(&out, "left %q\n", p)
				}
				break
			}
			if ev.Kind == Chunk {
				chunk += string(ev.Bytes)
				continue
			}
			flush()
			switch ev.Kind {
			case Command:
				fmt.Fprintf(&out, "command %q\n", ev.Bytes)
			case Line:
				fmt.Fprintf(&out, "line %q\n", ev.Bytes)
			case Continue:
				out.WriteString("+\n")
			case ChunkEnd:
				out.WriteString("end\n")
			case Refused:
				fmt.Fprintf(&out, "refused %q: %s\n", ev.Bytes, ev.Reason)
			case Fatal:
				fmt.Fprintf(&out, "fatal %q: %s\n", ev.Bytes, ev.Reason)
				return out.String()
			}
		}
	}
	flush()
	return out.String()
}

func TestFramer(t *testing.T) {
	long := strings.Repeat("x", 61)
	tests := []struct{ name, in, want string }{
		{"line", "a NOOP\r\nb NOOP\r\n", "command \"a NOOP\"\ncommand \"b NOOP\"\n"},
		{"bare LF", "a NOOP\nb NOOP\n", "command \"a NOOP\"\ncommand \"b NOOP\"\n"},
		{"empty line", "\r\n\na NOOP\r\n", "command \"\"\ncommand \"\"\ncommand \"a NOOP\"\n"},
		{"literal", "a L {3}\r\na\nb {0}\r\n\r\n", "+\n+\ncommand \"a L {3}\\r\\na\\nb {0}\\r\\n\"\n"},
		{"literal after bare LF", "a L {1}\nx\n", "+\ncommand \"a L {1}\\r\\nx\"\n"},
		{"non-sync", "a L {3+}\r\nabc {2+}\r\nde\r\n", "command \"a L {3+}\\r\\nabc {2+}\\r\\nde\"\n"},
		{"zero non-sync", "a L {0+}\r\n\r\n", "command \"a L {0+}\\r\\n\"\n"},
		{"literal8", "a L ~{2}\r\n\x00b\r\n", "+\ncommand \"a L ~{2}\\r\\n\\x00b\"\n"},
		{"too big", "a L {11}\r\nb NOOP\r\n", "refused \"a L {11}\": Literal too big\ncommand \"b NOOP\"\n"},
		{"too big drained", "a L {11+}\r\n\nb NOOP\r\n\n\n rest\r\nc NOOP\r\n",
			"refused \"a L {11+}\": Literal too big\ncommand \"c NOOP\"\n"},
		{"total", "a L {9}\r\n123456789 {8}\r\nb NOOP\r\n",
			"+\nrefused \"a L {9}\\r\\n123456789 {8}\": Literal too big\ncommand \"b NOOP\"\n"},
		{"count", "a {1+}\r\nx{1+}\r\nx{1+}\r\nx{1+}\r\nx rest\r\nb NOOP\r\n",
			"refused \"a {1+}\\r\\nx{1+}\\r\\nx{1+}\\r\\nx{1+}\": Too many literals\ncommand \"b NOOP\"\n"},
		{"drained, then sync", "a L {11+}\r\n12345678901 {2}\r\nb NOOP\r\n",
			"refused \"a L {11+}\": Literal too big\ncommand \"b NOOP\"\n"},
		{"drained twice", "a L {11+}\r\n12345678901 {2+}\r\nxy z\r\nb NOOP\r\n",
			"refused \"a L {11+}\": Literal too big\ncommand \"b NOOP\"\n"},
		{"huge", "a L {99999999999999999999999}\r\nb NOOP\r\n",
			"refused \"a L {99999999999999999999999}\": Literal too big\ncommand \"b NOOP\"\n"},
		{"huge non-sync", "a L {99999999999999999999999+}\r\n", "fatal \"a L \": Invalid literal size\n"},
		{"line at limit", "a " + long[:58] + "\r\n", "command \"a " + long[:58] + "\"\n"},
		{"line at limit, LF", "a " + long[:58] + "\n", "command \"a " + long[:58] + "\"\n"},
		{"line over limit", "a " + long[:59] + "\r\nb NOOP\r\n",
			"refused \"a " + long[:58] + "\": Command line too long\ncommand \"b NOOP\"\n"},
		{"line over limit, LF", "a " + long[:59] + "\nb NOOP\n",
			"refused \"a " + long[:58] + "\": Command line too long\ncommand \"b NOOP\"\n"},
		{"line far over limit", "a " + long + long + long + "\r\nb NOOP\r\n",
			"refused \"a " + long[:58] + "\": Command line too long\ncommand \"b NOOP\"\n"},
		{"long line with literal", "a " + long + " {9}\r\nb NOOP\r\n",
			"refused \"a " + long[:58] + "\": Command line too long\ncommand \"b NOOP\"\n"},
		{"long line with non-sync literal", "a " + long + " {4+}\r\n\r\nx\n y\r\nb NOOP\r\n",
			"refused \"a " + long[:58] + "\": Command line too long\ncommand \"b NOOP\"\n"},
		{"long line with an endless size", "a " + long + " {" + strings.Repeat("0", 40) + "4+}\r\n1234\r\n",
			"fatal \"a " + long[:58] + "\": Invalid literal size\n"},
		{"NUL", "a \x00 b\r\nc NOOP\r\n", "refused \"a \\x00 b\": NUL byte in command\ncommand \"c NOOP\"\n"},
		{"NUL before literal", "a \x00 {3}\r\nc NOOP\r\n", "refused \"a \\x00 {3}\": NUL byte in command\ncommand \"c NOOP\"\n"},
		{"NUL in literal", "a L {3+}\r\na\x00b\r\nc NOOP\r\n",
			"refused \"a L {3+}\\r\\na\\x00b\": NUL byte in command\ncommand \"c NOOP\"\n"},
		{"stream", "a APPEND x {20}\r\n0123456789\r\n34567890\r\nb NOOP\r\n",
			"+\nchunk \"0123456789\\r\\n34567890\"\nend\ncommand \"a APPEND x {20}\\r\\n\"\ncommand \"b NOOP\"\n"},
		{"stream of nothing", "a APPEND x {0}\r\n {2+}\r\nxy\r\n",
			"+\nend\nchunk \"xy\"\nend\ncommand \"a APPEND x {0}\\r\\n\"\n"},
		{"decider refuses", "a DENY {3}\r\nb NOOP\r\n", "refused \"a DENY {3}\": Refused\ncommand \"b NOOP\"\n"},
		{"decider refuses non-sync", "a DENY {3+}\r\nb N\r\nc NOOP\r\n", "refused \"a DENY {3+}\": Refused\ncommand \"c NOOP\"\n"},
		{"CR at a literal's end", "a {2}\n0\r\nb NOOP\r\n", "+\ncommand \"a {2}\\r\\n0\\r\"\ncommand \"b NOOP\"\n"},
		{"no literal heads", "a {}\r\nb {+}\r\nc {1\r\nd 1}\r\ne {x}\r\n{1++}\r\n",
			"command \"a {}\"\ncommand \"b {+}\"\ncommand \"c {1\"\ncommand \"d 1}\"\ncommand \"e {x}\"\ncommand \"{1++}\"\n"},
		{"CR inside", "a\rb\r\n", "command \"a\\rb\"\n"},
		{"unfinished", "a NOOP", ""},
	}
	for _, test := range tests {
		for size := 1; size <= len(test.in); size++ {
			f := NewFramer(small, streamAppend)
			got := drive(f, test.in, func(left int) int { return min(size, left) })
			if got != test.want {
				t.Errorf("%s in portions of %d:\n%swant:\n%s", test.name, size, got, test.want)
				break
			}
		}
	}
}

func TestFramerRawMode(t *testing.T) {
	f := NewFramer(small, nil)
	f.SetRaw(true)
	in := "DONE\r\nx {3}\r\n" + strings.Repeat("y", 70) + " {3+}\r\nabc z\r\na\x00\r\n" +
		"x {4+}\r\nb\r\nc {0+}\r\n z\r\nDONE\r\nx {11+}\r\n" // a literal that does not wait is part of its line
	long := strings.Repeat("y", 60)
	want := "line \"DONE\"\nline \"x {3}\"\nrefused \"" + long + "\": Command line too long\nrefused \"a\\x00\": NUL byte in command\n" +
		"refused \"x {4+}\": No literal can stand here\nline \"DONE\"\nfatal \"x {11+}\": Invalid literal size\n"
	if got := drive(f, in, func(left int) int { return min(3, left) }); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
	f.SetRaw(false)
	if got := drive(f, "a {1}\r\n", func(left int) int { return left }); got != "+\n" || f.Idle() {
		t.Errorf("after raw mode: %q, idle %v", got, f.Idle())
	}
}

func TestFramerTellsTheDecider(t *testing.T) {
	var seen []string
	many := small
	many.LiteralCount = 10
	f := NewFramer(many, func(lit Announced) Verdict {
		seen = append(seen, fmt.Sprintf("%q since %d streamed %d size %d index %d nonsync %v binary %v",
			lit.Prefix, lit.Since, lit.Streamed, lit.Size, lit.Index, lit.NonSync, lit.Binary))
		if lit.Size == 1 {
			return Verdict{}
		}
		return Verdict{Action: Stream}
	})
	drive(f, "a {1+}\r\nX (b) {2}\r\nxy ~{3+}\r\n123 {1}\r\n4 {2+}\r\n56 {1+}\r\n7 z\r\n", func(left int) int { return left })
	want := []string{
		`"a " since 0 streamed 0 size 1 index 0 nonsync true binary false`,
		`"a {1+}\r\nX (b) " since 9 streamed 0 size 2 index 1 nonsync false binary false`,
		`"a {1+}\r\nX (b) {2}\r\n " since 19 streamed 19 size 3 index 2 nonsync true binary true`,
		// A buffered literal stays part of the text behind the last streamed one.
		`"a {1+}\r\nX (b) {2}\r\n " since 19 streamed 19 size 1 index 3 nonsync false binary false`,
		`"a {1+}\r\nX (b) {2}\r\n {1}\r\n4 " since 26 streamed 19 size 2 index 4 nonsync true binary false`,
		`"a {1+}\r\nX (b) {2}\r\n " since 19 streamed 19 size 1 index 5 nonsync true binary false`,
	}
	if strings.Join(seen, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %s", strings.Join(seen, "\n"))
	}
}

// Of a whole command, too, is told where the text behind the last streamed literal
// begins.
func TestFramerStreamed(t *testing.T) {
	for in, want := range map[string]string{
		"a X y\r\n":                               "a X y",
		"a X {1+}\r\ny z\r\n":                     "a X {1+}\r\ny z",
		"a X {2+}\r\nxy z\r\n":                    " z",
		"a X {2+}\r\nxy {1+}\r\nz {2+}\r\nxy\r\n": "",
		"a X {2+}\r\nxy {1+}\r\nz w\r\n":          " {1+}\r\nz w",
	} {
		f := NewFramer(small, func(lit Announced) Verdict {
			if lit.Size == 1 {
				return Verdict{}
			}
			return Verdict{Action: Stream}
		})
		for p := []byte(in); ; {
			n, ev := f.Next(p)
			p = p[n:]
			if ev.Kind == NeedMore {
				t.Fatalf("%q: no command", in)
			}
			if ev.Kind == Command {
				if got := string(ev.Text()[ev.Streamed:]); got != want {
					t.Errorf("%q: %q, want %q", in, got, want)
				}
				break
			}
		}
	}
}

// A caller keeps what follows an event; the Framer must not have taken it.
func TestFramerLeavesPipelinedBytes(t *testing.T) {
	f := NewFramer(small, nil)
	n, ev := f.Next([]byte("a NOOP\r\nb NOOP\r\n"))
	if n != 8 || ev.Kind != Command || !f.Idle() {
		t.Errorf("took %d, %v", n, ev.Kind)
	}
}

func TestFramerHoldsNoMoreThanArrived(t *testing.T) {
	limits := Limits{Line: 100, Literal: 1 << 40, LiteralsTotal: 1 << 40, LiteralCount: 2, Depth: 1, Items: 1}
	f := NewFramer(limits, nil)
	if _, ev := f.Next([]byte("a L {1099511627776}\r\n")); ev.Kind != Continue {
		t.Fatal(ev)
	}
	for i := 0; i < 1000; i++ {
		f.Next(make([]byte, 100))
	}
	if cap(f.buf) > 300_000 {
		t.Errorf("holds %d bytes after 100,000 came", cap(f.buf))
	}
}

func FuzzFramer(f *testing.F) {
	for _, seed := range []string{
		"a NOOP\r\n", "a L {3}\r\nabc {2+}\r\nde\r\nb NOOP\r\n", "a APPEND x {4}\r\nabcd {0+}\r\n\r\n",
		"a L {11+}\r\n12345678901 {2}\r\nb\r\n", strings.Repeat("x", 70) + "{3+}\r\nabc\r\n", "a DENY {3+}\r\nabc\n", "\x00{1}\n",
	} {
		f.Add(seed, uint64(1))
	}
	f.Fuzz(func(t *testing.T, in string, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 1))
		whole := drive(NewFramer(small, streamAppend), in, func(left int) int { return left })
		fr := NewFramer(small, streamAppend)
		pieces := drive(fr, in, func(left int) int { return 1 + rng.IntN(min(left, 9)) })
		if whole != pieces {
			t.Fatalf("whole:\n%spieces:\n%s", whole, pieces)
		}
		if cap(fr.buf) > 1024 {
			t.Fatalf("holds %d bytes", cap(fr.buf))
		}
	})
}
