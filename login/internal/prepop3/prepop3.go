// Package prepop3 is POP3 before login (the AUTHORIZATION state of RFC 1939
// §4), as a machine without input and output: the client's bytes and authd's
// answers go in, bytes and effects come out.
//
// login drives it. It must never know a user's place, read a clock, or hold
// more of a stranger's bytes than its limits allow.
package prepop3

import (
	"encoding/base64"

	"rookery/internal/errkind"
	"rookery/internal/imapwire"
	"rookery/internal/pop3wire"
	"rookery/internal/secret"
	"rookery/login/internal/prelogin"
)

// maxLine is the longest line of a stranger's, in bytes. RFC 2449 §4 has 255
// octets for a command, RFC 5034 §4 lets responses of AUTH be longer.
const maxLine = 8 << 10

// Config is what a machine needs to know.
type Config struct {
	Greeting    string
	Mechanisms  []prelogin.Mechanism
	Facts       prelogin.Facts
	BadCommands int // after so many the client is told goodbye
	// Timestamp is APOP's, with its angle brackets; "" where APOP is not offered.
	Timestamp string
	// LoginDelay is LOGIN-DELAY's number of seconds, 0 for none; Expire the days
	// of EXPIRE, -1 for NEVER (RFC 2449 §6.5 and §6.7).
	LoginDelay, Expire int
	Implementation     string // of CAPA; "" for none
}

type state uint8

const (
	ready      state = iota // between commands
	answering               // the client owes the answer to a challenge
	atAuthd                 // authd's turn
	atMaster                // a worker is awaited
	handshake               // TLS is about to begin
	ended                   // Close was given
	notGreeted              // before Greet
)

// Machine is one connection.
type Machine struct {
	cfg     Config
	lines   *pop3wire.Splitter
	buf     []byte // answers not yet given out
	state   state
	pending []byte // fed, not yet taken
	out     []prelogin.Effect
	bad     int // bad commands in a row
	command string
	user    []byte // USER's argument
	hasUser bool
	stamped bool // the timestamp has been used
	utf8    bool
	lang    string
	stats   prelogin.Stats
}

var _ prelogin.Machine = (*Machine)(nil)

// New makes a machine.
func New(cfg Config) *Machine {
	return &Machine{cfg: cfg, state: notGreeted, lines: pop3wire.NewSplitter(maxLine)}
}

// Busy is for prelogin.Machine.
func (m *Machine) Busy() bool { return m.state != ready && m.state != answering }

// Stats is for prelogin.Machine.
func (m *Machine) Stats() prelogin.Stats {
	s := m.stats
	s.Continuing = m.state == answering
	s.Authenticating = m.state == atAuthd
	s.HandingOver = m.state == atMaster
	return s
}

// Wipe is for prelogin.Machine.
func (m *Machine) Wipe() {
	clear(m.pending[:cap(m.pending)])
	m.pending = nil
	m.lines.Wipe()
	m.user, m.hasUser = nil, false
}

// Greet is for prelogin.Machine.
func (m *Machine) Greet() []prelogin.Effect {
	m.state = ready
	text := prelogin.Text(m.cfg.Greeting, "Ready.")
	if m.apopAllowed() {
		text += " " + m.cfg.Timestamp
	}
	m.ok(text)
	return m.run()
}

// Feed is for prelogin.Machine.
func (m *Machine) Feed(p []byte) []prelogin.Effect {
	if m.state == ended || m.state == handshake {
		return nil
	}
	if m.Busy() && len(m.pending)+len(p) > prelogin.MaxPending {
		m.close(prelogin.WhyInput)
		return m.flush()
	}
	m.pending = append(m.pending, p...)
	return m.run()
}

// run takes what is pending, as far as the machine is not waiting for others.
func (m *Machine) run() []prelogin.Effect {
	taken := 0
	for !m.Busy() && taken < len(m.pending) {
		n, ev := m.lines.Next(m.pending[taken:])
		taken += n
		m.event(ev)
	}
	if m.state == handshake || m.state == ended {
		taken = len(m.pending)
	}
	clear(m.pending[:taken]) // it may have held a password
	if rest := m.pending[taken:]; len(rest) > 0 {
		m.pending = append(m.pending[:0], rest...)
	} else {
		m.pending = nil
	}
	return m.flush()
}

func (m *Machine) flush() []prelogin.Effect {
	m.write()
	out := m.out
	m.out = nil
	return out
}

func (m *Machine) write() {
	if len(m.buf) > 0 {
		m.out = append(m.out, prelogin.Send(m.buf))
		m.buf = nil
	}
}

func (m *Machine) do(e prelogin.Effect) {
	m.write()
	m.out = append(m.out, e)
}

func (m *Machine) ok(text string) { m.buf = pop3wire.AppendOK(m.buf, text) }

func (m *Machine) err(code pop3wire.Code, text string) {
	m.buf = pop3wire.AppendErr(m.buf, code, text)
}

func (m *Machine) close(why string) {
	m.state = ended
	m.do(prelogin.Close{Why: why})
}

