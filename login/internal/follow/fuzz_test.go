package follow

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"rookery/internal/imapwire"
)

// worker is what an imapworker does with a stream: imapwire's own framer, literals
// refused as choices say, IDLE, COMPRESS and their answers. It notes where it found
// UNAUTHENTICATE.
type worker struct {
	f       *imapwire.Framer
	choices []byte
	idle    string // IDLE's tag while it lasts
	out     bytes.Buffer
	found   []int // ends of lines that are the command, as offsets in all that was read
	read    int
	dead    bool
	turned  bool
}

func newWorker(choices []byte) *worker {
	w := &worker{choices: choices}
	w.f = imapwire.NewFramer(imapwire.Limits{Line: 200, Literal: 100, LiteralsTotal: 200, LiteralCount: 3, Depth: 1, Items: 10}, w.decide)
	return w
}

func (w *worker) decide(imapwire.Announced) imapwire.Verdict {
	if len(w.choices) == 0 {
		return imapwire.Verdict{}
	}
	c := w.choices[0]
	w.choices = w.choices[1:]
	return imapwire.Verdict{Action: imapwire.Action(c % 3)}
}

func (w *worker) answer(tag, text string) {
	if tag == "" {
		tag = "*"
	}
	if len(w.choices) > 0 && w.choices[0]%5 == 0 { // among others
		w.out.WriteString("* 1 FETCH (BODY[] {9}\r\n+ OK\r\n\r\n* UID 7)\r\n")
	}
	w.out.WriteString(tag + " " + text + "\r\n")
}

func tagOf(p []byte) (tag, name string, whole bool) {
	d := imapwire.NewDecoder(p, imapwire.Limits{})
	if !d.WantTag(&tag) {
		return "", "", false
	}
	if !d.WantSP() || !d.WantAtom(&name) {
		return tag, "", false
	}
	return tag, strings.ToUpper(name), d.WantEnd()
}

// take reads p.
func (w *worker) take(p []byte) {
	for !w.dead && !w.turned {
		n, ev := w.f.Next(p)
		p = p[n:]
		w.read += n
		switch ev.Kind {
		case imapwire.NeedMore:
			return
		case imapwire.Continue:
			w.out.WriteString("+ OK\r\n")
		case imapwire.Command:
			w.command(ev.Text())
		case imapwire.Line:
			w.f.SetRaw(false)
			if _, name, whole := tagOf(bytes.TrimRight(ev.Bytes, " ")); whole && name == "UNAUTHENTICATE" {
				w.found = append(w.found, w.read)
			}
			w.answer(w.idle, "OK")
			w.idle = ""
		case imapwire.Refused:
			if w.idle != "" {
				w.f.SetRaw(false)
				w.answer(w.idle, "BAD")
				w.idle = ""
				break
			}
			d := imapwire.NewDecoder(ev.Bytes, imapwire.Limits{})
			var tag string
			if !d.WantTag(&tag) || !d.WantSP() {
				tag = ""
			}
			w.answer(tag, "NO")
		case imapwire.Fatal:
			w.dead = true
			w.out.WriteString("* BYE\r\n")
		}
	}
}

func (w *worker) command(p []byte) {
	tag, name, whole := tagOf(p)
	switch {
	case whole && name == "UNAUTHENTICATE":
		w.found = append(w.found, w.read)
		return // login answers
	case whole && name == "IDLE":
		w.idle = tag
		w.f.SetRaw(true)
		w.out.WriteString("+ idling\r\n")
		return
	case name == "COMPRESS":
		if !bytes.HasSuffix(p, []byte("DEFLATE")) {
			w.answer(tag, "BAD")
			return
		}
		w.turned = true
	}
	w.answer(tag, "OK")
}

