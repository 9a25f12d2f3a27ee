package follow

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
)

// talk plays a conversation, a step a line: "C " what the client says, "S " what the
// worker says, "> " what the worker must have got by now, "held", "over TAG", "clean",
// "unclean", "error TEXT". \r\n, \n and such are those of Go; a line of C or S without
// a backslash gets CRLF.
type talk struct {
	t    *testing.T
	s    *Session
	got  bytes.Buffer // what the worker has
	wait []byte       // what the client said and is held, or is for login
	err  error
}

func (k *talk) pump() {
	for len(k.wait) > 0 && k.err == nil {
		if _, over := k.s.Over(); over || k.s.Held() {
			return
		}
		out, n, err := k.s.Client(k.wait)
		k.got.Write(out)
		k.wait, k.err = k.wait[n:], err
	}
}

func (k *talk) client(p []byte, piece int) {
	for len(p) > 0 {
		n := min(piece, len(p))
		k.wait = append(k.wait, p[:n]...)
		k.pump()
		p = p[n:]
	}
}

func (k *talk) worker(p []byte, piece int) {
	for len(p) > 0 && k.err == nil {
		n := min(piece, len(p))
		k.err = k.s.Worker(p[:n])
		k.pump()
		p = p[n:]
	}
}

func octets(t *testing.T, text string) []byte {
	if !strings.Contains(text, `\`) {
		return []byte(text + "\r\n")
	}
	s, err := strconv.Unquote("`" + text + "`")
	if err == nil {
		s, err = strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`)
	}
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return []byte(s)
}

func (k *talk) run(script string, piece int) {
	k.t.Helper()
	for _, line := range strings.Split(strings.TrimSpace(script), "\n") {
		op, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch op {
		case "C":
			k.client(octets(k.t, rest), piece)
		case "S":
			k.worker(octets(k.t, rest), piece)
		case ">":
			if want := octets(k.t, rest); !bytes.Equal(k.got.Bytes(), want) {
				k.t.Errorf("pieces of %d: the worker has %q, want %q", piece, k.got.Bytes(), want)
			}
			k.got.Reset()
		case "nothing":
			if k.got.Len() > 0 {
				k.t.Errorf("pieces of %d: the worker has %q", piece, k.got.Bytes())
			}
		case "held":
			if !k.s.Held() {
				k.t.Errorf("pieces of %d: not held", piece)
			}
		case "over":
			if tag, over := k.s.Over(); !over || tag != rest {
				k.t.Errorf("pieces of %d: over %q, %v", piece, tag, over)
			}
			k.t.Logf("behind it: %q", k.wait)
		case "clean", "unclean":
			if k.s.Clean() != (op == "clean") {
				k.t.Errorf("pieces of %d: clean is %v", piece, k.s.Clean())
			}
		case "error":
			if k.err == nil || !strings.Contains(k.err.Error(), rest) {
				k.t.Errorf("pieces of %d: error %v, want %q", piece, k.err, rest)
			}
			return
		default:
			k.t.Fatalf("step %q", line)
		}
		if k.err != nil && !strings.Contains(script, "error") {
			k.t.Fatalf("pieces of %d, %q: %v", piece, line, k.err)
		}
	}
	if _, over := k.s.Over(); over && strings.Contains(script, "error") {
		k.t.Error("no error")
	}
}

