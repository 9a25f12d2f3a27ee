package imapname

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/unicode/norm"
)

func TestParse(t *testing.T) {
	tests := []struct {
		in   string
		utf8 bool
		want Name
		err  error
	}{
		{"INBOX", false, "INBOX", nil},
		{"inbox", false, "INBOX", nil},
		{"InBoX/Sub", false, "INBOX/Sub", nil},
		{"inboxes", false, "inboxes", nil},
		{"a/inbox", false, "a/inbox", nil},
		{"&U,BTFw-/x", false, "台北/x", nil},
		{"e&AwE-", false, "é", nil}, // NFD becomes NFC
		{"é", false, "", ErrEncoding},
		{"é", true, "é", nil},
		{"a&b", true, "a&b", nil},
		{"\xff", true, "", ErrUTF8},
		{"", false, "", ErrEmpty},
		{"a//b", false, "", ErrEmpty},
		{"a/", false, "", ErrEmpty},
		{"/a", false, "", ErrLeading},
		{"~a", false, "~a", nil},
		{"a/~b", false, "a/~b", nil},
		{"a/../b", false, "", ErrDots},
		{".", false, "", ErrDots},
		{"a..b", false, "a..b", nil},
		{"...", false, "...", nil},
		{"&AAo-", false, "", ErrControl},
		{"a&AAA-", false, "", ErrControl},
		{"&AIU-", false, "", ErrControl},
		{"&ICg-", false, "", ErrControl},
		{"a\x7fb", true, "", ErrControl},
		{strings.Repeat("x", 255), false, Name(strings.Repeat("x", 255)), nil},
		{strings.Repeat("x", 256), false, "", ErrLong},
		{strings.Repeat("é", 100), true, "", ErrLong}, // 269 bytes of modified UTF-7
		{strings.Repeat("a/", 63) + "a", false, Name(strings.Repeat("a/", 63) + "a"), nil},
		{strings.Repeat("a/", 64) + "a", false, "", ErrLong},
	}
	for _, test := range tests {
		got, err := Parse(test.in, test.utf8)
		if !errors.Is(err, test.err) || err == nil && got != test.want {
			t.Errorf("Parse(%q, %v) = %q, %v; want %q, %v", test.in, test.utf8, got, err, test.want, test.err)
		}
	}
}

func TestNames(t *testing.T) {
	if n := Name("a/b/c"); n.Parent() != "a/b" || n.Base() != "c" || !n.Below("a") || !n.Below("a/b") || n.Below("a/b/c") || n.Below("a/bc") || !n.Below("") {
		t.Error("levels are wrong")
	}
	if n := Name("a"); n.Parent() != "" || n.Base() != "a" || n.Below("") != true || Name("").Below("") {
		t.Error("a name of one level is wrong")
	}
	if Name("a/b").Below("a/b") || Name("ab/c").Below("a") {
		t.Error("Below ignores levels")
	}
	if Name("~a").CheckNew() != ErrLeading || Name("a/~a").CheckNew() != nil || Name("a/").CheckNew() != ErrEmpty {
		t.Error("CheckNew is wrong")
	}
	for name, want := range map[Name]error{"\uFEFFa": ErrUnassigned, "a\uFEFFb": nil, "a\uFFFE": ErrUnassigned, "\U000E0FFF": ErrUnassigned, "\u0378": ErrUnassigned,
		"\uE000": nil, "a\u200Db": nil, "\u3000\U0001F600": nil, "a\u0085": ErrControl} {
		if got := name.CheckNew(); got != want {
			t.Errorf("CheckNew of %q: %v, want %v", name, got, want)
		}
		if want == ErrUnassigned && name.Check() != nil {
			t.Errorf("%q is not served", name)
		}
	}
	if got := Name("old/x/y").Moved("old", "new/old"); got != "new/old/x/y" {
		t.Error(got)
	}
	if got := Name("台北 a&b").Wire(); got != "&U,BTFw- a&-b" {
		t.Error(got)
	}
}

