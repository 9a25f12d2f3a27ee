// Package logline writes the lines with which a connection begins and ends, in
// Dovecot 2.3's words: "Login: user=<ann>, method=PLAIN, rip=…, session=<…>".
//
// login uses it. It is pure. It must never see a password.
package logline

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"rookery/internal/settings"
)

// Facts is what the elements of a line can tell (login_log_format_elements).
type Facts struct {
	User, OriginalUser, AuthUser  string // AuthUser: the master user
	Service, Mechanism            string
	Remote, Local                 netip.AddrPort
	RealRemote, RealLocal         netip.AddrPort
	WorkerPID                     uint32
	TLS                           bool
	TLSState                      string // what %{secured} says of TLS, if not just "TLS"
	TLSVersion, TLSCipher         string
	ServerName, Session, Listener string
	Secured                       bool // without TLS: this host, or a trusted network
}

// Format is the list of elements, split once.
type Format struct{ elements []settings.Template }

// New splits login_log_format_elements.
func New(t settings.Template) *Format { return &Format{t.Elements()} }

// Line joins a message and the elements that have something to say. An element
// that cannot be expanded is left out: a line is better than none.
func (f *Format) Line(message string, facts Facts) string {
	vars := facts.vars()
	var b strings.Builder
	b.WriteString(message)
	sep := ": "
	for _, e := range f.elements {
		text, keep, err := e.ExpandElement(vars)
		if err != nil || !keep {
			continue
		}
		b.WriteString(sep)
		b.WriteString(text)
		sep = ", "
	}
	return b.String()
}

func (f Facts) vars() settings.Vars {
	secured := f.TLSState
	switch {
	case secured != "":
	case f.TLS:
		secured = "TLS"
	case f.Secured:
		secured = "secured"
	}
	security := ""
	if f.TLSVersion != "" {
		security = f.TLSVersion
		if f.TLSCipher != "" {
			security += " with cipher " + f.TLSCipher
		}
	}
	pid := ""
	if f.WorkerPID != 0 {
		pid = strconv.FormatUint(uint64(f.WorkerPID), 10)
	}
	return settings.Vars{
		"user": Visible(f.User), "original_user": Visible(f.OriginalUser), "auth_user": Visible(f.AuthUser),
		"protocol": f.Service, "local_name": Visible(f.ServerName), "mechanism": f.Mechanism, "mail_pid": pid,
		"remote_ip": ip(f.Remote), "local_ip": ip(f.Local), "real_remote_ip": ip(f.RealRemote), "real_local_ip": ip(f.RealLocal),
		"remote_port": port(f.Remote), "local_port": port(f.Local), "real_remote_port": port(f.RealRemote), "real_local_port": port(f.RealLocal),
		"secured": strings.Map(element, secured), "ssl_security": security, "session": f.Session, "listener": Visible(f.Listener),
	}
}

func ip(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.Addr().Unmap().WithZone("").String()
}

func port(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return strconv.Itoa(int(a.Port()))
}

// maxName is as much of a name as a line shows, in bytes.
const maxName = 256

// Visible makes a stranger's text fit for a line: nothing in it can end the
// element or the line that it stands in, or change how the line looks. Filters
// such as fail2ban's read "user=<…>", so there is no "<" or ">" in it.
func Visible(s string) string {
	if len(s) > maxName {
		s = s[:maxName]
		for range utf8.UTFMax - 1 { // not half a rune
			if r, n := utf8.DecodeLastRuneInString(s); r == utf8.RuneError && n == 1 {
				s = s[:len(s)-1]
			}
		}
		s += "…"
	}
	return strings.Map(element, s)
}

func element(r rune) rune {
	if r == '<' || r == '>' || r == utf8.RuneError || !unicode.IsPrint(r) {
		return '?'
	}
	return r
}