// FuzzAgainstFramer: whatever a client says, however its bytes come, the worker's own
// framer and this one see the command in the same place, and what the worker gets is
// what the client said up to there.
func FuzzAgainstFramer(f *testing.F) {
	for _, script := range talks {
		var c []byte
		for _, line := range strings.Split(script, "\n") {
			if text, ok := strings.CutPrefix(strings.TrimSpace(line), "C "); ok {
				text = strings.NewReplacer(`\r`, "\r", `\n`, "\n", `\x61`, "a", `\x20`, " ").Replace(text)
				if !strings.HasSuffix(text, "\n") {
					text += "\r\n"
				}
				c = append(c, text...)
			}
		}
		f.Add(c, []byte{0, 1, 2, 5}, uint8(3))
	}
	f.Add([]byte("a NOOP\r\nb APPEND x (\\Seen) {5}\r\nhello UTF8 (~{2+}\r\nab)\r\nc IDLE\r\nDONE\r\nd UNAUTHENTICATE\r\ne LOGIN x y\r\n"), []byte{0, 1}, uint8(5))
	f.Fuzz(func(t *testing.T, client, choices []byte, piece uint8) {
		w := newWorker(choices)
		s := New("a0")
		if err := s.Worker([]byte("a0 OK\r\n")); err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer // what the worker was given
		rest := client
		for step := 0; len(rest) > 0; step++ {
			if step > 100*len(client)+100 {
				t.Fatalf("it does not end: %q", client)
			}
			if _, over := s.Over(); over {
				break
			}
			if s.Held() {
				if !feed(t, s, w, client, choices) {
					return
				}
				continue
			}
			portion := rest[:min(len(rest), int(piece)%9+1)]
			out, n, err := s.Client(portion)
			if err != nil {
				return // cut off: the worker sees no more of it
			}
			rest = rest[n:]
			got.Write(out)
			w.take(out)
			if step%3 == 0 && !feed(t, s, w, client, choices) {
				return
			}
			if w.turned && feed(t, s, w, client, choices) && !s.blind {
				t.Fatalf("COMPRESS was not seen in %q", client)
			}
			if w.turned || w.dead {
				return
			}
		}
		if !feed(t, s, w, client, choices) {
			return
		}
		consumed := len(client) - len(rest)
		if !bytes.Equal(append(got.Bytes(), s.pending()...), client[:consumed]) {
			t.Fatalf("the worker got %q of %q", got.Bytes(), client[:consumed])
		}
		_, over := s.Over()
		switch {
		case over && (len(w.found) != 1 || w.found[0] != consumed):
			t.Fatalf("over at %d of %q, the worker saw it at %v", consumed, client, w.found)
		case !over && len(w.found) > 0:
			t.Fatalf("the worker saw the command at %v of %q", w.found, client)
		}
	})
}

// pending is what is held back.
func (s *Session) pending() []byte {
	if s.given {
		return nil
	}
	return s.head
}

// feed gives what the worker said. It says false where following has ended for a
// reason that the worker cannot see: a tag that was refused without one.
func feed(t *testing.T, s *Session, w *worker, client, choices []byte) bool {
	p := bytes.Clone(w.out.Bytes())
	w.out.Reset()
	for i := range p {
		if err := s.Worker(p[i : i+1]); err != nil {
			t.Fatalf("%v in %q for %q, %v", err, p, client, choices)
		}
	}
	// A client that goes on would be held for good: nobody's, since no "+" can come
	// for a command that the worker has answered without its tag.
	return len(p) > 0 || !s.Held()
}

// FuzzWorker: whatever a worker says, nothing breaks, and the pieces in which it comes
// make no difference.
func FuzzWorker(f *testing.F) {
	for _, script := range talks {
		f.Add([]byte(strings.ReplaceAll(script, "\n", "\r\n")))
	}
	f.Add([]byte("a0 OK\r\n* 1 FETCH (X {3}\r\nabc Y \"\\\"\")\r\n+ x\r\na1 OK\r\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		state := func(piece int) string {
			s := New("a0")
			s.Client([]byte("a1 APPEND x {5}\r\n"))
			for rest := p; len(rest) > 0; {
				n := min(piece, len(rest))
				if err := s.Worker(rest[:n]); err != nil {
					return "error"
				}
				rest = rest[n:]
			}
			return fmt.Sprint(s.Held(), s.Clean(), s.at, s.left)
		}
		if whole, one := state(1<<20), state(1); whole != one {
			t.Errorf("%q: %s in one piece, %s by byte", p, whole, one)
		}
	})
}
