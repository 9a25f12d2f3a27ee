package fetch_test

import (
	"testing"

	"rookery/imapworker/internal/fetch"
	"rookery/imapworker/internal/session"
	"rookery/imapworker/internal/sessiontest"
	"rookery/internal/imapwire"
	"rookery/internal/message"
	"rookery/internal/transcript"
)

func TestTranscripts(t *testing.T) {
	parse := fetch.Parser(fetch.Config{Limits: message.DefaultLimits()})
	transcript.Run(t, "testdata/*.txt", sessiontest.Opener(session.Jobs{Fetch: parse}))
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{" 1:* (FLAGS BODY.PEEK[1.2.HEADER.FIELDS (a b)]<0.10> RFC822)", " 1 ALL", " 5:2,* BODY[]", " 1 (UID BODY[TEXT]<1.1>", " 1:* (FLAGS MODSEQ) (CHANGEDSINCE 9223372036854775807)"} {
		f.Add([]byte(s), false)
	}
	parse := fetch.Parser(fetch.Config{Limits: message.DefaultLimits()})
	f.Fuzz(func(t *testing.T, p []byte, uid bool) {
		d := imapwire.NewDecoder(p, imapwire.Limits{Line: 1 << 16, Literal: 1 << 16, LiteralsTotal: 1 << 16, LiteralCount: 10, Depth: 10, Items: 1000})
		if job, ok := parse(d, uid); ok != (d.Err() == nil) || ok && job == nil {
			t.Fatalf("%q: %t but %v", p, ok, d.Err())
		}
	})
}
