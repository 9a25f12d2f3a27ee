package mboxfmt

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"rookery/internal/mailstore"
)

var berlin = time.FixedZone("", 3600)

func TestParseFrom(t *testing.T) {
	const want = "2003-11-29T22:33:52Z"
	for line, wantDate := range map[string]string{
		"From a@b Sat Nov 29 22:33:52 2003":                           "2003-11-29T21:33:52Z", // local: an hour ahead
		"From a@b Sat Nov 29 22:33:52 2003\n":                         "2003-11-29T21:33:52Z",
		"From a@b Sat Nov 29 22:33:52 2003\r\n":                       "2003-11-29T21:33:52Z",
		"From a@b  Sat Nov 29 22:33 2003":                             "2003-11-29T21:33:00Z",
		"From a@b Sat Nov  9 2:33:52 2003":                            "2003-11-09T01:33:52Z",
		"From  Sat Nov 29 22:33:52 2003":                              "2003-11-29T21:33:52Z",
		"From - Sat Nov 29 22:33:52 2003":                             "2003-11-29T21:33:52Z",
		"From \"odd sender\"@b Sat Nov 29 22:33:52 2003":              "2003-11-29T21:33:52Z",
		"From Sat Sat Nov 29 22:33:52 2003":                           "2003-11-29T21:33:52Z",
		"From a@b Sat Nov 29 22:33:52 GMT 2003":                       want,
		"From a@b Sat Nov 29 22:33:52 2003 +0000":                     want,
		"From a@b Sat Nov 29 22:33:52 +0000 2003":                     want,
		"From a@b Sat Nov 29 23:33:52 2003 +0100 (CET)":               want,
		"From a@b Sat Nov 29 17:33:52 EST 2003":                       want,
		"From a@b Sat Nov 29 22:33:52 MET DST 2003":                   "2003-11-29T21:33:52Z",
		"From a@b Sat, 29 Nov 2003 22:33:52 +0000":                    want,
		"From a@b Sat, 29 Nov 2003 22:33:52":                          "2003-11-29T21:33:52Z",
		"From a@b Sat Nov 29 22:33:52 2003 remote from host":          "2003-11-29T21:33:52Z",
		"From a@b Sat Dec 31 23:59:60 2016 +0000":                     "2017-01-01T00:00:00Z",
		"From a@b sat nov 29 22:33:52 9999 +0000":                     "9999-11-29T22:33:52Z",
		"From a@b Sat Nov 29 22:33:52 2003 XYZ":                       "2003-11-29T21:33:52Z",
		"From " + strings.Repeat("x", 900) + " Sat Nov 29 22:33 2003": "2003-11-29T21:33:00Z",

		"From a@b":                                                     "",
		"From ":                                                        "",
		"From: a@b":                                                    "",
		"from a@b Sat Nov 29 22:33:52 2003":                            "",
		">From a@b Sat Nov 29 22:33:52 2003":                           "",
		"From a@b Sat Nov 29 22:33:52":                                 "",
		"From a@b Sat Nov 29 2003":                                     "",
		"From a@b Sat Nov 32 22:33:52 2003":                            "",
		"From a@b Sat Feb 30 22:33:52 2003":                            "",
		"From a@b Sat Nov 0 22:33:52 2003":                             "",
		"From a@b Sat Nov 29 24:33:52 2003":                            "",
		"From a@b Sat Nov 29 22:60:52 2003":                            "",
		"From a@b Sat Nov 29 22:33:61 2003":                            "",
		"From a@b Sat Nov 29 22:33:52 03":                              "",
		"From a@b Sat Nov 29 22:33:52 20033":                           "",
		"From a@b Sat Nov 29 22:33:52 1899":                            "",
		"From a@b Sat Nov 29 22:33:52 2003 and some more words":        "",
		"From a@b Sat Nov 29 22:33:52 2003 1999":                       "",
		"From a@b Sat Nov 29 22:33:52 2003 +2500":                      "",
		"From the Sat Nov of my youth":                                 "",
		"From aSat Nov 29 22:33:52 2003":                               "",
		"From " + strings.Repeat("x", 1100) + " Sat Nov 29 22:33 2003": "",
	} {
		f, ok := ParseFrom([]byte(line), berlin)
		got := ""
		if ok {
			got = f.Date.UTC().Format(time.RFC3339)
		}
		if got != wantDate {
			t.Errorf("%q: %q, want %q", line, got, wantDate)
		}
	}
	line := AppendFrom(nil, "a b\n@c", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), berlin)
	if string(line) != "From a-b-@c Fri Jan  2 04:04:05 2026" {
		t.Errorf("%s", line)
	}
	if f, ok := ParseFrom(line, berlin); !ok || f.Sender != "a-b-@c" || f.Date.Unix() != 1767323045 {
		t.Error(f, ok)
	}
}

