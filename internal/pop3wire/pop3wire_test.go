package pop3wire

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// drive feeds in to s in portions that size chooses and prints the events.
func drive(s *Splitter, in string, size func(left int) int) string {
	var out strings.Builder
	for p := []byte(in); len(p) > 0; {
		portion := p[:size(len(p))]
		for len(portion) > 0 {
			n, ev := s.Next(portion)
			portion, p = portion[n:], p[n:]
			switch ev.Kind {
			case Line:
				fmt.Fprintf(&out, "line %q\n", ev.Bytes)
			case TooLong:
				out.WriteString("too long\n")
			case NULByte:
				out.WriteString("nul\n")
			}
		}
	}
	return out.String()
}

func whole(left int) int { return left }
func one(int) int        { return 1 }

func TestSplitter(t *testing.T) {
	tests := []struct{ in, want string }{
		{"USER a\r\nPASS b c \r\n", "line \"USER a\"\nline \"PASS b c \"\n"},
		{"QUIT\n\r\n\n", "line \"QUIT\"\nline \"\"\nline \"\"\n"},
		{"1234567890\r\n", "line \"1234567890\"\n"},
		{"1234567890\n", "line \"1234567890\"\n"},
		{"12345678901\r\nok\r\n", "too long\nline \"ok\"\n"},
		{"12345678901\nok\r\n", "too long\nline \"ok\"\n"},
		{"123456789\r\r\nok\r\n", "line \"123456789\\r\"\nline \"ok\"\n"},
		{"1234567890\r\r\nok\r\n", "too long\nline \"ok\"\n"},
		{strings.Repeat("x", 500) + "\r\nok\r\n", "too long\nline \"ok\"\n"},
		{"a\x00b\r\nok\r\n", "nul\nline \"ok\"\n"},
		{"a\rb\r\n", "line \"a\\rb\"\n"},
	}
	for _, test := range tests {
		for name, size := range map[string]func(int) int{"whole": whole, "bytes": one} {
			if got := drive(NewSplitter(10), test.in, size); got != test.want {
				t.Errorf("%q in %s:\n%swant:\n%s", test.in, name, got, test.want)
			}
		}
	}
}

// What follows a line stays with the caller: a hand-over passes it on.
func TestSplitterLeavesPipelinedBytes(t *testing.T) {
	s := NewSplitter(100)
	n, ev := s.Next([]byte("PASS x\r\nSTAT\r\n"))
	if n != 8 || string(ev.Bytes) != "PASS x" || !s.Idle() {
		t.Errorf("took %d, %q, idle %v", n, ev.Bytes, s.Idle())
	}
}

func TestSplitterWipe(t *testing.T) {
	s := NewSplitter(100)
	_, ev := s.Next([]byte("PASS secret\r\n"))
	held := ev.Bytes
	s.Wipe()
	if bytes.Contains(held, []byte("secret")) {
		t.Error("the password is still in memory")
	}
	s.Next([]byte("half of a li"))
	s.Wipe()
	if _, ev := s.Next([]byte("NOOP\r\n")); string(ev.Bytes) != "NOOP" {
		t.Errorf("after Wipe: %q", ev.Bytes)
	}
}

func TestSplitterHoldsNoMoreThanItsLimit(t *testing.T) {
	s := NewSplitter(100)
	for range 10_000 {
		s.Next(bytes.Repeat([]byte("("), 100))
	}
	if cap(s.buf) > 256 {
		t.Errorf("holds %d bytes after 1,000,000 came", cap(s.buf))
	}
}

func TestSplit(t *testing.T) {
	tests := []struct {
		line, name, args string
		has              bool
		params           []string
	}{
		{"stat", "STAT", "", false, nil},
		{"PASS  a b ", "PASS", " a b ", true, []string{"a", "b"}},
		{"PASS ", "PASS", "", true, nil},
		{"TOP 1  10", "TOP", "1  10", true, []string{"1", "10"}},
		{"X 1 2 3 4 5", "X", "1 2 3 4 5", true, []string{"1", "2", "3"}},
		{"", "", "", false, nil},
		{" STAT", "", "STAT", true, []string{"STAT"}},
		{"ST\x01T", "", "", false, nil},
		{"ST\xc3\xa4T", "", "", false, nil},
		{strings.Repeat("X", 17), "", "", false, nil},
	}
	for _, test := range tests {
		c := Split([]byte(test.line))
		if c.Name != test.name || string(c.Args) != test.args || c.Has != test.has {
			t.Errorf("Split(%q) = %q %q %v", test.line, c.Name, c.Args, c.Has)
		}
		if got := c.Params(2); !reflect.DeepEqual(got, test.params) {
			t.Errorf("Split(%q).Params(2) = %q, want %q", test.line, got, test.params)
		}
	}
}

func TestNumber(t *testing.T) {
	tests := []struct {
		in   string
		want int
		ok   bool
	}{
		{"0", 0, true}, {"1", 1, true}, {"0012", 12, true}, {"2147483647", 2147483647, true},
		{"2147483648", 0, false}, {"99999999999999999999", 0, false}, {"", 0, false},
		{"+1", 0, false}, {"-1", 0, false}, {"1x", 0, false}, {" 1", 0, false},
	}
	for _, test := range tests {
		if n, ok := Number(test.in); ok != test.ok || ok && n != test.want {
			t.Errorf("Number(%q) = %d, %v", test.in, n, ok)
		}
	}
}

