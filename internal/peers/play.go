package peers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"time"
)

// Verdicts on one command of a transcript.
const (
	Same      = "same"      // as far as the RFCs leave no freedom
	Words     = "words"     // other codes or hints, or told at another time
	Different = "different" // another condition or other data
	Lacks     = "lacks"     // a capability is not there
	Unplayed  = "unplayed"  // it cannot be seeded, or a difference before makes it mean nothing
)

// Outcome is one command's verdict.
type Outcome struct {
	Transcript string `json:"transcript"`
	Command    string `json:"command"`
	Verdict    string `json:"verdict"`
	Ours       string `json:"ours,omitempty"`   // what the transcript has and the peer has not
	Theirs     string `json:"theirs,omitempty"` // what the peer has instead
}

// Conn is a session with a peer.
type Conn struct {
	c    net.Conn
	in   []byte // read and not yet cut
	queu []string
}

// patience is how long an answer may take; a moment is how long one waits for what need
// not come.
const (
	patience = 4 * time.Second
	moment   = 60 * time.Millisecond
)

// Dial connects and reads the greeting.
func Dial(address string) (*Conn, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	conn := &Conn{c: c}
	_, err = conn.next(patience)
	return conn, err
}

// Close ends the connection.
func (c *Conn) Close() error { return c.c.Close() }

var errLate = errors.New("no answer in time")

// next gives the next response.
func (c *Conn) next(wait time.Duration) (string, error) {
	end := time.Now().Add(wait)
	for {
		if len(c.queu) > 0 {
			r := c.queu[0]
			c.queu = c.queu[1:]
			return r, nil
		}
		c.queu, c.in = responses(c.in)
		if len(c.queu) > 0 {
			continue
		}
		if bytes.HasPrefix(c.in, []byte("+")) && bytes.Contains(c.in, []byte("\r\n")) {
			continue
		}
		var buf [32 << 10]byte
		if err := c.c.SetReadDeadline(end); err != nil {
			return "", err
		}
		n, err := c.c.Read(buf[:])
		c.in = append(c.in, buf[:n]...)
		var late net.Error
		switch {
		case errors.As(err, &late) && late.Timeout():
			return "", errLate
		case err != nil && n == 0:
			return "", err
		}
	}
}

// until reads responses up to a continuation, or to the tagged one with this tag.
func (c *Conn) until(tag string) (all []string, err error) {
	for {
		r, err := c.next(patience)
		if err != nil {
			return all, err
		}
		all = append(all, r)
		if t, ok := status(r); strings.HasPrefix(r, "+") || ok && t.Tag == tag {
			return all, nil
		}
	}
}

// drain reads what is there without being waited for.
func (c *Conn) drain(wait time.Duration) (all []string) {
	for {
		r, err := c.next(wait)
		if err != nil {
			return all
		}
		all = append(all, r)
	}
}

// Do sends a command with its literals in place and gives what comes, for seeding.
func (c *Conn) Do(command string) (all []string, err error) {
	if _, err = io.WriteString(c.c, "z "+command+"\r\n"); err != nil {
		return nil, err
	}
	return c.until("z")
}

// Must is Do with an error if the answer is not OK.
func (c *Conn) Must(command string) error {
	all, err := c.Do(command)
	if err != nil {
		return err
	}
	if t, ok := status(all[len(all)-1]); !ok || t.Cond != "OK" {
		return fmt.Errorf("%.40q: %s", command, all[len(all)-1])
	}
	return nil
}

// Player plays one transcript.
type Player struct {
	Name  string
	Words map[string]bool         // the peer's capabilities after login
	Login func() (*Conn, error)   // a session of the user that the mailboxes were seeded for
	Event func(words string) bool // what happens elsewhere; false: it cannot
	conns map[int]*Conn
	nums  values
	got   []Outcome
	lost  bool // from here on nothing can be played
	moved bool // the mailboxes are no longer what the transcript's are: differences mean nothing
}

// Play gives the outcome of each command.
func (p *Player) Play(steps []Step) []Outcome {
	p.conns = map[int]*Conn{}
	defer func() {
		for _, c := range p.conns {
			c.Close()
		}
	}()
	for _, s := range steps {
		if p.lost {
			if s.Event == "" && !s.Resumes {
				p.add(s.Command, Unplayed, "", "")
			}
			continue
		}
		if s.Event != "" {
			p.lost = !p.Event(s.Event)
		} else {
			p.step(s)
		}
		p.others(s)
	}
	return p.got
}

