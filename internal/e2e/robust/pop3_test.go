package robust

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"time"

	"rookery/internal/e2e/harness"
)

// popper is an actor that delivers messages as a deliverer does, reads them over
// POP3 and deletes some. It alone deletes what it delivered.
type popper struct {
	*run
	m       *model
	service string
	user    int
	name    string
	c       *harness.Client
}

func (p *popper) act() {
	for !p.over() {
		if err := p.deliver(); err != nil {
			p.complaint(err.Error())
		}
		c, err := login(p.d, p.service, p.m.owner)
		if err != nil {
			p.refusedLogin(err)
			p.pause(50*time.Millisecond, 200*time.Millisecond)
			continue
		}
		p.c = c
		err = p.session()
		c.Close()
		var refused *errNo
		if errors.As(err, &refused) {
			p.m.complain("%s: %v", p.name, err)
		}
		if err != nil {
			p.lost.Add(1)
		}
		p.pause(500*time.Millisecond, 2*time.Second)
	}
}

// deliver adds a message where there are few.
func (p *popper) deliver() error {
	own := 0
	p.m.do(func() {
		for id, q := range p.m.inbox.box {
			if q.is == yes && strings.HasPrefix(id, p.name) {
				own++
			}
		}
	})
	if own >= 5 {
		return nil
	}
	id := fmt.Sprintf("%s.%d", p.name, p.next.Add(1))
	err := p.d.Deliver(p.user, fmt.Sprintf("%d.%s.test", time.Now().Unix(), id), lf(message(p.m.owner, id, 500)))
	if errors.Is(err, os.ErrNotExist) {
		return nil // the Maildir is not made yet
	}
	if err != nil {
		return err
	}
	p.ops.Add(1)
	p.m.do(func() { p.m.inbox.box[id] = &placed{id: id, is: yes, flags: map[string]state{}} })
	return nil
}

// ask sends a command and gives the status line; an -ERR is no error here.
func (p *popper) ask(command string) (string, error) {
	if err := p.c.Send(command + "\r\n"); err != nil {
		return "", err
	}
	return p.c.TryLine()
}

// lines reads the rest of a multi-line answer.
func (p *popper) lines() (string, error) {
	var all strings.Builder
	for {
		line, err := p.c.TryLine()
		if err != nil || line == "." {
			return all.String(), err
		}
		all.WriteString(strings.TrimPrefix(line, ".") + "\r\n")
	}
}

func (p *popper) session() error {
	status, err := p.ask("UIDL")
	if err != nil {
		return err
	}
	if !strings.HasPrefix(status, "+OK") {
		return &errNo{status}
	}
	list, err := p.lines()
	if err != nil {
		return err
	}
	uidls := map[int]string{}
	for line := range strings.Lines(list) {
		n, uidl, _ := strings.Cut(strings.TrimSpace(line), " ")
		i, _ := strconv.Atoi(n)
		uidls[i] = uidl
	}
	var marked []string
	for n := len(uidls); n > 0 && n > len(uidls)-12 && !p.over(); n-- {
		id, err := p.look(n, uidls[n])
		if err != nil {
			return err
		}
		if id != "" && rand.IntN(2) == 0 {
			if status, err = p.ask(fmt.Sprintf("DELE %d", n)); err != nil {
				return err
			}
			if strings.HasPrefix(status, "+OK") {
				marked = append(marked, id)
			}
		}
		p.pause(20*time.Millisecond, 100*time.Millisecond)
	}
	return p.quit(marked)
}

// look reads message n and gives its id if it is one of our own.
func (p *popper) look(n int, uidl string) (string, error) {
	status, err := p.ask(fmt.Sprintf("TOP %d 0", n))
	if err != nil || !strings.HasPrefix(status, "+OK") { // another session expunged it
		return "", err
	}
	head, err := p.lines()
	if err != nil {
		return "", err
	}
	if owner := header(head, "X-Owner"); owner != p.m.owner {
		p.m.complain("POP3 showed a message of %q", owner)
	}
	if !strings.HasPrefix(header(head, "X-Id"), p.name) {
		return "", nil
	}
	if status, err = p.ask(fmt.Sprintf("RETR %d", n)); err != nil {
		return "", err
	}
	if !strings.HasPrefix(status, "+OK") {
		return "", &errNo{"RETR of our own message: " + status}
	}
	text, err := p.lines()
	if err != nil {
		return "", err
	}
	p.reads.Add(1)
	id := p.m.check(text)
	was := ""
	p.m.do(func() {
		was = p.m.uidls[id]
		p.m.uidls[id] = uidl
	})
	if was != "" && was != uidl {
		p.m.complain("message %s had UIDL %s and has %s", id, was, uidl)
	}
	return id, nil
}

func (p *popper) quit(marked []string) error {
	set := func(is state) {
		p.m.do(func() {
			for _, id := range marked {
				if p.m.inbox.box[id] != nil {
					p.m.inbox.box[id].is = is
				}
			}
		})
	}
	set(maybe)
	status, err := p.ask("QUIT")
	if err != nil {
		return err
	}
	if !strings.HasPrefix(status, "+OK") {
		return &errNo{"QUIT: " + status}
	}
	p.ops.Add(int64(len(marked)))
	set(no)
	return nil
}
