package relay

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"rookery/login/internal/follow"
)

// followed is follow.Session as login has it.
type followed struct{ *follow.Session }

func (f followed) Over() bool {
	_, over := f.Session.Over()
	return over
}

// kinds of what is relayed: each is one command or response, whole.
var kinds = []struct {
	name     string
	up, down string
}{
	{"bodies", "a1 APPEND x {1000000+}\r\n" + text(1_000_000) + "\r\n", "* 1 FETCH (BODY[] {1000000}\r\n" + text(1_000_000) + ")\r\n"},
	{"small", "", "* 1 FETCH (UID 1 BODY[] {4000}\r\n" + text(4000) + ")\r\n"},
	{"lines", "", "* 12345 FETCH (UID 23456 FLAGS (\\Seen $Junk) MODSEQ (1234567890123))\r\n"},
	{"envelopes", "", `* 12345 FETCH (UID 23456 ENVELOPE ("Mon, 7 Feb 1994 21:52:25 -0800 (PST)" "afternoon \"meeting\"" (("Fred Foobar" NIL "foobar" "Blurdybloop.example")) (("Fred Foobar" NIL "foobar" "Blurdybloop.example")) NIL NIL NIL NIL NIL "<B27397-0100000@Blurdybloop.example>"))` + "\r\n"},
}

func text(n int) string { return string(bytes.Repeat([]byte("line of a message\r\n"), n/19+1)[:n]) }

// BenchmarkRelay relays 100 MB each way that a kind has, with and without following.
func BenchmarkRelay(b *testing.B) {
	const total = 100 << 20
	for _, kind := range kinds {
		for _, follows := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/follow=%v", kind.name, follows), func(b *testing.B) {
				var taken time.Duration
				for range b.N {
					var watch Watch
					if follows {
						watch = followed{follow.New("a0")}
					}
					e := startWatched(b, certificate(b), patient, watch)
					io.WriteString(e.worker, "a0 OK\r\n")
					io.ReadFull(e.client, make([]byte, 7))
					began := time.Now()
					pump(b, kind.down, total, e.worker, e.client)
					pump(b, kind.up, total, e.client, e.worker)
					taken += time.Since(began)
					e.client.Close()
					e.worker.Close()
					<-e.done
				}
				b.ReportMetric(taken.Seconds()*1000/float64(b.N), "ms/relay")
			})
		}
	}
}

// pump writes about total bytes of one text to a, and reads them from b. What goes up
// is never answered: less of it than may be owed.
func pump(b *testing.B, text string, total int, from io.Writer, to io.Reader) {
	if text == "" {
		return
	}
	batch := bytes.Repeat([]byte(text), max((64<<10)/len(text), 1))
	times := total / len(batch)
	go func() {
		for range times {
			from.Write(batch)
		}
	}()
	if _, err := io.CopyN(io.Discard, to, int64(times*len(batch))); err != nil {
		b.Error(err)
	}
}