func TestPattern(t *testing.T) {
	tests := []struct {
		ref, pattern string
		yes, no      []Name
	}{
		{"", "*", []Name{"INBOX", "a", "a/b/c"}, nil},
		{"", "%", []Name{"INBOX", "a"}, []Name{"a/b"}},
		{"", "a/%", []Name{"a/b"}, []Name{"a", "a/b/c", "ab"}},
		{"", "a*", []Name{"a", "ab", "a/b/c"}, []Name{"b/a"}},
		{"", "%/%", []Name{"a/b"}, []Name{"a", "a/b/c"}},
		{"", "*c", []Name{"c", "a/c", "abc"}, []Name{"cd"}},
		{"", "%*", []Name{"a", "a/b"}, nil},
		{"", "*%", []Name{"a", "a/b"}, nil},
		{"", "a%%b", []Name{"ab", "axxb"}, []Name{"a/b"}},
		{"", "a%b%c", []Name{"abc", "axbxbxc"}, []Name{"a/b/c"}},
		{"", "inbox", []Name{"INBOX"}, []Name{"INBOX/x"}},
		{"", "iNb%", []Name{"INBOX"}, []Name{"INBOX/x", "inbx"}},
		{"", "inbox/sub", []Name{"INBOX/sub"}, []Name{"INBOX/Sub"}},
		{"", "inbox*", []Name{"INBOX", "INBOX/Sub", "inboxes"}, []Name{"INBOXES"}},
		{"", "Abc", []Name{"Abc"}, []Name{"abc", "ABC"}},
		{"a/", "%", []Name{"a/b"}, []Name{"b", "a"}},
		{"a", "%", []Name{"a", "ab"}, []Name{"a/b"}},
		{"a/", "/b", nil, []Name{"a/b", "b"}},
		{"", "", nil, []Name{"a", "INBOX"}},
		{"", "&U,BTFw-%", []Name{"台北", "台北x"}, []Name{"台北/x"}},
		{"", "e&AwE-", []Name{"é"}, nil},
		{"", "&", nil, []Name{"&", "a"}},
		{"", "&AEE-*", nil, []Name{"A"}},
		{"", "é*", nil, []Name{"é"}},
		{"", "a]b\"\\", []Name{"a]b\"\\"}, nil},
		{"", strings.Repeat("%a", 40), []Name{Name(strings.Repeat("a", 60))}, []Name{Name(strings.Repeat("a", 39))}},
		{"", strings.Repeat("x", MaxPattern+1), nil, []Name{Name(strings.Repeat("x", MaxPattern+1))}},
	}
	for _, test := range tests {
		p := NewPattern(test.ref, test.pattern, false)
		for _, name := range test.yes {
			if !p.Match(name) {
				t.Errorf("%q %q does not match %q", test.ref, test.pattern, name)
			}
		}
		for _, name := range test.no {
			if p.Match(name) {
				t.Errorf("%q %q matches %q", test.ref, test.pattern, name)
			}
		}
	}
	if !NewPattern("", "é&b*", true).Match("é&bx") {
		t.Error("a UTF-8 pattern does not match")
	}
}

func TestMatchBelow(t *testing.T) {
	tests := []struct {
		pattern string
		name    Name
		want    bool
	}{
		{"*", "a", true}, {"%", "a", false}, {"a/%", "a", true}, {"a/%", "b", false}, {"a/b", "a", true}, {"a/b", "a/b", false},
		{"a/", "a", false}, {"%/c", "x", true}, {"%/c", "x/c", false}, {"inbox/x", "INBOX", true}, {"a*z", "a", true}, {"z*", "a", false},
	}
	for _, test := range tests {
		if got := NewPattern("", test.pattern, false).MatchBelow(test.name); got != test.want {
			t.Errorf("%q below %q: %v", test.pattern, test.name, got)
		}
	}
	if !NewPattern("", "a/%", false).Levels() || NewPattern("", "a*", false).Levels() || NewPattern("", "", false).Levels() {
		t.Error("Levels is wrong")
	}
}

func TestDialect(t *testing.T) {
	dot := Dialect{Separator: '.'}
	if name, err := dot.Parse("inbox.a b.&U,BTFw-.", true); name != "INBOX/a b/台北" || err != nil {
		t.Errorf("%q, %v", name, err)
	}
	if _, err := dot.Parse("a.", false); err != ErrEmpty {
		t.Error(err)
	}
	if _, err := dot.Parse("a/b", false); err != ErrSlash {
		t.Error(err)
	}
	if _, err := dot.Parse("a..b", false); err != ErrEmpty {
		t.Error(err)
	}
	if text, ok := dot.Show("INBOX/a b"); text != "INBOX.a b" || !ok {
		t.Error(text, ok)
	}
	if text, ok := dot.Show("a.b"); ok {
		t.Error(text)
	}
	if text, ok := (Dialect{}).Show("a.b/c"); text != "a.b/c" || !ok {
		t.Error(text, ok)
	}
	if p := dot.Pattern("a.", "%"); !p.Match("a/b") || p.Match("a/b/c") || p.Match("a.b") {
		t.Error("a pattern with dots is wrong")
	}
	if dot.Pattern("", "a/b").Match("a/b") {
		t.Error("a slash is taken for the separator")
	}
}

