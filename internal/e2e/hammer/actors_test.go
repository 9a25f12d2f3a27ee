package hammer

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"rookery/internal/e2e/harness"
)

// field is the place that all actors share.
type field struct {
	d    *harness.Demo
	l    *ledger
	stop chan struct{}
	ids  atomic.Int64
	// damages counts the index files that the vandal hit.
	damages atomic.Int64
}

func (f *field) over() bool {
	select {
	case <-f.stop:
		return true
	default:
		return false
	}
}

func (f *field) pause(most time.Duration) {
	select {
	case <-f.stop:
	case <-time.After(rand.N(most) + time.Millisecond):
	}
}

func (f *field) newID(who string) string { return fmt.Sprintf("%s-%d", who, f.ids.Add(1)) }

// text is a message that carries its id where every reader finds it.
func text(id string) string {
	return "Subject: " + id + "\r\nX-Hammer: " + id + "\r\n\r\n" + strings.Repeat("body of "+id+"\r\n", 1+rand.IntN(60))
}

var hammerID = regexp.MustCompile(`X-Hammer: (\S+)`)

// session is one IMAP session.
type session struct {
	*field
	c        *harness.Client
	v        *view
	name     string
	box      string
	validity string
	tag      int
}

var errRefused = errors.New("refused")

// run sends a command and checks everything that comes.
func (s *session) run(c class, format string, args ...any) ([]string, error) {
	s.tag++
	tag := s.name + strconv.Itoa(s.tag)
	command := fmt.Sprintf(format, args...)
	if err := s.c.Send(tag + " " + command + "\r\n"); err != nil {
		return nil, err
	}
	return s.finish(tag, c, command)
}

func (s *session) finish(tag string, c class, command string) ([]string, error) {
	lines, err := s.c.Until(tag)
	for _, line := range lines {
		s.hear(line, c, command)
	}
	if err != nil {
		return lines, fmt.Errorf("%.60s: %w", command, err)
	}
	last := lines[len(lines)-1]
	switch {
	case strings.HasPrefix(last, tag+" OK"):
		return lines, nil
	case strings.HasPrefix(last, tag+" BAD"):
		s.l.complain("%s: %.80s: %s", s.name, command, last)
	}
	return lines, fmt.Errorf("%.60s: %s: %w", command, last, errRefused)
}

// hear checks one line of any kind.
func (s *session) hear(line string, c class, command string) {
	if strings.HasPrefix(line, "* ") && s.v != nil {
		if err := s.v.take(line, c); err != nil {
			s.l.complain("%s, %.60s: %v", s.name, command, err)
		}
	}
	if m := hammerID.FindStringSubmatch(line); m != nil {
		head, _, _ := strings.Cut(line, "\r\n")
		if u := fetchUID.FindStringSubmatch(head); u != nil {
			n, _ := strconv.ParseUint(u[1], 10, 32)
			s.l.read(s.box, s.validity, uint32(n), m[1])
		}
	}
}

var validityCode = regexp.MustCompile(`\[UIDVALIDITY (\d+)\]`)