func scanAll(t testing.TB, text string) (out []*Message, shown []string) {
	t.Helper()
	s := NewScanner(strings.NewReader(text), 0, int64(len(text)), time.UTC)
	for {
		m, err := s.Next()
		if err == io.EOF {
			return out, shown
		}
		if err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		b := ""
		for _, r := range m.Shown() {
			b += text[r.From:r.To]
		}
		out, shown = append(out, m), append(shown, b)
	}
}

const f1 = "From a@b Sat Nov 29 22:33:52 2003\n"

func TestScan(t *testing.T) {
	crlf := func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"empty", "", nil},
		{"empty lines", "\n\r\n\n", nil},
		{"one", f1 + "A: b\n\nbody\n\n", []string{"A: b\n\nbody\n"}},
		{"no end", f1 + "A: b\n\nbody", []string{"A: b\n\nbody"}},
		{"no empty line at the end", f1 + "A: b\n\nbody\n", []string{"A: b\n\nbody\n"}},
		{"two", f1 + "A: b\n\nbody\n\n" + f1 + "C: d\n\nmore\n\n", []string{"A: b\n\nbody\n", "C: d\n\nmore\n"}},
		{"crlf", crlf(f1 + "A: b\n\nbody\n\n" + f1 + "C: d\n\nmore\n\n"), []string{"A: b\r\n\r\nbody\r\n", "C: d\r\n\r\nmore\r\n"}},
		{"no empty line before", f1 + "A: b\n\nbody\n" + f1 + "C: d\n\nmore\n\n", []string{"A: b\n\nbody\n" + f1 + "C: d\n\nmore\n"}},
		{"no date", f1 + "A: b\n\nbody\n\nFrom here on\nit goes\n\n", []string{"A: b\n\nbody\n\nFrom here on\nit goes\n"}},
		{"mboxrd", f1 + "A: b\n\n>From me\n>>From you\n\n", []string{"A: b\n\n>From me\n>>From you\n"}},
		{"no body", f1 + "A: b\n\n" + f1 + "C: d\n\n\n" + f1 + "E: f\n\n", []string{"A: b\n\n", "C: d\n\n", "E: f\n\n"}},
		{"no header", f1 + "\nbody\n\n" + f1 + "\n\n", []string{"\nbody\n", "\n"}},
		{"From_ in a header", f1 + "A: b\n" + f1 + "\nbody\n\n", []string{"A: b\n" + f1 + "\nbody\n"}},
		{"length", f1 + "Content-Length: 42\n\n\n" + f1 + "\nbody\n\n\n" + f1 + "X: y\n\n", []string{"\n\n" + f1 + "\nbody\n\n", "X: y\n\n"}},
		{"length to the end", f1 + "Content-Length: 40\n\n\n" + f1 + "\nbody", []string{"\n\n" + f1 + "\nbody"}},
		{"length without end", f1 + "Content-Length: 4\n\nbody\n\n" + f1 + "X: y\n\n", []string{"\nbody", "X: y\n\n"}},
		{"length with the empty line", f1 + "Content-Length: 6\n\nbody\n\n" + f1 + "X: y\n\n", []string{"\nbody\n\n", "X: y\n\n"}},
		{"length too short", f1 + "Content-Length: 2\n\nbody\n\n" + f1 + "X: y\n\n", []string{"\nbody\n", "X: y\n\n"}},
		{"length too long", f1 + "Content-Length: 400\n\nbody\n\n" + f1 + "X: y\n\n", []string{"\nbody\n", "X: y\n\n"}},
		{"length huge", f1 + "Content-Length: 4611686018427387903\n\nbody\n\n" + f1 + "X: y\n\n", []string{"\nbody\n", "X: y\n\n"}},
		{"length negative", f1 + "Content-Length: -1\n\nbody\n\n", []string{"\nbody\n"}},
		{"length in the midst", f1 + "Content-Length: 6\n\nbody\n\nFrom nobody\n\n" + f1 + "X: y\n\n", []string{"\nbody\n\nFrom nobody\n", "X: y\n\n"}},
		{"our length", f1 + "X-UID: 1\nX-Rookery-Meta: l=6\nno end\n\n" + f1 + "X: y\n\n", []string{"no end", "X: y\n\n"}},
		{"hidden", f1 + "X-UID: 1\nA: b\nStatus: RO\nX-Keywords: a\n b\n\tc\nX-Status: A\nC: d\n\nStatus: x\n\n", []string{"A: b\nC: d\n\nStatus: x\n"}},
		{"half a delivery behind ours", f1 + "X-UID: 1\nX-Rookery-Meta: s=1\nContent-Length: 5\n\nbody\n\nFrom a@b Sat N\n\n" + f1 + "X: y\n\n", []string{"\nbody\n", "X: y\n\n"}},
		{"like names", f1 + "X-UIDs: 1\nXStatus: R\n\n\n", []string{"X-UIDs: 1\nXStatus: R\n\n"}},
	} {
		_, got := scanAll(t, c.text)
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", c.want) {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
		// A message after any number of octets that fill the window.
		long := f1 + "L: " + strings.Repeat("x", windowSize-len(f1)-40) + "\n\n\n"
		if _, got := scanAll(t, long+c.text); len(got) != len(c.want)+1 || len(c.want) > 0 && fmt.Sprintf("%q", got[1:]) != fmt.Sprintf("%q", c.want) {
			t.Errorf("%s after a long one: %d messages, want %d", c.name, len(got), len(c.want)+1)
		}
	}
	junk := "From a@b Sat N\n\n" + f1 + "X: y\n\n"
	s := NewScanner(strings.NewReader(junk), 0, int64(len(junk)), time.UTC)
	s.SkipJunk()
	if m, err := s.Next(); err != nil || m.From != 16 {
		t.Error(m, err)
	}
	if _, err := s.Next(); err != io.EOF {
		t.Error(err)
	}
	s = NewScanner(strings.NewReader("Subject: x\n\n"), 0, 12, time.UTC)
	if _, err := s.Next(); err != ErrNoFrom {
		t.Error(err)
	}
}

