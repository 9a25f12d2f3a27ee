package search

import (
	"strings"

	"rookery/imapworker/internal/view"
	"rookery/internal/imapwire"
	"rookery/internal/message"
)

// maxKeys bounds the keys of one command: each is asked about each message.
const maxKeys = 4096

// Config is what the settings say.
type Config struct {
	Limits message.Limits
}

// result says what of a search's outcome is wanted (RFC 4731 §3.1).
type result uint8

const (
	rMin result = 1 << iota
	rMax
	rAll
	rCount
)

var results = map[string]result{"MIN": rMin, "MAX": rMax, "ALL": rAll, "COUNT": rCount}

// command is a SEARCH, parsed.
type command struct {
	cfg      *Config
	extended bool // RETURN was given: the answer is ESEARCH
	want     result
	charset  string
	root     *node
	keys     int
	modSeq   bool // the key MODSEQ stands somewhere: the answer has one too
}

// Parser gives the parser of SEARCH and UID SEARCH.
//
//	search     = "SEARCH" [search-return-opts] SP search-program   RFC 4466 §2.6.1
//	search-program = ["CHARSET" SP charset SP] search-key *(SP search-key)
func Parser(cfg Config) view.Parse {
	return func(d *imapwire.Decoder, _ bool) (view.Job, bool) {
		c := &command{cfg: &cfg, root: &node{kind: kAnd}}
		if !d.WantSP() {
			return nil, false
		}
		if !c.mayReturn(d) {
			return nil, false
		}
		if d.Keyword("CHARSET") && (!d.WantSP() || !d.WantAstring(&c.charset) || !d.WantSP()) {
			return nil, false
		}
		return c, c.criteria(d)
	}
}

// mayReturn reads search-return-opts and the blank behind them, where they are.
func (c *command) mayReturn(d *imapwire.Decoder) bool {
	if !d.Keyword("RETURN") {
		return true
	}
	c.extended = true
	return d.WantSP() && c.returns(d) && d.WantSP()
}

// criteria reads search-key *(SP search-key) up to the end of the command.
func (c *command) criteria(d *imapwire.Decoder) bool {
	for {
		if !c.child(d, c.root) {
			return false
		}
		if !d.SP() {
			return d.WantEnd()
		}
	}
}

// returns reads search-return-opts; "()" is the same as "(ALL)" (RFC 4731 §3.1).
func (c *command) returns(d *imapwire.Decoder) bool {
	ok := d.WantEmptyList(func() bool {
		var word string
		if !d.WantWord(&word) {
			return false
		}
		r, ok := results[strings.ToUpper(word)]
		if !ok {
			return d.Fail("MIN, MAX, ALL or COUNT")
		}
		c.want |= r
		return true
	})
	if c.want == 0 {
		c.want = rAll
	}
	return ok
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
	case b == '*' || b >= '0' && b <= '9':
		n.kind = kSeqs
		return d.WantSet(&n.set)
	}
	var word string
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
			return d.WantSP() && d.WantNZNumber(&n.number)
		}
		return d.WantSP() && d.WantNumber(&n.number)
	}
	if t, ok := texts[word]; ok {
		*n = t
		return d.WantSP() && d.WantAstringBytes(&n.text) && copyText(n)
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
