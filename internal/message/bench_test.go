package message

import (
	"strings"
	"testing"
)

func BenchmarkParse(b *testing.B) {
	msg := crlf(searchMail) + strings.Repeat("a line of text in the epilogue, as mail has it\r\n", 2000)
	r := strings.NewReader(msg)
	var ps Parser
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ps.Parse(r, int64(len(msg)), Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEnvelope(b *testing.B) {
	msg := crlf("Date: Mon, 7 Feb 1994 21:52:25 -0800\nFrom: Fred <fred@a.example>\nSubject: hello\nTo: a@b.example, c@d.example\nMessage-ID: <x@y>\n\n") +
		strings.Repeat("text of the mail\r\n", 200)
	r := strings.NewReader(msg)
	var ps Parser
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		root, err := ps.ParseHeader(r, int64(len(msg)), Limits{})
		if err != nil {
			b.Fatal(err)
		}
		dst = AppendEnvelope(dst[:0], root.Envelope, Limits{})
	}
}

func BenchmarkSearchBody(b *testing.B) {
	msg := "Content-Type: text/plain; charset=utf-8\r\n\r\n" + strings.Repeat("a line of text in which nothing is found\r\n", 5000)
	r := strings.NewReader(msg)
	root := mustParse(b, msg)
	k := mustKey(b, "utf-8", "needle")
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if found, err := k.InBody(r, root, Limits{}); found || err != nil {
			b.Fatal(found, err)
		}
	}
}