var talks = map[string]string{
	"a command and the end": `
		S a0 OK in
		C a1 NOOP
		> a1 NOOP
		unclean
		S a1 OK
		C a2 uNauthenticate
		> a2 uNauthenticate
		over a2
		clean`,
	"what stands behind stays": `
		S a0 OK in
		C a1 NOOP\r\na2 UNAUTHENTICATE\r\na3 LOGIN bob secret\r\n
		> a1 NOOP\r\na2 UNAUTHENTICATE\r\n
		over a2
		unclean
		S a1 OK
		clean`,
	"blanks at its end, and LF alone": `
		S a0 OK in
		C a2 UNAUTHENTICATE  \na3 x
		over a2`,
	"it is not that command": `
		S a0 OK in
		C a1 UNAUTHENTICATED
		> a1 UNAUTHENTICATED
		C a2 UNAUTHENTICATE x
		> a2 UNAUTHENTICATE x
		C a3  UNAUTHENTICATE
		> a3  UNAUTHENTICATE
		C UNAUTHENTICATE
		> UNAUTHENTICATE
		C UID UNAUTHENTICATE x
		> UID UNAUTHENTICATE x
		C +a UNAUTHENTICATE
		> +a UNAUTHENTICATE`,
	"a literal that does not wait": `
		S a0 OK in
		C a1 APPEND x {26+}\r\na9 UNAUTHENTICATE\r\n0123456 {3+}\r\nab\n\r\na2 UNAUTHENTICATE\r\n
		over a2
		S a1 OK
		clean`,
	"an empty literal": `
		S a0 OK in
		C a1 X {0+}\r\na2 UNAUTHENTICATE\r\na3 UNAUTHENTICATE\r\n
		over a3`,
	"a literal that is accepted": `
		S a0 OK in
		C a1 APPEND x {19}\r\n
		> a1 APPEND x {19}\r\n
		held
		C a2 UNAUTHENTICATE\r\n\r\na3 UNAUTHENTICATE\r\n
		nothing
		S * 3 EXISTS
		nothing
		S + OK
		> a2 UNAUTHENTICATE\r\n\r\na3 UNAUTHENTICATE\r\n
		over a3`,
	"a literal that is refused": `
		S a0 OK in
		C a1 APPEND x ~{19}\r\n
		held
		C a2 UNAUTHENTICATE\r\n\r\n
		S a1 NO
		> a1 APPEND x ~{19}\r\na2 UNAUTHENTICATE\r\n
		over a2
		clean`,
	"a refusal of an earlier command is none": `
		S a0 OK in
		C a NOOP\r\na APPEND x {3}\r\nabc\r\n
		S a NO
		held
		S + OK
		> a NOOP\r\na APPEND x {3}\r\nabc\r\n
		S a OK
		clean`,
	"two literals": `
		S a0 OK in
		C a1 LIST {3}\r\nabc {4}\r\na\n\n\n\r\na2 UNAUTHENTICATE\r\n
		S + OK
		held
		S + OK
		over a2`,
	"literals of the worker": `
		S a0 OK in
		C a1 APPEND x {3}
		S * 1 FETCH (BODY[] {15}\r\n+ OK\r\na1 NO x\r\n RFC822 {0}\r\n)\r\n
		held
		S * 1 FETCH (X "{3}" Y "\x5c\x22")\r\n
		held
		S a1 NO
		clean`,
	"IDLE": `
		S a0 OK in
		C a1 IDLE
		held
		C DONE
		> a1 IDLE
		S + idling
		> DONE
		S a1 OK
		C a2 idle
		S a2 BAD
		C a3 X {3+}\r\nabc\r\na4 UNAUTHENTICATE\r\n
		over a4`,
	"a literal that waits, in IDLE": `
		S a0 OK in
		C a1 IDLE
		S + idling
		C x {19}\r\na4 UNAUTHENTICATE\r\n
		over a4
		unclean
		S a1 BAD
		clean`,
	"a literal that does not wait, in IDLE": `
		S a0 OK in
		C a1 IDLE
		S + idling
		C x {19+}\r\na4 UNAUTHENTICATE\r\n {0+}\r\n\r\na5 UNAUTHENTICATE\r\n
		over a5
		unclean
		S a1 BAD
		clean`,
	"UNAUTHENTICATE in the place of DONE": `
		S a0 OK in
		C a1 IDLE
		S + idling
		C a2 UNAUTHENTICATE
		over a2`,
	"COMPRESS": `
		S a0 OK in
		C a1 COMPRESS DEFLATE\r\na2 UNAUTHENTICATE\r\n
		> a1 COMPRESS DEFLATE
		S a1 OK\r\n+\n"
		> a2 UNAUTHENTICATE
		unclean`,
	"COMPRESS that is refused": `
		S a0 OK in
		C a1 COMPRESS DEFLATE\r\na2 UNAUTHENTICATE\r\n
		S a1 NO
		over a2`,
	"COMPRESS with a literal": `
		S a0 OK in
		C a1 COMPRESS {7+}\r\nDEFLATE\r\na2 UNAUTHENTICATE\r\n
		held
		S a1 BAD
		over a2`,
	"commands without a tag": `
		S a0 OK in
		C
		C \r\n*\r\n {3+}\r\nabc\r\n
		S * BAD
		C a1 UNAUTHENTICATE
		over a1
		clean`,
	"a bye":             "S a0 OK in\nC a2 UNAUTHENTICATE\nS * BYE\nunclean",
	"half a response":   "S a0 OK in\nC a2 UNAUTHENTICATE\nS * 1 EXI\\x53\nunclean\nS TS\nclean",
	"half a literal":    "S a0 OK in\nC a2 UNAUTHENTICATE\nS * 1 FETCH (X {5}\\r\\nabc\nunclean",
	"a literal, no end": "S a0 OK in\nC a2 UNAUTHENTICATE\nS * 1 FETCH (X {3}\\r\\nabc\nunclean",

	"a tag that is too long":   "S a0 OK in\nC " + strings.Repeat("a", MaxTag+1) + " NOOP\nerror tag",
	"no end of a tag":          "S a0 OK in\nC " + strings.Repeat("a", maxHead+2) + "\\x61\nerror tag",
	"no end of blanks":         "S a0 OK in\nC a UNAUTHENTICATE" + strings.Repeat(" ", maxHead) + "\\x20\nerror tag",
	"a literal without a tag":  "S a0 OK in\nC +a APPEND {3}\nerror without a tag",
	"a literal without a size": "S a0 OK in\nC a APPEND {99999999999999999999+}\nerror size",

	"LF alone":                      "S a0 OK in\\n\nerror CR or LF",
	"CR alone":                      "S a0 OK\\rin\\r\\n\nerror CR or LF",
	"two CRs":                       "S a0 OK in\\r\\r\\n\nerror CR or LF",
	"no response":                   "S  x\nerror response is none",
	"an empty line":                 "S \\r\\n\nerror response is none",
	"a plus without a blank":        "S +OK\nerror response is none",
	"a tag without a condition":     "S a0 MAYBE\nerror response is none",
	"a plus for nobody":             "S a0 OK in\nS + OK\nerror no client has announced",
	"a plus for COMPRESS":           "S a0 OK in\nC a1 COMPRESS x\nS + OK\nerror no client has announced",
	"an answer to nobody":           "S a0 OK in\nS a0 OK in\nerror not given",
	"an answer before the command":  "S a0 OK in\nC a1 APPEND x {3+}\\r\\na\nS a1 NO\nerror not given",
	"an answer before DONE":         "S a0 OK in\nC a1 IDLE\nS + x\nS a1 OK\nerror not given",
	"a literal in a status":         "S a0 OK in\nS * OK hello {5}\nerror literal",
	"a literal in a tagged status":  "S a0 OK {5}\nerror literal",
	"a literal in a plus":           "S a0 OK in\nC a1 IDLE\nS + {5}\nerror literal",
	"a literal that does not wait!": "S a0 OK in\nS * X {5+}\nerror literal",
	"a literal without a size!":     "S a0 OK in\nS * X {99999999999999999999}\nerror literal",
	"a quoted string with no end":   "S a0 OK in\nS * X \"abc\nerror quoted",
	"a quoted string and a literal": "S a0 OK in\nS * X \"abc {5}\nerror quoted",
	"a backslash hides the end":     "S a0 OK in\nS * X \"abc\\x5c\\x22\\r\\n\nerror quoted",
}

