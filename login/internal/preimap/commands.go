package preimap

import (
	"net/netip"
	"strconv"
	"strings"

	"rookery/internal/imapwire"
	"rookery/internal/secret"
	"rookery/login/internal/prelogin"
)

// The commands before login: RFC 3501 §6.1 and §6.2, RFC 2971.
var commands = map[string]func(*Machine, *imapwire.Decoder, string) bool{
	"CAPABILITY":   (*Machine).capability,
	"NOOP":         (*Machine).noop,
	"LOGOUT":       (*Machine).logout,
	"ID":           (*Machine).id,
	"LANGUAGE":     (*Machine).language,
	"STARTTLS":     (*Machine).startTLS,
	"LOGIN":        (*Machine).login,
	"AUTHENTICATE": (*Machine).authenticate,
}

// maxTag is the longest tag, in bytes, that envelopemsg.Go takes.
const maxTag = 1 << 10

const textUnknown = "Unknown command, or one that is for after the login."

// dispatch reads tag SP command and runs it. A command's function says false
// if its arguments are wrong and nothing has been done.
func (m *Machine) dispatch(line []byte) {
	d := imapwire.NewDecoder(line, limits)
	var tag, name string
	if !d.WantTag(&tag) || !d.WantSP() || len(tag) > maxTag {
		m.badCommand("", imapwire.BAD, imapwire.Code{}, "A command is a tag, a space and a name.")
		return
	}
	if !d.WantAtom(&name) {
		m.badCommand(tag, imapwire.BAD, imapwire.Code{}, "Command name missing.")
		return
	}
	name = strings.ToUpper(name)
	run := commands[name]
	if run == nil {
		m.badCommand(tag, imapwire.BAD, imapwire.Code{}, textUnknown)
		return
	}
	if !run(m, d, tag) {
		text := "Wrong arguments."
		if err := d.Err(); err != nil {
			text = prelogin.Text("Wrong arguments: "+err.Error()+".", text)
		}
		m.badCommand(tag, imapwire.BAD, imapwire.Code{}, text)
	}
}

// good answers OK; a lawful command forgives the unlawful ones before it.
func (m *Machine) good(tag, text string) bool {
	m.Bad = 0
	m.enc.Status(tag, imapwire.OK, imapwire.Code{}, text)
	return true
}

func (m *Machine) capabilities() []string {
	list := []string{"IMAP4rev1", "IMAP4rev2", "LITERAL+", "SASL-IR", "ID", "ENABLE", "IDLE", "LANGUAGE"}
	f := m.cfg.Facts
	if f.StartTLS {
		list = append(list, "STARTTLS")
	}
	if !m.loginAllowed() {
		list = append(list, "LOGINDISABLED")
	}
	for _, mech := range m.cfg.Mechanisms {
		if f.Allows(mech) && !mech.Private {
			list = append(list, "AUTH="+mech.Name)
		}
	}
	return list
}

// loginAllowed: the command LOGIN is PLAIN in other words.
func (m *Machine) loginAllowed() bool {
	mech, ok := prelogin.Find(m.cfg.Mechanisms, "PLAIN")
	return ok && m.cfg.Facts.Allows(mech)
}

// capability = "CAPABILITY"                                 RFC 3501 §9
func (m *Machine) capability(d *imapwire.Decoder, tag string) bool {
	if !d.WantEnd() {
		return false
	}
	m.enc.Capability(m.capabilities())
	return m.good(tag, "Capabilities listed.")
}

// noop = "NOOP"
func (m *Machine) noop(d *imapwire.Decoder, tag string) bool {
	return d.WantEnd() && m.good(tag, "NOOP completed.")
}

// logout = "LOGOUT"
func (m *Machine) logout(d *imapwire.Decoder, tag string) bool {
	if !d.WantEnd() {
		return false
	}
	m.SayBye("Logging out.", false)
	m.good(tag, "Logout completed.")
	m.Close(prelogin.WhyQuit)
	return true
}

// Limits of RFC 2971 §3.3, in bytes; envelopemsg.Go takes values of 256.
const (
	maxIDPairs = 30
	maxIDName  = 30
	maxIDValue = 1 << 10
	maxKept    = 256
)

// id = "ID" SP ("(" #(string SPACE nstring) ")" / nil)      RFC 2971 §4
func (m *Machine) id(d *imapwire.Decoder, tag string) bool {
	var pairs [][2]string
	item := func() bool {
		var name string
		var value imapwire.NString
		if len(pairs) == maxIDPairs {
			return d.Fail("at most 30 pairs")
		}
		ok := d.String(&name) && d.WantSP() && d.WantNString(&value)
		if ok && (len(name) > maxIDName || len(value.S) > maxIDValue) {
			return d.Fail("shorter ID fields")
		}
		if ok && value.Set {
			pairs = append(pairs, [2]string{name, value.S})
		}
		return ok
	}
	if !d.WantSP() || !d.Keyword("NIL") && !d.WantEmptyList(item) || !d.WantEnd() {
		return false
	}
	m.client = nil
	for _, p := range pairs {
		if text := p[0] + "=" + p[1]; len(text) <= maxKept {
			m.client = append(m.client, text)
		}
	}
	if m.cfg.Facts.Trusted {
		m.forward(pairs)
	}
	m.enc.Untagged().Atom("ID").SP()
	if len(m.cfg.ID) < 2 {
		m.enc.Nil()
	} else {
		m.enc.Open()
		for i := 0; i+1 < len(m.cfg.ID); i += 2 {
			if i > 0 {
				m.enc.SP()
			}
			m.enc.String(m.cfg.ID[i]).SP().String(m.cfg.ID[i+1])
		}
		m.enc.Close()
	}
	m.enc.CRLF()
	return m.good(tag, "ID completed.")
}

