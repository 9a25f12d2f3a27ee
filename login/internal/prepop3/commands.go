package prepop3

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"rookery/internal/imapwire"
	"rookery/internal/pop3wire"
	"rookery/internal/secret"
	"rookery/login/internal/prelogin"
)

// The commands of the AUTHORIZATION state.
var commands = map[string]func(*Machine, pop3wire.Command){
	"CAPA": (*Machine).capa, // RFC 2449 §5
	"STLS": (*Machine).stls, // RFC 2595 §4
	"USER": (*Machine).userCommand,
	"PASS": (*Machine).pass,
	"APOP": (*Machine).apop,
	"AUTH": (*Machine).auth,     // RFC 5034 §4
	"UTF8": (*Machine).utf8Mode, // RFC 6856 §2
	"LANG": (*Machine).language, // RFC 6856 §3
	"NOOP": (*Machine).noop,
	"QUIT": (*Machine).quit,
}

func (m *Machine) dispatch(c pop3wire.Command) {
	if run := commands[c.Name]; run != nil {
		run(m, c)
		return
	}
	m.badCommand("Unknown command, or one that is for after the login.")
}

// good answers +OK; a lawful command forgives the unlawful ones before it.
func (m *Machine) good(text string) {
	m.Bad = 0
	m.ok(text)
}

// bare refuses arguments where a command takes none.
func (m *Machine) bare(c pop3wire.Command) bool {
	if len(c.Params(0)) == 0 {
		return true
	}
	m.badCommand(c.Name + " takes no argument.")
	return false
}

func (m *Machine) capa(c pop3wire.Command) {
	if !m.bare(c) {
		return
	}
	m.good("Capability list follows.")
	list := []string{"TOP", "UIDL", "RESP-CODES", "PIPELINING", "AUTH-RESP-CODE"}
	if m.cfg.Facts.StartTLS {
		list = append(list, "STLS")
	}
	if m.userAllowed() {
		list = append(list, "USER")
	}
	if names := m.mechanisms(); len(names) > 0 {
		list = append(list, "SASL "+strings.Join(names, " "))
	}
	if m.cfg.Expire < 0 {
		list = append(list, "EXPIRE NEVER")
	} else {
		list = append(list, "EXPIRE "+strconv.Itoa(m.cfg.Expire))
	}
	if m.cfg.LoginDelay > 0 {
		list = append(list, "LOGIN-DELAY "+strconv.Itoa(m.cfg.LoginDelay))
	}
	list = append(list, "UTF8 USER", "LANG")
	if m.cfg.Implementation != "" {
		list = append(list, "IMPLEMENTATION "+m.cfg.Implementation)
	}
	for _, line := range list {
		m.buf = pop3wire.AppendLine(m.buf, line)
	}
	m.buf = pop3wire.AppendEnd(m.buf)
}

func (m *Machine) mechanisms() []string {
	var names []string
	for _, mech := range m.cfg.Mechanisms {
		if m.cfg.Facts.Allows(mech) && !mech.Private {
			names = append(names, mech.Name)
		}
	}
	return names
}

// userAllowed: USER and PASS are PLAIN in other words.
func (m *Machine) userAllowed() bool {
	mech, ok := prelogin.Find(m.cfg.Mechanisms, "PLAIN")
	return ok && m.cfg.Facts.Allows(mech)
}

func (m *Machine) apopAllowed() bool {
	mech, ok := prelogin.Find(m.cfg.Mechanisms, "APOP")
	return ok && m.cfg.Timestamp != "" && m.cfg.Facts.Allows(mech)
}

func (m *Machine) stls(c pop3wire.Command) {
	if !m.bare(c) {
		return
	}
	switch f := m.cfg.Facts; {
	case f.TLS:
		m.badCommand("TLS is already active.")
	case !f.StartTLS:
		m.badCommand("TLS is not offered here.")
	default:
		m.good("Begin TLS negotiation now.")
		m.State = prelogin.Handshaking
		m.Do(prelogin.StartTLS{})
	}
}

// permit refuses what may not be used on this connection.
func (m *Machine) permit(name string) bool {
	mech, ok := prelogin.Find(m.cfg.Mechanisms, name)
	switch {
	case !ok:
		m.Tally.Attempts++
		m.Tally.TriedUnsupported = true
		m.err("", prelogin.TextUnsupported)
		return false
	case m.cfg.Facts.Allows(mech):
		return true
	}
	m.Tally.Attempts++
	m.Tally.Mech = mech.Name
	if mech.Plaintext {
		m.Tally.TriedPlaintext = true
		m.err("", prelogin.TextPrivacy)
	} else {
		m.err("", prelogin.TextNoTLS)
	}
	return false
}

// maxUser is the longest name in bytes that authd takes.
const maxUser = 512

