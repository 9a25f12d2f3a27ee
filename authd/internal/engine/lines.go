package engine

import (
	"crypto/sha1"
	"encoding/hex"
	"strings"
	"unicode/utf8"

	"rookery/internal/settings"
)

// maxLogUser is how much of a user name log lines show, in bytes.
const maxLogUser = 64

// logName makes a name safe inside "driver(name,address,<session>)": a name
// that holds "," or ")" could otherwise imitate another client's failure and
// have his address banned.
func logName(name string) string {
	if name == "" {
		return "?"
	}
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if b.Len() >= maxLogUser {
			b.WriteString("...")
			break
		}
		c := name[i]
		if c <= ' ' || c == 0x7f || strings.IndexByte("()<>,%", c) >= 0 {
			const hexDigits = "0123456789ABCDEF"
			b.Write([]byte{'%', hexDigits[c>>4], hexDigits[c&15]})
			continue
		}
		b.WriteByte(c)
	}
	return strings.ToValidUTF8(b.String(), "?")
}

// prefix is Dovecot 2.3's: "passwd-file(ann,192.0.2.7,<session>): ". ",master"
// marks the lookup of a master user.
func (x *exchange) prefix(source string) string {
	var b strings.Builder
	b.WriteString(source)
	b.WriteByte('(')
	b.WriteString(logName(x.user))
	if x.ip != "" {
		b.WriteByte(',')
		b.WriteString(x.ip)
	}
	if x.asMaster {
		b.WriteString(",master")
	}
	if x.peer.Session != "" {
		b.WriteString(",<")
		b.WriteString(logName(x.peer.Session))
		b.WriteByte('>')
	}
	b.WriteString("): ")
	return b.String()
}

// passwordText is what auth_verbose_passwords adds to a failure's line, with a
// leading space; "" if nothing.
func passwordText(mode settings.PasswordLog, password []byte) string {
	switch mode.Mode {
	case "plain":
		return " (given password: " + cut(string(password), mode.Cut) + ")"
	case "sha1":
		sum := sha1.Sum(password)
		return " (SHA1 of given password: " + cut(hex.EncodeToString(sum[:]), mode.Cut) + ")"
	}
	return ""
}

// maxLoggedPassword bounds what is written of a password, in characters.
const maxLoggedPassword = 1024

// cut keeps the first n characters; 0 keeps all that may be logged.
func cut(s string, n int) string {
	if n <= 0 || n > maxLoggedPassword {
		n = maxLoggedPassword
	}
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// info writes a line about the exchange where auth_verbose wants it.
func (x *exchange) info(source, text string) {
	if x.cfg.Verbose || x.debugging() {
		x.log().Infof("%s%s", x.prefix(source), text)
	}
}

// infoPassword writes a line of failure with what was typed. With
// auth_verbose_passwords it is written whatever auth_verbose says. more tells
// that another passdb is asked next.
func (x *exchange) infoPassword(source, text string, more bool) {
	added := ""
	if x.password != nil {
		added = passwordText(x.cfg.VerbosePasswords, x.password)
	}
	if added == "" {
		x.info(source, text)
		return
	}
	if more {
		added += " - trying the next passdb"
	}
	x.log().Infof("%s%s%s", x.prefix(source), text, added)
}

func (x *exchange) fail(source, text string) {
	x.log().Errorf("%s%s", x.prefix(source), capital(text))
}

func (x *exchange) debug(source, format string, args ...any) {
	if x.debugging() {
		x.log().Debugf(x.escapedPrefix(source)+format, args...)
	}
}

func (x *exchange) escapedPrefix(source string) string {
	return strings.ReplaceAll(x.prefix(source), "%", "%%")
}

func capital(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if r >= 'a' && r <= 'z' {
		return string(r-'a'+'A') + s[n:]
	}
	return s
}
