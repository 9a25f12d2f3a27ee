package search_test

import (
	"bytes"
	"testing"

	"rookery/imapworker/internal/search"
	"rookery/imapworker/internal/session"
	"rookery/imapworker/internal/sessiontest"
	"rookery/internal/imapwire"
	"rookery/internal/message"
)

func TestTranscripts(t *testing.T) {
	sessiontest.Everywhere(t, "testdata/*.txt", func() session.Jobs {
		return session.Jobs{Search: search.Parser(search.Config{Limits: message.DefaultLimits()})}
	}, "dates", "savedate") // the formats keep no zone of INTERNALDATE
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{" ALL", " RETURN (MIN MAX) CHARSET utf-8 OR (SEEN 1:5) NOT SUBJECT \"x\"", " UID 1:* HEADER a {1}\r\nb SENTON 1-Feb-1994 OLDER 5",
		" MODSEQ \"/flags/\\\\draft\" all 620162338", " NOT MODSEQ 0 OR MODSEQ 5 (MODSEQ \"/flags/x\" priv 1)",
		" ((((((ALL))))))", " NOT NOT NOT NOT ALL",
		" RETURN (SAVE MIN PARTIAL -1:-50 COUNT) OR $ 1,$", " RETURN (UPDATE CONTEXT PARTIAL 500:1) UID $", " RETURN (PARTIAL 1:2 ALL) ALL",
		" OR FILTER on-the-road FILTER x SAVEDSINCE 1-Feb-1994 SAVEDATESUPPORTED", " EMAILID M1_-a THREADID T2 X-GUID 00ff X-MAILBOX {5}\r\nINBOX",
		" UIDAFTER 4294967295 UIDBEFORE 1"} {
		f.Add([]byte(s))
	}
	parse, multi := search.Parser(search.Config{}), search.Multi(search.Config{})
	limits := imapwire.Limits{Line: 1 << 16, Literal: 1 << 16, LiteralsTotal: 1 << 16, LiteralCount: 10, Depth: 20, Items: 1000}
	f.Fuzz(func(t *testing.T, p []byte) {
		d := imapwire.NewDecoder(p, limits)
		job, ok := parse(d, false)
		if ok != (d.Err() == nil) || ok && job == nil {
			t.Fatalf("%q: %t but %v", p, ok, d.Err())
		}
		if len(p) > 0 && p[0] == ' ' {
			// ESEARCH takes what SEARCH takes, and what is a filter's is the same.
			if _, also := multi(imapwire.NewDecoder(p[1:], limits)); also != ok {
				t.Fatalf("%q: ESEARCH %t, SEARCH %t", p, also, ok)
			}
		}
		if err := search.CheckFilter(string(p)); err == nil && bytes.IndexByte(p, '{') < 0 {
			if _, ok := parse(imapwire.NewDecoder(append([]byte(" "), p...), imapwire.Limits{Line: 1 << 17, Depth: 64, Items: 1 << 16}), false); !ok {
				t.Fatalf("%q is a filter but no search", p)
			}
		}
	})
}
