package authdb

import (
	"fmt"
	"slices"
	"strings"
)

// Result is what one database, or the whole chain, says about an attempt.
type Result uint8

// The results, from best to worst knowledge.
const (
	OK          Result = iota
	Mismatch           // the password is wrong
	Unknown            // no such user here
	Disabled           // a deny database names the user, or the account is locked
	Expired            // the password or the account is past its date
	NoSecret           // the mechanism needs a secret that the stored form cannot give
	Internal           // the database failed; says nothing about the user
	NotAllowed         // right password, but not from this network
	firstResult = OK
	lastResult  = NotAllowed
)

// Action is a passdb's result_success and its siblings.
type Action uint8

// The actions, with Dovecot's names.
const (
	ReturnOK     Action = iota + 1 // end with success
	Return                         // end with the success so far
	ReturnFail                     // end with failure
	Continue                       // go on, the success so far unchanged
	ContinueOK                     // go on as successful
	ContinueFail                   // go on as failed
)

// ParseAction reads Dovecot's word for an action.
func ParseAction(s string) (Action, error) {
	i := slices.Index([]string{"return-ok", "return", "return-fail", "continue", "continue-ok", "continue-fail"}, s)
	if i < 0 {
		return 0, fmt.Errorf("%q is not one of return-ok, return, return-fail, continue, continue-ok, continue-fail", s)
	}
	return Action(i + 1), nil
}

// Skip is a passdb's skip setting.
type Skip uint8

// When a passdb is not asked.
const (
	SkipNever Skip = iota
	SkipAuthenticated
	SkipUnauthenticated
)

// Rules say when a database is asked and what follows.
type Rules struct {
	Name, Driver string
	Skip         Skip
	OnSuccess    Action // 0: return-ok
	OnFailure    Action // 0: continue
	OnInternal   Action // 0: continue
}

func (r Rules) action(res Result) Action {
	pick := func(a, def Action) Action {
		if a == 0 {
			return def
		}
		return a
	}
	switch res {
	case OK:
		return pick(r.OnSuccess, ReturnOK)
	case Internal:
		return pick(r.OnInternal, Continue)
	}
	return pick(r.OnFailure, Continue)
}

// Chain is the state of a walk through databases.
type Chain struct {
	ok       bool
	ended    bool
	failed   Result // the result to give when nothing succeeds
	internal bool
}

// NewChain begins a walk. already says that the user is authenticated (after a
// master login, say).
func NewChain(already bool) *Chain { return &Chain{ok: already, failed: Unknown} }

// Wants reports whether the database is asked now.
func (c *Chain) Wants(r Rules) bool {
	if c.ended {
		return false
	}
	return !(r.Skip == SkipAuthenticated && c.ok) && !(r.Skip == SkipUnauthenticated && !c.ok)
}

// Report takes a database's result and decides how to go on.
func (c *Chain) Report(r Rules, res Result) {
	switch res {
	case OK:
	case Internal:
		c.internal = true
	case Unknown:
		if c.failed == OK {
			c.failed = Unknown
		}
	default:
		c.failed = res // knows more than "unknown"
	}
	switch r.action(res) {
	case ReturnOK:
		c.ok, c.ended = true, true
	case Return:
		c.ended = true
	case ReturnFail:
		c.ok, c.ended = false, true
	case ContinueOK:
		c.ok = true
	case ContinueFail:
		c.ok = false
	}
}

// Deny ends the walk: a deny database names the user.
func (c *Chain) Deny() { c.ok, c.ended, c.internal, c.failed = false, true, false, Disabled }

// Stop ends the walk with an internal failure.
func (c *Chain) Stop() { c.ok, c.ended, c.internal = false, true, true }

// Ended reports whether no further database is asked.
func (c *Chain) Ended() bool { return c.ended }

// Succeeded reports whether the walk has succeeded so far.
func (c *Chain) Succeeded() bool { return c.ok }

// SawInternal reports whether a database failed on the way.
func (c *Chain) SawInternal() bool { return c.internal }

// Final is the walk's result. A failure of any database outweighs "unknown
// user" and "mismatch": the user may be in the one that failed.
func (c *Chain) Final() Result {
	switch {
	case c.ok:
		return OK
	case c.internal:
		return Internal
	}
	return c.failed
}

// MatchUser decides username_filter: patterns with "*" and "?", separated by
// spaces or commas; "!" before one excludes. With only exclusions all others match.
func MatchUser(filter, user string) bool {
	patterns := strings.FieldsFunc(filter, func(r rune) bool { return r == ' ' || r == ',' })
	if len(patterns) == 0 {
		return true
	}
	included, positive := false, false
	for _, p := range patterns {
		if not, ok := strings.CutPrefix(p, "!"); ok {
			if wildcard(not, user) {
				return false
			}
			continue
		}
		positive = true
		included = included || wildcard(p, user)
	}
	return included || !positive
}

// wildcard matches without recursion: a "*" is tried again from one further on.
func wildcard(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
