package message

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func showAddresses(list []Address) string {
	var s []string
	for _, a := range list {
		switch a.Kind {
		case GroupStart:
			s = append(s, a.Mailbox+":")
		case GroupEnd:
			s = append(s, ";")
		default:
			s = append(s, fmt.Sprintf("[%s|%s|%s|%s]", a.Name, a.Route, a.Mailbox, a.Host))
		}
	}
	return strings.Join(s, "")
}

func TestParseAddresses(t *testing.T) {
	cases := []struct{ in, want string }{
		{"joe@example.org", "[||joe|example.org]"},
		{"Joe Q. Public <john.q.public@example.com>", "[Joe Q. Public||john.q.public|example.com]"},
		{`"Joe, \"Q\"" <joe@a>, "x y"@b`, `[Joe, "Q"||joe|a][||x y|b]`},
		{"a@b (Ann)", "[Ann||a|b]"},
		{"a@b (An\\)n (x))", "[An)n (x)||a|b]"},
		{"(one) a (two) @ (three) b (four) . (five) c", "[five||a|b.c]"},
		{"g:a@b;,c@d", "g:[||a|b];[||c|d]"},
		{"g: h: a@b; c@d", "g:[h||a|b];[||c|d]"},
		{"g:", "g:;"},
		{": a@b", "[||a|b]"},
		{"<@r1,@r2:a@b>", "[|@r1,@r2|a|b]"},
		{"x <@r1 : a@b>", "[x|@r1|a|b]"},
		{"<@r1>", "[||MISSING_MAILBOX|r1]"},
		{"<a>", "[||a|MISSING_DOMAIN]"},
		{"<>", "[||MISSING_MAILBOX|MISSING_DOMAIN]"},
		{"@b", "[||MISSING_MAILBOX|b]"},
		{"a@", "[||a|MISSING_DOMAIN]"},
		{`""@d`, "[|||d]"},
		{`<""@d>`, "[|||d]"},
		{"John Doe joe@x", "[John Doe||joe|x]"},
		{"joe@x <joe@y>", "[joe@x||joe|y]"},
		{"Joe <joe@x", "[Joe||joe|x]"},
		{"Joe <joe@x, ann@y", "[Joe||joe|x][||ann|y]"},
		{"Joe <joe@x> junk, ann@y", "[Joe||joe|x][||ann|y]"},
		{"a@[IPv6:::1]", "[||a|[IPv6:::1]]"},
		{"a@[unclosed", "[||a|[unclosed]"},
		{"a@b c@d", "[||a|b][||c|d]"},
		{"a@b; c@d", "[||a|b][||c|d]"},
		{"(comment \\", "[||comment \\|MISSING_DOMAIN]"},
		{"\"a\\", "[||a\\|MISSING_DOMAIN]"},
		{"a.b.@c", "[||a.b.|c]"},
		{",,;,", ""},
		{" \t", ""},
		{"", ""},
	}
	for _, c := range cases {
		if got := showAddresses(ParseAddresses(c.in, 100)); got != c.want {
			t.Errorf("%q: got %s, want %s", c.in, got, c.want)
		}
	}
}

func TestParseAddressesBounds(t *testing.T) {
	if got := ParseAddresses("g:a,b,c,d;", 3); len(got) != 4 || got[3].Kind != GroupEnd {
		t.Errorf("a cut group is not closed: %v", got)
	}
	for _, piece := range []string{"(", "\"", "<", "@", "a@", "a@b<", "<@", "\\", ".", ":", "a b ", "(\\", "[", "a@[", "\"\\", "<a@b", "x<", "@a,", "<@a,"} {
		in := strings.Repeat(piece, 200_000)
		if got := ParseAddresses(in, 1000); len(got) > 1001 {
			t.Errorf("%q: %d addresses", piece, len(got))
		}
	}
}

func FuzzParseAddresses(f *testing.F) {
	f.Add(`A Group: "Ed \" Jones" <@r,@s:joe@where.test>, (c) boss . x @ [1.2.3.4] (d);, ""@d`)
	f.Add("<<a@b>> <@x> ( \" a@b@c <d@e")
	f.Fuzz(func(t *testing.T, s string) {
		depth, total := 0, 0
		for _, a := range ParseAddresses(s, 50) {
			total += len(a.Name) + len(a.Route) + len(a.Mailbox) + len(a.Host)
			switch a.Kind {
			case GroupStart:
				depth++
			case GroupEnd:
				depth--
			default:
				if a.Host == "" {
					t.Fatalf("%q: %+v looks like a group", s, a)
				}
			}
			if depth < 0 || depth > 1 {
				t.Fatalf("%q: groups do not pair", s)
			}
		}
		if depth != 0 || total > 3*len(s)+50*30 {
			t.Fatalf("%q: depth %d, %d bytes", s, depth, total)
		}
		e := &Envelope{From: s, To: s}
		if rest := wantList(t, AppendEnvelope(nil, e, Limits{}), 0); len(rest) > 0 {
			t.Fatalf("%q follows", rest)
		}
	})
}

// slowAddresses is ParseAddresses without its short way.
func slowAddresses(value string, limit int) []Address {
	p := addressParser{cursor: cursor{s: value}, limit: limit}
	for p.more() && len(p.list) < limit {
		p.element()
	}
	if p.inGroup {
		p.list = append(p.list, Address{Kind: GroupEnd})
	}
	return p.list
}

func FuzzCommonAddresses(f *testing.F) {
	for _, seed := range []string{"", "a@b", "a.b@c.d, Joe Public <joe@example.org>,x@y", `"Public, Joe" <j@e.org>, "" <a@b>, "a\\"b" <c@d>`, "Joe  Public <j@e>", "A. Archer <a@b>",
		"g: a@b, c@d;, e@f", "<a@b>, a b@c, a@b@c, a@[1.2.3.4], .a@b, a.@b., a@b <c@d>", "Joe <a@b> x, y@z", "Joe <a@b>\t,c@d", "Joe <@r:a@b>", "Joe (x) <a@b>, (c) a@b", `x@y, "no end <a@b>`,
		" , ,a@b ,c@d", "Jörg <j@ö>", "Joe <a@b>,", "Joe <.a@b>", "Joe <a@.>", "Joe <a@b>;c@d", `" <a@b>`, `"a" <b@c>"d" <e@f>`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, limit := range []int{1, 2, 1000} {
			if got, want := ParseAddresses(value, limit), slowAddresses(value, limit); !slices.Equal(got, want) {
				t.Fatalf("%q, %d: %+v, want %+v", value, limit, got, want)
			}
		}
	})
}