func (m *Machine) userCommand(c pop3wire.Command) {
	name := bytes.TrimSpace(c.Args)
	if len(name) == 0 || len(name) > maxUser {
		m.badCommand("USER needs a name.")
		return
	}
	m.Tally.User = string(name)
	if !m.permit("PLAIN") {
		return
	}
	if !utf8.Valid(name) { // RFC 6856 §2.2: MUST reject
		m.badCommand("The name is not in UTF-8.")
		return
	}
	m.user, m.hasUser = bytes.Clone(name), true
	m.good("")
}

// pass takes all the rest of the line, spaces included (RFC 1939 §7). The name
// is forgotten after it.
func (m *Machine) pass(c pop3wire.Command) {
	if !m.hasUser {
		if !m.userAllowed() {
			m.permit("PLAIN")
			return
		}
		m.badCommand("No name given: USER comes first.")
		return
	}
	begin := prelogin.BeginAuth{Mech: "PLAIN", HasInitial: true, Initial: prelogin.PlainMessage(m.user, c.Args)}
	m.Tally.User = string(m.user)
	m.user, m.hasUser = nil, false
	m.begin("PASS", begin)
}

// apop = "APOP" SP name SP digest; the digest is MD5 in 32 hex digits.
func (m *Machine) apop(c pop3wire.Command) {
	if !m.permit("APOP") {
		return
	}
	p := c.Params(2)
	if len(p) != 2 || len(p[0]) > maxUser || len(p[1]) != 32 {
		m.badCommand("APOP needs a name and a digest.")
		return
	}
	digest, err := hex.DecodeString(p[1])
	if err != nil {
		m.badCommand("APOP's digest is in hexadecimal.")
		return
	}
	if m.cfg.Timestamp == "" {
		m.err("", prelogin.TextUnsupported)
		return
	}
	if m.stamped {
		// The timestamp is good for one attempt: authd would refuse it.
		m.err("", "The timestamp has been used; connect again.")
		return
	}
	m.stamped = true
	m.Tally.User = p[0]
	initial := []byte(fmt.Sprintf("%s\x00%s\x00%s", m.cfg.Timestamp, p[0], digest))
	m.begin("APOP", prelogin.BeginAuth{Mech: "APOP", HasInitial: true, Initial: secret.New(initial)})
}

// auth = "AUTH" [SP mechanism [SP initial-response]]; without a mechanism it
// lists them, as many clients expect.
func (m *Machine) auth(c pop3wire.Command) {
	p := c.Params(2)
	if len(p) == 0 {
		m.good("Mechanisms follow.")
		for _, name := range m.mechanisms() {
			m.buf = pop3wire.AppendLine(m.buf, name)
		}
		m.buf = pop3wire.AppendEnd(m.buf)
		return
	}
	if len(p) > 2 {
		m.badCommand("AUTH takes a mechanism and an initial response.")
		return
	}
	name := strings.ToUpper(p[0])
	if mech, ok := prelogin.Find(m.cfg.Mechanisms, name); ok && mech.Private {
		name = ""
	}
	begin := prelogin.BeginAuth{Mech: name, HasInitial: len(p) == 2}
	if begin.HasInitial && p[1] != "=" {
		data, ok := imapwire.DecodeBase64([]byte(p[1]))
		if !ok {
			m.badCommand("Invalid base64 data in initial response.")
			return
		}
		begin.Initial = secret.New(data)
	}
	if !m.permit(name) {
		return
	}
	m.Tally.User = ""
	m.begin("AUTH", begin)
}

func (m *Machine) begin(command string, begin prelogin.BeginAuth) {
	m.command = command
	m.Begin(begin)
}

func (m *Machine) utf8Mode(c pop3wire.Command) {
	if !m.bare(c) {
		return
	}
	m.utf8 = true
	m.good("UTF8 enabled.")
}

// language: the only texts that there are, are English.
func (m *Machine) language(c pop3wire.Command) {
	p := c.Params(1)
	switch {
	case len(p) == 0:
		m.good("Language listing follows:")
		m.buf = pop3wire.AppendLine(m.buf, "en English")
		m.buf = pop3wire.AppendLine(m.buf, "i-default Default language")
		m.buf = pop3wire.AppendEnd(m.buf)
	case len(p) > 1:
		m.badCommand("LANG takes one language.")
	case p[0] == "*" || strings.EqualFold(p[0], "en"):
		m.lang = "en"
		m.good("en Language changed.")
	case strings.EqualFold(p[0], "i-default"):
		m.lang = "i-default"
		m.good("i-default Language changed.")
	default:
		m.err("", "No such language.")
	}
}

func (m *Machine) noop(c pop3wire.Command) {
	if m.bare(c) {
		m.good("")
	}
}

func (m *Machine) quit(c pop3wire.Command) {
	if !m.bare(c) {
		return
	}
	m.good("Logging out.")
	m.Close(prelogin.WhyQuit)
}
