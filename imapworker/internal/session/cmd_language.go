package session

import (
	"strings"

	"rookery/imapworker/internal/view"
	"rookery/internal/imaplang"
	"rookery/internal/imapname/mutf7"
	"rookery/internal/mailstore"
)

// maxRanges is how many language ranges one LANGUAGE may have.
const maxRanges = 32

// language-cmd = "LANGUAGE" *(SP lang-range-quoted)       RFC 5255 §3.5
type language struct{ ranges []string }

func parseLanguage(p *parser) (request, bool) {
	var c language
	for p.SP() {
		var text string
		if !p.WantAstring(&text) {
			return nil, false
		}
		if !imaplang.Valid(text) || len(c.ranges) == maxRanges {
			return nil, p.Fail("a language range")
		}
		c.ranges = append(c.ranges, text)
	}
	return &c, p.WantEnd()
}

func (c *language) run(s *Session) (view.Reply, error) {
	if len(c.ranges) == 0 {
		s.writeLanguages(imaplang.Languages()...)
		return view.Done("Languages listed."), nil
	}
	tag, ok := imaplang.Match(c.ranges)
	if !ok {
		return view.No("", "This language is not spoken here."), nil
	}
	s.speak(tag)
	s.writeLanguages(tag) // §3.2: "the change takes effect immediately after"
	if s.translates() {
		s.writeNamespaces()
	}
	return view.Done("Language changed."), nil
}

// speak has the texts of answers in a language from now on; "" is the default.
func (s *Session) speak(tag string) {
	s.language, s.enc.Texts = tag, nil
	if tag != "" && tag != imaplang.Default {
		s.enc.Texts = func(text string) string { return imaplang.Text(tag, text) }
	}
}

func (s *Session) writeLanguages(tags ...string) {
	s.enc.Untagged().Atom("LANGUAGE").SP().Open()
	for i, tag := range tags {
		if i > 0 {
			s.enc.SP()
		}
		s.enc.Astring(tag)
	}
	s.enc.Close().CRLF()
}

// translation is what a client can show for a namespace's prefix (RFC 5255 §3.4);
// "" if there is none. Of several namespaces of a kind none has one: their users
// could not tell them apart.
func (s *Session) translation(ns mailstore.Namespace) string {
	sep := string(rune(ns.Separator))
	if ns.Kind == mailstore.Private || strings.Count(ns.Prefix, sep) != 1 || !strings.HasSuffix(ns.Prefix, sep) {
		return ""
	}
	for _, other := range s.cfg.Store.Namespaces() {
		if other.Kind == ns.Kind && other.Prefix != ns.Prefix && !other.Hidden {
			return ""
		}
	}
	name := imaplang.OthersName(s.language)
	if ns.Kind == mailstore.Shared {
		name = imaplang.SharedName(s.language)
	}
	if name == "" {
		return ""
	}
	return name + sep
}

// translates reports whether the NAMESPACE response has a translation.
func (s *Session) translates() bool {
	for _, ns := range s.cfg.Store.Namespaces() {
		if !ns.Hidden && s.translation(ns) != "" {
			return true
		}
	}
	return false
}

// writeTranslation writes
//
//	namespace-trans = SP DQUOTE "TRANSLATION" DQUOTE SP "(" string ")"   RFC 5255 §3.5
//
// in modified UTF-7 whatever is enabled: §3.4 says so.
func (s *Session) writeTranslation(ns mailstore.Namespace) {
	if text := s.translation(ns); text != "" {
		s.enc.SP().Quoted("TRANSLATION").SP().Open().String(mutf7.Encode(text)).Close()
	}
}
