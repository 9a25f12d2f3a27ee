// Package preimap is IMAP before login, as a machine without input and output:
// the client's bytes and authd's answers go in, bytes and effects come out.
//
// login drives it. It must never know a user's place, read a clock, or hold
// more of a stranger's bytes than its limits allow.
package preimap

import (
	"encoding/base64"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/imapwire"
	"rookery/internal/secret"
	"rookery/login/internal/prelogin"
)

// limits are a stranger's. The line takes a SASL response of some 6 KB.
var limits = imapwire.Limits{Line: 8 << 10, Literal: 1 << 10, LiteralsTotal: 2 << 10, LiteralCount: 8, Depth: 1, Items: 60}

// maxDrain is the largest literal "{n+}" that is read and dropped for a
// stranger; above it the connection ends.
const maxDrain = 64 << 10

// Config is what a machine needs to know.
type Config struct {
	Greeting    string
	Mechanisms  []prelogin.Mechanism
	Facts       prelogin.Facts
	BadCommands int      // after so many the client is told goodbye
	ID          []string // name, value, name, value …: our answer to ID; empty for NIL
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
	framer  *imapwire.Framer
	enc     imapwire.Encoder
	state   state
	pending []byte // fed, not yet taken
	out     []prelogin.Effect
	bad     int  // bad commands in a row
	flood   bool // a literal was announced that is too large to drop
	tag     string
	command string // LOGIN or AUTHENTICATE, of the authentication at work
	client  []string
	stats   prelogin.Stats
}

var _ prelogin.Machine = (*Machine)(nil)

// New makes a machine.
func New(cfg Config) *Machine {
	m := &Machine{cfg: cfg, state: notGreeted}
	m.framer = imapwire.NewFramer(limits, m.literal)
	return m
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
	m.framer = imapwire.NewFramer(limits, m.literal)
}

// Greet is for prelogin.Machine.
func (m *Machine) Greet() []prelogin.Effect {
	m.state = ready
	m.enc.Status("", imapwire.OK, imapwire.Code{Name: "CAPABILITY", Args: strings.Join(m.capabilities(), " ")}, prelogin.Text(m.cfg.Greeting, "Ready."))
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
		n, ev := m.framer.Next(m.pending[taken:])
		taken += n
		m.event(ev)
		if m.flood {
			m.flood = false
			m.sayBye("Too large a literal", false)
			m.close(prelogin.WhyInput)
		}
	}
	if m.state == handshake || m.state == ended {
		taken = len(m.pending)
	}
	// What was taken may hold a password.
	clear(m.pending[:taken])
	if rest := m.pending[taken:]; len(rest) > 0 {
		m.pending = append(m.pending[:0], rest...)
	} else {
		m.pending = nil
	}
	return m.flush()
}

// flush gives what was written and what is to be done, in order.
func (m *Machine) flush() []prelogin.Effect {
	m.write()
	out := m.out
	m.out = nil
	return out
}

func (m *Machine) write() {
	if m.enc.Len() > 0 {
		m.out = append(m.out, prelogin.Send(m.enc.Take()))
	}
}

func (m *Machine) do(e prelogin.Effect) {
	m.write()
	m.out = append(m.out, e)
}

func (m *Machine) close(why string) {
	m.state = ended
	m.do(prelogin.Close{Why: why})
}

func (m *Machine) sayBye(text string, unavailable bool) {
	code := imapwire.Code{}
	if unavailable {
		code.Name = "UNAVAILABLE"
	}
	m.enc.Status("", imapwire.BYE, code, prelogin.Text(text, "Goodbye."))
}

// Bye is for prelogin.Machine.
func (m *Machine) Bye(text string, unavailable bool) []prelogin.Effect {
	if m.state == ended || m.state == handshake {
		return nil
	}
	m.sayBye(text, unavailable)
	m.state = ended
	return m.flush()
}

// literal decides about a literal before its bytes come (imapwire.Decider).
func (m *Machine) literal(lit imapwire.Announced) imapwire.Verdict {
	if lit.NonSync && lit.Size > maxDrain {
		m.flood = true
	}
	if lit.Size > limits.Literal {
		return imapwire.Verdict{Action: imapwire.Refuse}
	}
	return imapwire.Verdict{Action: imapwire.Buffer}
}

func (m *Machine) event(ev imapwire.Event) {
	switch ev.Kind {
	case imapwire.Continue:
		m.enc.Continue("OK")
	case imapwire.Command:
		m.dispatch(ev.Text())
		clear(ev.Bytes) // it may have held a password
	case imapwire.Line:
		m.response(ev.Bytes)
		clear(ev.Bytes)
	case imapwire.Refused:
		m.refusedInput(ev)
	case imapwire.Fatal:
		m.sayBye(ev.Reason.String(), false)
		m.close(prelogin.WhyInput)
	}
}

