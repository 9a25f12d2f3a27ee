package message

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the expectations in testdata/mail")

const (
	markMessage   = "===== message\n"
	markStructure = "===== bodystructure\n"
	markBody      = "===== body\n"
	markEnvelope  = "===== envelope\n"
	markSections  = "===== sections\n"
)

// TestMail compares what each sample of testdata/mail gives. A sample is: words
// on what it shows; the message, whose lines become CRLF, with \xHH for odd
// bytes and \c before the end for "no line end here"; the expected texts.
func TestMail(t *testing.T) {
	files, err := filepath.Glob("testdata/mail/*.txt")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d samples, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			about, rest, ok := strings.Cut(string(text), markMessage)
			if !ok {
				t.Fatal("no message")
			}
			sample, _, ok := strings.Cut(rest, markStructure)
			if !ok && !*update {
				t.Fatal("no expectation")
			}
			got := about + markMessage + sample + describe(t, sampleMessage(sample))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(text) {
				t.Errorf("got:\n%s\nwant:\n%s", got[len(about):], text[len(about):])
			}
		})
	}
}

var hexEscape = regexp.MustCompile(`\\x[0-9a-f]{2}`)

func sampleMessage(sample string) string {
	msg := hexEscape.ReplaceAllStringFunc(crlf(sample), func(s string) string {
		n, _ := strconv.ParseUint(s[2:], 16, 8)
		return string([]byte{byte(n)})
	})
	msg, _, _ = strings.Cut(msg, "\\c")
	return msg
}

// describe gives all texts of a message, and checks it read bytewise and with LF.
func describe(t *testing.T, msg string) string {
	root := mustParse(t, msg)
	checkTree(t, []byte(msg), root, Limits{})
	lf := strings.ReplaceAll(msg, "\r\n", "\n")
	if !strings.Contains(lf, "\r") {
		r := NewCRLFReader(strings.NewReader(lf), int64(len(lf)))
		size, _ := r.Size()
		again, err := Parse(r, size, Limits{})
		if wireForm([]byte(lf)); err != nil || (string(wireForm([]byte(lf))) == msg && !reflect.DeepEqual(root, again)) {
			t.Errorf("another tree through CRLFReader: %v", err)
		}
		root2 := mustParse(t, lf)
		checkTree(t, []byte(lf), root2, Limits{})
		if a, b := shapeOf(root), shapeOf(root2); a != b {
			t.Errorf("another tree of the LF form: %s\n%s", a, b)
		}
	}
	back, err := DecodeTree(AppendTree(nil, root), Limits{})
	if err != nil || !reflect.DeepEqual(back, root) {
		t.Errorf("the tree does not survive encoding: %v", err)
	}
	var b strings.Builder
	b.WriteString(markStructure + visible(AppendBodyStructure(nil, root, Limits{})))
	b.WriteString(markBody + visible(AppendBody(nil, root, Limits{})))
	b.WriteString(markEnvelope + visible(AppendEnvelope(nil, root.Envelope, Limits{})))
	b.WriteString(markSections)
	describeSections(&b, msg, root, nil)
	return b.String()
}

// shapeOf is a tree's form without sizes.
func shapeOf(p *Part) string {
	s := fmt.Sprintf("%s/%s %d lines %v", p.Type, p.Subtype, p.BodyLines, p.Params)
	for _, c := range p.Children {
		s += "[" + shapeOf(c) + "]"
	}
	return s
}

func visible(b []byte) string {
	q := strconv.QuoteToASCII(string(b))
	q = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	return q + "\n"
}

// describeSections lists each part number that a client can ask for.
func describeSections(b *strings.Builder, msg string, root *Part, path []int) {
	for i := 1; ; i++ {
		sub := append(append([]int{}, path...), i)
		rng, ok := root.Section(sub, SpecNone)
		if !ok || len(sub) > 6 {
			return
		}
		fmt.Fprintf(b, "%s = %s", pathText(sub), visible([]byte(cut(msg[rng.Start:rng.End]))))
		mime, _ := root.Section(sub, SpecMIME)
		fmt.Fprintf(b, "%s.MIME = %s", pathText(sub), visible([]byte(cut(msg[mime.Start:mime.End]))))
		if h, ok := root.Section(sub, SpecHeader); ok {
			fmt.Fprintf(b, "%s.HEADER = %s", pathText(sub), visible([]byte(cut(msg[h.Start:h.End]))))
		}
		if h, ok := root.Section(sub, SpecText); ok {
			fmt.Fprintf(b, "%s.TEXT = %s", pathText(sub), visible([]byte(cut(msg[h.Start:h.End]))))
		}
		describeSections(b, msg, root, sub)
	}
}

func cut(s string) string {
	if len(s) > 100 {
		return s[:50] + "…" + s[len(s)-40:]
	}
	return s
}

func pathText(path []int) string {
	var s []string
	for _, n := range path {
		s = append(s, strconv.Itoa(n))
	}
	return strings.Join(s, ".")
}

func TestParseReaderErrors(t *testing.T) {
	msg := crlf("Subject: x\n\n" + strings.Repeat("text\n", 20_000))
	for _, limit := range []int64{0, 5, 11, 70_000} {
		root, err := Parse(failingReader{strings.NewReader(msg), limit}, int64(len(msg)), Limits{})
		if !errors.Is(err, errDisk) || root == nil || root.BodyEnd > limit {
			t.Errorf("limit %d: %v, %+v", limit, err, root)
		}
		checkTree(t, []byte(msg[:limit]), root, Limits{})
	}
	if _, err := Parse(strings.NewReader(msg), int64(len(msg))+1, Limits{}); err == nil {
		t.Error("a message shorter than its size was parsed without an error")
	}
}

