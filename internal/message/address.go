package message

import "strings"

// Address is one element of an address list as IMAP's ENVELOPE shows it (RFC
// 3501 §7.4.2).
type Address struct {
	Kind    AddressKind
	Name    string // display name, quoting removed, encoded-words as they are
	Route   string // source route "@a,@b" (obsolete), or empty
	Mailbox string // local-part without quoting; the group's name for a GroupStart
	Host    string // domain; empty for groups
}

// AddressKind tells addresses from the marks around a group.
type AddressKind uint8

// The kinds of list elements.
const (
	Mailbox AddressKind = iota
	GroupStart
	GroupEnd
)

// What stands for the missing half of an address. A NIL host would mark a
// group, so something must; these are the words Dovecot's users know.
const (
	MissingMailbox = "MISSING_MAILBOX"
	MissingDomain  = "MISSING_DOMAIN"
)

// ParseAddresses reads an unfolded address-list (RFC 5322 §3.4, obsolete forms
// of §4.4 too) and gives at most limit elements; a group that the limit cuts is
// closed beyond it. Broken input gives what can be made of it. Time is linear.
func ParseAddresses(value string, limit int) []Address {
	p := addressParser{cursor: cursor{s: value}, limit: limit}
	for p.more() && len(p.list) < limit {
		if !p.common() {
			p.element()
		}
	}
	if p.inGroup {
		p.list = append(p.list, Address{Kind: GroupEnd})
	}
	return p.list
}

type addressParser struct {
	cursor
	limit   int
	list    []Address
	inGroup bool
	comment string // the last comment, which may stand for a display name
	name    []byte // the words so far, for a display name
	local   []byte // the last run of words joined by dots, for a local-part
	nameLen int    // length of name before that run
	words   int
	dot     bool // the last token was a dot
	blank   bool // blanks or comments stood before this token
	// A quote, parenthesis or bracket that nothing closes is passed over, so that the
	// addresses after it are not lost; it is looked for once.
	noQuote, noComment, noLiteral bool
}

// element reads up to the end of one address, group start or group end.
func (p *addressParser) element() {
	p.name, p.local, p.nameLen, p.words = p.name[:0], p.local[:0], 0, 0
	p.dot, p.comment = false, ""
	for p.more() {
		p.skip()
		if !p.more() {
			break
		}
		switch b := p.s[p.i]; b {
		case ',', ';':
			p.bare()
			p.i++
			if b == ';' && p.inGroup {
				p.inGroup = false
				p.list = append(p.list, Address{Kind: GroupEnd})
			}
			return
		case '<':
			p.i++
			p.angle(string(p.name))
			return
		case '@':
			p.i++
			if p.plain() {
				return
			}
		case ':':
			p.i++
			if !p.inGroup && p.words > 0 {
				p.inGroup = true
				p.list = append(p.list, Address{Kind: GroupStart, Mailbox: string(p.name)})
				return
			}
		default:
			p.word()
		}
	}
	p.bare()
}

// skip passes over blanks and comments and remembers the last comment.
func (p *addressParser) skip() {
	p.blank = false
	for p.more() {
		switch b := p.s[p.i]; {
		case isBlank(b):
			p.i++
		case b == '(' && !p.noComment:
			p.takeComment()
		default:
			return
		}
		p.blank = true
	}
}

// takeComment reads a comment; the cursor is at its parenthesis.
func (p *addressParser) takeComment() {
	start := p.i
	text := p.skipComment()
	if p.s[p.i-1] == ')' && len(text) == p.i-start-2 {
		p.comment = text
		return
	}
	p.noComment, p.i = true, start+1
}

// takeQuoted reads a quoted string; the cursor is at its quote.
func (p *addressParser) takeQuoted() string {
	start := p.i
	if p.noQuote || !p.closes() {
		p.noQuote, p.i = true, start+1
		return ""
	}
	return p.quoted()
}

// closes reports whether the quoted string at the cursor has its other quote.
func (p *addressParser) closes() bool {
	for i := p.i + 1; i < len(p.s); i++ {
		switch p.s[i] {
		case '\\':
			i++
		case '"':
			return true
		}
	}
	return false
}

// isWordByte reports what may stand in an atom here: all but the specials (RFC
// 5322 §3.2.3), the dot among them. Control and 8-bit bytes pass.
func isWordByte(b byte) bool {
	switch b {
	case ' ', '\t', '\r', '\n', '(', ')', '<', '>', '@', ',', ';', ':', '"', '.':
		return false
	}
	return true
}

// word reads one atom, quoted string or dot of a phrase or local-part.
func (p *addressParser) word() {
	if p.take('.') {
		p.name = append(p.name, '.')
		p.local = append(p.local, '.')
		p.dot = true
		return
	}
	blank := p.blank
	quoted := p.s[p.i] == '"'
	w := p.wordText()
	if w == "" && (!quoted || p.noQuote) {
		return // a stray special
	}
	if !p.dot && p.words > 0 && blank {
		p.nameLen = len(p.name)
		p.local = p.local[:0]
	}
	if p.words > 0 && blank {
		p.name = append(p.name, ' ')
	}
	p.name = append(p.name, w...)
	p.local = append(p.local, w...)
	p.words++
	p.dot = false
}

// wordText reads an atom or a quoted string. It always moves on.
func (p *addressParser) wordText() string {
	if p.s[p.i] == '"' {
		return p.takeQuoted()
	}
	start := p.i
	for p.more() && isWordByte(p.s[p.i]) {
		p.i++
	}
	if p.i == start { // a stray special
		p.i++
		return ""
	}
	return p.s[start:p.i]
}