// open logs in and selects.
func (f *field) open(name, box string) (*session, error) {
	c, err := f.d.TryDial("imap")
	if err != nil {
		return nil, err
	}
	s := &session{field: f, c: c, name: name, box: box}
	if _, err = c.TryLine(); err == nil {
		_, err = s.run(free, "LOGIN u1 pass")
	}
	var lines []string
	if err == nil {
		s.v = &view{}
		lines, err = s.run(free, "SELECT %s", box)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	m := validityCode.FindStringSubmatch(strings.Join(lines, "\n"))
	if m == nil {
		c.Close()
		return nil, errors.New("SELECT told no UIDVALIDITY")
	}
	s.validity = m[1]
	return s, nil
}

// imapActor works until the end; a session that breaks is a complaint.
func (f *field) imapActor(name string) {
	for !f.over() {
		s, err := f.open(name, "INBOX")
		if err != nil {
			f.l.complain("%s: %v", name, err)
			f.pause(time.Second)
			continue
		}
		for range 20 + rand.IntN(60) {
			if f.over() || err != nil && !errors.Is(err, errRefused) {
				break
			}
			err = s.step()
			f.pause(30 * time.Millisecond)
		}
		if err != nil && !errors.Is(err, errRefused) {
			f.l.complain("%s: %v", name, err)
		} else if _, err := s.run(free, "LOGOUT"); err != nil {
			f.l.complain("%s: %v", name, err)
		}
		s.c.Close()
	}
}

func (s *session) step() (err error) {
	n := len(s.v.uids)
	switch rand.IntN(12) {
	case 0, 1:
		return s.append()
	case 2:
		_, err = s.run(free, "NOOP")
	case 3:
		if n > 0 {
			from := 1 + rand.IntN(n)
			_, err = s.run(steady, "FETCH %d:%d (UID FLAGS)", from, min(n, from+50))
		}
	case 4:
		_, err = s.run(free, "UID FETCH %d:* (FLAGS BODY.PEEK[HEADER.FIELDS (X-Hammer)])", 1+rand.IntN(1+n))
	case 5:
		if n > 0 {
			_, err = s.run(steady, "STORE %d %sFLAGS (%s)", 1+rand.IntN(n), []string{"+", "-"}[rand.IntN(2)], []string{`\Seen`, `\Flagged`, "$Work", "Label"}[rand.IntN(4)])
		}
	case 6:
		_, err = s.run(steady, "SEARCH UNSEEN SUBJECT %s", s.name)
	case 7:
		return s.remove()
	case 8:
		return s.move()
	case 9:
		return s.idle()
	case 10:
		_, err = s.run(free, "UID STORE 1:* %sFLAGS.SILENT (\\Answered)", []string{"+", "-"}[rand.IntN(2)])
	case 11:
		if n > 0 {
			_, err = s.run(steady, "FETCH %d (UID BODY.PEEK[])", 1+rand.IntN(n))
		}
	}
	return err
}

func (s *session) append() error {
	id := s.newID(s.name)
	s.l.begin(id, "INBOX")
	body := text(id)
	s.tag++
	tag := s.name + strconv.Itoa(s.tag)
	if err := s.c.Send(fmt.Sprintf("%s APPEND INBOX {%d+}\r\n%s\r\n", tag, len(body), body)); err != nil {
		return err
	}
	_, err := s.finish(tag, free, "APPEND")
	if err == nil {
		s.l.settle(id, fate{boxes: []string{"INBOX"}})
	}
	return err
}

// own tells whether a message came from an IMAP session: those the sessions remove and move.
func own(id string) bool { return strings.HasPrefix(id, "i") }

// find gives the UID of a message by its subject.
func (s *session) find(id string) (string, error) {
	// Another session may have added it since this one was last told of anything.
	if _, err := s.run(free, "NOOP"); err != nil {
		return "", err
	}
	lines, err := s.run(free, "UID SEARCH HEADER X-Hammer %s", id)
	if err != nil {
		return "", err
	}
	for _, line := range lines {
		if rest, ok := strings.CutPrefix(line, "* SEARCH "); ok {
			for _, u := range strings.Fields(rest) {
				// A substring: "i1-2" is found in "i1-25", too.
				got, err := s.run(free, "UID FETCH %s (BODY.PEEK[HEADER.FIELDS (X-Hammer)])", u)
				if err != nil {
					return "", err
				}
				if m := hammerID.FindStringSubmatch(strings.Join(got, "\n")); m != nil && m[1] == id {
					return u, nil
				}
			}
		}
	}
	return "", nil
}

func (s *session) remove() error {
	id, ok := s.l.take("INBOX", own)
	if !ok {
		return nil
	}
	u, err := s.find(id)
	if err != nil || u == "" {
		if err == nil {
			s.l.complain("%s: %s was acknowledged and is not found", s.name, id)
		}
		s.l.give(id)
		return err
	}
	s.l.begin(id, "INBOX")
	if _, err := s.run(free, `UID STORE %s +FLAGS.SILENT (\Deleted)`, u); err != nil {
		return err
	}
	if _, err := s.run(free, "UID EXPUNGE %s", u); err != nil {
		return err
	}
	s.l.settle(id, fate{gone: true})
	return nil
}

func (s *session) move() error {
	id, ok := s.l.take("INBOX", own)
	if !ok {
		return nil
	}
	u, err := s.find(id)
	if err != nil || u == "" {
		if err == nil {
			s.l.complain("%s: %s was acknowledged and is not found", s.name, id)
		}
		s.l.give(id)
		return err
	}
	s.l.settle(id, fate{boxes: []string{"INBOX", "Box"}, busy: true})
	if _, err := s.run(free, "UID MOVE %s Box", u); err != nil {
		return err
	}
	s.l.settle(id, fate{boxes: []string{"Box"}})
	return nil
}

func (s *session) idle() error {
	s.tag++
	tag := s.name + strconv.Itoa(s.tag)
	if err := s.c.Send(tag + " IDLE\r\n"); err != nil {
		return err
	}
	s.pause(400 * time.Millisecond)
	if err := s.c.Send("DONE\r\n"); err != nil {
		return err
	}
	_, err := s.finish(tag, free, "IDLE")
	return err
}

// pop3Actor reads mail over POP3; the same UIDL is the same message always.
func (f *field) pop3Actor() {
	for !f.over() {
		if err := f.pop3Session(); err != nil {
			f.l.complain("POP3: %v", err)
		}
		f.pause(300 * time.Millisecond)
	}
}

func (f *field) pop3Session() error {
	c, err := f.d.TryDial("pop3")
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.TryLine(); err != nil {
		return err
	}
	say := func(command string) (string, error) {
		if err := c.Send(command + "\r\n"); err != nil {
			return "", err
		}
		line, err := c.TryLine()
		if err == nil && !strings.HasPrefix(line, "+OK") {
			err = fmt.Errorf("%s: %s", command, line)
		}
		return line, err
	}
	list := func(command string) (lines []string, err error) {
		if _, err = say(command); err != nil {
			return nil, err
		}
		for {
			line, err := c.TryLine()
			if err != nil || line == "." {
				return lines, err
			}
			lines = append(lines, line)
		}
	}
	for _, command := range []string{"USER u1", "PASS pass"} {
		if _, err := say(command); err != nil {
			if strings.Contains(err.Error(), "[IN-USE]") {
				return nil
			}
			return err
		}
	}
	uidls, err := list("UIDL")
	if err != nil {
		return err
	}
	for range min(5, len(uidls)) {
		n, uidl, _ := strings.Cut(uidls[rand.IntN(len(uidls))], " ")
		lines, err := list("RETR " + n)
		if err != nil {
			if strings.Contains(err.Error(), "-ERR") {
				continue // expunged by an IMAP session meanwhile
			}
			return err
		}
		if m := hammerID.FindStringSubmatch(strings.Join(lines, "\n")); m != nil {
			f.l.read("POP3", uidl, 0, m[1])
		}
	}
	_, err = say("QUIT")
	return err
}
