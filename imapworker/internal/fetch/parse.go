// Package fetch implements FETCH (RFC 3501 §6.4.5) for the session machine, with
// MODSEQ, CHANGEDSINCE and VANISHED (RFC 7162), BINARY (RFC 3516), SAVEDATE
// (RFC 8514), EMAILID and THREADID (RFC 8474), PREVIEW (RFC 8970), PARTIAL
// (RFC 9394), and X-GUID and X-MAILBOX as Dovecot has them.
//
// Only the IMAP worker uses it. It reads messages through mailstore, never by
// path, and knows no clock and no socket.
package fetch

import (
	"strings"

	"rookery/imapworker/internal/opened"
	"rookery/imapworker/internal/view"
	"rookery/internal/imapwire"
	"rookery/internal/message"
	"rookery/internal/numset"
)

// OnFailure says what happens when a message cannot be read (imap_fetch_failure).
type OnFailure uint8

// The ways.
const (
	NoAfter               OnFailure = iota // the others, then NO
	DisconnectAfter                        // the others, then the connection ends
	DisconnectImmediately                  // at once
)

// Config is what the settings say.
type Config struct {
	Failure OnFailure
	Limits  message.Limits
}

// maxSections is how many BODY[…] one FETCH may ask for.
const maxSections = 512

// atts are the items without arguments.
type atts uint16

const (
	attUID atts = 1 << iota
	attFlags
	attInternalDate
	attSize
	attEnvelope
	attBody
	attStructure
	attModSeq
	attSaveDate
	attGUID
	attEmailID
	attThreadID
	attMailbox
	attPreview
)

// attsIndex are the items that need nothing but the index.
const attsIndex = attUID | attFlags | attModSeq

// names of the items and macros (RFC 3501 §6.4.5, §9 fetch-att).
var (
	items = map[string]atts{"UID": attUID, "FLAGS": attFlags, "INTERNALDATE": attInternalDate, "RFC822.SIZE": attSize,
		"ENVELOPE": attEnvelope, "BODY": attBody, "BODYSTRUCTURE": attStructure,
		"MODSEQ": attModSeq, "SAVEDATE": attSaveDate, "X-GUID": attGUID, "EMAILID": attEmailID, "THREADID": attThreadID,
		"X-MAILBOX": attMailbox, "PREVIEW": attPreview}
	macros = map[string]atts{
		"FAST": attFlags | attInternalDate | attSize,
		"ALL":  attFlags | attInternalDate | attSize | attEnvelope,
		"FULL": attFlags | attInternalDate | attSize | attEnvelope | attBody,
	}
	old = map[string]section{
		"RFC822":        {name: "RFC822", older: true},
		"RFC822.HEADER": {name: "RFC822.HEADER", older: true, sec: imapwire.Section{Text: imapwire.Header}, peek: true},
		"RFC822.TEXT":   {name: "RFC822.TEXT", older: true, sec: imapwire.Section{Text: imapwire.Text}},
	}
)

// brackets are the items that name a section, with what they have of a section.
var brackets = map[string]section{
	"BODY":        {name: "BODY"},
	"BODY.PEEK":   {name: "BODY", peek: true},
	"BINARY":      {name: "BINARY", kind: decoded},
	"BINARY.PEEK": {name: "BINARY", kind: decoded, peek: true},
	"BINARY.SIZE": {name: "BINARY.SIZE", kind: decodedSize, peek: true},
}

// kind says what of a section is wanted.
type kind uint8

const (
	asItIs      kind = iota // BODY[…], and RFC 822's older names
	decoded                 // without its transfer encoding: BINARY[…] (RFC 3516 §4.2)
	decodedSize             // the size of that: BINARY.SIZE[…]
)

// section is one BODY[…], BINARY[…] or BINARY.SIZE[…], or one of RFC 822's older
// names.
type section struct {
	name    string // in the response
	kind    kind
	sec     imapwire.Section
	partial imapwire.Partial
	peek    bool   // does not set \Seen
	older   bool   // of RFC 822's names: it stands without brackets
	field   string // of the mailbox's cache, for header fields; "" where it is not kept
}

// command is a FETCH, parsed.
type command struct {
	cfg      *Config
	set      numset.Expr
	atts     atts
	sections []section
	since    uint64        // CHANGEDSINCE; 0 where it was not given
	vanished bool          // what was expunged since is told first
	window   numset.Window // PARTIAL; zero where it was not given
	lazy     bool          // no PREVIEW that would take long
	askedUID bool          // UID stands among the items, and is not only implied
}

// Parser gives the parser of FETCH and UID FETCH.
//
//	fetch = "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att /
//	        "(" fetch-att *(SP fetch-att) ")")                RFC 3501 §9
//	        [SP "(" fetch-modifier *(SP fetch-modifier) ")"]  RFC 4466 §2.4
func Parser(cfg Config) view.Parse {
	return func(d *imapwire.Decoder, uid bool) (view.Job, bool) {
		c := &command{cfg: &cfg}
		if uid {
			c.atts = attUID // RFC 3501 §6.4.8: always told
		}
		if !d.WantSP() || !d.WantSet(&c.set) || !d.WantSP() {
			return nil, false
		}
		if d.Peek() == '(' {
			return c, d.WantList(func() bool { return c.item(d, false) }) && c.modifiers(d, uid)
		}
		return c, c.item(d, true) && c.modifiers(d, uid)
	}
}

// modifiers reads what may stand behind the items, up to the end.
//
//	chgsince-fetch-mod = "CHANGEDSINCE" SP mod-sequence-value   RFC 7162 §7
//	rexpunges-fetch-mod = "VANISHED"                            RFC 7162 §3.2.6
//	modifier-partial   = "PARTIAL" SP partial-range             RFC 9394 §4
func (c *command) modifiers(d *imapwire.Decoder, uid bool) bool {
	if !d.SP() {
		return d.WantEnd()
	}
	ok := d.WantList(func() bool {
		switch {
		case d.Keyword("VANISHED"):
			if c.vanished || !uid {
				return d.Fail("VANISHED once, and with UID FETCH alone")
			}
			c.vanished = true
			return true
		case d.Keyword("PARTIAL"):
			if c.window.A > 0 || !uid { // RFC 9394 §3.3: it "extends the UID FETCH command"
				return d.Fail("PARTIAL once, and with UID FETCH alone")
			}
			return d.WantSP() && d.WantWindow(&c.window)
		case c.since > 0:
			return d.Fail("CHANGEDSINCE once")
		}
		c.atts |= attModSeq // RFC 7162 §3.1.4.1: implied
		return d.WantKeyword("CHANGEDSINCE") && d.WantSP() && d.WantModSeq(&c.since)
	})
	if ok && c.vanished && c.since == 0 {
		return d.Fail("CHANGEDSINCE beside VANISHED")
	}
	return ok && d.WantEnd()
}

// item reads one fetch-att, or a macro where it stands alone.
func (c *command) item(d *imapwire.Decoder, alone bool) bool {
	var word string
	if !d.WantWord(&word) {
		return false
	}
	word = strings.ToUpper(word)
	if m, ok := macros[word]; ok && alone {
		c.atts |= m
		return true
	}
	if s, ok := old[word]; ok {
		return c.add(d, s)
	}
	if s, ok := brackets[word]; ok && d.Peek() == '[' {
		return c.section(d, s)
	}
	a, ok := items[word]
	if !ok {
		return d.Fail("a FETCH item")
	}
	if a == attPreview && !c.preview(d, alone) {
		return false
	}
	c.atts |= a
	c.askedUID = c.askedUID || a == attUID
	return true
}

// section reads what stands behind BODY, BINARY or BINARY.SIZE.
//
//	section-binary = "[" [section-part] "]"                       RFC 3516 §7
//	fetch-att      =/ "BINARY" [".PEEK"] section-binary [partial]
//	                  / "BINARY.SIZE" section-binary
func (c *command) section(d *imapwire.Decoder, s section) bool {
	want := d.WantSectionBinary
	if s.kind == asItIs {
		want = d.WantSection
	}
	if !want(&s.sec) {
		return false
	}
	if s.kind != decodedSize {
		d.Partial(&s.partial)
	}
	return c.add(d, s)
}

// preview reads what may stand behind PREVIEW. Where it stands alone, a list of
// FETCH's own modifiers may follow in its place.
//
//	fetch-att   =/ "PREVIEW" [SP "(" preview-mod *(SP preview-mod) ")"]   RFC 8970 §6
//	preview-mod = "LAZY"
func (c *command) preview(d *imapwire.Decoder, alone bool) bool {
	lazy := d.Ahead(" (LAZY")
	if lazy || !alone && d.Ahead(" (") {
		d.SP()
		if !d.WantList(func() bool { return d.WantKeyword("LAZY") }) {
			return false
		}
	}
	// Of several PREVIEW items the one that waits counts: its answer is that of all.
	c.lazy = lazy && (c.lazy || c.atts&attPreview == 0)
	return true
}

func (c *command) add(d *imapwire.Decoder, s section) bool {
	if len(c.sections) == maxSections {
		return d.Fail("fewer sections")
	}
	s.field = headerField(&s.sec)
	c.sections = append(c.sections, s)
	return true
}

// headerField names HEADER.FIELDS of a message itself in the mailbox's cache.
func headerField(sec *imapwire.Section) string {
	if sec.Text != imapwire.HeaderFields || len(sec.Part) > 0 {
		return ""
	}
	return opened.FieldsKey(sec.Fields)
}

// setsSeen reports whether the command marks messages as seen.
func (c *command) setsSeen() bool {
	for _, s := range c.sections {
		if !s.peek {
			return true
		}
	}
	return false
}