func TestMeta(t *testing.T) {
	msgs, _ := scanAll(t, f1+"X-IMAPbase: 1234567890 0000000042 $Junk red $junk bad{ x\nX-UID: 7\nStatus: RO\nX-Status: AFTD\nX-Keywords: red   \n blue\nX-UID: 9\nStatus: \n"+
		"Content-Length: 5\nX-Rookery-Meta: g=000102030405060708090a0b0c0d0e0f s=17 d=1000 o=3 u=a%20b\n\nbody\n\n")
	m := msgs[0]
	got := fmt.Sprintf("%d %d %v %v %v %d %v %d", m.Meta.UID, m.Meta.Flags, m.Meta.Old, m.Meta.Keywords, *m.Meta.Base, m.Meta.Length, m.Meta.Ours, m.Date.Unix())
	want := "7 31 true [red blue] {1234567890 42 [$Junk red x]} 5 {[0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] 17 1000 -1 3 a b} 1000"
	if got != want || !m.Exact {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, bad := range []string{"X-IMAPbase: 0 1", "X-IMAPbase: 1", "X-IMAPbase: x 1", "X-IMAPbase: 4294967296 1"} {
		if msgs, _ := scanAll(t, f1+bad+"\n\n\n"); msgs[0].Meta.Base != nil {
			t.Errorf("%s: taken", bad)
		}
	}
	msgs, _ = scanAll(t, f1+"X-UID: 4294967296\nX-IMAP: 5 6\n\n\n")
	if m := msgs[0].Meta; m.UID != 0 || !m.Pseudo || m.Base.UIDValidity != 5 {
		t.Errorf("%+v", m)
	}
}

// TestHead writes blocks and reads them back, with both line ends.
func TestHead(t *testing.T) {
	for _, crlf := range []bool{false, true} {
		h := Head{Base: &Base{UIDValidity: 99, LastUID: 8, Keywords: []string{"a", "b"}}, UID: 8, Flags: mailstore.Seen | mailstore.Draft | mailstore.Deleted,
			Keywords: []string{"b", "$X"}, Length: 4, Ours: Ours{GUID: mailstore.GUID{1}, Saved: 5, Date: -6, Length: -1, Order: 7, UIDL: "u v%"}}
		block := string(h.AppendTo(nil, crlf, 0))
		eol := "\n"
		if crlf {
			eol = "\r\n"
		}
		text := "From a@b Sat Nov 29 22:33:52 2003" + eol + block + "A: b" + eol + eol + "1234" + eol + eol
		msgs, shown := scanAll(t, text)
		m := msgs[0].Meta
		got := fmt.Sprintf("%d %v %d %v %d %v %d %q", m.UID, *m.Base, m.Flags, m.Keywords, m.Length, m.Ours, len(m.Fields), shown[0])
		want := fmt.Sprintf("8 {99 8 [a b]} 28 [b $X] 4 {[1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0] 5 -6 -1 7 u v%%} 7 %q", "A: b"+eol+eol+"1234")
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		for _, f := range m.Fields {
			value := map[Kind]string{FieldStatus: "RO", FieldXStatus: "AFTD", FieldKeywords: "one two three", FieldBase: BaseValue(Base{99, 4000000000, []string{"a", "b", "c"}})}[f.Kind]
			if value == "" {
				continue
			}
			in, ok := f.InPlace(value)
			if !ok {
				t.Errorf("%v: no room", f.Kind)
				continue
			}
			after := text[:f.Value] + string(in) + text[f.Value+f.Room:]
			if _, again := scanAll(t, after); again[0] != shown[0] {
				t.Errorf("%v changes the message", f.Kind)
			}
		}
		if n := len(h.AppendTo(nil, crlf, 3000)); n != 3000 {
			t.Error(n)
		}
		if one, err := ReadHead(strings.NewReader(text), 0, int64(len(text)), time.UTC); err != nil || one.Meta.UID != 8 || one.Body != msgs[0].Body {
			t.Error(err, one)
		}
	}
}

// FuzzScan: whatever the bytes, messages come in order, without overlap, and
// reading ends.
func FuzzScan(f *testing.F) {
	f.Add(f1+"A: b\n\nbody\n\n"+f1+"C: d\n\nmore\n\n", 0)
	f.Add(strings.ReplaceAll(f1+"Content-Length: 4\nX-UID: 1\n x\n\nbody\n\n"+f1, "\n", "\r\n"), 1)
	f.Add(f1+"X-IMAPbase: 1 2 a b\nX-Rookery-Meta: l=3 g=00 s=1\n\n\n"+f1+"\n\n", 5)
	f.Fuzz(func(t *testing.T, text string, small int) {
		s := NewScanner(strings.NewReader(text), 0, int64(len(text)), time.UTC)
		s.win = max(small%200, 1) // the window's borders, everywhere
		at := int64(0)
		for {
			m, err := s.Next()
			if err == io.EOF || err == ErrNoFrom {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if m.From < at || m.Header <= m.From || m.Body < m.Header || m.End < m.Body || m.Next < m.End || m.Next > int64(len(text)) || m.Next <= m.From {
				t.Fatalf("%+v", m)
			}
			last := m.Header
			for _, r := range m.Shown() {
				if r.From < last || r.To <= r.From || r.To > m.End {
					t.Fatalf("%+v shows %v", m, m.Shown())
				}
				last = r.To
			}
			at = m.Next
		}
	})
}