func TestParseHeader(t *testing.T) {
	msg := crlf("Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\ntext\n" + strings.Repeat("more\n", 50_000))
	count := &countingReader{r: strings.NewReader(msg)}
	root, err := ParseHeader(count, int64(len(msg)), Limits{})
	if err != nil || root.Envelope.Subject != "x" || root.BodyEnd != int64(len(msg)) || len(root.Children) != 0 {
		t.Errorf("%+v, %v", root, err)
	}
	if count.read > windowSize {
		t.Errorf("%d bytes were read", count.read)
	}
}

func TestParserIsReusable(t *testing.T) {
	var ps Parser
	for range 3 {
		for _, msg := range []string{"A: b\r\n\r\n", "Content-Type: multipart/x; boundary=q\r\n\r\n--q\r\n\r\nhi\r\n--q--\r\n", ""} {
			root, err := ps.Parse(strings.NewReader(msg), int64(len(msg)), Limits{})
			if err != nil || !reflect.DeepEqual(root, mustParse(t, msg)) {
				t.Fatalf("%q: %v", msg, err)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/mail/*.txt")
	for _, file := range files {
		text, _ := os.ReadFile(file)
		_, rest, _ := strings.Cut(string(text), markMessage)
		sample, _, _ := strings.Cut(rest, markStructure)
		f.Add([]byte(sampleMessage(sample)), 5, 10)
	}
	f.Fuzz(func(t *testing.T, msg []byte, depth, parts int) {
		for _, lim := range []Limits{{}, {Depth: depth%20 + 1, Parts: parts%20 + 1, KeepBytes: 100, HeaderBytes: 200}} {
			root, err := Parse(bytes.NewReader(msg), int64(len(msg)), lim)
			if err != nil {
				t.Fatal(err)
			}
			checkTree(t, msg, root, lim)
			checkTexts(t, root, lim)
			back, err := DecodeTree(AppendTree(nil, root), lim)
			if err != nil || !reflect.DeepEqual(back, root) {
				t.Fatalf("the tree does not survive encoding: %v", err)
			}
		}
	})
}

// checkTexts checks that the IMAP texts are lists that close, without bytes that
// cannot be on the wire.
func checkTexts(t testing.TB, root *Part, lim Limits) {
	t.Helper()
	for _, text := range [][]byte{AppendBody(nil, root, lim), AppendBodyStructure(nil, root, lim), AppendEnvelope(nil, root.Envelope, lim)} {
		rest := wantList(t, text, 0)
		if len(rest) > 0 {
			t.Fatalf("%q follows the list", rest)
		}
	}
}

// wantList reads "(" items ")" of RFC 3501 §9 and gives what follows.
func wantList(t testing.TB, b []byte, depth int) []byte {
	if len(b) == 0 || b[0] != '(' || depth > 500 {
		t.Fatalf("no list: %q", b)
	}
	b = b[1:]
	for len(b) > 0 && b[0] != ')' {
		switch {
		case b[0] == '(':
			b = wantList(t, b, depth+1)
		case b[0] == ' ':
			if b = b[1:]; len(b) == 0 || b[0] == ' ' || b[0] == ')' {
				t.Fatalf("a space too many before %q", b)
			}
		case b[0] == '"':
			for b = b[1:]; b[0] != '"'; b = b[1:] {
				if b[0] == '\\' {
					b = b[1:]
				}
				if b[0] == 0 || b[0] >= 0x80 || b[0] == '\r' || b[0] == '\n' {
					t.Fatalf("a bad byte in a quoted string: %q", b)
				}
			}
			b = b[1:]
		case b[0] == '{':
			head, rest, ok := bytes.Cut(b[1:], []byte("}\r\n"))
			n, err := strconv.Atoi(string(head))
			if !ok || err != nil || n > len(rest) || bytes.IndexByte(rest[:n], 0) >= 0 {
				t.Fatalf("a bad literal: %q", b)
			}
			b = rest[n:]
		case bytes.HasPrefix(b, []byte("NIL")):
			b = b[3:]
		case isDigit(b[0]):
			b = b[1:]
		default:
			t.Fatalf("a bad byte: %q", b)
		}
	}
	if len(b) == 0 {
		t.Fatal("a list does not close")
	}
	return b[1:]
}

func TestHeaderLimits(t *testing.T) {
	msg := crlf("Subject: s\nX: " + strings.Repeat("x", 100) + "\nTo: late@example.org\nContent-Type: message/rfc822\n\nSubject: in\n\n")
	cases := []struct {
		lim         Limits
		to, subject bool
	}{
		{Limits{}, true, true},
		{Limits{HeaderBytes: 100}, false, false},
		{Limits{AllHeaderBytes: 100}, false, false},
		{Limits{AllHeaderBytes: 171}, true, false},
	}
	for _, c := range cases {
		root, err := Parse(strings.NewReader(msg), int64(len(msg)), c.lim)
		if err != nil {
			t.Fatal(err)
		}
		inner := root.Message()
		if (root.Envelope.To != "") != c.to || (inner != nil && inner.Envelope.Subject != "") != c.subject {
			t.Errorf("%+v: %+v, %+v", c.lim, root.Envelope, inner)
		}
	}
}
