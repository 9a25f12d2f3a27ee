package preimap

import (
	"rookery/internal/imaplang"
	"rookery/internal/imapwire"
)

// maxRanges is how many language ranges one LANGUAGE may have.
const maxRanges = 32

// language-cmd = "LANGUAGE" *(SP lang-range-quoted)       RFC 5255 §3.5
//
// What is chosen here goes to the worker with the connection (envelopemsg.Go). It
// stays through STARTTLS: a client asks again then (§3.1), and one that does not
// reads no more than texts in another language.
func (m *Machine) language(d *imapwire.Decoder, tag string) bool {
	var ranges []string
	for d.SP() {
		var text string
		if !d.WantAstring(&text) {
			return false
		}
		if !imaplang.Valid(text) || len(ranges) == maxRanges {
			return d.Fail("a language range")
		}
		ranges = append(ranges, text)
	}
	if !d.WantEnd() {
		return false
	}
	if len(ranges) == 0 {
		m.writeLanguages(imaplang.Languages()...)
		return m.good(tag, "Languages listed.")
	}
	to, ok := imaplang.Match(ranges)
	if !ok {
		m.Bad = 0
		m.enc.Status(tag, imapwire.NO, imapwire.Code{}, "This language is not spoken here.")
		return true
	}
	m.lang, m.enc.Texts = to, nil
	if to != imaplang.Default {
		m.enc.Texts = func(text string) string { return imaplang.Text(to, text) }
	}
	m.writeLanguages(to)
	return m.good(tag, "Language changed.")
}

func (m *Machine) writeLanguages(tags ...string) {
	m.enc.Untagged().Atom("LANGUAGE").SP().Open()
	for i, tag := range tags {
		if i > 0 {
			m.enc.SP()
		}
		m.enc.Astring(tag)
	}
	m.enc.Close().CRLF()
}