func TestResponses(t *testing.T) {
	tests := []struct{ got, want string }{
		{string(AppendOK(nil, "")), "+OK\r\n"},
		{string(AppendOK(nil, "2 320")), "+OK 2 320\r\n"},
		{string(AppendOK(nil, "[x] y")), "+OK  [x] y\r\n"},
		{string(AppendErr(nil, "", "no such message")), "-ERR no such message\r\n"},
		{string(AppendErr(nil, Auth, "Authentication failed.")), "-ERR [AUTH] Authentication failed.\r\n"},
		{string(AppendErr(nil, SysTemp, "[x]")), "-ERR [SYS/TEMP] [x]\r\n"},
		{string(AppendErr(nil, "", "a\r\n+OK b\x00\x7f")), "-ERR a??+OK b??\r\n"},
		{string(AppendContinue(nil, "YQ==")), "+ YQ==\r\n"},
		{string(AppendContinue(nil, "")), "+ \r\n"},
		{string(AppendLine(nil, ".x")), "..x\r\n"},
		{string(AppendLine(nil, "a\r\n.b")), "a??.b\r\n"},
		{string(AppendEnd(nil)), ".\r\n"},
	}
	for _, test := range tests {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
	if got := AppendOK([]byte("kept"), strings.Repeat("x", 2000)); len(got) != len("kept")+maxLine || !bytes.HasSuffix(got, []byte("x\r\n")) {
		t.Errorf("a long text gives %d bytes", len(got))
	}
}

var stuffed = []struct{ in, out string }{
	{"", ".\r\n"},
	{"a\r\n", "a\r\n.\r\n"},
	{"a", "a\r\n.\r\n"},
	{"a\r", "a\r\n.\r\n"},
	{".", "..\r\n.\r\n"},
	{".\r\n..\r\n.a\r\n", "..\r\n...\r\n..a\r\n.\r\n"},
	{"a.b\r\n\r\n.", "a.b\r\n\r\n..\r\n.\r\n"},
	{"a\n.b\n\n", "a\r\n..b\r\n\r\n.\r\n"},
	{"a\r.b\r\n", "a\r.b\r\n.\r\n"},
}

func TestStuffer(t *testing.T) {
	for _, test := range stuffed {
		var s Stuffer
		got := s.End(s.Append(nil, []byte(test.in)))
		if string(got) != test.out {
			t.Errorf("%q stuffed is %q, want %q", test.in, got, test.out)
		}
		var out []byte
		for i := range len(test.in) {
			out = s.Append(out, []byte(test.in[i:i+1]))
		}
		if out = s.End(out); string(out) != test.out {
			t.Errorf("%q stuffed byte by byte is %q, want %q", test.in, out, test.out)
		}
	}
}

func TestUnstufferStopsAtTheEnd(t *testing.T) {
	var u Unstuffer
	out, n := u.Append(nil, []byte("..a\r\n.\r\n+OK next\r\n"))
	if string(out) != ".a\r\n" || n != 8 || !u.Done() {
		t.Errorf("%q, took %d, done %v", out, n, u.Done())
	}
}

func FuzzSplitter(f *testing.F) {
	for _, seed := range []string{"USER a\r\nPASS b c\r\n", "12345678901\nx\n", "a\x00\r\n\r\r\n", strings.Repeat("(", 99)} {
		f.Add(seed, uint64(1))
	}
	f.Fuzz(func(t *testing.T, in string, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 1))
		a := drive(NewSplitter(10), in, whole)
		s := NewSplitter(10)
		b := drive(s, in, func(left int) int { return 1 + rng.IntN(min(left, 5)) })
		if a != b {
			t.Fatalf("whole:\n%spieces:\n%s", a, b)
		}
		if cap(s.buf) > 64 {
			t.Fatalf("holds %d bytes", cap(s.buf))
		}
		for line := range strings.SplitSeq(in, "\n") {
			Split([]byte(line)).Params(3)
		}
	})
}

// What is stuffed comes back, but for line ends, which are CRLF then.
func FuzzStuffer(f *testing.F) {
	for _, test := range stuffed {
		f.Add([]byte(test.in), 1)
	}
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		cut = min(max(cut, 0), len(in))
		var s Stuffer
		out := s.End(s.Append(s.Append(nil, in[:cut]), in[cut:]))
		var u Unstuffer
		back, n := u.Append(nil, out)
		want := bytes.ReplaceAll(bytes.ReplaceAll(in, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
		if len(want) > 0 && want[len(want)-1] == '\r' {
			want = append(want, '\n')
		} else if len(want) > 0 && want[len(want)-1] != '\n' {
			want = append(want, '\r', '\n')
		}
		if !bytes.Equal(back, want) || n != len(out) || !u.Done() {
			t.Fatalf("%q became %q, came back as %q (%d of %d)", in, out, back, n, len(out))
		}
	})
}
