package imapwire

import "testing"

func TestRawList(t *testing.T) {
	for _, c := range []struct {
		in, raw string
		ok      bool
	}{
		{"(a)", "(a)", true}, {"(uid body.peek[header.fields (from to)]) x", "(uid body.peek[header.fields (from to)])", true},
		{`(a ")" b)c`, `(a ")" b)`, true}, {"(a {3+}\r\n))) b)", "(a {3+}\r\n))) b)", true}, {`("\")") `, `("\")")`, true},
		{"()", "()", true}, {"a", "", false}, {"", "", false}, {"((a)", "", false}, {`("a`, "", false}, {"(a {9+}\r\n)", "", false},
	} {
		d := NewDecoder([]byte(c.in), Limits{Line: 100, Literal: 100})
		raw, ok := d.RawList()
		if string(raw) != c.raw || ok != c.ok {
			t.Errorf("%q: %q, %t", c.in, raw, ok)
		}
		if ok && d.Offset() != len(c.raw) {
			t.Errorf("%q: at %d", c.in, d.Offset())
		}
	}
}