// bare ends an element that had no "@" and no angle brackets: a lone local-part.
func (p *addressParser) bare() {
	if len(p.name) == 0 {
		return
	}
	p.list = append(p.list, Address{Name: cleanPhrase(p.comment), Mailbox: string(p.name), Host: MissingDomain})
}

// plain reads the domain after "@" of an address without angle brackets. It
// reports false if a display name with an "@" turns out to go on.
func (p *addressParser) plain() bool {
	host := p.domain()
	p.skip()
	if p.more() && (p.s[p.i] == '<' || (p.s[p.i] == '@' && len(p.local) < maxOddLocal)) {
		// joe@example.org <joe@example.org>, or joe@a@b: no address yet.
		p.name = append(append(p.name, '@'), host...)
		p.local = append(append(p.local, '@'), host...)
		p.words++
		return false
	}
	local, name := string(p.local), string(p.name[:p.nameLen])
	if p.words == 0 {
		local = MissingMailbox
	}
	if name == "" {
		name = cleanPhrase(p.comment)
	}
	p.list = append(p.list, newAddress(name, "", local, host))
	return true
}

func newAddress(name, route, local, host string) Address {
	if host == "" {
		host = MissingDomain
	}
	return Address{Name: name, Route: route, Mailbox: local, Host: host}
}

// cleanPhrase trims a comment that stands for a display name and takes its
// quoting off.
func cleanPhrase(s string) string {
	s = strings.Trim(s, " \t")
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

// angle reads what follows "<".
func (p *addressParser) angle(name string) {
	p.skip()
	for p.take('<') { // <<joe@example.org>>
		p.skip()
	}
	route := ""
	if p.more() && p.s[p.i] == '@' {
		route = p.route()
	}
	local, words := p.angleLocal()
	host := ""
	if p.take('@') {
		host = p.domain()
		for p.skip(); p.take('@'); p.skip() { // <a@b@c>: the last one counts
			local += "@" + host
			host = p.domain()
			if len(local) > maxOddLocal {
				break
			}
		}
	}
	for p.more() && p.s[p.i] != '>' && p.s[p.i] != ',' && p.s[p.i] != ';' {
		p.junk()
	}
	p.take('>')
	p.skip()
	if words == 0 {
		local = MissingMailbox
	}
	if name == "" {
		name = cleanPhrase(p.comment)
	}
	p.list = append(p.list, newAddress(name, route, local, host))
	// What stands between ">" and the comma belongs to nobody.
	for p.more() && p.s[p.i] != ',' && p.s[p.i] != ';' && p.s[p.i] != '<' && p.s[p.i] != '@' {
		p.junk()
	}
	if p.more() && p.s[p.i] == ',' {
		p.i++
	}
}

// maxOddLocal bounds a local-part that is put together from many "@".
const maxOddLocal = 1 << 10

// junk passes over one token that has no place.
func (p *addressParser) junk() {
	switch p.s[p.i] {
	case '"':
		p.takeQuoted()
	case '(':
		if p.noComment {
			p.i++
		} else {
			p.takeComment()
		}
	default:
		p.i++
	}
}

// angleLocal reads a local-part within angle brackets.
func (p *addressParser) angleLocal() (local string, words int) {
	b := p.local[:0]
	for {
		p.skip()
		if !p.more() {
			break
		}
		c := p.s[p.i]
		if c == '.' {
			p.i++
			b = append(b, '.')
			continue
		}
		if c != '"' && !isWordByte(c) {
			break
		}
		if p.blank && len(b) > 0 && b[len(b)-1] != '.' {
			b = append(b, ' ')
		}
		b = append(b, p.wordText()...)
		words++
	}
	p.local = b
	return string(b), words
}

// route reads an obsolete source route up to its colon (RFC 5322 §4.4
// obs-route); without a colon it was no route, and nothing is read.
func (p *addressParser) route() string {
	start := p.i
	var b []byte
	for p.more() {
		switch c := p.s[p.i]; {
		case c == ':':
			p.i++
			return string(b)
		case c == '@':
			p.i++
			if len(b) > 0 {
				b = append(b, ',')
			}
			b = append(append(b, '@'), p.domain()...)
		case c == ',':
			p.i++
		case isBlank(c) || (c == '(' && !p.noComment):
			p.skip()
		default:
			p.i = start
			return ""
		}
	}
	p.i = start
	return ""
}

// domain reads a domain: atoms and dots, or a domain literal.
func (p *addressParser) domain() string {
	p.skip()
	if p.more() && p.s[p.i] == '[' && !p.noLiteral {
		start := p.i
		p.noLiteral = true
		if n := strings.IndexByte(p.s[start:], ']'); n >= 0 {
			p.i, p.noLiteral = start+n+1, false
			return p.s[start:p.i]
		}
	}
	var b []byte
	for p.more() {
		c := p.s[p.i]
		if c == '.' {
			p.i++
			b = append(b, '.')
		} else if isWordByte(c) {
			b = append(b, p.wordText()...)
		} else {
			break
		}
		// Blanks may stand around dots only (RFC 5322 §4.4 obs-domain).
		save := p.i
		p.skip()
		if p.i > save && !(p.more() && p.s[p.i] == '.') && b[len(b)-1] != '.' {
			break
		}
	}
	return string(b)
}
