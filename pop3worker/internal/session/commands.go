package session

import (
	"fmt"
	"strconv"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
	"rookery/internal/pop3wire"
)

// commands is the whole of the TRANSACTION state.
var commands = map[string]struct {
	params int // at most
	run    func(*Session, []string)
}{
	"STAT": {0, (*Session).stat},
	"LIST": {1, (*Session).list},
	"UIDL": {1, (*Session).uidl},
	"RETR": {1, (*Session).retr},
	"TOP":  {2, (*Session).top},
	"DELE": {1, (*Session).dele},
	"RSET": {0, (*Session).rset},
	"NOOP": {0, (*Session).noop},
	"CAPA": {0, (*Session).capa},
	"LAST": {0, (*Session).last},
	"LANG": {1, (*Session).lang},
	"QUIT": {0, (*Session).quit},
}

func (s *Session) command(c pop3wire.Command) {
	cmd, ok := commands[c.Name]
	if !ok || c.Name == "LAST" && !s.cfg.EnableLast {
		switch c.Name {
		case "USER", "PASS", "APOP", "AUTH", "STLS", "UTF8":
			s.fail("Not allowed after login.")
		default:
			s.fail("Unknown command.")
		}
		return
	}
	params := c.Params(cmd.params)
	if len(params) > cmd.params {
		s.fail("Too many arguments.")
		return
	}
	before := s.bad
	cmd.run(s, params)
	if s.bad == before {
		s.bad = 0
	}
}

// pick finds the message that a parameter names, and its number. nil after an -ERR.
func (s *Session) pick(param string) (m *message, n int) {
	n, ok := pop3wire.Number(param)
	switch {
	case !ok:
		s.fail("Not a message number.")
		return nil, 0
	case n < 1 || n > len(s.msgs):
		s.err("", fmt.Sprintf("There's no message %d.", n))
		return nil, 0
	case s.msgs[n-1].deleted:
		s.err("", "Message is deleted.")
		return nil, 0
	}
	return &s.msgs[n-1], n
}

// learnSizes asks for all sizes once: the first of STAT, LIST and CAPA-less
// clients' RETR needs them, and a client that only looks for new UIDLs never does.
func (s *Session) learnSizes() bool {
	if s.sized {
		return true
	}
	for i := range s.msgs {
		if err := s.learnSize(&s.msgs[i]); err != nil {
			s.storeError(err)
			return false
		}
	}
	s.sized = true
	return true
}

// learnSize asks for one message's size. An error is the mailbox's: a message
// that is gone keeps its number (RFC 1939 §5), and one that cannot be read keeps
// nobody from the others; its RETR says what is wrong.
func (s *Session) learnSize(m *message) error {
	if m.sized {
		return nil
	}
	f, err := s.box.Facts(m.uid, mailstore.FactsWant{Size: true})
	switch {
	case err == nil:
		m.size = f.Size
	case errkind.Is(err, errkind.Expunged):
	case ofOneMessage(err):
		if s.cfg.Failed != nil {
			s.cfg.Failed(fmt.Errorf("size of the message with UID %d: %w", m.uid, err))
		}
	default:
		return err
	}
	m.sized = true
	return nil
}

// ofOneMessage reports whether an error says something of the message that was
// asked for, and nothing of the mailbox.
func ofOneMessage(err error) bool {
	switch errkind.Of(err) {
	case errkind.IO, errkind.Corrupt, errkind.NoPermission:
		return true
	}
	return false
}

func (s *Session) stat(_ []string) {
	if !s.learnSizes() {
		return
	}
	var n int
	var size int64
	for _, m := range s.msgs {
		if !m.deleted {
			n++
			size += m.size
		}
	}
	s.ok(fmt.Sprintf("%d %d", n, size))
}

func (s *Session) list(params []string) {
	if len(params) == 1 {
		if m, n := s.pick(params[0]); m != nil && s.learnSizes() {
			s.ok(fmt.Sprintf("%d %d", n, m.size))
		}
		return
	}
	if !s.learnSizes() {
		return
	}
	s.ok(fmt.Sprintf("%d messages:", len(s.msgs)-s.deleted))
	for i, m := range s.msgs {
		if !m.deleted {
			s.out = strconv.AppendInt(s.out, int64(i+1), 10)
			s.out = append(s.out, ' ')
			s.out = strconv.AppendInt(s.out, m.size, 10)
			s.out = append(s.out, '\r', '\n')
		}
	}
	s.out = pop3wire.AppendEnd(s.out)
}

func (s *Session) uidl(params []string) {
	if len(params) == 1 {
		if m, n := s.pick(params[0]); m != nil && s.learnUIDLs() {
			s.ok(fmt.Sprintf("%d %s", n, m.uidl))
		}
		return
	}
	if !s.learnUIDLs() {
		return
	}
	s.ok("")
	for i, m := range s.msgs {
		if !m.deleted {
			s.out = strconv.AppendInt(s.out, int64(i+1), 10)
			s.out = append(s.out, ' ')
			s.out = append(s.out, m.uidl...)
			s.out = append(s.out, '\r', '\n')
		}
	}
	s.out = pop3wire.AppendEnd(s.out)
}

