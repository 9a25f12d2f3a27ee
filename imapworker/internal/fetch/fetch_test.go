package fetch_test

import (
	"bytes"
	"io"
	"regexp"
	"testing"
	"testing/iotest"

	"rookery/imapworker/internal/fetch"
	"rookery/imapworker/internal/session"
	"rookery/imapworker/internal/sessiontest"
	"rookery/internal/imapwire"
	"rookery/internal/message"
)

func TestTranscripts(t *testing.T) {
	parse := fetch.Parser(fetch.Config{Limits: message.DefaultLimits()})
	sessiontest.Everywhere(t, "testdata/*.txt", func() session.Jobs { return session.Jobs{Fetch: parse} },
		"items", "keywords") // the formats keep no zone of INTERNALDATE, and each has a UIDVALIDITY of its own
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{" 1:* (FLAGS BODY.PEEK[1.2.HEADER.FIELDS (a b)]<0.10> RFC822)", " 1 ALL", " 5:2,* BODY[]", " 1 (UID BODY[TEXT]<1.1>", " 1:* (FLAGS MODSEQ) (CHANGEDSINCE 9223372036854775807)",
		" 1:* (BINARY.PEEK[1.2]<0.5> BINARY.SIZE[] PREVIEW (LAZY) EMAILID) (PARTIAL -1:-30 CHANGEDSINCE 3)", " 1 PREVIEW (LAZY)", " 1 PREVIEW (PARTIAL 1:2)"} {
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

// Lines get a CR where they have none, in whatever pieces they come.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\nb\r\nc\r\r\n\n"))
	bare := regexp.MustCompile(`(^|[^\r])\n`)
	f.Fuzz(func(t *testing.T, p []byte) {
		want := p
		for { // matches of \n\n overlap
			next := bare.ReplaceAll(want, []byte("$1\r\n"))
			if bytes.Equal(next, want) {
				break
			}
			want = next
		}
		for _, r := range []io.Reader{bytes.NewReader(p), iotest.OneByteReader(bytes.NewReader(p))} {
			got, err := io.ReadAll(fetch.Lines(r))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%q gives %q, %v, want %q", p, got, err, want)
			}
		}
	})
}
