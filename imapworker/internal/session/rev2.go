package session

import (
	"slices"
	"strings"
	"unicode/utf8"

	"rookery/imapworker/internal/view"
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
)

// IMAP4rev2 beside IMAP4rev1 (RFC 9051 Appendix A, E), and UTF8=ACCEPT (RFC 9755).
// What they change in responses is the Encoder's (imapwire.Options), but for what
// is in this file. What RFC 9051 calls deprecated and only asks for something, as
// SEARCH NEW or FETCH RFC822.HEADER do, is still understood.

// enableRev2 and enableUTF8 are called by ENABLE.
func (s *Session) enableRev2() { s.enc.Options.Rev2, s.names.UTF8 = true, true }
func (s *Session) enableUTF8() { s.enc.Options.UTF8, s.names.UTF8 = true, true }

// dialect is how the client wrote a name or pattern. Where UTF8=ACCEPT is offered it
// may be in UTF-8 before that is enabled (RFC 9755 §3: servers "MUST accept UTF-8 in
// mailbox names"); modified UTF-7 has no octets above 127.
func (s *Session) dialect(raw string) imapname.Dialect {
	names := s.names
	names.UTF8 = names.UTF8 || s.cfg.Settings.UTF8 && strings.IndexFunc(raw, func(r rune) bool { return r >= utf8.RuneSelf }) >= 0
	return names
}

// outdated are commands that IMAP4rev2 has not any more, with what takes their
// place: CHECK was removed, and no client of it could read an LSUB response
// (RFC 9051 Appendix E, 17 and 19; §9).
var outdated = map[string]string{"CHECK": "NOOP", "LSUB": "LIST (SUBSCRIBED)"}

// givenName is a mailbox's name as the client wrote it, and the one that it is.
type givenName struct {
	raw  string
	name imapname.Name
}

// differs reports whether the client wrote another name than the mailbox has.
func (g givenName) differs(d imapname.Dialect) bool {
	shown, ok := d.Show(g.name)
	return ok && shown != g.raw
}

// asRev2 adds to a command's answer what IMAP4rev2 has beside it.
func (s *Session) asRev2(command string, names []givenName, reply view.Reply, err error) (view.Reply, error) {
	switch {
	case err == nil && reply.Cond == imapwire.OK:
		s.tellNormalized(command, names)
	case command == "DELETE" && errkind.Is(err, errkind.Invalid):
		if f, missing := s.cfg.Store.Lookup(string(names[0].name)); missing == nil && f.Attrs&mailstore.HasChildren != 0 {
			return view.No("HASCHILDREN", "The name stands for its children alone; delete these."), nil
		}
	}
	return reply, err
}

// tellNormalized tells the name that a mailbox has where the client wrote another
// one (RFC 9051 §6.3.4 to §6.3.6, §6.3.9.7, §6.3.12).
func (s *Session) tellNormalized(command string, names []givenName) {
	if !slices.ContainsFunc(names, func(g givenName) bool { return g.differs(s.names) }) {
		return
	}
	switch command {
	case "CREATE", "APPEND", "REPLACE":
		s.tellName(names[0].name, names[0].raw)
	case "DELETE":
		s.writeName([]string{`\NonExistent`}, names[0].name, names[0].raw)
	case "RENAME":
		s.tellName(names[1].name, names[0].raw)
	}
}

// tellName writes the LIST response of a mailbox that is there, as SELECT has to
// (RFC 9051 §6.3.2), with its old name if that differs.
func (s *Session) tellName(name imapname.Name, old string) {
	f, err := s.cfg.Store.Lookup(string(name))
	if err != nil {
		return // it has gone since, which is no news for who did it
	}
	s.writeName((&list{extended: true}).attributes(f), name, old)
}

// writeName writes a LIST response, with the old name if there is one that differs.
func (s *Session) writeName(attrs []string, name imapname.Name, old string) {
	shown, ok := s.names.Show(name)
	if !ok {
		return
	}
	s.enc.Untagged().Atom("LIST").SP().FlagList(attrs).SP().Quoted(s.separator()).SP().Mailbox(shown)
	if old != "" && old != shown {
		s.enc.SP().Open().Quoted("OLDNAME").SP().Open().Mailbox(old).Close().Close()
	}
	s.enc.CRLF()
}

// Words gives every word that CAPABILITY can have, whatever the settings: for the
// page on what is offered.
func Words() []string {
	s := &Session{cfg: Config{Settings: Defaults(), Compress: func() {}, Unauthenticate: true}}
	s.cfg.Settings.SaveLimit, s.cfg.Settings.MessageLimit = 1000, 2000
	s.cfg.Settings.MaxMessage = 1 << 20
	words := append(s.offered(), appendLimit) // without its limit
	if !slices.Contains(words, aclWords[0]) {
		words = append(words, aclWords...) // the store decides that
	}
	return words
}
