package session

import (
	"fmt"
	"slices"
	"strings"

	"rookery/imapworker/internal/view"
	"rookery/internal/imapwire"
)

// capabilities is what a session after login can do. A word stands here only
// once all of it works.
var capabilities = []string{"IMAP4rev1", "IMAP4rev2", "LITERAL+", "SASL-IR", "ID", "ENABLE", "IDLE", "NAMESPACE", "UIDPLUS", "UNSELECT",
	"CHILDREN", "MOVE", "SPECIAL-USE", "CONDSTORE", "QRESYNC", "ESEARCH", "WITHIN", "MULTIAPPEND", "CATENATE", "REPLACE", "BINARY", "PREVIEW", "SAVEDATE", "PARTIAL", "OBJECTID",
	"STATUS=SIZE", "LIST-EXTENDED", "LIST-STATUS",
	"QUOTA", "QUOTASET", "QUOTA=RES-STORAGE", "QUOTA=RES-MESSAGE", "QUOTA=RES-MAILBOX", "METADATA", "LIST-METADATA", "CREATE-SPECIAL-USE",
	"SEARCHRES", "CONTEXT=SEARCH", "CONTEXT=SORT", "MULTISEARCH", "FILTERS", "NOTIFY", "UIDBATCHES", "INPROGRESS",
	"UIDONLY", "SORT", "SORT=DISPLAY", "ESORT", "THREAD=ORDEREDSUBJECT", "THREAD=REFERENCES", "THREAD=REFS", "I18NLEVEL=1", "LANGUAGE"}

// offered gives the words for this session. ENABLE must not change them
// (RFC 9051 §6.3.1); COMPRESS does, since it cannot be used twice.
func (s *Session) offered() []string {
	words := append(slices.Clone(capabilities), s.appendLimitWord())
	words = append(words, s.limitWords()...)
	if s.cfg.Settings.UTF8 {
		words = append(words, "UTF8=ACCEPT")
	}
	if s.cfg.Compress != nil && !s.compressed {
		words = append(words, "COMPRESS=DEFLATE")
	}
	if s.cfg.Unauthenticate && !s.compressed {
		words = append(words, "UNAUTHENTICATE")
	}
	if _, ok := s.sharer(); ok {
		words = append(words, aclWords...)
	}
	return words
}

// capability = "CAPABILITY"                               RFC 3501 §6.1.1
type capability struct{}

func parseCapability(p *parser) (request, bool) { return capability{}, p.WantEnd() }

func (capability) run(s *Session) (view.Reply, error) {
	s.enc.Capability(s.offered())
	return view.Done("Capability completed."), nil
}

// noop = "NOOP"                                           RFC 3501 §6.1.2
type noop struct{}

func parseNoop(p *parser) (request, bool) { return noop{}, p.WantEnd() }

func (noop) run(*Session) (view.Reply, error) { return view.Done("NOOP completed."), nil }

// logout = "LOGOUT"                                       RFC 3501 §6.1.3
type logout struct{ tag string }

func parseLogout(p *parser) (request, bool) { return logout{p.tag}, p.WantEnd() }

func (c logout) run(s *Session) (view.Reply, error) {
	s.enc.Status("", imapwire.BYE, imapwire.Code{}, "Logging out")
	s.enc.Status(c.tag, imapwire.OK, imapwire.Code{}, "Logout completed.")
	s.finish(LoggedOut, "Disconnected: Logged out")
	return view.Reply{}, nil
}

// The limits of RFC 2971 §3.3.
const (
	maxIDPairs = 30
	maxIDKey   = 30
	maxIDValue = 1024
)

// id = "ID" SP ("(" #(string SP nstring) ")" / nil)       RFC 2971 §4
type id struct{ fields []imapwire.NString }

