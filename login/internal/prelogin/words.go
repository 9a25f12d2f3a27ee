package prelogin

import (
	"fmt"
	"time"

	"rookery/internal/errkind"
)

// Stats is what a connection's last line tells of its attempts.
type Stats struct {
	Attempts         int    // authentications begun, those refused at once included
	Granted          int    // of them, those that authd granted
	Unavailable      int    // of them, those that no database could decide
	TriedPlaintext   bool   // a password was sent, or meant to be, without protection
	TriedUnsupported bool   // a mechanism that is not offered
	Aborted          bool   // the client gave one up with "*"
	Continuing       bool   // the client owes the answer to a challenge
	Authenticating   bool   // authd's answer is awaited
	HandingOver      bool   // a worker's
	User, Mech       string // of the last attempt; "" if none was named
}

// Failed is what stays of the attempts when the one that went well is over.
func (s Stats) Failed() Stats {
	return Stats{Attempts: s.Attempts - s.Granted, Unavailable: s.Unavailable, TriedPlaintext: s.TriedPlaintext,
		TriedUnsupported: s.TriedUnsupported, Aborted: s.Aborted}
}

// The reasons of a disconnect, as Dovecot 2.3 writes them: stock fail2ban
// filters read these lines.
const (
	WhyQuit        = "Aborted login"
	WhyGone        = "Disconnected"
	WhyInactivity  = "Disconnected: Inactivity"
	WhyBadCommands = "Disconnected: Too many invalid commands"
	WhyShutdown    = "Disconnected: Shutting down"
	WhyFull        = "Disconnected: Connection queue full"
	WhyInput       = "Disconnected: Input buffer full"
)

// Extra is the part in parentheses that says how far the login came. now is
// the time of the disconnect, created that of the connection, first that of
// the first authentication.
func (s Stats) Extra(created, first, now time.Time) string {
	secs := func(since time.Time) int {
		return max(int(now.Sub(since)/time.Second), 0)
	}
	switch {
	case s.Attempts == 0:
		return fmt.Sprintf("(no auth attempts in %d secs)", secs(created))
	case s.TriedPlaintext:
		return "(tried to use disallowed plaintext auth)"
	case s.TriedUnsupported && s.Attempts == 1:
		return "(tried to use unsupported auth mechanism)"
	case s.Continuing && s.Attempts == 1:
		return fmt.Sprintf("(client didn't finish SASL auth, waited %d secs)", secs(first))
	case s.Authenticating && s.Attempts == 1:
		return fmt.Sprintf("(disconnected while authenticating, waited %d secs)", secs(first))
	case s.HandingOver:
		return fmt.Sprintf("(disconnected while finishing login, waited %d secs)", secs(first))
	case s.Aborted && s.Attempts == 1:
		return "(aborted authentication)"
	case s.Unavailable == s.Attempts: // no failure of the client's: nobody may be banned for it
		return "(auth process communication failure)"
	case s.Granted > 0:
		return fmt.Sprintf("(internal failure, %d successful auths)", s.Granted)
	}
	return fmt.Sprintf("(auth failed, %d attempts in %d secs)", s.Attempts, secs(first))
}

// The answers' texts. They tell no more than the code does.
const (
	TextPrivacy     = "Plaintext authentication disallowed on non-secure (SSL/TLS) connections."
	TextNoTLS       = "Authentication is allowed on TLS connections only."
	TextUnsupported = "Unsupported authentication mechanism."
)

// RefusalText is the usual text of a refusal.
func RefusalText(kind errkind.Kind) string {
	switch kind {
	case errkind.AuthFailed:
		return "Authentication failed."
	case errkind.AuthzFailed:
		return "Authorization failed."
	case errkind.Expired:
		return "Password expired."
	case errkind.Privacy:
		return TextPrivacy
	case errkind.ContactAdmin:
		return "Contact your administrator."
	case errkind.Limit:
		return "Too many connections."
	case errkind.Invalid:
		return "Invalid authentication data."
	case errkind.InUse:
		return "The mailbox is locked by another session."
	}
	return "Temporary authentication failure, try again later."
}
