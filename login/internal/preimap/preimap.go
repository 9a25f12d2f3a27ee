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

// Machine is one connection.
type Machine struct {
	prelogin.Core
	cfg     Config
	framer  *imapwire.Framer
	enc     imapwire.Encoder
	flood   bool // a literal was announced that is too large to drop
	tag     string
	command string // LOGIN or AUTHENTICATE, of the authentication at work
	client  []string
	lang    string // of the texts: a tag of imaplang, "" for the default
}

var _ prelogin.Returning = (*Machine)(nil)

// New makes a machine.
func New(cfg Config) *Machine {
	m := &Machine{cfg: cfg}
	m.Core = prelogin.NewCore(m, cfg.BadCommands)
	m.framer = imapwire.NewFramer(limits, m.literal)
	return m
}

// Wipe is for prelogin.Machine.
func (m *Machine) Wipe() {
	m.WipePending()
	m.framer = imapwire.NewFramer(limits, m.literal)
}

// Greet is for prelogin.Machine.
func (m *Machine) Greet() []prelogin.Effect {
	m.State = prelogin.Ready
	m.enc.Status("", imapwire.OK, imapwire.Code{Name: "CAPABILITY", Args: strings.Join(m.capabilities(), " ")}, prelogin.Text(m.cfg.Greeting, "Ready."))
	return m.Run()
}

// Return is for prelogin.Returning: the answer to UNAUTHENTICATE (RFC 8437 §3). It is
// English, whatever LANGUAGE had chosen: §4.1 reverts that too.
func (m *Machine) Return(tag string, carried prelogin.Carried) []prelogin.Effect {
	m.State, m.Bad, m.Tally = prelogin.Ready, carried.Bad, carried.Tally
	m.enc.Status(tag, imapwire.OK, imapwire.Code{Name: "CAPABILITY", Args: strings.Join(m.capabilities(), " ")}, "No longer logged in")
	return m.Run()
}

// Step is for prelogin.Protocol.
func (m *Machine) Step(p []byte) int {
	n, ev := m.framer.Next(p)
	m.event(ev)
	if m.flood {
		m.flood = false
		m.SayBye("Too large a literal", false)
		m.Close(prelogin.WhyInput)
	}
	return n
}

// Written is for prelogin.Protocol.
func (m *Machine) Written() []byte {
	if m.enc.Len() == 0 {
		return nil
	}
	return m.enc.Take()
}

// SayBye is for prelogin.Protocol.
func (m *Machine) SayBye(text string, unavailable bool) {
	code := imapwire.Code{}
	if unavailable {
		code.Name = "UNAVAILABLE"
	}
	m.enc.Status("", imapwire.BYE, code, prelogin.Text(text, "Goodbye."))
}

// literal decides about a literal before its bytes come (imapwire.Decider).
func (m *Machine) literal(lit imapwire.Announced) imapwire.Verdict {
	if lit.NonSync && lit.Size > maxDrain {
		m.flood = true
	}
	switch {
	case lit.Index == 0 && !isCommand(lit.Prefix):
		// RFC 9051 §2.2.1: BAD is "to reject the command and prevent the client from
		// sending any more of the command".
		return imapwire.Verdict{Action: imapwire.Refuse, Tag: textUnknown}
	case lit.Size > limits.Literal:
		return imapwire.Verdict{Action: imapwire.Refuse}
	}
	return imapwire.Verdict{Action: imapwire.Buffer}
}

// isCommand is false for a line that begins with a tag and a name that is no command's.
func isCommand(line []byte) bool {
	d := imapwire.NewDecoder(line, limits)
	var tag, name string
	return !d.WantTag(&tag) || !d.WantSP() || !d.WantAtom(&name) || commands[strings.ToUpper(name)] != nil
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
		m.SayBye(ev.Reason.String(), false)
		m.Close(prelogin.WhyInput)
	}
}

func (m *Machine) refusedInput(ev imapwire.Event) {
	if m.State == prelogin.Answering {
		m.failResponse("Invalid data in continued response: " + ev.Reason.String() + ".")
		return
	}
	if text, ok := ev.Verdict.Tag.(string); ok && ev.Reason == imapwire.ByDecider {
		m.badCommand(tagOf(ev.Bytes), imapwire.BAD, imapwire.Code{}, text)
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
	if m.TooMany() {
		m.SayBye("Too many invalid commands.", false)
		m.Close(prelogin.WhyBadCommands)
	}
}

// response is the client's line in an authentication (RFC 3501 §6.2.2).
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
	m.framer.SetRaw(false)
	m.Respond(data)
}

func (m *Machine) failResponse(text string) {
	m.framer.SetRaw(false)
	m.GiveUp()
	m.badCommand(m.tag, imapwire.BAD, imapwire.Code{}, text)
}

// Ask is for prelogin.Protocol. PLAIN, which LOGIN stands for, asks for nothing
// once it has its message.
func (m *Machine) Ask(data []byte) bool {
	if m.command == "LOGIN" {
		return false
	}
	m.enc.ContinueBase64(base64.StdEncoding.EncodeToString(data))
	m.framer.SetRaw(true)
	return true
}

// Session is for prelogin.Protocol.
func (m *Machine) Session() prelogin.HandOver {
	return prelogin.HandOver{Tag: m.tag, Command: m.command, Lang: m.lang, Client: m.client}
}

// Answer is for prelogin.Protocol.
func (m *Machine) Answer(kind errkind.Kind, text string) {
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
	if m.State != prelogin.Handshaking {
		return nil
	}
	m.Wipe()
	m.cfg.Facts = now
	m.client = nil
	m.State = prelogin.Ready
	return nil
}
