package authdb

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ShadowEntry is one line of shadow(5). Days count from 1970-01-01; -1 is an
// empty field.
type ShadowEntry struct {
	User, Hash string
	LastChange int64
	MaxAge     int64
	Inactive   int64
	Expire     int64
	Line       int
}

// ShadowState says whether an account may log in.
type ShadowState uint8

// The states. shadow(5) has the rules.
const (
	ShadowOK       ShadowState = iota
	ShadowLocked               // the hash begins with "!" or "*"
	ShadowNoPasswd             // an empty hash: refused, never "any password"
	ShadowExpired              // the account's expiration date is past
	ShadowAged                 // the password is too old, or must be changed at once
)

// ShadowTable is a shadow file's users.
type ShadowTable struct {
	Path  string
	users map[string]*ShadowEntry
}

// Find gives a user's entry, nil if there is none.
func (t *ShadowTable) Find(user string) *ShadowEntry {
	if t == nil {
		return nil
	}
	return t.users[user]
}

// ParseShadow reads shadow(5).
func ParseShadow(path string, data []byte) (*ShadowTable, []Problem) {
	t := &ShadowTable{Path: path, users: map[string]*ShadowEntry{}}
	var problems []Problem
	n := 0
	for line := range strings.SplitSeq(string(data), "\n") {
		n++
		if line == "" || line[0] == '#' || line[0] == '+' || line[0] == '-' {
			continue
		}
		e, err := shadowLine(line)
		if err == nil && t.users[e.User] != nil {
			err = fmt.Errorf("user %s is already on line %d, which counts", printable(e.User), t.users[e.User].Line)
		}
		if err != nil {
			if len(problems) < maxProblems {
				problems = append(problems, Problem{path, n, err.Error(), true})
			}
			continue
		}
		e.Line = n
		t.users[e.User] = e
	}
	return t, problems
}

func shadowLine(line string) (*ShadowEntry, error) {
	if len(line) > MaxLine {
		return nil, fmt.Errorf("line of %d bytes, at most %d", len(line), MaxLine)
	}
	f := strings.Split(line, ":")
	if len(f) != 9 {
		return nil, fmt.Errorf("%d fields, need 9", len(f))
	}
	if f[0] == "" {
		return nil, fmt.Errorf("empty user name")
	}
	if err := checkUser(f[0]); err != nil {
		return nil, err
	}
	e := &ShadowEntry{User: f[0], Hash: f[1]}
	for _, x := range []struct {
		text string
		to   *int64
	}{{f[2], &e.LastChange}, {f[4], &e.MaxAge}, {f[6], &e.Inactive}, {f[7], &e.Expire}} {
		if x.text == "" {
			*x.to = -1
			continue
		}
		v, err := strconv.ParseInt(x.text, 10, 64)
		if err != nil || v < -1 || v > 1<<40 {
			return nil, fmt.Errorf("user %s: %q is not a number of days", printable(f[0]), clip(x.text))
		}
		*x.to = v
	}
	return e, nil
}

// State tells whether the account may log in at this time.
func (e *ShadowEntry) State(now time.Time) ShadowState {
	today := now.Unix() / 86400
	switch {
	case e.Hash == "":
		return ShadowNoPasswd
	case e.Hash[0] == '!' || e.Hash[0] == '*':
		return ShadowLocked
	case e.Expire >= 0 && today >= e.Expire:
		return ShadowExpired
	case e.LastChange == 0: // must be changed at the next login, which here it cannot be
		return ShadowAged
	case e.LastChange > 0 && e.MaxAge >= 0 && today > e.LastChange+e.MaxAge:
		return ShadowAged
	}
	return ShadowOK
}
