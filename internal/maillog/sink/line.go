// Package sink turns log events into lines: Dovecot 2.3's text for files,
// syslog and the journal, JSON (through hclog) for machines.
//
// Only logd uses it, and master for the lines it must write before logd runs.
// It opens nothing: files come open.
package sink

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"rookery/internal/ipc/logmsg"
)

// Line is an event with what logd knows of its sender.
type Line struct {
	Time  time.Time // local time; logd's clock, which no sender can set
	Role  string    // "login", "auth", "imap", "pop3", "master", "log"
	User  string    // of a worker
	PID   int32
	Event *logmsg.Event
}

// prefixes are the words that a role's lines may begin with. A role without a
// row has just its own name.
var prefixes = map[string][]string{
	"login": {"imap-login", "pop3-login", "managesieve-login"},
}

// level names as Dovecot writes them, by logmsg.Level.
var levelNames = [...]string{"", "Debug", "Info", "Warning", "Error", "Fatal", "Panic"}

// LevelName gives Dovecot's word for a level.
func LevelName(l logmsg.Level) string {
	if int(l) >= len(levelNames) || l == 0 {
		return "Panic"
	}
	return levelNames[l]
}

// Style is how lines look, beyond what is fixed.
type Style struct {
	// Timestamp begins a file's lines, in strftime(3)'s letters; "" is Dovecot's "%b %d %H:%M:%S ".
	Timestamp string
	// MailHead gives the head of a worker's line from values that are harmless
	// already; nil is Dovecot's "imap(ann)<4711><session>".
	MailHead func(protocol, user, pid, session string) string
}

// AppendHead appends what stands before the text: "imap-login", "auth",
// "imap(ann)<4711><session>". A worker's name in it is made harmless, so that
// no user name can imitate another process's line.
func (l *Line) AppendHead(dst []byte, style *Style) []byte {
	for _, p := range prefixes[l.Role] {
		if p == l.Event.Prefix {
			return append(dst, p...)
		}
	}
	if l.User == "" {
		return append(dst, l.Role...)
	}
	if style.MailHead != nil {
		return append(dst, style.MailHead(l.Role, string(appendName(nil, l.User)), strconv.Itoa(int(l.PID)), string(appendName(nil, l.Event.Session)))...)
	}
	dst = append(dst, l.Role...)
	dst = append(dst, '(')
	dst = appendName(dst, l.User)
	dst = append(dst, ")<"...)
	dst = strconv.AppendInt(dst, int64(l.PID), 10)
	dst = append(dst, '>')
	if l.Event.Session != "" {
		dst = append(dst, '<')
		dst = appendName(dst, l.Event.Session)
		dst = append(dst, '>')
	}
	return dst
}

// appendName appends a name, with what could end the head or imitate one as %XX.
func appendName(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c <= ' ' || c >= 0x7f || strings.IndexByte("()<>:,%", c) >= 0:
			dst = append(dst, '%', "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// AppendClean appends s with everything that a terminal or a reader could
// mistake made visible: control characters, invalid UTF-8, characters that turn
// the direction of writing.
func AppendClean(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n <= 1:
			dst = fmt.Appendf(dst, `\x%02x`, s[i])
			n = 1
		case r < 0x80 && unicode.IsControl(r):
			dst = fmt.Appendf(dst, `\x%02x`, r)
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029':
			dst = fmt.Appendf(dst, `\u%04x`, r)
		default:
			dst = append(dst, s[i:i+n]...)
		}
		i += n
	}
	return dst
}

// defuse keeps a worker from having others' addresses banned: programs such as
// fail2ban read failures out of the log, and to them a worker's line looks like
// one of a host by that name. Only login and authd may tell of an address.
func (l *Line) defuse(text string) string {
	if l.Role == "login" || l.Role == "auth" {
		return text
	}
	word := 0
	for word < len(text) && (text[word] == '-' || 'a' <= text[word] && text[word] <= 'z') {
		word++
	}
	if word > 0 && word < len(text) && text[word] == '(' {
		text = text[:word] + " " + text[word:]
	}
	return addresses.Replace(text)
}

var addresses = strings.NewReplacer("rip=", "rip =", "rhost=", "rhost =")

// appendBody appends the text and the fields.
func (l *Line) appendBody(dst []byte) []byte {
	dst = AppendClean(dst, l.defuse(l.Event.Text))
	for _, f := range l.Event.KV {
		dst = append(dst, ' ')
		dst = appendName(dst, f.Key)
		dst = append(dst, '=')
		if f.Value == "" || strings.ContainsAny(f.Value, " \",=") {
			dst = AppendClean(dst, strconv.Quote(f.Value))
			continue
		}
		dst = AppendClean(dst, f.Value)
	}
	return dst
}

// AppendFile appends the line of a log file, as Dovecot's log_path has it:
// "Nov 21 08:05:09 imap-login: Info: Login: user=<ann>, …" and LF.
func (l *Line) AppendFile(dst []byte, style *Style) []byte {
	if style.Timestamp == "" {
		dst = l.Time.AppendFormat(dst, "Jan 02 15:04:05 ")
	} else {
		dst = AppendTime(dst, style.Timestamp, l.Time)
	}
	dst = l.AppendHead(dst, style)
	dst = append(dst, ": "...)
	dst = append(dst, LevelName(l.Event.Level)...)
	dst = append(dst, ": "...)
	return append(l.appendBody(dst), '\n')
}

// appendSystem appends head and text as they stand in syslog and journal:
// without the word Info, since these keep the level themselves.
func (l *Line) appendSystem(dst []byte, style *Style) []byte {
	dst = l.AppendHead(dst, style)
	dst = append(dst, ": "...)
	if l.Event.Level != logmsg.Info {
		dst = append(dst, LevelName(l.Event.Level)...)
		dst = append(dst, ": "...)
	}
	return l.appendBody(dst)
}

// severities of syslog (RFC 5424 §6.2.1) by level.
var severities = [...]int{7, 7, 6, 4, 3, 2, 2}

// facilities of syslog (RFC 5424 §6.2.1) by name.
var facilities = map[string]int{"kern": 0, "user": 1, "mail": 2, "daemon": 3, "auth": 4, "syslog": 5, "lpr": 6, "news": 7,
	"uucp": 8, "cron": 9, "authpriv": 10, "ftp": 11, "local0": 16, "local1": 17, "local2": 18, "local3": 19, "local4": 20,
	"local5": 21, "local6": 22, "local7": 23}

func severity(l logmsg.Level) int {
	if int(l) >= len(severities) {
		return 2
	}
	return severities[l]
}

// AppendSyslog appends the datagram for /dev/log: "<22>Nov 21 08:05:09 dovecot: imap-login: Login: …".
func (l *Line) AppendSyslog(dst []byte, style *Style, facility, tag string) []byte {
	f, ok := facilities[facility]
	if !ok {
		f = facilities["mail"]
	}
	dst = fmt.Appendf(dst, "<%d>", f<<3|severity(l.Event.Level))
	dst = l.Time.AppendFormat(dst, "Jan _2 15:04:05 ")
	dst = append(dst, tag...)
	dst = append(dst, ": "...)
	return l.appendSystem(dst, style)
}

// AppendJournal appends the line for a standard error that systemd's journal
// reads: "<6>imap-login: Login: …" and LF. The unit sets the tag.
func (l *Line) AppendJournal(dst []byte, style *Style) []byte {
	dst = fmt.Appendf(dst, "<%d>", severity(l.Event.Level))
	return append(l.appendSystem(dst, style), '\n')
}
