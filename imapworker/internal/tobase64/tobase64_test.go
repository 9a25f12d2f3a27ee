package tobase64

import (
	"bytes"
	"encoding/base64"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"rookery/internal/message"
)

// convert gives what becomes of a message that comes in pieces of n octets.
func convert(t testing.TB, msg string, n int) string {
	t.Helper()
	var out bytes.Buffer
	w := New(&out)
	for p := []byte(msg); len(p) > 0; {
		some := p[:min(n, len(p))]
		if _, err := w.Write(some); err != nil {
			t.Fatal(err)
		}
		p = p[len(some):]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func lines(text ...string) string { return strings.Join(text, "\r\n") }

// Parts in binary come out in base64, and nothing else is touched.
func TestWriter(t *testing.T) {
	long := strings.Repeat("\x00\xff\r", 2000)
	longText := base64.StdEncoding.EncodeToString([]byte(long))
	var wrapped []string
	for ; len(longText) > 76; longText = longText[76:] {
		wrapped = append(wrapped, longText[:76])
	}
	wrapped = append(wrapped, longText)
	for _, c := range []struct{ name, in, want string }{
		{"single", lines("A: b", "Content-Transfer-Encoding: binary", "", "a\x00b\r\n"), lines("A: b", "Content-Transfer-Encoding: base64", "", "YQBiDQo=\r\n")},
		{"no line end", lines("Content-transfer-encoding: BINARY (x)", "", "\x00"), lines("Content-transfer-encoding: base64 (x)", "", "AA==\r\n")},
		{"folded", lines("Content-Transfer-Encoding :", "\tbinary", "", "\x00"), lines("Content-Transfer-Encoding :", "\tbase64", "", "AA==\r\n")},
		{"empty", lines("Content-Transfer-Encoding: binary", "", ""), lines("Content-Transfer-Encoding: base64", "", "")},
		{"comment", lines("Content-Transfer-Encoding: (binary) binary", "", "\x00"), lines("Content-Transfer-Encoding: (binary) binary", "", "\x00")},
		{"long delimiter", lines("Content-Type: multipart/mixed; boundary=b", "", "--b"+strings.Repeat("x", 3000), "Content-Transfer-Encoding: binary", "", "\x00", "--b--", ""),
			lines("Content-Type: multipart/mixed; boundary=b", "", "--b"+strings.Repeat("x", 3000), "Content-Transfer-Encoding: base64", "", "AA==", "--b--", "")},
		{"header alone", "Content-Transfer-Encoding: binary\r\nA: b", "Content-Transfer-Encoding: binary\r\nA: b"},
		{"other encodings", lines("Content-Transfer-Encoding: 8bit", "", "a\x00"), lines("Content-Transfer-Encoding: 8bit", "", "a\x00")},
		{"none", "A: b\r\n\r\nbinary\x00\r\n", "A: b\r\n\r\nbinary\x00\r\n"},
		{"no header", "", ""},
		{"multipart", lines("Content-Type: multipart/mixed; boundary=b", "Content-Transfer-Encoding: binary", "", "before", "--b",
			"Content-Transfer-Encoding: binary", "", "\x00", "--bb", "--b ", "", "text", "--b", "Content-Transfer-Encoding: binary", "", "--b", "Content-Transfer-Encoding: binary", "", "", "x", "--b--", "after", ""),
			lines("Content-Type: multipart/mixed; boundary=b", "Content-Transfer-Encoding: binary", "", "before", "--b",
				"Content-Transfer-Encoding: base64", "", "AA==", "--bb", "--b ", "", "text", "--b", "Content-Transfer-Encoding: base64", "", "--b", "Content-Transfer-Encoding: base64", "", "DQp4", "--b--", "after", "")},
		{"nested", lines("Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Type: message/rfc822", "", "Content-Type: multipart/mixed; boundary=c", "", "--c",
			"Content-Transfer-Encoding: binary", "", "\x00", "--b", "Content-Transfer-Encoding: binary", "", "--c", "--b--", ""),
			lines("Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Type: message/rfc822", "", "Content-Type: multipart/mixed; boundary=c", "", "--c",
				"Content-Transfer-Encoding: base64", "", "AA==", "--b", "Content-Transfer-Encoding: base64", "", "LS1j", "--b--", "")},
		{"digest", lines("Content-Type: multipart/digest; boundary=b", "", "--b", "", "Content-Transfer-Encoding: binary", "", "\x00", "--b--", ""),
			lines("Content-Type: multipart/digest; boundary=b", "", "--b", "", "Content-Transfer-Encoding: base64", "", "AA==", "--b--", "")},
		{"LF alone", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: binary\n\n\x00\n\n--b--\n",
			"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: base64\n\nAAo=\n--b--\n"},
		{"long lines", lines("Content-Transfer-Encoding: binary", "", long), lines(append([]string{"Content-Transfer-Encoding: base64", ""}, append(wrapped, "")...)...)},
		{"cut header", lines("Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Transfer-Encoding: binary", "--b--", ""),
			lines("Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Transfer-Encoding: binary", "--b--", "")},
		{"long header", lines("A: "+strings.Repeat("x", maxHeader), "Content-Transfer-Encoding: binary", "", "\x00"),
			lines("A: "+strings.Repeat("x", maxHeader), "Content-Transfer-Encoding: binary", "", "\x00")},
	} {
		for _, n := range []int{1, 7, 1000, 1 << 20} {
			if got := convert(t, c.in, n); got != c.want {
				t.Errorf("%s, in pieces of %d: %.300q\nwant %.300q", c.name, n, got, c.want)
			}
		}
	}
}

// leaves gives the parts that hold no others, decoded.
func leaves(msg string, p *message.Part, dst []string) []string {
	if len(p.Children) == 0 {
		body, _ := io.ReadAll(message.TransferReader(p.Body().Reader(strings.NewReader(msg)), p.Encoding))
		return append(dst, strings.ToLower(p.Type)+" "+string(body))
	}
	for _, c := range p.Children {
		dst = leaves(msg, c, dst)
	}
	return dst
}

// same reports whether a message has the same parts with the same octets before and
// after, and no NUL in a part that said binary.
func same(t *testing.T, msg string) {
	t.Helper()
	got := convert(t, msg, 13)
	if whole := convert(t, msg, len(msg)+1); whole != got {
		t.Fatalf("%q becomes %q in one piece and %q in many", msg, whole, got)
	}
	parse := func(s string) *message.Part { return new(message.Parser).ParseBytes([]byte(s), message.Limits{}) }
	before, after := leaves(msg, parse(msg), nil), leaves(got, parse(got), nil)
	if len(before) != len(after) {
		t.Fatalf("%q has %d parts, %q has %d", msg, len(before), got, len(after))
	}
	for i := range before {
		if before[i] != after[i] {
			t.Fatalf("%q: part %d is %q, it was %q", msg, i, after[i], before[i])
		}
	}
	if len(got) < len(msg) {
		t.Fatalf("%q becomes shorter: %q", msg, got)
	}
}

// words are what random messages are made of.
var words = []string{"Content-Type: multipart/mixed; boundary=b\r\n", "Content-Type: multipart/digest; boundary=c\r\n", "Content-Type: message/rfc822\r\n",
	"Content-Transfer-Encoding: binary\r\n", "Content-Transfer-Encoding: binary\n", "Content-Transfer-Encoding: 8bit\r\n", "\r\n", "\r\n", "\n", "--b\r\n", "--b\r\n", "--c\r\n", "--b--\r\n", "--c--\r\n",
	"--bx\r\n", "a", "\x00", "\r", "text\r\n", strings.Repeat("long", 300), " \r\n"}

// The structure is the one that the message has without.
func TestSameParts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		var b strings.Builder
		for range r.IntN(24) {
			b.WriteString(words[r.IntN(len(words))])
		}
		same(t, b.String())
	}
}

func FuzzWriter(f *testing.F) {
	for _, w := range words {
		f.Add([]byte(words[0] + "\r\n--b\r\n" + words[3] + "\r\n" + w + "\r\n--b--"))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) < 1<<15 {
			same(t, string(p))
		}
	})
}

// An error of what is written to ends it.
func TestError(t *testing.T) {
	w := New(failing{})
	_, err := io.WriteString(w, "a\r\n\r\nbody\r\n")
	if closing := w.Close(); err != io.ErrShortWrite || closing != io.ErrShortWrite {
		t.Errorf("%v, then %v", err, closing)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }
