// Package fetch implements FETCH (RFC 3501 §6.4.5), with MODSEQ and CHANGEDSINCE
// (RFC 7162 §3.1.4), for the session machine.
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
)

// names of the items and macros (RFC 3501 §6.4.5, §9 fetch-att).
var (
	items = map[string]atts{"UID": attUID, "FLAGS": attFlags, "INTERNALDATE": attInternalDate, "RFC822.SIZE": attSize,
		"ENVELOPE": attEnvelope, "BODY": attBody, "BODYSTRUCTURE": attStructure,
		"MODSEQ": attModSeq}
	macros = map[string]atts{
		"FAST": attFlags | attInternalDate | attSize,
		"ALL":  attFlags | attInternalDate | attSize | attEnvelope,
		"FULL": attFlags | attInternalDate | attSize | attEnvelope | attBody,
	}
	old = map[string]section{
		"RFC822":        {name: "RFC822"},
		"RFC822.HEADER": {name: "RFC822.HEADER", sec: imapwire.Section{Text: imapwire.Header}, peek: true},
		"RFC822.TEXT":   {name: "RFC822.TEXT", sec: imapwire.Section{Text: imapwire.Text}},
	}
)

// section is one BODY[…], or one of RFC 822's older names for it.
type section struct {
	name    string // "" for BODY[…]
	sec     imapwire.Section
	partial imapwire.Partial
	peek    bool   // does not set \Seen
	field   string // of the mailbox's cache, for header fields; "" where it is not kept
}

// command is a FETCH, parsed.
type command struct {
	cfg      *Config
	set      numset.Expr
	atts     atts
	sections []section
	since    uint64 // CHANGEDSINCE; 0 where it was not given
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
			return c, d.WantList(func() bool { return c.item(d, false) }) && c.modifiers(d)
		}
		return c, c.item(d, true) && c.modifiers(d)
	}
}

// modifiers reads what may stand behind the items, up to the end.
//
//	chgsince-fetch-mod = "CHANGEDSINCE" SP mod-sequence-value   RFC 7162 §7
func (c *command) modifiers(d *imapwire.Decoder) bool {
	if !d.SP() {
		return d.WantEnd()
	}
	ok := d.WantList(func() bool {
		if c.since > 0 {
			return d.Fail("CHANGEDSINCE once")
		}
		return d.WantKeyword("CHANGEDSINCE") && d.WantSP() && d.WantModSeq(&c.since)
	})
	c.atts |= attModSeq // RFC 7162 §3.1.4.1: implied
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
	if (word == "BODY" || word == "BODY.PEEK") && d.Peek() == '[' {
		s := section{peek: word == "BODY.PEEK"}
		if !d.WantSection(&s.sec) {
			return false
		}
		d.Partial(&s.partial)
		return c.add(d, s)
	}
	a, ok := items[word]
	if !ok {
		return d.Fail("a FETCH item")
	}
	c.atts |= a
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