func TestFollow(t *testing.T) {
	for name, script := range talks {
		t.Run(name, func(t *testing.T) {
			for _, piece := range []int{1, 2, 3, 7, 1 << 20} {
				k := &talk{t: t, s: New("a0")}
				k.run(script, piece)
			}
		})
	}
}

// Until a line's end nobody knows whether it is the command: nothing of it goes out.
func TestNothingOfItGoesOutEarly(t *testing.T) {
	s := New("a0")
	for _, b := range []byte("a2 unauthenticate ") {
		if out, n, err := s.Client([]byte{b}); len(out) > 0 || n != 1 || err != nil {
			t.Fatalf("%q, %d, %v", out, n, err)
		}
	}
	out, _, err := s.Client([]byte("x"))
	if string(out) != "a2 unauthenticate x" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

// A literal's head whose beginning is not kept any more is none that can be followed.
func TestLostHead(t *testing.T) {
	zeros := strings.Repeat("0", 100)
	for script, want := range map[string]error{
		"S a0 OK in\nC a APPEND {" + zeros + "1+}": errSize, "S a0 OK in\nC a APPEND {" + zeros + "1}": errSize, "S a0 OK in\nS * X {" + zeros + "1}": errLiteral,
	} {
		for _, piece := range []int{1, 10, 30} {
			k := &talk{t: t, s: New("a0")}
			k.run(strings.Replace(script, "\n", "\nclean\n", 1)+"\nerror ", piece)
			if k.err != want {
				t.Errorf("%q in pieces of %d: %v", script, piece, k.err)
			}
		}
	}
}

// A client with very many commands on their way waits for some answers.
func TestOwedIsBounded(t *testing.T) {
	k := &talk{t: t, s: New("a0")}
	many := strings.Repeat("a1 NOOP\r\n", 20_000)
	k.client([]byte(many), 1<<20)
	if !k.s.Held() || len(k.s.owed) > 2*maxOwed || k.err != nil {
		t.Errorf("held %v, %d bytes, %v", k.s.Held(), len(k.s.owed), k.err)
	}
	k.worker([]byte("a0 OK\r\n"), 10)
	for answered := 0; answered < k.got.Len() && k.err == nil; answered += len("a1 NOOP\r\n") {
		k.worker([]byte("a1 OK\r\n"), 10)
	}
	if k.got.String() != many || !k.s.Clean() || k.err != nil {
		t.Errorf("%d of %d bytes, clean %v, %v", k.got.Len(), len(many), k.s.Clean(), k.err)
	}
}
