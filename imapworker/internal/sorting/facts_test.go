package sorting

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"rookery/imapworker/internal/thread"
	"rookery/internal/message"
)

func TestFacts(t *testing.T) {
	f := facts(appendFacts(nil, &message.Envelope{Date: "Thu, 1 Feb 2024 09:30:00 -0200", Subject: "Re: =?utf-8?q?=C3=A9t=C3=A9?=",
		From: "=?utf-8?q?Z=C3=B6e?= <a@b>", To: "c@d, e@f", Cc: "Team: g@h;"}))
	if sent, ok := f.sent(); !f.valid() || !ok || sent != 1706787000 || !f.reply() {
		t.Errorf("%q: %v, %d %v, %v", f, f.valid(), sent, ok, f.reply())
	}
	for key, want := range map[text]string{subject: "ÉTÉ", from: "A", to: "C", cc: "TEAM", displayFrom: "ZÖE", displayTo: "C@D"} {
		if got, folded := f.text(key), message.AppendFolded(nil, want); !bytes.Equal(got, folded) {
			t.Errorf("%d is %q, want %q", key, got, folded)
		}
	}
	if _, ok := nothing.sent(); ok || nothing.reply() || len(nothing.text(displayTo)) != 0 {
		t.Error("a message without a header has facts")
	}
}

// RFC 5255 §4.6: what could not be converted is compared by its octets, behind the rest.
func TestUnconvertedTexts(t *testing.T) {
	f := facts(appendFacts(nil, &message.Envelope{Subject: "Re: =?nope?q?b=FF?=", From: "=?nope?q?Z?= <\xe9@b>", To: "\xe9@d", Cc: "=?nope?q?Z?= <c@d>"}))
	for key, want := range map[text]string{subject: "\xffb\xff", from: "\xff\xe9", to: "\xff\xe9", cc: "C", displayFrom: "\xffZ", displayTo: "\xff\xe9@d"} {
		if got := string(f.text(key)); got != want {
			t.Errorf("%d is %q, want %q", key, got, want)
		}
	}
	if f := facts(appendFacts(nil, &message.Envelope{Subject: "Re: =?nope?q??="})); len(f.text(subject)) != 0 || !f.reply() {
		t.Errorf("%q", f)
	}
	f[factsHead-1] &^= todaysForm
	if f.valid() {
		t.Error("facts of an older form are taken")
	}
}

func TestLongTextsDiffer(t *testing.T) {
	long := strings.Repeat("x", 5000)
	a, b := appendText(nil, long+"a"), appendText(nil, long+"b")
	if len(a) != 1+keepText || bytes.Equal(a, b) || !bytes.Equal(a, appendText(nil, long+"A")) {
		t.Errorf("%d bytes; %q, %q", len(a), a, b)
	}
	if exact := appendText(nil, long[:keepText]); string(exact[1:]) != strings.ToUpper(long[:keepText]) {
		t.Errorf("%q", exact)
	}
}

func TestRefs(t *testing.T) {
	ids := func(list ...string) (out []thread.ID) {
		for _, id := range list {
			out = append(out, thread.NewID(id))
		}
		return out
	}
	many := make([]string, maxRefs+5)
	for i := range many {
		many[i] = strings.Repeat("i", i+1) + "@x"
	}
	for _, row := range []struct {
		name, own, references, inReplyTo string
		want                             []thread.ID
	}{
		{"References count", "<a@x>", "References: <b@x> <c@x>\r\n\r\n", "<d@x>", ids("b@x", "c@x")},
		{"else the first of In-Reply-To", "<a@x>", "References: none\r\n\r\n", "Message <d@x> of <e@x>", ids("d@x")},
		{"what is no identifier does not count", "<a@x>", "References: <noon> <@x> <b@>\r\n\r\n", "<noon> <d@x> <e@x>", ids("d@x")},
		{"nothing", "<a@x>", "\r\n", "yesterday", nil},
		{"no identifier of its own", "none", "\r\n", "", nil},
		{"quotes do not count", `<"a"@x>`, "References: <\"b\\\"c\"@x> <bc@x>\r\n\r\n", "", ids(`b"c@x`, "bc@x")},
		{"the nearest are kept", "<a@x>", "References: <" + strings.Join(many, "><") + ">\r\n\r\n", "", ids(many[5:]...)},
	} {
		own, refs, ok := idsOf(appendRefs(nil, &message.Envelope{MessageID: row.own, InReplyTo: row.inReplyTo}, row.references))
		wantOwn := thread.NewID("a@x")
		if row.own == "none" {
			wantOwn = thread.ID{}
		}
		if !ok || own != wantOwn || !slices.Equal(refs, row.want) {
			t.Errorf("%s: %x, %x, %v; want %x", row.name, own, refs, ok, row.want)
		}
	}
}

// FuzzFacts: what the cache gives may be anything.
func FuzzFacts(f *testing.F) {
	f.Add([]byte(nothing))
	f.Add(appendFacts(nil, &message.Envelope{Date: "1 Feb 2024 00:00 +0000", Subject: "x", From: "a@b"}))
	f.Add(appendRefs(nil, &message.Envelope{MessageID: "<a@b>"}, "<c@d>"))
	f.Fuzz(func(t *testing.T, p []byte) {
		if v := facts(p); v.valid() {
			v.sent()
			v.reply()
			for key := range texts {
				v.text(key)
			}
		}
		idsOf(p)
	})
}
