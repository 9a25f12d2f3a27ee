package imapwire

// RawList takes a parenthesised list as it stands, for who parses it later: lists
// within it, quoted strings and literals are passed over whole.
func (d *Decoder) RawList() (raw []byte, ok bool) {
	start, depth := d.at, 0
	for d.err == nil && d.at < len(d.p) {
		var text []byte
		switch b := d.p[d.at]; {
		case b == '(':
			depth++
			d.at++
		case b == ')':
			d.at++
			if depth--; depth == 0 {
				return d.p[start:d.at], true
			}
		case depth == 0:
			return nil, false
		case d.StringBytes(&text):
		default:
			d.at++
		}
	}
	return nil, d.Fail("closing parenthesis")
}
