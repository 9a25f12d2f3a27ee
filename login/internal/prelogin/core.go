package prelogin

import (
	"rookery/internal/errkind"
	"rookery/internal/secret"
)

// State is where a machine stands.
type State uint8

// The states.
const (
	NotGreeted  State = iota // before Greet
	Ready                    // between commands
	Answering                // the client owes the answer to a challenge
	AtAuthd                  // authd's turn
	AtMaster                 // a worker is awaited
	Handshaking              // TLS is about to begin
	Ended                    // Close was given
)

// Protocol is what the machines do each in their own words. Core calls it.
type Protocol interface {
	// Step takes the first event of p, which is not empty, and tells its bytes.
	Step(p []byte) int
	// Written gives the answers that were written since the last call.
	Written() []byte
	// Ask writes a mechanism's challenge; false where the command at work has no
	// room for one: LOGIN, PASS and APOP have said all that they will.
	Ask(data []byte) bool
	// Answer writes why an authentication came to nothing.
	Answer(kind errkind.Kind, text string)
	// SayBye writes the protocol's goodbye.
	SayBye(text string, unavailable bool)
	// Session describes the client to a worker; Core fills in what is pending.
	Session() HandOver
}

// Core is the part of a machine that is the same in both protocols: what was fed
// and not yet taken, what is to be done, and the states around authd and master.
// A machine embeds it and makes it with NewCore.
type Core struct {
	State State
	Bad   int   // bad commands in a row
	Tally Stats // of the connection

	protocol    Protocol
	badCommands int    // after so many the client is told goodbye
	pending     []byte // fed, not yet taken
	out         []Effect
}

// NewCore makes a machine's core. badCommands is after how many bad commands in a
// row the client is told goodbye.
func NewCore(p Protocol, badCommands int) Core { return Core{protocol: p, badCommands: badCommands} }

// Busy is for Machine.
func (m *Core) Busy() bool { return m.State != Ready && m.State != Answering }

// Stats is for Machine.
func (m *Core) Stats() Stats {
	s := m.Tally
	s.Continuing = m.State == Answering
	s.Authenticating = m.State == AtAuthd
	s.HandingOver = m.State == AtMaster
	return s
}

// Carry is what a client takes along who logs in again.
func (m *Core) Carry() Carried { return Carried{Bad: m.Bad, Tally: m.Tally.Failed()} }

// Held is how many bytes of memory what is pending takes.
func (m *Core) Held() int { return cap(m.pending) }

// WipePending overwrites what is pending and forgets it.
func (m *Core) WipePending() {
	clear(m.pending[:cap(m.pending)])
	m.pending = nil
}

// Feed is for Machine.
func (m *Core) Feed(p []byte) []Effect {
	if m.State == Ended || m.State == Handshaking {
		return nil
	}
	if m.Busy() && len(m.pending)+len(p) > MaxPending {
		m.Close(WhyInput)
		return m.Flush()
	}
	m.pending = append(m.pending, p...)
	return m.Run()
}

// Run takes what is pending, as far as the machine is not waiting for others.
func (m *Core) Run() []Effect {
	taken := 0
	for !m.Busy() && taken < len(m.pending) {
		taken += m.protocol.Step(m.pending[taken:])
	}
	if m.State == Handshaking || m.State == Ended {
		taken = len(m.pending)
	}
	clear(m.pending[:taken]) // it may have held a password
	if rest := m.pending[taken:]; len(rest) > 0 {
		m.pending = append(m.pending[:0], rest...)
	} else {
		m.pending = nil
	}
	return m.Flush()
}

// Flush gives what was written and what is to be done, in order.
func (m *Core) Flush() []Effect {
	m.write()
	out := m.out
	m.out = nil
	return out
}

func (m *Core) write() {
	if b := m.protocol.Written(); len(b) > 0 {
		m.out = append(m.out, Send(b))
	}
}

// Do asks for an effect, after what was written before it.
func (m *Core) Do(e Effect) {
	m.write()
	m.out = append(m.out, e)
}

// Close ends the connection.
func (m *Core) Close(why string) {
	m.State = Ended
	m.Do(Close{Why: why})
}

// TooMany counts a bad command; true if it was one too many.
func (m *Core) TooMany() bool {
	m.Bad++
	return m.Bad >= m.badCommands
}

// Begin starts an authentication.
func (m *Core) Begin(begin BeginAuth) {
	m.State = AtAuthd
	m.Tally.Attempts++
	m.Tally.Mech = begin.Mech
	m.Do(begin)
}

// Respond gives the client's answer to a challenge.
func (m *Core) Respond(data []byte) {
	m.State = AtAuthd
	m.Do(ContinueAuth{Response: secret.New(data)})
}

// GiveUp ends an authentication that the client does not go on with.
func (m *Core) GiveUp() {
	m.State = Ready
	m.Do(CancelAuth{})
}

// Challenge is for Machine.
func (m *Core) Challenge(data []byte) []Effect {
	if m.State != AtAuthd {
		return nil
	}
	if m.protocol.Ask(data) {
		m.State = Answering
	} else {
		m.GiveUp()
		m.protocol.Answer(errkind.Unavailable, "")
	}
	return m.Run()
}

// Granted is for Machine.
func (m *Core) Granted(user string) []Effect {
	if m.State != AtAuthd {
		return nil
	}
	m.Tally.Granted++
	m.Tally.User = user
	m.State = AtMaster
	h := m.protocol.Session()
	h.Pending = append([]byte(nil), m.pending...)
	m.Do(h)
	return m.Flush()
}

// Refused is for Machine.
func (m *Core) Refused(kind errkind.Kind, user, text string) []Effect {
	if m.State != AtAuthd {
		return nil
	}
	if user != "" {
		m.Tally.User = user
	}
	if kind == errkind.Unavailable || kind == errkind.Other || kind == errkind.TooMany {
		m.Tally.Unavailable++
	}
	m.State = Ready
	m.protocol.Answer(kind, text)
	return m.Run()
}

// HandoffFailed is for Machine.
func (m *Core) HandoffFailed(kind errkind.Kind, text string) []Effect {
	if m.State != AtMaster {
		return nil
	}
	m.State = Ready
	if text == "" && kind != errkind.Limit && kind != errkind.InUse {
		text = "Internal error, try again later."
	}
	m.protocol.Answer(kind, text)
	return m.Run()
}

// Bye is for Machine.
func (m *Core) Bye(text string, unavailable bool) []Effect {
	if m.State == Ended || m.State == Handshaking {
		return nil
	}
	m.protocol.SayBye(text, unavailable)
	m.State = Ended
	return m.Flush()
}
