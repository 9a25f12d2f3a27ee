package message

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"rookery/internal/errkind"
)

func TestSection(t *testing.T) {
	msg := crlf("Subject: s\nContent-Type: text/html\n\nbody\n")
	root := mustParse(t, msg)
	get := func(path []int, spec Spec) string {
		rng, ok := root.Section(path, spec)
		if !ok {
			return "NIL"
		}
		return msg[rng.Start:rng.End]
	}
	header := crlf("Subject: s\nContent-Type: text/html\n\n")
	cases := []struct {
		path []int
		spec Spec
		want string
	}{
		{nil, SpecNone, msg},
		{nil, SpecHeader, header},
		{nil, SpecText, "body\r\n"},
		{nil, SpecMIME, "NIL"},
		{[]int{1}, SpecNone, "body\r\n"},
		{[]int{1}, SpecMIME, header},
		{[]int{1}, SpecHeader, "NIL"},
		{[]int{1}, SpecText, "NIL"},
		{[]int{2}, SpecNone, "NIL"},
		{[]int{0}, SpecNone, "NIL"},
		{[]int{-1}, SpecNone, "NIL"},
		{[]int{1, 1}, SpecNone, "NIL"},
		{nil, Spec(99), "NIL"},
	}
	for _, c := range cases {
		if got := get(c.path, c.spec); got != c.want {
			t.Errorf("%v %d: got %q, want %q", c.path, c.spec, got, c.want)
		}
	}
}

func TestPartial(t *testing.T) {
	r := Range{10, 20}
	cases := []struct {
		origin, count int64
		want          Range
	}{
		{0, 5, Range{10, 15}},
		{0, 100, Range{10, 20}},
		{9, 1, Range{19, 20}},
		{9, 1 << 62, Range{19, 20}},
		{10, 1, Range{20, 20}},
		{1 << 62, 1 << 62, Range{20, 20}},
		{0, 0, Range{20, 20}},
		{-1, 5, Range{20, 20}},
	}
	for _, c := range cases {
		if got := r.Partial(c.origin, c.count); got != c.want {
			t.Errorf("<%d.%d>: %v", c.origin, c.count, got)
		}
	}
}

func TestHeaderFields(t *testing.T) {
	msg := "From: a\r\nto : b\r\n c\r\nX: y\r\nno field\r\n z\r\nTo: d\n\r\nTo: body\r\n"
	root := mustParse(t, msg)
	cases := []struct {
		names []string
		not   bool
		want  string
	}{
		{[]string{"TO"}, false, "to : b\r\n c\r\nTo: d\n\r\n"},
		{[]string{"to", "from"}, true, "X: y\r\n\r\n"},
		{[]string{"nope"}, false, "\r\n"},
		{nil, false, "\r\n"},
		{nil, true, "From: a\r\nto : b\r\n c\r\nX: y\r\nTo: d\n\r\n"},
	}
	for _, c := range cases {
		got, err := HeaderFields(strings.NewReader(msg), root.Header(), c.names, c.not, Limits{})
		if err != nil || string(got) != c.want {
			t.Errorf("%v %v: %q, %v", c.names, c.not, got, err)
		}
	}
	// Without a blank line there is none to show; a cut line gets its end.
	msg = "A: b\r\nC: d"
	got, err := HeaderFields(strings.NewReader(msg), Range{0, int64(len(msg))}, []string{"C"}, false, Limits{})
	if err != nil || string(got) != "C: d\r\n" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := HeaderFields(failingReader{strings.NewReader(msg), 3}, Range{0, int64(len(msg))}, nil, true, Limits{}); err == nil {
		t.Error("a reader's error was lost")
	}
}

func TestHeaderReader(t *testing.T) {
	msg := "Long: " + strings.Repeat("x", 100_000) + "\r\n more\r\nB:c\r\n\r\nbody"
	root := mustParse(t, msg)
	hr := NewHeaderReader(strings.NewReader(msg), root.Header(), Limits{FieldBytes: 10_000})
	var names []string
	for hr.Next() {
		f := hr.Field()
		names = append(names, string(f.Name))
		if f.Is("LONG") && (len(f.Value) > 11_000 || f.Range != (Range{0, 100_015})) {
			t.Errorf("%d bytes, %v", len(f.Value), f.Range)
		}
		if f.Is("b") && string(f.Unfolded(nil)) != "c" {
			t.Errorf("%q", f.Value)
		}
	}
	if hr.Err() != nil || !reflect.DeepEqual(names, []string{"Long", "B"}) || hr.BlankLine().Len() != 2 {
		t.Errorf("%q, %v, %v", names, hr.BlankLine(), hr.Err())
	}
}