func (p *Player) add(command, verdict, ours, theirs string) {
	if p.moved && verdict == Different {
		verdict = Unplayed
	}
	p.got = append(p.got, Outcome{p.Name, command, verdict, ours, theirs})
}

func (p *Player) conn(session int) *Conn {
	if p.conns[session] == nil {
		c, err := p.Login()
		if err != nil {
			p.lost = true
			return nil
		}
		p.conns[session] = c
	}
	return p.conns[session]
}

// step sends one command and compares what comes.
func (p *Player) step(s Step) {
	if word := Needs(s.Command); word != "" && !p.Words[word] && !s.Resumes {
		p.add(s.Command, Lacks, word, "")
		// Without it the session is not where the transcript's is.
		p.lost = s.Open
		p.moved = p.moved || changes(s.Command) || keeps.MatchString(s.Command)
		return
	}
	c := p.conn(s.Session)
	if c == nil {
		p.add(s.Command, Different, "", "no session")
		return
	}
	for _, piece := range s.Pieces {
		if _, err := c.c.Write(p.nums.put(piece)); err != nil {
			p.add(s.Command, Different, "", "the connection is closed")
			p.lost = true
			return
		}
	}
	var got []string
	var err error
	if s.Open || stops(s.Want) != "" && !strings.HasPrefix(last(s.Want), "* ") {
		got, err = c.until(s.Tag)
	} else { // what is no command has an untagged answer, or none
		got = c.drain(10 * moment)
	}
	got = c.agree(s, got)
	if err != nil {
		got = append(got, "("+err.Error()+")")
		p.lost = true
	}
	p.nums.learn(s.Want, got)
	command := s.Command
	if s.Resumes {
		command = "…" + command
	}
	verdict := p.compare(command, s.Want, got)
	if verdict == Different && enable.MatchString(s.Command) {
		p.moved = true
	}
	if (stops(s.Want) == "OK") != (stops(got) == "OK") && changes(s.Command) {
		p.moved = true
	}
	if s.Open && !strings.HasPrefix(last(got), "+") {
		p.lost = true
	}
}

var (
	keeps  = regexp.MustCompile(`(?i)RETURN \(.*(UPDATE|SAVE)|ESEARCH `) // what later commands go back to
	enable = regexp.MustCompile(`(?i)^\S+ ENABLE `)
)

// agree sends the literal that a peer asks for where ours refuses before it is sent: both
// are right, and what comes after it compares.
func (c *Conn) agree(s Step, got []string) []string {
	if s.Open || len(s.Pieces) == 0 || !strings.HasPrefix(last(got), "+") {
		return got
	}
	n, waits, ok := literalEnd(bytes.TrimRight(s.Pieces[len(s.Pieces)-1], "\r\n"))
	if !ok || !waits || n > 1<<20 {
		return got
	}
	if _, err := c.c.Write(append(bytes.Repeat([]byte("x"), n), "\r\n"...)); err != nil {
		return got
	}
	more, err := c.until(s.Tag)
	if err != nil {
		return got
	}
	return append(got[:len(got)-1:len(got)-1], more...)
}

// others compares what comes to sessions that did not ask.
func (p *Player) others(s Step) {
	for session, want := range s.Others {
		c := p.conns[session]
		if c == nil || p.lost {
			continue
		}
		var got []string
		for len(got) < len(want) {
			r, err := c.next(patience / 2)
			if err != nil {
				break
			}
			got = append(got, r)
		}
		p.nums.learn(want, got)
		p.compare(fmt.Sprintf("(to session %d after %s%s)", session, s.Command, s.Event), want, append(got, c.drain(moment)...))
	}
}

func last(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

// stops gives the condition that ends an answer, "+" or "".
func stops(all []string) string {
	if strings.HasPrefix(last(all), "+") {
		return "+"
	}
	if t, ok := status(last(all)); ok && (t.Tag != "*" || t.Cond == "BAD" || t.Cond == "BYE") {
		return t.Cond
	}
	return ""
}

// changes reports whether a command changes what later ones mean, so that nothing behind
// it compares if it had another end.
func changes(command string) bool {
	_, rest, _ := strings.Cut(strings.ToUpper(command), " ")
	rest = strings.TrimPrefix(rest, "UID ")
	for _, verb := range []string{"SELECT", "EXAMINE", "APPEND", "CREATE", "DELETE", "RENAME", "ENABLE", "STORE", "EXPUNGE", "COPY", "MOVE", "REPLACE", "NOTIFY", "SETMETADATA", "SUBSCRIBE", "UNSELECT", "CLOSE"} {
		if strings.HasPrefix(rest, verb) {
			return true
		}
	}
	return false
}
