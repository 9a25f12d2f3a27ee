package authdb

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Entry is one user of a passwd-file or of /etc/passwd.
type Entry struct {
	User        string
	Password    string // as stored, scheme prefix and all
	HasPassword bool   // the line has a second field
	UID, GID    ID
	Home        string
	Extra       Fields
	Line        int
}

// ID is a uid or gid that may be absent.
type ID struct {
	N   uint32
	Set bool
}

// Table is a file's users.
type Table struct {
	Path  string
	users map[string]*Entry
}

// Len is the number of users.
func (t *Table) Len() int { return len(t.users) }

// Find gives a user's entry, nil if there is none.
func (t *Table) Find(user string) *Entry {
	if t == nil {
		return nil
	}
	return t.users[user]
}

// ParsePasswdFile reads Dovecot's passwd-file format,
//
//	user:password:uid:gid:gecos:home:shell:extra fields
//
// of which all but user may be missing. Lines that begin with "#" or ":" and
// empty ones are skipped. Of two lines with one user the first counts.
func ParsePasswdFile(path string, data []byte) (*Table, []Problem) {
	return parseTable(path, data, passwdFileLine)
}

// ParsePasswd reads passwd(5): seven fields, the shell is the last, and an
// entry that begins with "+" or "-" is NIS's and skipped in silence.
func ParsePasswd(path string, data []byte) (*Table, []Problem) {
	return parseTable(path, data, passwdLine)
}

func parseTable(path string, data []byte, parse func(string) (*Entry, []string, error)) (*Table, []Problem) {
	t := &Table{Path: path, users: map[string]*Entry{}}
	var problems []Problem
	report := func(line int, skipped bool, text string) {
		if len(problems) < maxProblems {
			problems = append(problems, Problem{path, line, text, skipped})
		}
	}
	n := 0
	// One copy of the text holds all strings of the table.
	for line := range strings.SplitSeq(string(data), "\n") {
		n++
		line = strings.TrimSuffix(line, "\r")
		if line == "" || line[0] == '#' || line[0] == ':' {
			continue
		}
		if len(line) > MaxLine {
			report(n, true, fmt.Sprintf("line of %d bytes, at most %d", len(line), MaxLine))
			continue
		}
		e, notes, err := parse(line)
		if err != nil {
			report(n, true, err.Error())
			continue
		}
		if e == nil {
			continue
		}
		for _, note := range notes {
			report(n, false, fmt.Sprintf("user %s: %s", printable(e.User), note))
		}
		if first := t.users[e.User]; first != nil {
			report(n, true, fmt.Sprintf("user %s is already on line %d, which counts", printable(e.User), first.Line))
			continue
		}
		e.Line = n
		t.users[e.User] = e
	}
	return t, problems
}

// printable keeps names from breaking out of a log line's text.
func printable(s string) string {
	q := strconv.Quote(s)
	if len(q) > 66 {
		q = q[:64] + `…"`
	}
	return q[1 : len(q)-1]
}

func checkUser(user string) error {
	if len(user) > MaxName {
		return fmt.Errorf("user name of %d bytes, at most %d", len(user), MaxName)
	}
	if !utf8.ValidString(user) {
		return fmt.Errorf("user name is not UTF-8")
	}
	for _, r := range user {
		if r < 0x20 || r == 0x7f {
			return fmt.Errorf("control character in user name")
		}
	}
	return nil
}

// parseID reads a uid or gid. 0xffffffff means "none" to the kernel.
func parseID(what, text string) (ID, error) {
	if text == "" {
		return ID{}, nil
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 1<<32-1 {
		return ID{}, fmt.Errorf("%s %q is not a number from 0 to 4294967294", what, clip(text))
	}
	return ID{uint32(n), true}, nil
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

func passwdFileLine(line string) (*Entry, []string, error) {
	if strings.IndexByte(line, 0) >= 0 {
		return nil, nil, fmt.Errorf("NUL byte in line")
	}
	f := strings.SplitN(line, ":", 8)
	e := &Entry{User: f[0]}
	if err := checkUser(e.User); err != nil {
		return nil, nil, err
	}
	at := func(i int) string {
		if i < len(f) {
			return f[i]
		}
		return ""
	}
	e.HasPassword = len(f) > 1
	e.Password = oldScheme(at(1))
	var err error
	if e.UID, err = parseID("uid", at(2)); err == nil {
		e.GID, err = parseID("gid", at(3))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("user %s: %w", printable(e.User), err)
	}
	e.Home = at(5)
	var notes []string
	if e.Extra, notes, err = parseFields(at(7)); err != nil {
		return nil, nil, fmt.Errorf("user %s: %w", printable(e.User), err)
	}
	return e, notes, nil
}

// oldScheme turns "data[34]", the marks of very old files, into a scheme
// prefix: 13 is DES-CRYPT, 34 is hex MD5, 56 is DIGEST-MD5.
func oldScheme(pass string) string {
	for mark, scheme := range map[string]string{"[13]": "{CRYPT}", "[34]": "{PLAIN-MD5}", "[56]": "{DIGEST-MD5}"} {
		if data, ok := strings.CutSuffix(pass, mark); ok && !strings.HasPrefix(pass, "{") && data != "" {
			return scheme + data
		}
	}
	return pass
}

func passwdLine(line string) (*Entry, []string, error) {
	if line[0] == '+' || line[0] == '-' {
		return nil, nil, nil
	}
	f := strings.Split(line, ":")
	if len(f) != 7 {
		return nil, nil, fmt.Errorf("%d fields, need 7", len(f))
	}
	e := &Entry{User: f[0], Password: f[1], HasPassword: true, Home: f[5]}
	if err := checkUser(e.User); err != nil {
		return nil, nil, err
	}
	var err error
	if e.UID, err = parseID("uid", f[2]); err == nil {
		e.GID, err = parseID("gid", f[3])
	}
	if err == nil && (!e.UID.Set || !e.GID.Set) {
		err = fmt.Errorf("no uid or gid")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("user %s: %w", printable(e.User), err)
	}
	return e, nil, nil
}