func (s *Session) dele(params []string) {
	if len(params) == 0 {
		s.fail("DELE needs a message number.")
		return
	}
	m, n := s.pick(params[0])
	if m == nil {
		return
	}
	m.deleted = true
	s.deleted++
	s.highest = max(s.highest, n)
	s.ok("Marked to be deleted.")
}

// rset takes the marks back (RFC 1939 §5); with LAST, RFC 1460 has it forget
// what was looked at too.
func (s *Session) rset(_ []string) {
	for i := range s.msgs {
		s.msgs[i].deleted = false
	}
	s.deleted = 0
	if s.cfg.EnableLast {
		s.highest, s.seen = 0, nil
		if err := s.unsee(); err != nil {
			s.storeError(err)
			return
		}
	}
	s.ok("")
}

func (s *Session) unsee() error {
	var all numset.Set
	for _, m := range s.msgs {
		all.Add(m.uid)
	}
	if all.Empty() {
		return nil
	}
	_, err := s.box.Store(mailstore.FlagChange{UIDs: all, Op: mailstore.RemoveFlags, Flags: mailstore.Seen})
	return err
}

func (s *Session) noop(_ []string) { s.ok("") }

func (s *Session) last(_ []string) { s.ok(strconv.Itoa(s.highest)) }

// capa lists what holds after login (RFC 2449 §5); USER, SASL and STLS are
// for before.
func (s *Session) capa(_ []string) {
	s.ok("")
	lines := []string{"CAPA", "TOP", "UIDL", "RESP-CODES", "PIPELINING", "AUTH-RESP-CODE", "LANG", "UTF8"}
	if s.cfg.Expire < 0 {
		lines = append(lines, "EXPIRE NEVER")
	} else {
		lines = append(lines, fmt.Sprintf("EXPIRE %d", s.cfg.Expire))
	}
	if s.cfg.LoginDelay > 0 {
		lines = append(lines, fmt.Sprintf("LOGIN-DELAY %d", s.cfg.LoginDelay))
	}
	if s.cfg.Implementation != "" {
		lines = append(lines, "IMPLEMENTATION "+s.cfg.Implementation)
	}
	for _, l := range lines {
		s.out = pop3wire.AppendLine(s.out, l)
	}
	s.out = pop3wire.AppendEnd(s.out)
}

// lang knows English alone (RFC 6856 §3).
func (s *Session) lang(params []string) {
	if len(params) == 0 {
		s.ok("Languages:")
		s.out = pop3wire.AppendLine(s.out, "en English")
		s.out = pop3wire.AppendEnd(s.out)
		return
	}
	switch params[0] {
	case "en", "EN", "En", "*":
		s.ok("en Language is English.")
	default:
		s.err("", "No such language.")
	}
}

// quit is the UPDATE state (RFC 1939 §6): all deletions or an error that says
// what is left.
func (s *Session) quit(_ []string) {
	s.effect = Close
	s.quitting = true
	flagErr := s.Flush()
	left, err := s.update()
	s.failed(flagErr)
	s.failed(err)
	switch {
	case err != nil && left > 0:
		s.err(pop3wire.SysTemp, fmt.Sprintf("%d deleted messages not removed.", left))
	case flagErr != nil:
		s.err(pop3wire.SysTemp, "Logging out, messages deleted; seen marks were not stored.")
	case s.deleted > 0:
		s.ok("Logging out, messages deleted.")
	default:
		s.ok("Logging out.")
	}
}

// update removes what is marked and tells how many of it are left.
func (s *Session) update() (left int, err error) {
	var marked numset.Set
	for i := range s.msgs {
		m := &s.msgs[i]
		if !m.deleted {
			continue
		}
		if s.cfg.Totals {
			_ = s.learnSize(m) // nobody can any more when it is gone; the removal tells what fails
		}
		marked.Add(m.uid)
		s.stats.DeletedBytes += m.size
	}
	if marked.Empty() {
		return 0, nil
	}
	if s.cfg.DeleteByFlag {
		_, err = s.box.Store(mailstore.FlagChange{UIDs: marked, Op: mailstore.AddFlags, Keywords: []string{s.cfg.DeletedFlag}})
		if err != nil {
			return s.deleted, err
		}
		s.stats.DeletedCount = s.deleted
		return 0, nil
	}
	removed, err := s.box.Expunge(marked)
	s.stats.DeletedCount = int(removed.Len())
	if err == nil {
		return 0, nil // what was not removed was gone before
	}
	snap := s.box.Snapshot()
	for uid := range marked.Minus(removed).All() {
		if _, there := snap.Find(uid); there {
			left++
		}
	}
	return left, err
}

// Quit reports whether the client ended the session with QUIT.
func (s *Session) Quit() bool { return s.quitting }