func parseID(p *parser) (request, bool) {
	var c id
	if !p.WantSP() {
		return nil, false
	}
	if p.Keyword("NIL") {
		return c, p.WantEnd()
	}
	ok := p.WantEmptyList(func() bool {
		key := imapwire.NString{Set: true}
		var value imapwire.NString
		if len(c.fields) == 2*maxIDPairs {
			return p.Fail("at most 30 fields")
		}
		if !p.WantString(&key.S) || !p.WantSP() || !p.WantNString(&value) {
			return false
		}
		if len(key.S) > maxIDKey || len(value.S) > maxIDValue {
			return p.Fail("shorter fields")
		}
		c.fields = append(c.fields, key, value)
		return true
	})
	return c, ok && p.WantEnd()
}

func (c id) run(s *Session) (view.Reply, error) {
	if len(c.fields) > 0 {
		var words []string
		for i := 0; i < len(c.fields); i += 2 {
			words = append(words, fmt.Sprintf("%q=%q", c.fields[i].S, c.fields[i+1].S))
		}
		s.cfg.Log.Info("ID sent: " + strings.Join(words, ", "))
	}
	s.enc.Untagged().Atom("ID").SP()
	if len(s.cfg.Settings.ServerID) == 0 {
		s.enc.Nil().CRLF()
	} else {
		s.enc.Open()
		for i, field := range s.cfg.Settings.ServerID {
			if i > 0 {
				s.enc.SP()
			}
			s.enc.NString(field)
		}
		s.enc.Close().CRLF()
	}
	return view.Done("ID completed."), nil
}

// enable = "ENABLE" 1*(SP capability)                     RFC 5161 §4
type enable struct{ names []string }

func parseEnable(p *parser) (request, bool) {
	var c enable
	for p.SP() {
		var name string
		if !p.WantAtom(&name) {
			return nil, false
		}
		c.names = append(c.names, name)
	}
	if len(c.names) == 0 {
		return nil, p.WantSP()
	}
	return c, p.WantEnd()
}

// extensions are what ENABLE can switch on where it is offered, with what that does.
var extensions = map[string]func(s *Session){"CONDSTORE": (*Session).enableCondstore, "QRESYNC": (*Session).enableQresync,
	"UIDONLY": (*Session).enableUIDOnly, "METADATA": (*Session).enableMetadata,
	"UTF8=ACCEPT": (*Session).enableUTF8, "IMAP4rev2": (*Session).enableRev2}

func (c enable) run(s *Session) (view.Reply, error) {
	var done []string
	s.enc.Untagged().Atom("ENABLED")
	offered := s.offered()
	for _, name := range c.names {
		at := slices.IndexFunc(offered, func(word string) bool { return strings.EqualFold(word, name) })
		if at < 0 {
			continue
		}
		word := offered[at]
		if enable, ok := extensions[word]; ok && !slices.Contains(done, word) {
			enable(s)
			done = append(done, word)
			s.enc.SP().Atom(word)
		}
	}
	s.enc.CRLF()
	return view.Done("Enabled."), nil
}

// namespace = "NAMESPACE"                                 RFC 2342 §6
type namespace struct{}

func parseNamespace(p *parser) (request, bool) { return namespace{}, p.WantEnd() }

func (namespace) run(s *Session) (view.Reply, error) {
	s.writeNamespaces()
	return view.Done("Namespace completed."), nil
}

// writeNamespaces writes the NAMESPACE response.
func (s *Session) writeNamespaces() {
	s.enc.Untagged().Atom("NAMESPACE")
	spaces := s.cfg.Store.Namespaces()
	for kind := range uint8(3) {
		s.enc.SP()
		found := false
		for _, ns := range spaces {
			if uint8(ns.Kind) != kind || ns.Hidden {
				continue
			}
			if !found {
				s.enc.Open()
				found = true
			}
			s.enc.Open().Prefix(ns.Prefix).SP().Quoted(string(ns.Separator))
			s.writeTranslation(ns)
			s.enc.Close()
		}
		if found {
			s.enc.Close()
		} else {
			s.enc.Nil()
		}
	}
	s.enc.CRLF()
}