func (m *Machine) refusedInput(ev imapwire.Event) {
	if m.state == answering {
		m.failResponse("Invalid data in continued response: " + ev.Reason.String() + ".")
		return
	}
	switch ev.Reason {
	case imapwire.LiteralTooBig, imapwire.ByDecider:
		m.badCommand(tagOf(ev.Bytes), imapwire.NO, imapwire.Code{Name: "TOOBIG"}, "Literal too big.")
	case imapwire.TooManyLiterals:
		m.badCommand(tagOf(ev.Bytes), imapwire.NO, imapwire.Code{Name: "LIMIT"}, "Too many literals.")
	default:
		m.badCommand(tagOf(ev.Bytes), imapwire.BAD, imapwire.Code{}, ev.Reason.String()+".")
	}
}

// tagOf is the tag of a command that could not be read; "" stands for "*".
func tagOf(p []byte) string {
	d := imapwire.NewDecoder(p, limits)
	var tag string
	if d.WantTag(&tag) && d.SP() && len(tag) <= maxTag {
		return tag
	}
	return ""
}

// badCommand answers what was no command, and says goodbye after too many.
func (m *Machine) badCommand(tag, cond string, code imapwire.Code, text string) {
	m.enc.Status(tag, cond, code, text)
	if m.bad++; m.bad >= m.cfg.BadCommands {
		m.sayBye("Too many invalid commands.", false)
		m.close(prelogin.WhyBadCommands)
	}
}

// response is the client's line in an authentication (RFC 3501 §6.2.2).
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
	m.framer.SetRaw(false)
	m.state = atAuthd
	m.do(prelogin.ContinueAuth{Response: secret.New(data)})
}

func (m *Machine) failResponse(text string) {
	m.framer.SetRaw(false)
	m.state = ready
	m.do(prelogin.CancelAuth{})
	m.badCommand(m.tag, imapwire.BAD, imapwire.Code{}, text)
}

// Challenge is for prelogin.Machine.
func (m *Machine) Challenge(data []byte) []prelogin.Effect {
	if m.state != atAuthd {
		return nil
	}
	if m.command == "LOGIN" {
		// PLAIN asks for nothing once it has its message.
		m.state = ready
		m.do(prelogin.CancelAuth{})
		m.answer(errkind.Unavailable, "")
		return m.run()
	}
	m.enc.ContinueBase64(base64.StdEncoding.EncodeToString(data))
	m.framer.SetRaw(true)
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
	m.do(prelogin.HandOver{Tag: m.tag, Command: m.command, Pending: append([]byte(nil), m.pending...), Client: m.client})
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
	if text == "" && kind != errkind.Limit {
		text = "Internal error, try again later."
	}
	m.answer(kind, text)
	return m.run()
}

// answer ends an authentication that came to nothing.
func (m *Machine) answer(kind errkind.Kind, text string) {
	text = prelogin.Text(text, prelogin.RefusalText(kind))
	if kind == errkind.Invalid {
		m.badCommand(m.tag, imapwire.BAD, imapwire.Code{}, text)
		return
	}
	m.enc.Status(m.tag, imapwire.NO, imapwire.Code{Name: codeOf(kind)}, text)
}

// codeOf is a kind's response code (RFC 5530 §3, RFC 9208 §4.3.1).
func codeOf(kind errkind.Kind) string {
	switch kind {
	case errkind.AuthFailed:
		return "AUTHENTICATIONFAILED"
	case errkind.AuthzFailed:
		return "AUTHORIZATIONFAILED"
	case errkind.Expired:
		return "EXPIRED"
	case errkind.Privacy:
		return "PRIVACYREQUIRED"
	case errkind.ContactAdmin:
		return "CONTACTADMIN"
	case errkind.Limit:
		return "LIMIT"
	case errkind.InUse:
		return "INUSE"
	case errkind.NoPermission:
		return "NOPERM"
	case errkind.Corrupt:
		return "CORRUPTION"
	case errkind.OverQuota, errkind.NoSpace:
		return "OVERQUOTA"
	}
	return "UNAVAILABLE"
}

// TLSStarted is for prelogin.Machine.
func (m *Machine) TLSStarted(now prelogin.Facts) []prelogin.Effect {
	if m.state != handshake {
		return nil
	}
	m.Wipe()
	m.cfg.Facts = now
	m.client = nil
	m.state = ready
	return nil
}