// forward reads for whom a proxy or webmail server speaks, in the fields that
// they send to Dovecot.
func (m *Machine) forward(pairs [][2]string) {
	var f prelogin.Forward
	var remote, local netip.Addr
	var remotePort, localPort uint16
	for _, p := range pairs {
		switch strings.ToLower(p[0]) {
		case "x-originating-ip":
			remote, _ = netip.ParseAddr(p[1])
		case "x-originating-port":
			remotePort = port(p[1])
		case "x-connected-ip":
			local, _ = netip.ParseAddr(p[1])
		case "x-connected-port":
			localPort = port(p[1])
		case "x-session-id":
			if sessionID(p[1]) {
				f.Session = p[1]
			}
		}
	}
	if remote.IsValid() {
		f.Remote = netip.AddrPortFrom(remote.Unmap().WithZone(""), remotePort)
	}
	if local.IsValid() {
		f.Local = netip.AddrPortFrom(local.Unmap().WithZone(""), localPort)
	}
	if f != (prelogin.Forward{}) {
		m.Do(f)
	}
}

func port(s string) uint16 {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(n)
}

// sessionID: what may stand in "session=<…>" of a log line.
func sessionID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, b := range []byte(s) {
		if !(b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || strings.IndexByte("+/=-_.:", b) >= 0) {
			return false
		}
	}
	return true
}

// starttls = "STARTTLS"                                     RFC 3501 §6.2.1
func (m *Machine) startTLS(d *imapwire.Decoder, tag string) bool {
	if !d.WantEnd() {
		return false
	}
	switch f := m.cfg.Facts; {
	case f.TLS:
		m.badCommand(tag, imapwire.BAD, imapwire.Code{}, "TLS is already active.")
	case !f.StartTLS:
		m.badCommand(tag, imapwire.BAD, imapwire.Code{}, "TLS is not offered here.")
	default:
		m.good(tag, "Begin TLS negotiation now.")
		m.State = prelogin.Handshaking
		m.Do(prelogin.StartTLS{})
	}
	return true
}

// login = "LOGIN" SP userid SP password                     RFC 3501 §9
func (m *Machine) login(d *imapwire.Decoder, tag string) bool {
	var user, password []byte
	if !d.WantSP() || !d.WantAstringBytes(&user) || !d.WantSP() || !d.WantAstringBytes(&password) || !d.WantEnd() {
		return false
	}
	mech, ok := prelogin.Find(m.cfg.Mechanisms, "PLAIN")
	if !ok {
		m.unsupported(tag)
		return true
	}
	m.Tally.User = string(user)
	if !m.permit(tag, mech) {
		return true
	}
	m.begin(tag, "LOGIN", prelogin.BeginAuth{Mech: "PLAIN", HasInitial: true, Initial: prelogin.PlainMessage(user, password)})
	return true
}

// authenticate = "AUTHENTICATE" SP auth-type [SP (base64 / "=")]   RFC 3501 §9, RFC 4959 §7
func (m *Machine) authenticate(d *imapwire.Decoder, tag string) bool {
	var name string
	var initial []byte
	if !d.WantSP() || !d.WantAtom(&name) {
		return false
	}
	has := d.SP()
	if has && !d.WantBase64(&initial) || !d.WantEnd() {
		return false
	}
	mech, ok := prelogin.Find(m.cfg.Mechanisms, name)
	if !ok || mech.Private {
		m.unsupported(tag)
		return true
	}
	if !m.permit(tag, mech) {
		return true
	}
	m.begin(tag, "AUTHENTICATE", prelogin.BeginAuth{Mech: mech.Name, HasInitial: has, Initial: secret.New(initial)})
	return true
}

func (m *Machine) unsupported(tag string) {
	m.Tally.Attempts++
	m.Tally.TriedUnsupported = true
	m.enc.Status(tag, imapwire.NO, imapwire.Code{Name: "CANNOT"}, prelogin.TextUnsupported)
}

// permit refuses what may not be used on this connection (RFC 5530 §3).
func (m *Machine) permit(tag string, mech prelogin.Mechanism) bool {
	f := m.cfg.Facts
	if f.Allows(mech) {
		return true
	}
	m.Tally.Attempts++
	m.Tally.Mech = mech.Name
	text := prelogin.TextNoTLS
	if mech.Plaintext {
		m.Tally.TriedPlaintext = true
		text = prelogin.TextPrivacy
	}
	m.enc.Status(tag, imapwire.NO, imapwire.Code{Name: "PRIVACYREQUIRED"}, text)
	return false
}

func (m *Machine) begin(tag, command string, begin prelogin.BeginAuth) {
	m.tag, m.command = tag, command
	if command != "LOGIN" {
		m.Tally.User = ""
	}
	m.Begin(begin)
}
