package search

import (
	"strings"

	"rookery/imapworker/internal/view"
	"rookery/internal/abnf"
	"rookery/internal/imapwire"
	"rookery/internal/message"
	"rookery/internal/numset"
)

// maxKeys bounds the keys of one command: each is asked about each message.
const maxKeys = 4096

// Config is what the settings say.
type Config struct {
	Limits message.Limits
	// FetchItems takes a list of FETCH items in parentheses that may stand behind
	// UPDATE. nil: none may.
	FetchItems func(items []byte) bool
}

// command is a SEARCH, parsed.
type command struct {
	cfg *Config
	options
	charset  string
	root     *node
	keys     int
	modSeq   bool     // the key MODSEQ stands somewhere: the answer has one too
	numbered bool     // sequence numbers stand somewhere
	filters  []filter // the keys FILTER, in the order that they stand in text
	criteria []byte   // the keys as they came, where filters are among them
}

// Parser gives the parser of SEARCH and UID SEARCH.
//
//	search     = "SEARCH" [search-return-opts] SP search-program   RFC 4466 §2.6.1
//	search-program = ["CHARSET" SP charset SP] search-key *(SP search-key)
func Parser(cfg Config) view.Parse {
	return func(d *imapwire.Decoder, _ bool) (view.Job, bool) {
		c := &command{cfg: &cfg, root: &node{kind: kAnd}}
		if !d.WantSP() || !c.mayReturn(d) {
			return nil, false
		}
		if d.Options.Rev2 && !c.extended {
			c.extended, c.want = true, rAll // RFC 9051 §6.4.4: the answer is ESEARCH
		}
		return c, c.program(d)
	}
}

// program reads search-program, up to the end of the command.
func (c *command) program(d *imapwire.Decoder) bool {
	if d.Keyword("CHARSET") {
		if d.Options.UTF8 {
			// RFC 9755 §3: "SHOULD reject the command with a BAD response"
			return d.Fail("no CHARSET after ENABLE UTF8=ACCEPT")
		}
		if !d.WantSP() || !d.WantAstring(&c.charset) || !d.WantSP() {
			return false
		}
	}
	return c.wantCriteria(d)
}

// Numbered is for view.Numbered.
func (c *command) Numbered() bool { return c.numbered }

// mayReturn reads search-return-opts and the blank behind them, where they are.
func (c *command) mayReturn(d *imapwire.Decoder) bool {
	if !d.Keyword("RETURN") {
		return true
	}
	c.extended = true
	return d.WantSP() && c.returns(d) && d.WantSP()
}

// wantCriteria reads search-key *(SP search-key) up to the end of the command.
func (c *command) wantCriteria(d *imapwire.Decoder) bool {
	start := d.Offset()
	for {
		if !c.child(d, c.root) {
			return false
		}
		if !d.SP() {
			break
		}
	}
	if len(c.filters) > 0 {
		c.criteria = append([]byte{}, d.Since(start)...)
		for i := range c.filters {
			c.filters[i].start, c.filters[i].end = c.filters[i].start-start, c.filters[i].end-start
		}
	}
	return d.WantEnd()
}

// child reads one search-key into parent.
func (c *command) child(d *imapwire.Decoder, parent *node) bool {
	if c.keys++; c.keys > maxKeys {
		return d.Fail("fewer search keys")
	}
	n := &node{}
	if !c.key(d, n) {
		return false
	}
	parent.sub = append(parent.sub, n)
	return true
}

// key reads one search-key (RFC 3501 §9).
func (c *command) key(d *imapwire.Decoder, n *node) bool {
	switch b := d.Peek(); {
	case b == '(':
		if !d.Enter() {
			return false
		}
		defer d.Leave()
		n.kind = kAnd
		return d.WantList(func() bool { return c.child(d, n) })
	case b == '$':
		// No sequence numbers, though it may stand where they do.
		n.kind = kSeqs
		return d.WantSet(&n.set)
	case b == '*' || b >= '0' && b <= '9':
		n.kind, c.numbered = kSeqs, true
		return d.WantSet(&n.set)
	}
	var word string
	start := d.Offset()
	if !d.WantWord(&word) {
		return false
	}
	word = strings.ToUpper(word)
	if make, ok := simple[word]; ok {
		*n = *make()
		return true
	}
	if t, ok := dated[word]; ok {
		*n = t
		return d.WantSP() && d.WantDate(&n.date)
	}
	if t, ok := numbered[word]; ok {
		*n = t
		if n.kind == kAge { // RFC 5032 §3: nz-number
			var seconds uint32
			ok := d.WantSP() && d.WantNZNumber(&seconds)
			n.number = uint64(seconds)
			return ok
		}
		return d.WantSP() && d.WantNumber64(&n.number) // RFC 9051 §9; number in RFC 3501
	}
	if t, ok := texts[word]; ok {
		*n = t
		return d.WantSP() && d.WantAstringBytes(&n.text) && copyText(n)
	}
	if word == "FILTER" {
		n.kind = kFilter
		return d.WantSP() && wantFilterName(d, &n.name) && c.addFilter(filter{n.name, start, d.Offset()}, d)
	}
	return c.other(d, word, n)
}

