package message

import (
	"slices"
	"strings"
)

// setType sets type and subtype from a default of this package.
func (p *Part) setType(def string) {
	p.Type, p.Subtype, _ = strings.Cut(def, "/")
}

// parseContentType reads a Content-Type value. RFC 2045 §5.2: what cannot be
// read counts as text/plain; its parameters are kept.
func parseContentType(v string, maxParams int) (typ, subtype string, params []Param) {
	c := cursor{s: v}
	c.skipCFWS()
	typ = c.token()
	c.skipCFWS()
	if c.take('/') {
		c.skipCFWS()
		subtype = c.token()
	}
	params = c.params(maxParams)
	switch {
	case typ != "" && subtype != "":
	case strings.EqualFold(typ, "multipart"):
		subtype = "mixed"
	default:
		typ, subtype = "text", "plain"
	}
	return typ, subtype, params
}

// parseDisposition reads a Content-Disposition value (RFC 2183 §2).
func parseDisposition(v string, maxParams int) (string, []Param) {
	c := cursor{s: v}
	c.skipCFWS()
	disp := c.token()
	if disp == "" {
		return "", nil
	}
	return disp, c.params(maxParams)
}

// parseEncoding reads a Content-Transfer-Encoding value: its first word.
func parseEncoding(v string) string {
	c := cursor{s: v}
	c.skipCFWS()
	return c.token()
}

// parseLanguages reads a Content-Language value: tags with commas (RFC 3282 §2).
func parseLanguages(v string, most int) []string {
	var tags []string
	c := cursor{s: v}
	for c.more() && len(tags) < most {
		c.skipCFWS()
		if tag := c.token(); tag != "" {
			tags = append(tags, tag)
		}
		c.skipTo(',')
		c.take(',')
	}
	return tags
}

// cursor walks over a field value.
type cursor struct {
	s string
	i int
}

func (c *cursor) more() bool { return c.i < len(c.s) }

func (c *cursor) take(b byte) bool {
	if c.more() && c.s[c.i] == b {
		c.i++
		return true
	}
	return false
}

func isBlank(b byte) bool { return b == ' ' || b == '\t' || b == '\r' || b == '\n' }

// skipCFWS passes over blanks and comments (RFC 5322 §3.2.2). A comment that is
// not closed ends with the value.
func (c *cursor) skipCFWS() {
	for c.more() {
		switch b := c.s[c.i]; {
		case isBlank(b):
			c.i++
		case b == '(':
			c.skipComment()
		default:
			return
		}
	}
}

// skipComment passes over a comment, nested ones included, and gives its text
// without the outer parentheses.
func (c *cursor) skipComment() string {
	start, depth := c.i+1, 0
	for ; c.more(); c.i++ {
		switch c.s[c.i] {
		case '\\':
			c.i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				c.i++
				return c.s[start : c.i-1]
			}
		}
	}
	c.i = min(c.i, len(c.s))
	return c.s[min(start, c.i):c.i]
}

// isTokenByte is RFC 2045 §5.1 token: any CHAR except SPACE, CTLs and tspecials.
// 8-bit bytes pass too, since broken mail has them.
func isTokenByte(b byte) bool {
	if b <= ' ' || b == 0x7f {
		return false
	}
	return strings.IndexByte("()<>@,;:\\\"/[]?=", b) < 0
}

func (c *cursor) token() string {
	start := c.i
	for c.more() && isTokenByte(c.s[c.i]) {
		c.i++
	}
	return c.s[start:c.i]
}

// quoted reads a quoted string at the cursor; one that is not closed ends with
// the value.
func (c *cursor) quoted() string {
	c.i++
	start := c.i
	for c.more() && c.s[c.i] != '"' && c.s[c.i] != '\\' {
		c.i++
	}
	if c.more() && c.s[c.i] == '"' {
		c.i++
		return c.s[start : c.i-1]
	}
	var b strings.Builder
	b.WriteString(c.s[start:c.i])
	for c.more() {
		ch := c.s[c.i]
		c.i++
		if ch == '"' {
			break
		}
		if ch == '\\' && c.more() {
			ch = c.s[c.i]
			c.i++
		}
		b.WriteByte(ch)
	}
	return b.String()
}

// params reads *(";" name "=" value). What is no parameter is passed over up to
// the next semicolon.
func (c *cursor) params(most int) []Param {
	var list []Param
	for c.more() && len(list) < most {
		c.skipTo(';')
		if !c.take(';') {
			break
		}
		c.skipCFWS()
		name := c.token()
		c.skipCFWS()
		if name == "" || !c.take('=') {
			continue
		}
		c.skipCFWS()
		var value string
		if c.more() && c.s[c.i] == '"' {
			value = c.quoted()
		} else {
			value = c.loose()
		}
		list = append(list, Param{name, value})
	}
	return list
}

// skipTo goes to the next stop byte outside quotes and comments.
func (c *cursor) skipTo(stop byte) {
	for c.more() && c.s[c.i] != stop {
		switch c.s[c.i] {
		case '"':
			c.quoted()
		case '(':
			c.skipComment()
		default:
			c.i++
		}
	}
}

