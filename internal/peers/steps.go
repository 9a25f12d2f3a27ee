package peers

import (
	"bytes"
	"strings"

	"rookery/internal/transcript/script"
)

// Step is one thing that happens in a transcript.
type Step struct {
	Event   string // what happens elsewhere; "" for a command
	Session int
	Command string   // its first line
	Tag     string   // "" where it has none
	Pieces  [][]byte // what is sent; all but the first wait for a continuation
	Open    bool     // the last piece waits for a continuation and for what a later step sends
	Resumes bool     // it goes on with what an open step left
	Want    []string // what the transcript says that the session receives

	// Others is what other sessions receive meanwhile, and this one without being asked.
	Others map[int][]string
}

// Steps takes a transcript apart.
func Steps(text string) (given []string, steps []Step, err error) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	var b block
	flush := func() {
		steps = append(steps, b.steps()...)
		b = block{open: b.open}
	}
	for _, line := range lines {
		kind, session, p, err := script.Parse(line)
		if err != nil {
			return nil, nil, err
		}
		switch kind {
		case 'C':
			if b.received || b.event != "" || b.session != 0 && b.session != session {
				flush()
			}
			b.session, b.sent = session, append(b.sent, p...)
		case 'E':
			flush()
			b.event = string(p)
		case 'S':
			b.received = true
			if b.got == nil {
				b.got = map[int][]byte{}
			}
			mark := strings.TrimLeft(line[1:], "1234")
			b.got[session] = append(b.got[session], p...)
			if mark[0] != '!' {
				b.got[session] = append(b.got[session], "\r\n"...)
			}
		}
	}
	flush()
	return script.Given(lines), steps, nil
}

// block is what one session sends in one piece, or an event, with all that is received
// before the next one.
type block struct {
	session  int
	sent     []byte
	event    string
	received bool
	got      map[int][]byte
	open     map[int]int // sessions whose command waits for more: octets of a literal, and a line
}

func (b *block) steps() []Step {
	if b.open == nil {
		b.open = map[int]int{}
	}
	want := map[int][]string{}
	for session, p := range b.got {
		all, rest := responses(p)
		if len(rest) > 0 {
			all = append(all, string(rest))
		}
		want[session] = all
	}
	var steps []Step
	if b.event != "" {
		steps = append(steps, Step{Event: b.event})
	}
	for rest := b.sent; len(rest) > 0; {
		var s Step
		s, rest = b.command(rest)
		want[b.session] = s.take(want[b.session])
		if !s.Open {
			delete(b.open, b.session)
		}
		steps = append(steps, s)
	}
	if len(steps) == 0 {
		return nil
	}
	last := &steps[len(steps)-1]
	for session, all := range want {
		if len(all) > 0 {
			if last.Others == nil {
				last.Others = map[int][]string{}
			}
			last.Others[session] = all
		}
	}
	return steps
}

// command takes one command off what a session sends. A literal that the client waits for
// ends it: what comes then goes on with it, if the server asks for it.
func (b *block) command(p []byte) (s Step, rest []byte) {
	at, resumes := b.open[b.session]
	s = Step{Session: b.session, Resumes: resumes}
	for at <= len(p) {
		end := bytes.IndexByte(p[at:], '\n')
		if end < 0 {
			break
		}
		end += at + 1
		n, waits, literal := literalEnd(bytes.TrimRight(p[at:end], "\r\n"))
		if literal && !waits {
			at = end + n
			continue
		}
		if literal || !resumes && isIdle(p[:end]) {
			s.Open, b.open[b.session] = true, n
		}
		s.Pieces = [][]byte{p[:end]}
		s.name(p)
		return s, p[end:]
	}
	s.Pieces = [][]byte{p}
	s.name(p)
	return s, nil
}

func isIdle(line []byte) bool {
	f := strings.Fields(string(line))
	return len(f) == 2 && strings.EqualFold(f[1], "IDLE")
}

// name keeps the command's first line and its tag.
func (s *Step) name(p []byte) {
	line, _, _ := strings.Cut(string(p), "\n")
	s.Command = strings.TrimRight(line, "\r")
	if tag, _, ok := strings.Cut(s.Command, " "); ok && !s.Resumes {
		s.Tag = tag
	}
}

// take takes what answers the step off what the session receives: all before its tagged
// response or its continuation, and that.
func (s *Step) take(all []string) (rest []string) {
	for i, r := range all {
		t, ok := status(r)
		switch {
		case strings.HasPrefix(r, "+"):
			s.Want, rest = all[:i+1], all[i+1:]
			return rest
		case ok && t.Tag != "*":
			s.Want, rest = all[:i+1], all[i+1:]
			s.Open = false
			if s.Tag == "" {
				s.Tag = t.Tag
			}
			return rest
		}
	}
	s.Want = all
	return nil
}
