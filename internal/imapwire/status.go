package imapwire

import (
	"rookery/internal/abnf"
	"rookery/internal/numset"
)

// Code is resp-text-code = atom [SP 1*<any TEXT-CHAR except "]">]. The zero
// value is no code.
type Code struct {
	Name string
	Args string
}

// The conditions of status responses (RFC 3501 §7.1).
const (
	OK      = "OK"
	NO      = "NO"
	BAD     = "BAD"
	BYE     = "BYE"
	PREAUTH = "PREAUTH"
)

// Status writes a status response whole: tag SP cond SP [code] text CRLF. An
// empty tag stands for "*". CR, LF, NUL and bytes above 127 in text are errors
// (the latter only outside UTF-8 sessions, and where Texts is nil), and so is an empty text.
func (e *Encoder) Status(tag, cond string, code Code, text string) {
	if tag == "" {
		e.raw("*")
	} else if abnf.TagChar.All(tag) {
		e.raw(tag)
	} else {
		e.fail("tag", tag)
	}
	e.SP().Atom(cond).SP()
	if code.Name != "" {
		e.raw("[").Atom(code.Name)
		if code.Args != "" {
			if !abnf.CodeChar.All(code.Args) {
				e.fail("response code argument", code.Args)
			}
			e.SP().raw(code.Args)
		}
		e.raw("] ")
	}
	if e.Texts != nil {
		text = e.Texts(text)
	}
	e.text(text).CRLF()
}

func (e *Encoder) text(s string) *Encoder {
	for i := 0; i < len(s); i++ {
		if !abnf.TextChar.Has(s[i]) && (s[i] < 0x80 || !e.utf8OK() && e.Texts == nil) {
			return e.fail("text", s)
		}
	}
	if s == "" {
		return e.fail("text", s)
	}
	return e.raw(s)
}

// Continue writes "+ text CRLF".
func (e *Encoder) Continue(text string) {
	e.raw("+ ").text(text).CRLF()
}

// ContinueBase64 writes "+ base64 CRLF", the challenge of AUTHENTICATE; an
// empty one is "+ " alone (RFC 3501 §9 continue-req).
func (e *Encoder) ContinueBase64(token string) {
	for i := 0; i < len(token); i++ {
		if !abnf.Base64Char.Has(token[i]) && token[i] != '=' {
			e.fail("base64", "challenge")
			break
		}
	}
	e.raw("+ ").raw(token).CRLF()
}

// Exists writes "* n EXISTS".
func (e *Encoder) Exists(n uint32) { e.Untagged().Num(n).raw(" EXISTS").CRLF() }

// Recent writes "* n RECENT", which rev2 does not have (RFC 9051 Appendix E).
func (e *Encoder) Recent(n uint32) {
	if !e.Options.Rev2 {
		e.Untagged().Num(n).raw(" RECENT").CRLF()
	}
}

// Expunge writes "* n EXPUNGE".
func (e *Encoder) Expunge(seq uint32) {
	if seq == 0 {
		e.fail("sequence number", "0")
	}
	e.Untagged().Num(seq).raw(" EXPUNGE").CRLF()
}

// vanishedRanges is how many ranges of UIDs one VANISHED response holds: lines
// stay below 24 KB however many messages are gone.
const vanishedRanges = 1000

// Vanished writes "* VANISHED uids", or "* VANISHED (EARLIER) uids" for messages
// that went before the mailbox was selected (RFC 7162 §3.2.10): several responses
// for a set of many ranges, none for an empty one.
func (e *Encoder) Vanished(earlier bool, uids numset.Set) {
	for r := uids.Ranges(); len(r) > 0; {
		n := min(len(r), vanishedRanges)
		e.Untagged().raw("VANISHED ")
		if earlier {
			e.raw("(EARLIER) ")
		}
		e.Set(numset.FromRanges(r[:n])).CRLF()
		r = r[n:]
	}
}

// Fetch begins "* n FETCH (" for message seq with its uid; under UIDONLY it is
// "* uid UIDFETCH (". The caller writes the items with FetchItem, then Close
// and CRLF.
func (e *Encoder) Fetch(seq, uid uint32) *Encoder {
	if e.Options.UIDOnly {
		return e.Untagged().Num(uid).raw(" UIDFETCH (")
	}
	if seq == 0 {
		e.fail("sequence number", "0")
	}
	return e.Untagged().Num(seq).raw(" FETCH (")
}

// FlagsResponse writes "* FLAGS (…)".
func (e *Encoder) FlagsResponse(flags []string) {
	e.Untagged().raw("FLAGS ").FlagList(flags).CRLF()
}

// Capability writes "* CAPABILITY …".
func (e *Encoder) Capability(names []string) {
	e.Untagged().raw("CAPABILITY")
	for _, name := range names {
		e.SP().Atom(name)
	}
	e.CRLF()
}

// SetArg gives a set as an argument of a Code.
func SetArg(s numset.Set) string { return s.String() }