// loose reads a value without quotes: up to the semicolon, blanks inside
// included, since senders forget the quotes around file names. A comment ends it.
func (c *cursor) loose() string {
	start := c.i
	for c.more() && c.s[c.i] != ';' {
		if c.s[c.i] == '(' && c.i > start && isBlank(c.s[c.i-1]) {
			break
		}
		c.i++
	}
	return strings.TrimRight(c.s[start:c.i], " \t\r\n")
}

// findParam gives a parameter's value as UTF-8: name itself, or the RFC 2231
// forms name*, name*0, name*0*, …
func findParam(params []Param, name string) string {
	for _, p := range params {
		if strings.EqualFold(p.Name, name) {
			return p.Value
		}
	}
	if s, ok := paramNamed(params, name+"*"); ok {
		charset, rest := cutCharset(s)
		return decode2231(charset, rest)
	}
	return joinParam(params, name)
}

func paramNamed(params []Param, name string) (string, bool) {
	for _, p := range params {
		if strings.EqualFold(p.Name, name) {
			return p.Value, true
		}
	}
	return "", false
}

// joinParam puts the pieces name*0 … together (RFC 2231 §3, §4.1). There are at
// most as many pieces as parameters, of which Limits.Params bounds the number.
func joinParam(params []Param, name string) string {
	type piece struct {
		value   string
		encoded bool
	}
	pieces := make(map[int]piece)
	for _, p := range params {
		if len(p.Name) <= len(name)+1 || p.Name[len(name)] != '*' || !strings.EqualFold(p.Name[:len(name)], name) {
			continue
		}
		digits, encoded := strings.CutSuffix(p.Name[len(name)+1:], "*")
		if n, ok := smallNumber(digits); ok {
			if _, dup := pieces[n]; !dup {
				pieces[n] = piece{p.Value, encoded}
			}
		}
	}
	var charset string
	var raw []byte
	for i := 0; ; i++ {
		p, ok := pieces[i]
		if !ok {
			break
		}
		if i == 0 && p.encoded {
			charset, p.value = cutCharset(p.value)
		}
		if p.encoded {
			raw = appendUnpercent(raw, p.value)
		} else {
			raw = append(raw, p.value...)
		}
	}
	return string(appendDecoded(nil, charset, raw))
}

// smallNumber reads a decimal number of at most three digits without needless
// zeros.
func smallNumber(s string) (int, bool) {
	if s == "" || len(s) > 3 || (s[0] == '0' && len(s) > 1) {
		return 0, false
	}
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}

// cutCharset splits charset'language'rest.
func cutCharset(s string) (charset, rest string) {
	charset, after, ok := strings.Cut(s, "'")
	if !ok {
		return "", s
	}
	if _, rest, ok = strings.Cut(after, "'"); !ok {
		return "", s
	}
	return charset, rest
}

func decode2231(charset, s string) string {
	return string(appendDecoded(nil, charset, appendUnpercent(nil, s)))
}

// appendUnpercent decodes %XX; what is no such code stays.
func appendUnpercent(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, ok1 := hexDigit(s[i+1])
			lo, ok2 := hexDigit(s[i+2])
			if ok1 && ok2 {
				dst = append(dst, hi<<4|lo)
				i += 2
				continue
			}
		}
		dst = append(dst, s[i])
	}
	return dst
}

func hexDigit(b byte) (byte, bool) {
	switch {
	case '0' <= b && b <= '9':
		return b - '0', true
	case 'A' <= b && b <= 'F':
		return b - 'A' + 10, true
	case 'a' <= b && b <= 'f':
		return b - 'a' + 10, true
	}
	return 0, false
}

// decodedParams gives parameters with those of RFC 2231's forms put together and
// decoded, each where its first piece stands: "a*0", "a*1" as "a", and "a*" or a
// pieced one of which some are encoded as "a*" in UTF-8 (RFC 9051 §7.5.2). What
// cannot be read so stays as it is.
func decodedParams(list []Param) []Param {
	out := make([]Param, 0, len(list))
	var done []string
	for _, p := range list {
		base, form, ok := strings.Cut(p.Name, "*")
		switch {
		case !ok || base == "":
			out = append(out, p)
		case slices.ContainsFunc(done, func(name string) bool { return strings.EqualFold(name, base) }):
		case form == "":
			charset, rest := cutCharset(p.Value)
			out = append(out, Param{Name: p.Name, Value: decode2231(charset, rest)})
		default:
			value, encoded := joinParam(list, base), false
			for _, q := range list {
				name, form, _ := strings.Cut(q.Name, "*")
				encoded = encoded || strings.EqualFold(name, base) && strings.HasSuffix(form, "*")
			}
			if value == "" {
				out = append(out, p)
				continue
			}
			done = append(done, base)
			if encoded {
				base += "*"
			}
			out = append(out, Param{Name: base, Value: value})
		}
	}
	return out
}
