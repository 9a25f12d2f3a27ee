package imapurl

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"rookery/internal/abnf"
	"rookery/internal/imapwire"
)

func TestParse(t *testing.T) {
	all := int64(math.MaxInt64)
	for text, want := range map[string]URL{
		// RFC 4469 Appendix A
		"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER": {Mailbox: "Drafts", UIDValidity: 385759045, UID: 20, Section: imapwire.Section{Text: imapwire.Header}, Length: all},
		"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=1.MIME": {Mailbox: "Drafts", UIDValidity: 385759045, UID: 20, Section: imapwire.Section{Part: []uint32{1}, Text: imapwire.MIME}, Length: all},
		"/INBOX;UIDVALIDITY=785799047/;UID=11467":               {Mailbox: "INBOX", UIDValidity: 785799047, UID: 11467, Length: all},
		// RFC 8508 §4.2
		"/Drafts/;UID=3002": {Mailbox: "Drafts", UID: 3002, Length: all},
		// RFC 5092 §9.1
		";UID=20":                                                 {UID: 20, Length: all},
		"..;UIDVALIDITY=385759045/;UID=20":                        {Mailbox: "..", Relative: true, UIDValidity: 385759045, UID: 20, Length: all},
		";uid=20/;SECTION=1.2/;PARTIAL=0.1024":                    {UID: 20, Section: imapwire.Section{Part: []uint32{1, 2}}, Length: 1024},
		"a/b/;UID=1/;partial=7":                                   {Mailbox: "a/b", Relative: true, UID: 1, Offset: 7, Length: all},
		"/~peter/&=@:%2F%3B%25/;UID=4294967295":                   {Mailbox: "~peter/&=@:/;%", UID: 4294967295, Length: all},
		"/Entw%C3%BCrfe/;UID=1":                                   {Mailbox: "Entwürfe", UID: 1, Length: all},
		"/a/;UID=1/;SECTION=HEADER.FIELDS%20(Subject%20%22To%22)": {Mailbox: "a", UID: 1, Section: imapwire.Section{Text: imapwire.HeaderFields, Fields: []string{"Subject", "To"}}, Length: all},
	} {
		got, err := Parse(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", text, got, err, want)
		}
	}
}

func TestRefused(t *testing.T) {
	for text, want := range map[string]error{
		"imap://example.test/INBOX/;UID=1":    ErrAbsolute,
		"IMAP://u@example.test/a/;UID=1":      ErrAbsolute,
		"//example.test/INBOX/;UID=1":         ErrAbsolute,
		"//;UID=1":                            ErrAbsolute,
		"file:/etc/passwd/;UID=1":             ErrAbsolute,
		"":                                    ErrSyntax,
		"/":                                   ErrSyntax,
		"/INBOX":                              ErrSyntax, // a list of messages
		"/INBOX;UIDVALIDITY=1":                ErrSyntax,
		"/INBOX?SUBJECT%20x":                  ErrSyntax,
		"/INBOX/;UID=1?x":                     ErrSyntax,
		"/INBOX/;UID=1#x":                     ErrSyntax,
		"/;UID=1":                             ErrSyntax, // no mailbox
		"/INBOX;UID=1":                        ErrSyntax,
		"/INBOX/;UID=0":                       ErrSyntax,
		"/INBOX/;UID=+1":                      ErrSyntax,
		"/INBOX/;UID=4294967296":              ErrSyntax,
		"/INBOX/;UID=":                        ErrSyntax,
		"/INBOX/;UID":                         ErrSyntax,
		"/INBOX/;UID=1/":                      ErrSyntax,
		"/INBOX/;UID=1;SECTION=1":             ErrSyntax,
		"/INBOX/;UID=1/;UID=2":                ErrSyntax,
		"/INBOX/;SECTION=1/;UID=2":            ErrSyntax,
		"/INBOX/;UID=1/;PARTIAL=1/;SECTION=1": ErrSyntax,
		"/INBOX/;UID=1/;SECTION=":             ErrSyntax,
		"/INBOX/;UID=1/;SECTION=0":            ErrSyntax,
		"/INBOX/;UID=1/;SECTION=1%5D":         ErrSyntax,
		"/INBOX/;UID=1/;SECTION=MIME":         ErrSyntax,
		"/INBOX/;UID=1/;SECTION=HEADER.FIELDS%20(%7B3%7D": ErrSyntax,
		"/INBOX/;UID=1/;PARTIAL=":                         ErrSyntax,
		"/INBOX/;UID=1/;PARTIAL=1.0":                      ErrSyntax,
		"/INBOX/;UID=1/;PARTIAL=-1":                       ErrSyntax,
		"/INBOX;UIDVALIDITY=0/;UID=1":                     ErrSyntax,
		"/INBOX;UIDVALIDITY=1;X=2/;UID=1":                 ErrSyntax,
		"/INBOX;EXPIRE=1/;UID=1":                          ErrSyntax,
		"/INBOX/;UID=1;URLAUTH=anonymous":                 ErrSyntax,
		";SECTION=1":                                      ErrSyntax, // of a base that is a message
		"/a b/;UID=1":                                     ErrSyntax,
		"/a%2/;UID=1":                                     ErrSyntax,
		"/a%zz/;UID=1":                                    ErrSyntax,
		"/a%/;UID=1":                                      ErrSyntax,
		"/a%ff/;UID=1":                                    ErrSyntax,
		"/\u00fc/;UID=1":                                  ErrSyntax,
		"/" + strings.Repeat("a", Max) + "/;UID=1":        ErrSyntax,
	} {
		if u, err := Parse(text); !errors.Is(err, want) || !reflect.DeepEqual(u, URL{}) {
			t.Errorf("%s: %+v, %v, want %v", text, u, err, want)
		}
	}
}

func TestShown(t *testing.T) {
	for text, want := range map[string]string{
		"/INBOX/;UID=1": `"/INBOX/;UID=1"`,
		"a]\"\\\r\n ü":  `"a%5D%22%5C%0D%0A%20%C3%BC"`,
		"":              `""`,
	} {
		if got := Shown(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	if got := Shown(strings.Repeat("\x00", 4000)); len(got) > 520 || !strings.HasSuffix(got, `..."`) {
		t.Errorf("%d octets: %s", len(got), got)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=1.MIME", ";UID=1/;PARTIAL=0.1", "/a%2Fb/;UID=1", "imap://x/y/;UID=1", "/a/;UID=1/;SECTION=HEADER.FIELDS%20(a)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := Parse(s)
		switch {
		case err != nil && !reflect.DeepEqual(u, URL{}):
			t.Errorf("%q: %+v beside %v", s, u, err)
		case err == nil && (u.UID == 0 || u.Length <= 0 || u.Offset < 0):
			t.Errorf("%q: %+v", s, u)
		}
		if shown := Shown(s); !abnf.CodeChar.All(shown) || strings.Count(shown, `"`) != 2 {
			t.Errorf("%q is shown as %q", s, shown)
		}
	})
}
