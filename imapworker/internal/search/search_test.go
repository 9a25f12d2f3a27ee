package search_test

import (
	"testing"

	"rookery/imapworker/internal/search"
	"rookery/imapworker/internal/session"
	"rookery/imapworker/internal/sessiontest"
	"rookery/internal/imapwire"
	"rookery/internal/message"
	"rookery/internal/transcript"
)

func TestTranscripts(t *testing.T) {
	transcript.Run(t, "testdata/*.txt", sessiontest.Opener(session.Jobs{Search: search.Parser(search.Config{Limits: message.DefaultLimits()})}))
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{" ALL", " RETURN (MIN MAX) CHARSET utf-8 OR (SEEN 1:5) NOT SUBJECT \"x\"", " UID 1:* HEADER a {1}\r\nb SENTON 1-Feb-1994 OLDER 5",
		" MODSEQ \"/flags/\\\\draft\" all 620162338", " NOT MODSEQ 0 OR MODSEQ 5 (MODSEQ \"/flags/x\" priv 1)",
		" ((((((ALL))))))", " NOT NOT NOT NOT ALL"} {
		f.Add([]byte(s))
	}
	parse := search.Parser(search.Config{})
	f.Fuzz(func(t *testing.T, p []byte) {
		d := imapwire.NewDecoder(p, imapwire.Limits{Line: 1 << 16, Literal: 1 << 16, LiteralsTotal: 1 << 16, LiteralCount: 10, Depth: 20, Items: 1000})
		if job, ok := parse(d, false); ok != (d.Err() == nil) || ok && job == nil {
			t.Fatalf("%q: %t but %v", p, ok, d.Err())
		}
	})
}