// Bye is for prelogin.Machine.
func (m *Machine) Bye(text string, unavailable bool) []prelogin.Effect {
	if m.state == ended || m.state == handshake {
		return nil
	}
	code := pop3wire.Code("")
	if unavailable {
		code = pop3wire.SysTemp
	}
	m.err(code, prelogin.Text(text, "Goodbye."))
	m.state = ended
	return m.flush()
}

func (m *Machine) event(ev pop3wire.Event) {
	switch {
	case ev.Kind == pop3wire.NeedMore:
	case m.state == answering && ev.Kind != pop3wire.Line:
		m.failResponse("Invalid line in an authentication.")
	case m.state == answering:
		m.response(ev.Bytes)
	case ev.Kind == pop3wire.TooLong:
		m.badCommand("Line too long.")
	case ev.Kind == pop3wire.NULByte:
		m.badCommand("NUL byte in command.")
	default:
		m.dispatch(pop3wire.Split(ev.Bytes))
	}
	clear(ev.Bytes) // it may have held a password
}

// badCommand answers what was no command, and says goodbye after too many.
func (m *Machine) badCommand(text string) {
	if m.bad++; m.bad >= m.cfg.BadCommands {
		m.err("", "Too many invalid commands.")
		m.close(prelogin.WhyBadCommands)
		return
	}
	m.err("", text)
}

// response is the client's line in an authentication (RFC 5034 §4).
func (m *Machine) response(line []byte) {
	if string(line) == "*" {
		m.stats.Aborted = true
		m.failResponse("Authentication aborted by client.")
		return
	}
	data, ok := imapwire.DecodeBase64(line)
	if !ok {
		m.failResponse("Invalid base64 data in continued response.")
		return
	}
	m.state = atAuthd
	m.do(prelogin.ContinueAuth{Response: secret.New(data)})
}

func (m *Machine) failResponse(text string) {
	m.state = ready
	m.do(prelogin.CancelAuth{})
	m.badCommand(text)
}

// Challenge is for prelogin.Machine.
func (m *Machine) Challenge(data []byte) []prelogin.Effect {
	if m.state != atAuthd {
		return nil
	}
	if m.command != "AUTH" {
		// PLAIN and APOP ask for nothing once they have their message.
		m.state = ready
		m.do(prelogin.CancelAuth{})
		m.answer(errkind.Unavailable, "")
		return m.run()
	}
	m.buf = pop3wire.AppendContinue(m.buf, base64.StdEncoding.EncodeToString(data))
	m.state = answering
	return m.run()
}

// Granted is for prelogin.Machine.
func (m *Machine) Granted(user string) []prelogin.Effect {
	if m.state != atAuthd {
		return nil
	}
	m.stats.Granted++
	m.stats.User = user
	m.state = atMaster
	m.do(prelogin.HandOver{Command: m.command, Pending: append([]byte(nil), m.pending...), UTF8: m.utf8, Lang: m.lang})
	return m.flush()
}

// Refused is for prelogin.Machine.
func (m *Machine) Refused(kind errkind.Kind, user, text string) []prelogin.Effect {
	if m.state != atAuthd {
		return nil
	}
	if user != "" {
		m.stats.User = user
	}
	if kind == errkind.Unavailable || kind == errkind.Other || kind == errkind.TooMany {
		m.stats.Unavailable++
	}
	m.state = ready
	m.answer(kind, text)
	return m.run()
}

// HandoffFailed is for prelogin.Machine.
func (m *Machine) HandoffFailed(kind errkind.Kind, text string) []prelogin.Effect {
	if m.state != atMaster {
		return nil
	}
	m.state = ready
	if text == "" && kind != errkind.Limit && kind != errkind.InUse {
		text = "Internal error, try again later."
	}
	m.answer(kind, text)
	return m.run()
}

// answer ends an authentication that came to nothing.
func (m *Machine) answer(kind errkind.Kind, text string) {
	text = prelogin.Text(text, prelogin.RefusalText(kind))
	if kind == errkind.Invalid {
		m.badCommand(text)
		return
	}
	m.err(codeOf(kind), text)
}

// codeOf is a kind's response code. AUTH stands for wrong credentials alone:
// after it clients ask for another password (RFC 3206 §5).
func codeOf(kind errkind.Kind) pop3wire.Code {
	switch kind {
	case errkind.AuthFailed, errkind.AuthzFailed, errkind.Expired:
		return pop3wire.Auth
	case errkind.Limit, errkind.InUse:
		return pop3wire.InUse
	case errkind.ContactAdmin, errkind.NoPermission, errkind.Corrupt:
		return pop3wire.SysPerm
	case errkind.Privacy:
		return ""
	}
	return pop3wire.SysTemp
}

// TLSStarted is for prelogin.Machine.
func (m *Machine) TLSStarted(now prelogin.Facts) []prelogin.Effect {
	if m.state != handshake {
		return nil
	}
	m.Wipe()
	m.utf8, m.lang = false, ""
	m.cfg.Facts = now
	m.state = ready
	return nil
}
