package show

import (
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	for _, test := range []struct{ body, want string }{
		{``, ""},
		{`[]`, ""},
		{`null`, ""},
		{`[{"user":"ann","pid":7},{"user":"bob","tls":true}]`, "user  pid  tls\nann   7    -\nbob   -    true\n"},
		{`{"zeta":1,"alpha":{"b":2,"a":[1,2]},"who":[{"x":1}]}`, "zeta: 1\nalpha:\n  b: 2\n  a: 1, 2\nwho:\nx\n1\n"},
		{`["a","b"]`, "a\nb\n"},
		{`[{"user":"a\u001b[31mb\u202e"}]`, "user\na\\x1b[31mb\\u202e\n"},
	} {
		var b strings.Builder
		if err := Text(&b, []byte(test.body)); err != nil {
			t.Error(err)
		}
		if b.String() != test.want {
			t.Errorf("%s:\n%q\nwant %q", test.body, b.String(), test.want)
		}
	}
	if err := Text(&strings.Builder{}, []byte(`{"a":`)); err == nil {
		t.Error("broken JSON was shown")
	}
	if err := Text(&strings.Builder{}, []byte(strings.Repeat("[", 100))); err == nil {
		t.Error("deep nesting was followed")
	}
}
