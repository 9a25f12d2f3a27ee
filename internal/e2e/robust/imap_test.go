package robust

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"rookery/internal/e2e/harness"
)

// run is what all actors of a kill test share.
type run struct {
	d     *harness.Demo
	ended chan struct{} // closed when traffic stops
	next  atomic.Uint64
	ops   atomic.Int64 // acknowledged changes
	reads atomic.Int64 // messages read and checked
	lost  atomic.Int64 // connections that broke
}

func (r *run) over() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// pause waits a random time.
func (r *run) pause(least, most time.Duration) {
	select {
	case <-r.ended:
	case <-time.After(least + rand.N(most-least)):
	}
}

// errNo is a NO or BAD to a command that should succeed.
type errNo struct{ text string }

func (e *errNo) Error() string { return e.text }

// imap is one IMAP session of an actor.
type imap struct {
	c        *harness.Client
	m        *model
	r        *run
	n        int
	selected string
	validity uint32
}

// login opens a session; every failure gives an error.
func login(d *harness.Demo, service, user string) (*harness.Client, error) {
	c, err := d.TryDial(service)
	if err != nil {
		return nil, err
	}
	if err := greet(c, service, user); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func greet(c *harness.Client, service, user string) error {
	if line, err := c.TryLine(); err != nil {
		return fmt.Errorf("greeting: %q %w", line, err)
	}
	if strings.HasPrefix(service, "imap") {
		if err := c.Send("l LOGIN " + user + " pass\r\n"); err != nil {
			return err
		}
		lines, err := c.Until("l")
		if err != nil {
			return err
		}
		if !strings.HasPrefix(lines[len(lines)-1], "l OK ") {
			return &errNo{lines[len(lines)-1]}
		}
		return nil
	}
	for _, command := range []string{"USER " + user, "PASS pass"} {
		if err := c.Send(command + "\r\n"); err != nil {
			return err
		}
		line, err := c.TryLine()
		if err != nil {
			return err
		}
		if !strings.HasPrefix(line, "+OK") {
			return &errNo{line}
		}
	}
	return nil
}

// command sends one and reads its answer; literals are sent as asked for.
func (s *imap) command(text string, literals ...string) ([]string, error) {
	s.n++
	tag := "k" + strconv.Itoa(s.n)
	parts := strings.Split(tag+" "+text+"\r\n", "\x00") // \x00 stands for a literal
	for i, part := range parts {
		if i < len(literals) {
			part += fmt.Sprintf("{%d}\r\n", len(literals[i]))
		}
		if err := s.c.Send(part); err != nil {
			return nil, err
		}
		if i == len(parts)-1 {
			break
		}
		for {
			line, err := s.c.TryLine()
			switch {
			case err != nil:
				return nil, err
			case strings.HasPrefix(line, "+ "):
			case strings.HasPrefix(line, tag+" "):
				return []string{line}, &errNo{line}
			default:
				continue
			}
			break
		}
		if err := s.c.Send(literals[i]); err != nil {
			return nil, err
		}
	}
	lines, err := s.c.Until(tag)
	if err != nil {
		return lines, err
	}
	s.learn(lines)
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, tag+" OK") {
		return lines, &errNo{text + ": " + last}
	}
	return lines, nil
}

// learn checks every message that came.
func (s *imap) learn(lines []string) {
	for _, line := range lines {
		f, ok := parseFetch(line)
		if !ok || f.body == "" {
			continue
		}
		id := s.m.check(f.body)
		s.r.reads.Add(1)
		s.m.saw(s.selected, s.validity, f.uid, id)
	}
}

var uidValidity = regexp.MustCompile(`\[UIDVALIDITY (\d+)\]`)

// choose selects a mailbox.
func (s *imap) choose(name string) error {
	if s.selected == name {
		return nil
	}
	s.selected = ""
	lines, err := s.command("SELECT " + name)
	if err != nil {
		return err
	}
	g := uidValidity.FindStringSubmatch(strings.Join(lines, "\n"))
	if g == nil {
		return errors.New("SELECT told no UIDVALIDITY")
	}
	s.selected, s.validity = name, number(g[1])
	return nil
}

func number(text string) uint32 {
	n, _ := strconv.ParseUint(text, 10, 32)
	return uint32(n)
}

// writer is an actor that changes mail over IMAP. It alone touches the messages
// and mailboxes that it made.
type writer struct {
	*run
	m       *model
	service string
	user    string
	name    string
	s       *imap
	folders []*folder // its own; those it is sure of
	names   int
}

// act works until the traffic stops.
func (w *writer) act() {
	for !w.over() {
		c, err := login(w.d, w.service, w.user)
		if err != nil {
			w.refusedLogin(err)
			w.pause(50*time.Millisecond, 200*time.Millisecond)
			continue
		}
		w.s = &imap{c: c, m: w.m, r: w.run}
		err = w.session()
		c.Close()
		var refused *errNo
		if errors.As(err, &refused) && !strings.Contains(err.Error(), "[UNAVAILABLE]") {
			w.m.complain("%s: %v", w.name, err)
		}
		if err != nil {
			w.lost.Add(1)
		}
	}
}

