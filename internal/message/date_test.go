package message

import (
	"testing"
	"time"
)

func TestParseDate(t *testing.T) {
	cases := []struct{ in, want string }{
		{"Mon, 7 Feb 1994 21:52:25 -0800 (PST)", "1994-02-07T21:52:25-08:00"},
		{"7 Feb 1994 21:52 +0000", "1994-02-07T21:52:00Z"},
		{"Fri, 21 Nov 97 09:55:06 GMT", "1997-11-21T09:55:06Z"},
		{"1 Jan 49 00:00 EST", "2049-01-01T00:00:00-05:00"},
		{"1 Jan 50 00:00 PDT", "1950-01-01T00:00:00-07:00"},
		{"1 Jan 103 00:00 Z", "2003-01-01T00:00:00Z"},
		{"Thu, 13 Feb 1969 23:32 -0330 (Newfoundland Time)", "1969-02-13T23:32:00-03:30"},
		{"Thu,\t 13\r\n Feb  1969 23 : 32 : 01 -0330", "1969-02-13T23:32:01-03:30"},
		{"Tue, 1 Apr 1997 12:00:00 GMT+0100", "1997-04-01T12:00:00+01:00"},
		{"1-Jan-2020 10:11:12 +01:00", "2020-01-01T10:11:12+01:00"},
		{"Monday, 3 February 2020 1:02:03 PM CET", "2020-02-03T13:02:03+01:00"},
		{"Mon Jan  2 15:04:05 2006", "2006-01-02T15:04:05Z"},
		{"Mon Jan  2 15:04:05 MST 2006", "2006-01-02T15:04:05-07:00"},
		{"January 2, 2006 15:04", "2006-01-02T15:04:00Z"},
		{"31 Dec 1998 23:59:60 +0000", "1999-01-01T00:00:00Z"},
		{"(c) Sat (c), 29 (c) Feb (c) 2020 (c) 00:00:00 (c) +9999", "2020-02-29T00:00:00Z"},
		{"3 Mar 2021", "2021-03-03T00:00:00Z"},
		{"3 Mar 2021 nonsense", "2021-03-03T00:00:00Z"},
		{"3 Mar 2021 10:75:00 +0100", "2021-03-03T00:00:00+01:00"},
		{"3 Mar 2021 10:15:99 +0100", "2021-03-03T00:00:00+01:00"},
		{"3 Mar 2021 25:00:00 +0100", "2021-03-03T00:00:00Z"},
		{"3 Mar 2021 10:15: +0100", "2021-03-03T10:15:00+01:00"},
		{"3 Mar 2021 10:15:16 +9999", "2021-03-03T10:15:16Z"},
		{"30 Feb 2021 00:00 +0000", ""},
		{"32 Jan 2021 00:00 +0000", ""},
		{"1 Foo 2021 00:00 +0000", ""},
		{"1 Jan", ""},
		{"Mon,", ""},
		{"Jan", ""},
		{"(", ""},
		{"", ""},
	}
	for _, c := range cases {
		got, ok := ParseDate(c.in)
		if text := got.Format(time.RFC3339); ok != (c.want != "") || (ok && text != c.want) {
			t.Errorf("%q: got %s %v, want %q", c.in, text, ok, c.want)
		}
	}
}

// RFC 3501 §6.4.4: SENTON disregards time and timezone.
func TestParseDateKeepsTheDay(t *testing.T) {
	got, _ := ParseDate("Tue, 1 Jan 2030 23:30:00 -1100")
	if y, m, d := got.Date(); y != 2030 || m != time.January || d != 1 {
		t.Errorf("the day is %d-%d-%d", y, m, d)
	}
}

func FuzzParseDate(f *testing.F) {
	f.Add("Mon, 7 Feb 1994 21:52:25 -0800 (PST)")
	f.Add("Mon Jan  2 15:04:05 MST 2006")
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := ParseDate(s)
		if !ok {
			return
		}
		if _, off := got.Zone(); off < -90_000 || off > 90_000 || got.Year() < 0 || got.Year() > 10_000 {
			t.Fatalf("%q: %v", s, got)
		}
		again, ok := ParseDate(got.Format(time.RFC1123Z))
		if _, off := got.Zone(); got.Year() >= 1000 && got.Year() <= 9999 && off%60 == 0 && off <= 24*3600 && off >= -24*3600 && (!ok || !again.Equal(got)) {
			t.Fatalf("%q: %v is read back as %v", s, got, again)
		}
	})
}

func TestMessageIDs(t *testing.T) {
	cases := []struct {
		in   string
		want []string
	}{
		{"<a@b> <c@d>\r\n <e@f>", []string{"a@b", "c@d", "e@f"}},
		{"Your message of (a <x@y> comment) \"<q@q>\" <a@b>", []string{"a@b"}},
		{"<a b@c>", []string{"ab@c"}},
		{"<<a@b>> <> <open", []string{"a@b"}},
		{"none", nil},
	}
	for _, c := range cases {
		got := MessageIDs(c.in, 10)
		if len(got) != len(c.want) {
			t.Errorf("%q: %q", c.in, got)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%q: %q", c.in, got)
			}
		}
	}
	if got := MessageIDs("<a><b><c>", 2); len(got) != 2 {
		t.Errorf("the limit gave %q", got)
	}
}
