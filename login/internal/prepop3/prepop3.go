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

// Machine is one connection.
type Machine struct {
	prelogin.Core
	cfg     Config
	lines   *pop3wire.Splitter
	buf     []byte // answers not yet given out
	command string
	user    []byte // USER's argument
	hasUser bool
	stamped bool // the timestamp has been used
	utf8    bool
	lang    string
}

var _ prelogin.Machine = (*Machine)(nil)

// New makes a machine.
func New(cfg Config) *Machine {
	m := &Machine{cfg: cfg, lines: pop3wire.NewSplitter(maxLine)}
	m.Core = prelogin.NewCore(m, cfg.BadCommands)
	return m
}

// Wipe is for prelogin.Machine.
func (m *Machine) Wipe() {
	m.WipePending()
	m.lines.Wipe()
	m.user, m.hasUser = nil, false
}

// Greet is for prelogin.Machine.
func (m *Machine) Greet() []prelogin.Effect {
	m.State = prelogin.Ready
	text := prelogin.Text(m.cfg.Greeting, "Ready.")
	if m.apopAllowed() {
		text += " " + m.cfg.Timestamp
	}
	m.ok(text)
	return m.Run()
}

// Step is for prelogin.Protocol.
func (m *Machine) Step(p []byte) int {
	n, ev := m.lines.Next(p)
	m.event(ev)
	return n
}

// Written is for prelogin.Protocol.
func (m *Machine) Written() []byte {
	b := m.buf
	m.buf = nil
	return b
}

func (m *Machine) ok(text string) { m.buf = pop3wire.AppendOK(m.buf, text) }

func (m *Machine) err(code pop3wire.Code, text string) {
	m.buf = pop3wire.AppendErr(m.buf, code, text)
}

// SayBye is for prelogin.Protocol.
func (m *Machine) SayBye(text string, unavailable bool) {
	code := pop3wire.Code("")
	if unavailable {
		code = pop3wire.SysTemp
	}
	m.err(code, prelogin.Text(text, "Goodbye."))
}

func (m *Machine) event(ev pop3wire.Event) {
	switch {
	case ev.Kind == pop3wire.NeedMore:
	case m.State == prelogin.Answering && ev.Kind != pop3wire.Line:
		m.failResponse("Invalid line in an authentication.")
	case m.State == prelogin.Answering:
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
	if m.TooMany() {
		m.err("", "Too many invalid commands.")
		m.Close(prelogin.WhyBadCommands)
		return
	}
	m.err("", text)
}

// response is the client's line in an authentication (RFC 5034 §4).
func (m *Machine) response(line []byte) {
	if string(line) == "*" {
		m.Tally.Aborted = true
		m.failResponse("Authentication aborted by client.")
		return
	}
	data, ok := imapwire.DecodeBase64(line)
	if !ok {
		m.failResponse("Invalid base64 data in continued response.")
		return
	}
	m.Respond(data)
}

func (m *Machine) failResponse(text string) {
	m.GiveUp()
	m.badCommand(text)
}

// Ask is for prelogin.Protocol. PLAIN, which PASS stands for, and APOP ask for
// nothing once they have their message.
func (m *Machine) Ask(data []byte) bool {
	if m.command != "AUTH" {
		return false
	}
	m.buf = pop3wire.AppendContinue(m.buf, base64.StdEncoding.EncodeToString(data))
	return true
}

// Session is for prelogin.Protocol.
func (m *Machine) Session() prelogin.HandOver {
	return prelogin.HandOver{Command: m.command, UTF8: m.utf8, Lang: m.lang}
}

// Answer is for prelogin.Protocol.
func (m *Machine) Answer(kind errkind.Kind, text string) {
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
	if m.State != prelogin.Handshaking {
		return nil
	}
	m.Wipe()
	m.utf8, m.lang = false, ""
	m.cfg.Facts = now
	m.State = prelogin.Ready
	return nil
}