// refusedLogin: a login may break or be UNAVAILABLE; it may not be told that the
// password is wrong.
func (r *run) refusedLogin(err error) {
	r.lost.Add(1)
	var refused *errNo
	if errors.As(err, &refused) && !strings.Contains(refused.text, "UNAVAILABLE") && !strings.Contains(refused.text, "SYS/TEMP") {
		r.next.Add(0)
		r.complaint(refused.text)
	}
}

var complaints = make(chan string, 100)

func (r *run) complaint(text string) {
	select {
	case complaints <- "login: " + text:
	default:
	}
}

// session does some commands and leaves.
func (w *writer) session() error {
	for range 10 + rand.IntN(40) {
		if w.over() {
			break
		}
		if err := w.step(); err != nil {
			return err
		}
		w.pause(200*time.Millisecond, 900*time.Millisecond)
	}
	_, err := w.s.command("LOGOUT")
	return err
}

func (w *writer) step() error {
	switch n := rand.IntN(100); {
	case n < 30:
		return w.append()
	case n < 45:
		return w.store()
	case n < 55:
		return w.copy("COPY")
	case n < 65:
		return w.copy("MOVE")
	case n < 73:
		return w.expunge()
	case n < 79:
		return w.create()
	case n < 84:
		return w.rename()
	case n < 87:
		return w.delete()
	case n < 93:
		return w.read()
	default:
		return w.idle()
	}
}

// anyFolder is INBOX or one of its own, sure to exist.
func (w *writer) anyFolder() *folder {
	if n := rand.IntN(len(w.folders) + 1); n > 0 {
		return w.folders[n-1]
	}
	return w.m.inbox
}

// anyMessage is one of its own of which all is known.
func (w *writer) anyMessage() (f *folder, p *placed) {
	w.m.do(func() {
		for _, g := range append([]*folder{w.m.inbox}, w.folders...) {
			for id, q := range g.box {
				if q.is == yes && q.uid != 0 && strings.HasPrefix(id, w.name) && (p == nil || rand.IntN(3) == 0) {
					f, p = g, q
				}
			}
		}
	})
	return f, p
}

// acked counts an acknowledged change.
func (w *writer) done(change func()) {
	w.ops.Add(1)
	w.m.do(change)
}

var appendUID = regexp.MustCompile(`\[APPENDUID (\d+) (\d+)(?::(\d+))?\]`)

func (w *writer) append() error {
	f := w.anyFolder()
	text := "APPEND " + f.names[0] + " \x00"
	var ids, bodies []string
	for range 1 + rand.IntN(4)/3 { // MULTIAPPEND now and then
		id := fmt.Sprintf("%s.%d", w.name, w.next.Add(1))
		ids = append(ids, id)
		bodies = append(bodies, message(w.m.owner, id, []int{200, 2000, 20000}[rand.IntN(3)]))
	}
	if len(ids) == 2 {
		text += " \x00"
	}
	w.m.do(func() {
		for _, id := range ids {
			f.box[id] = &placed{id: id, is: maybe, flags: map[string]state{}}
		}
	})
	lines, err := w.s.command(text, bodies...)
	if err != nil {
		return err
	}
	g := appendUID.FindStringSubmatch(lines[len(lines)-1])
	if g == nil {
		return &errNo{"no APPENDUID: " + lines[len(lines)-1]}
	}
	for i, id := range ids {
		uid, validity := number(g[2])+uint32(i), number(g[1])
		w.done(func() {
			p := f.box[id]
			p.is, p.uid, p.validity = yes, uid, validity
		})
		w.m.saw(f.names[0], validity, uid, id)
	}
	return nil
}

var someFlags = []string{`\Flagged`, `\Answered`, `\Draft`, `\Seen`, "$Work", "$Label1", "Later"}

func (w *writer) store() error {
	f, p := w.anyMessage()
	if p == nil {
		return nil
	}
	if err := w.s.choose(f.names[0]); err != nil {
		return err
	}
	flag, sign, want := someFlags[rand.IntN(len(someFlags))], "+", yes
	if rand.IntN(3) == 0 {
		sign, want = "-", no
	}
	w.m.do(func() {
		if was, known := p.flags[flag]; known && was != want || !known && want == yes {
			p.flags[flag] = maybe
		}
	})
	if _, err := w.s.command(fmt.Sprintf("UID STORE %d %sFLAGS (%s)", p.uid, sign, flag)); err != nil {
		return err
	}
	w.done(func() { p.flags[flag] = want })
	return nil
}

var copyUID = regexp.MustCompile(`\[COPYUID (\d+) (\d+) (\d+)\]`)