// other reads the keys with a shape of their own.
func (c *command) other(d *imapwire.Decoder, word string, n *node) bool {
	switch word {
	case "HEADER":
		n.kind = kHeader
		return d.WantSP() && d.WantAstring(&n.name) && d.WantSP() && d.WantAstringBytes(&n.text) && copyText(n)
	case "KEYWORD", "UNKEYWORD":
		k := n
		if word == "UNKEYWORD" {
			k = &node{}
			n.kind, n.sub = kNot, []*node{k}
		}
		k.kind = kKeyword
		return d.WantSP() && d.WantAtom(&k.name)
	case "UID":
		n.kind = kUIDs
		return d.WantSP() && d.WantSet(&n.set)
	case "UIDAFTER", "UIDBEFORE": // RFC 9586 §3.7
		var uid uint32
		if !d.WantSP() || !d.WantNZNumber(&uid) {
			return false
		}
		n.kind, n.nums = kFixed, numset.Span(1, uid-1)
		if word == "UIDAFTER" {
			n.nums = numset.Set{}
			if uid < maxUID {
				n.nums = numset.Span(uid+1, maxUID)
			}
		}
		return true
	case "EMAILID", "THREADID": // RFC 8474 §6
		n.kind = kEmail
		if word == "THREADID" {
			n.kind = kThread
		}
		return d.WantSP() && wantObjectID(d, &n.name)
	case "X-GUID", "X-MAILBOX":
		n.kind = kGUID
		if word == "X-MAILBOX" {
			n.kind = kMailbox
		}
		return d.WantSP() && d.WantAstring(&n.name)
	case "MODSEQ":
		n.kind, c.modSeq = kModSeq, true
		return wantModSeq(d, n)
	case "NOT", "OR":
		if !d.Enter() {
			return false
		}
		defer d.Leave()
		n.kind = kNot
		if !d.WantSP() || !c.child(d, n) {
			return false
		}
		if word == "OR" {
			n.kind = kOr
			return d.WantSP() && c.child(d, n)
		}
		return true
	}
	return d.Fail("a search key")
}

// wantModSeq reads what follows MODSEQ.
//
//	search-modsequence = "MODSEQ" [search-modseq-ext] SP mod-sequence-valzer
//	search-modseq-ext  = SP entry-name SP entry-type-req   RFC 7162 §7
//
// There is one mod-sequence for all of a message, so the entry is read and not
// used (RFC 7162 §3.1.5: "it MUST ignore <entry-name> and <entry-type-req>").
func wantModSeq(d *imapwire.Decoder, n *node) bool {
	if !d.WantSP() {
		return false
	}
	if d.Peek() == '"' {
		var entry, kind string
		if !d.WantString(&entry) {
			return false
		}
		flag, ok := cutPrefixFold(entry, "/flags/")
		if !ok || !isFlag(flag) {
			return d.Fail("an entry such as \"/flags/$MDNSent\"")
		}
		if !d.WantSP() || !d.WantWord(&kind) {
			return false
		}
		switch strings.ToLower(kind) {
		case "priv", "shared", "all":
		default:
			return d.Fail("priv, shared or all")
		}
		if !d.WantSP() {
			return false
		}
	}
	return d.WantModSeqZero(&n.modSeq)
}

// maxUID is the highest UID that there can be.
const maxUID = 1<<32 - 1

// wantObjectID demands objectid = 1*255(ALPHA / DIGIT / "_" / "-") (RFC 8474 §7).
func wantObjectID(d *imapwire.Decoder, id *string) bool {
	if !d.WantAtom(id) {
		return false
	}
	for i := range len(*id) {
		if b := (*id)[i]; !abnf.Alpha.Has(b) && !abnf.Digit.Has(b) && b != '_' && b != '-' {
			return d.Fail("an object identifier")
		}
	}
	return len(*id) <= 255 || d.Fail("an object identifier of at most 255 characters")
}

func cutPrefixFold(s, prefix string) (rest string, ok bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return "", false
	}
	return s[len(prefix):], true
}

// isFlag takes attr-flag = ["\"] atom, but \Recent (RFC 7162 §7).
func isFlag(s string) bool {
	d := imapwire.NewDecoder([]byte(s), imapwire.Limits{})
	var flag string
	return d.WantFlag(&flag) && d.WantEnd() && !strings.EqualFold(flag, `\Recent`)
}

// copyText takes the text out of the command's memory.
func copyText(n *node) bool {
	n.text = append([]byte{}, n.text...)
	return true
}