// A pattern that makes backtracking matchers run for ever.
func TestPatternTime(t *testing.T) {
	p := NewPattern("", strings.Repeat("*a%a", 200), false)
	name := Name(strings.Repeat("a", 4000) + "b")
	done := make(chan bool)
	go func() { done <- p.Match(name) }()
	select {
	case matched := <-done:
		if matched {
			t.Error("it matches")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("still matching after 20 s")
	}
}

func TestFolder(t *testing.T) {
	tests := []struct {
		name Name
		dir  string
		err  error
	}{
		{"a", ".a", nil}, {"a/b", ".a.b", nil}, {"a.b/c", ".a%2eb.c", nil}, {"...", ".%2e%2e%2e", nil},
		{"50%", ".50%", nil}, {"a%2eb", ".a%252eb", nil}, {"a%252eb", ".a%25252eb", nil}, {"%25", ".%25", nil}, {"%25.", ".%25%2e", nil}, {"%2", ".%2", nil},
		{"%2f", ".%252f", nil}, {"%.", ".%%2e", nil},
		{"台北/é", ".&U,BTFw-.&AOk-", nil}, {"a&b", ".a&-b", nil}, {"INBOX/x", ".INBOX.x", nil},
		{"cur", ".cur", nil}, {"new/tmp", ".new.tmp", nil}, {"a/~b", ".a.~b", nil}, {"a b", ".a b", nil},
		{"~a", ".~a", nil},
		{"INBOX", "", ErrFolder}, {"a/../b", "", ErrDots}, {"", "", ErrEmpty},
		{Name(strings.Repeat("x", 254)), "." + strings.Repeat("x", 254), nil}, {Name(strings.Repeat("x", 255)), "", ErrLong},
		{Name(strings.Repeat("x/", 60) + strings.Repeat("y", 200)), "", ErrLong},
	}
	for _, test := range tests {
		dir, err := test.name.Folder()
		if dir != test.dir || !errors.Is(err, test.err) {
			t.Errorf("Folder of %q = %q, %v; want %q, %v", test.name, dir, err, test.dir, test.err)
		}
		if test.err != nil {
			continue
		}
		if back, exact, err := FromFolder(dir); back != test.name || !exact || err != nil {
			t.Errorf("FromFolder(%q) = %q, %v, %v; want %q", dir, back, exact, err, test.name)
		}
	}
}

func TestFromFolder(t *testing.T) {
	tests := []struct {
		dir   string
		name  Name
		exact bool
		err   error
	}{
		{".", "", false, ErrFolder}, {"..", "", false, ErrFolder}, {"cur", "", false, ErrFolder}, {"", "", false, ErrFolder},
		{".INBOX", "", false, ErrFolder}, {".inbox.x", "INBOX/x", false, nil},
		{".a..b", "", false, ErrEmpty}, {".a.", "", false, ErrEmpty},
		{".é", "é", false, nil}, {".a&b", "a&b", false, nil}, {".&AEE-", "&AEE-", false, nil}, {".\xff", "", false, ErrUTF8},
		{".e&AwE-", "é", false, nil}, {".a%2fb", "", false, ErrFolder}, {".~x", "~x", true, nil}, {".%2e%2e", "", false, ErrDots},
		{".a%2Eb", "a%2Eb", true, nil},
	}
	for _, test := range tests {
		name, exact, err := FromFolder(test.dir)
		if name != test.name || exact != test.exact || !errors.Is(err, test.err) {
			t.Errorf("FromFolder(%q) = %q, %v, %v; want %q, %v, %v", test.dir, name, exact, err, test.name, test.exact, test.err)
		}
	}
}

func FuzzName(f *testing.F) {
	for _, seed := range []string{"INBOX", "inbox/a", "&U,BTFw-/x", "a.b%2e", "~x", "a//b", "%25252e.", "e&AwE-"} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, wire string, utf8Mode bool) {
		name, err := Parse(wire, utf8Mode)
		if err != nil {
			return
		}
		if Canonical(string(name)) != name {
			t.Fatalf("%q is not canonical", name)
		}
		if again, err := Parse(name.Wire(), false); err != nil || again != name {
			t.Fatalf("%q is written %q and read as %q, %v", name, name.Wire(), again, err)
		}
		if dir, err := name.Folder(); err == nil {
			if back, exact, err := FromFolder(dir); back != name || !exact || err != nil {
				t.Fatalf("%q lies in %q, which is read as %q, %v, %v", name, dir, back, exact, err)
			}
			if strings.ContainsAny(dir, "/\x00") {
				t.Fatalf("folder %q", dir)
			}
		}
	})
}

func FuzzFromFolder(f *testing.F) {
	for _, seed := range []string{".a.b", ".%2e%252e", ".&U,BTFw-", ".é", ".inbox.x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, dir string) {
		name, exact, err := FromFolder(dir)
		if err != nil {
			return
		}
		if back, err := name.Folder(); err != nil || (back == dir) != exact {
			t.Fatalf("%q is %q, which lies in %q, %v", dir, name, back, err)
		}
	})
}

// The matcher agrees with a regular expression made of the same pattern.
func FuzzPattern(f *testing.F) {
	for _, seed := range [][2]string{{"a*b%c", "axb/c"}, {"%/%", "a/b"}, {"inBox*", "INBOX/x"}, {"**%", ""}, {"é%", "éa"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, wire string) {
		name, err := Parse(wire, true)
		p := NewPattern("", pattern, true)
		if err != nil || p.never || len(pattern) > 200 {
			return
		}
		text := strings.NewReplacer("\\*", ".*", "%", "[^/]*").Replace(regexp.QuoteMeta(norm.NFC.String(pattern)))
		if name == Inbox || name.Below(Inbox) {
			return // any case: see TestPattern
		}
		if want := regexp.MustCompile(`(?s)^` + text + `$`).MatchString(string(name)); want != p.Match(name) {
			t.Fatalf("%q on %q: %v, the regular expression %s says %v", pattern, name, p.Match(name), text, want)
		}
	})
}