func TestParam2231(t *testing.T) {
	cases := []struct{ field, name, want string }{
		{"a/b; name*=utf-8''na%C3%AFve", "name", "naïve"},
		{"a/b; name*0*=iso-8859-1'en'%E9; name*1=t; name*2*=%E9", "name", "été"},
		{"a/b; name*1=x; name*0=y", "NAME", "yx"},
		{"a/b; name*0=y; name*2=z", "name", "y"},
		{"a/b; name*0=a; name*0=b", "name", "a"},
		{"a/b; name*01=y; name*=x%4", "name", "x%4"},
		{"a/b; name=plain; name*=utf-8''other", "name", "plain"},
		{"a/b", "name", ""},
	}
	for _, c := range cases {
		_, _, params := parseContentType(c.field, 100)
		if got := findParam(params, c.name); got != c.want {
			t.Errorf("%s: got %q, want %q", c.field, got, c.want)
		}
	}
}

func TestDecodeTreeIsStrict(t *testing.T) {
	msg := crlf("Subject: s\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nSubject: in\n\nx\n--b\n\ny\n--b--\n")
	good := AppendTree(nil, mustParse(t, msg))
	for i := range good {
		if _, err := DecodeTree(good[:i], Limits{}); errkind.Of(err) != errkind.Corrupt {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	if _, err := DecodeTree(append(bytes.Clone(good), 0), Limits{}); err == nil {
		t.Error("a byte too many passed")
	}
	if _, err := DecodeTree(good, Limits{Depth: 1}); err == nil {
		t.Error("a tree that is too deep passed")
	}
	bad := bytes.Clone(good)
	bad[0]++
	if _, err := DecodeTree(bad, Limits{}); err == nil {
		t.Error("another version passed")
	}
}

func FuzzDecodeTree(f *testing.F) {
	for _, msg := range []string{"", searchMail, "Content-Type: message/rfc822\n\nTo: x\n\ny"} {
		root, _ := Parse(strings.NewReader(msg), int64(len(msg)), Limits{})
		f.Add(AppendTree(nil, root))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		root, err := DecodeTree(b, Limits{})
		if err != nil {
			return
		}
		if again := AppendTree(nil, root); !bytes.Equal(again, b) {
			t.Fatalf("%x is written back as %x", b, again)
		}
		checkTexts(t, root, Limits{})
		root.Find([]int{1, 1, 2})
	})
}

func TestDecodeTreeRefusesWhatCannotBe(t *testing.T) {
	leaf := func(from, to int64) *Part {
		return &Part{HeaderStart: from, BodyStart: from, BodyEnd: to, Type: "text", Subtype: "plain"}
	}
	multi := func(children ...*Part) *Part {
		return &Part{BodyEnd: 100, Type: "multipart", Subtype: "mixed", Envelope: &Envelope{}, Children: children}
	}
	message := multi(leaf(0, 10))
	message.Type, message.Subtype = "message", "rfc822"
	opaque := multi(leaf(0, 10))
	opaque.Opaque = true
	text := multi(leaf(0, 10))
	text.Type = "text"
	for name, root := range map[string]*Part{
		"overlap":                     multi(leaf(0, 10), leaf(5, 20)),
		"beyond its parent":           multi(leaf(0, 101)),
		"a message without envelope":  message,
		"an opaque part with parts":   opaque,
		"a text with parts":           text,
		"a root without an envelope":  leaf(0, 10),
		"more lines than bytes":       {BodyEnd: 1, BodyLines: 2, Type: "a", Subtype: "b", Envelope: &Envelope{}},
		"a part without a type":       {Envelope: &Envelope{}},
		"unknown bits in an envelope": {Type: "a", Subtype: "b", Envelope: &Envelope{Present: 0x80}},
	} {
		if _, err := DecodeTree(AppendTree(nil, root), Limits{}); errkind.Of(err) != errkind.Corrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := DecodeTree(AppendTree(nil, multi(leaf(0, 10), leaf(10, 20))), Limits{}); err != nil {
		t.Errorf("a good tree: %v", err)
	}
}
