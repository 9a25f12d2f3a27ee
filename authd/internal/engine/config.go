// Package engine is what authd does with a request: it runs the SASL machine,
// asks the databases in their chain, lets passwords be compared, delays
// failures, writes the log lines that operators and fail2ban read, and turns a
// success into a ticket.
//
// Only authd uses it. It gets decoded messages and functions to answer with;
// it opens no file and knows no descriptor.
package engine

import (
	"net/netip"
	"time"

	"rookery/authd/internal/authdb"
	"rookery/internal/settings"
)

// Config is one generation of settings. It is not changed once in use; an
// exchange keeps the one that it began with.
type Config struct {
	Mechanisms     []string // upper case, as offered
	AllowCleartext bool
	TLSRequired    bool // ssl = "required"

	UsernameFormat  settings.Template // may be empty
	UsernameChars   string            // empty: all
	DefaultDomain   string
	MasterSeparator string
	AnonymousUser   string

	FailureDelay         time.Duration
	InternalFailureDelay time.Duration
	Penalty              bool
	Exempt               []netip.Prefix // no penalty
	AllowWeakSchemes     bool
	TicketLifetime       time.Duration

	Verbose          bool
	Debug            bool
	DebugPasswords   bool
	VerbosePasswords settings.PasswordLog

	ACLGroups []string // of users to whom no userdb field gives others

	Passdbs []*authdb.Passdb
	Userdbs []*authdb.Userdb

	MailHome           settings.Template
	MailUID, MailGID   authdb.ID
	FirstUID, FirstGID uint32
	LastUID, LastGID   uint32 // 0: no limit
}

// Normalise applies the settings that turn others on: auth_debug_passwords
// turns auth_debug on, which turns auth_verbose on.
func (c *Config) Normalise() {
	c.Debug = c.Debug || c.DebugPasswords
	c.Verbose = c.Verbose || c.Debug
	if c.VerbosePasswords.Mode == "" {
		c.VerbosePasswords.Mode = "no"
	}
}

// offers reports whether the mechanism is switched on.
func (c *Config) offers(mech string) bool {
	for _, m := range c.Mechanisms {
		if m == mech {
			return true
		}
	}
	return false
}

// exempt reports whether the address has no penalty.
func (c *Config) exempt(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range c.Exempt {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
