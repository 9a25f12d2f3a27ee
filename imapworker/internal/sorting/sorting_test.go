package sorting_test

import (
	"testing"

	"rookery/imapworker/internal/search"
	"rookery/imapworker/internal/session"
	"rookery/imapworker/internal/sessiontest"
	"rookery/imapworker/internal/sorting"
	"rookery/internal/imapwire"
	"rookery/internal/message"
)

func TestTranscripts(t *testing.T) {
	cfg := search.Config{Limits: message.DefaultLimits()}
	sessiontest.Everywhere(t, "testdata/*.txt", func() session.Jobs { // what they keep is of one user's mail
		return session.Jobs{Sort: sorting.Sort(cfg), Thread: sorting.Thread(cfg)}
	}, "modseq")
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{" (DATE) UTF-8 ALL", " RETURN (MIN) (REVERSE SUBJECT DISPLAYTO) utf-8 1:5", " REFERENCES UTF-8 TEXT {1}\r\nx", " REFS \"us-ascii\" (((ALL)))", " (REVERSE REVERSE) x x",
		" RETURN (SAVE UPDATE PARTIAL -1:-2) (SIZE) UTF-8 $"} {
		f.Add([]byte(s))
	}
	sort, thread := sorting.Sort(search.Config{}), sorting.Thread(search.Config{})
	f.Fuzz(func(t *testing.T, p []byte) {
		for _, parse := range []func(*imapwire.Decoder, bool) (any, bool){
			func(d *imapwire.Decoder, uid bool) (any, bool) { return sort(d, uid) },
			func(d *imapwire.Decoder, uid bool) (any, bool) { return thread(d, uid) },
		} {
			d := imapwire.NewDecoder(p, imapwire.Limits{Line: 1 << 16, Literal: 1 << 16, LiteralsTotal: 1 << 16, LiteralCount: 10, Depth: 20, Items: 1000})
			if job, ok := parse(d, false); ok != (d.Err() == nil) || ok && job == nil {
				t.Fatalf("%q: %t but %v", p, ok, d.Err())
			}
		}
	})
}