// copy copies or moves one message into a mailbox that never had it.
func (w *writer) copy(verb string) error {
	f, p := w.anyMessage()
	to := w.anyFolder()
	if p == nil || to == f {
		return nil
	}
	var q *placed
	w.m.do(func() {
		if to.box[p.id] != nil {
			return
		}
		q = &placed{id: p.id, is: maybe, flags: map[string]state{}}
		for flag, is := range p.flags {
			q.flags[flag] = is
		}
	})
	if q == nil {
		return nil
	}
	if err := w.s.choose(f.names[0]); err != nil {
		return err
	}
	w.m.do(func() {
		to.box[p.id] = q
		if verb == "MOVE" {
			p.is, p.movedTo = maybe, to
		}
	})
	lines, err := w.s.command(fmt.Sprintf("UID %s %d %s", verb, p.uid, to.names[0]))
	if err != nil {
		return err
	}
	g := copyUID.FindStringSubmatch(strings.Join(lines, "\n"))
	if g == nil {
		return &errNo{fmt.Sprintf("no COPYUID for UID %d (%s) of %s: %q", p.uid, p.id, f.names[0], lines)}
	}
	w.done(func() {
		q.is, q.validity, q.uid = yes, number(g[1]), number(g[3])
		if verb == "MOVE" {
			p.is, p.movedTo = no, nil
		}
	})
	w.m.saw(to.names[0], q.validity, q.uid, p.id)
	return nil
}

func (w *writer) expunge() error {
	f, p := w.anyMessage()
	if p == nil {
		return nil
	}
	if err := w.s.choose(f.names[0]); err != nil {
		return err
	}
	w.m.do(func() { p.flags[`\Deleted`] = maybe })
	if _, err := w.s.command(fmt.Sprintf(`UID STORE %d +FLAGS.SILENT (\Deleted)`, p.uid)); err != nil {
		return err
	}
	w.done(func() { p.flags[`\Deleted`] = yes })
	w.m.do(func() { p.is = maybe })
	if _, err := w.s.command(fmt.Sprintf("UID EXPUNGE %d", p.uid)); err != nil {
		return err
	}
	w.done(func() { p.is = no })
	return nil
}

func (w *writer) newName() string {
	w.names++
	return fmt.Sprintf("%s-%d", w.name, w.names)
}

func (w *writer) create() error {
	if len(w.folders) >= 4 {
		return nil
	}
	f := &folder{names: []string{w.newName()}, is: maybe, box: map[string]*placed{}}
	w.m.do(func() { w.m.all = append(w.m.all, f) })
	return w.createFolder(f)
}

func (w *writer) createFolder(f *folder) error {
	if _, err := w.s.command("CREATE " + f.names[0]); err != nil {
		return err
	}
	w.done(func() { f.is = yes })
	w.folders = append(w.folders, f)
	return nil
}

func (w *writer) rename() error {
	if len(w.folders) == 0 {
		return nil
	}
	f := w.folders[rand.IntN(len(w.folders))]
	was, is := f.names[0], w.newName()
	w.m.do(func() { f.names = []string{was, is} })
	w.forget(f)
	if w.s.selected == was {
		w.s.selected = ""
		if _, err := w.s.command("UNSELECT"); err != nil {
			return err
		}
	}
	if _, err := w.s.command("RENAME " + was + " " + is); err != nil {
		return err
	}
	w.done(func() { f.names = []string{is} })
	w.folders = append(w.folders, f)
	return nil
}

// forget gives a mailbox up of which something is not known.
func (w *writer) forget(f *folder) {
	w.folders = slices.DeleteFunc(slices.Clone(w.folders), func(g *folder) bool { return g == f })
}

// delete deletes a mailbox and, now and then, makes another of the same name.
func (w *writer) delete() error {
	if len(w.folders) == 0 {
		return nil
	}
	f := w.folders[rand.IntN(len(w.folders))]
	w.forget(f)
	w.m.do(func() { f.is = maybe })
	w.s.selected = "" // SELECT again after
	if _, err := w.s.command("SELECT INBOX"); err != nil {
		return err
	}
	if _, err := w.s.command("DELETE " + f.names[0]); err != nil {
		return err
	}
	w.done(func() { f.is = no })
	if rand.IntN(2) == 0 {
		return nil
	}
	g := &folder{names: f.names, is: maybe, box: map[string]*placed{}}
	w.m.do(func() { w.m.all = append(w.m.all, g) })
	return w.createFolder(g)
}

func (w *writer) read() error {
	if err := w.s.choose(w.anyFolder().names[0]); err != nil {
		return err
	}
	lines, err := w.s.command("UID SEARCH ALL")
	if err != nil {
		return err
	}
	var uids []string
	for _, line := range lines {
		if rest, ok := strings.CutPrefix(line, "* SEARCH "); ok {
			uids = strings.Fields(rest)
		}
	}
	if len(uids) == 0 {
		return nil
	}
	from := rand.IntN(len(uids))
	_, err = w.s.command("UID FETCH " + strings.Join(uids[from:min(len(uids), from+8)], ",") + " (FLAGS BODY.PEEK[])")
	return err
}

func (w *writer) idle() error {
	if err := w.s.choose("INBOX"); err != nil {
		return err
	}
	w.s.n++
	tag := "k" + strconv.Itoa(w.s.n)
	if err := w.s.c.Send(tag + " IDLE\r\n"); err != nil {
		return err
	}
	w.pause(200*time.Millisecond, 2*time.Second)
	if err := w.s.c.Send("DONE\r\n"); err != nil {
		return err
	}
	lines, err := w.s.c.Until(tag)
	w.s.learn(lines)
	return err
}
