package badinput

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

// bomb is a message that costs a careless parser time, memory or its stack.
type bomb struct{ name, text string }

func bombs() []bomb {
	var nested strings.Builder
	for n := range 20_000 {
		fmt.Fprintf(&nested, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", n, n)
	}
	var headers strings.Builder
	for n := range 200_000 {
		fmt.Fprintf(&headers, "X-%d: y\r\n", n)
	}
	var params strings.Builder
	for n := range 50_000 {
		fmt.Fprintf(&params, ";\r\n a%d*%d*=x", n%100, n)
	}
	var many strings.Builder
	for range 20_000 {
		many.WriteString("Ann <a@example.test>, ")
	}
	part := "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n"
	multi := "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
	return []bomb{
		{"20,000 nested multiparts", "MIME-Version: 1.0\r\n" + nested.String()},
		{"nested multiparts of one boundary", in(20_000, "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n")},
		{"300,000 empty parts", multi + in(300_000, "--b\r\n\r\n")},
		{"100,000 parts", multi + in(100_000, part)},
		{"50,000 nested messages", in(50_000, "Content-Type: message/rfc822\r\n\r\n")},
		{"digest of messages", "Content-Type: multipart/digest; boundary=b\r\n\r\n" + in(50_000, "--b\r\n\r\nSubject: x\r\n\r\n")},
		{"a header line of 10 MB", "Subject: " + in(10_000_000, "x") + "\r\n\r\nbody\r\n"},
		{"200,000 header lines", headers.String() + "\r\nbody\r\n"},
		{"a header of folds", "Subject: x" + in(300_000, "\r\n y") + "\r\n\r\nbody\r\n"},
		{"50,000 parameters", "Content-Type: text/plain" + params.String() + "\r\n\r\nbody\r\n"},
		{"a boundary of 100,000", "Content-Type: multipart/mixed; boundary=" + in(100_000, "b") + "\r\n\r\n--" + in(100_000, "b") + "\r\n\r\nx\r\n"},
		{"parentheses", "From: " + in(200_000, "(") + "a" + in(200_000, ")") + " <a@example.test>\r\nTo: " + in(200_000, "\"") + "\r\nCc: " + in(200_000, "<") + "\r\nBcc: " + in(100_000, "a:") + "\r\n\r\nbody\r\n"},
		{"20,000 addresses", "To: " + many.String() + "\r\n\r\nbody\r\n"},
		{"encoded words", "Subject: " + in(100_000, "=?utf-8?q?=41?= ") + "\r\n\r\nbody\r\n"},
		{"stateful charset", "Subject: =?iso-2022-jp?b?" + in(100_000, "GyRC") + "?=\r\n\r\nbody\r\n"},
		{"base64 that is none", "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n" + in(50_000, "=!=A====\r\n")},
		{"almost boundaries", multi + in(300_000, "--\r\n-\r\n--bb\r\n--")},
		{"references", "References: " + in(100_000, "<a@b> ") + "\r\nIn-Reply-To: " + in(100_000, "<") + "\r\n\r\nbody\r\n"},
		{"no line end", in(5_000_000, "x")},
		{"no header end", in(200_000, "a: b\r\n")},
		{"only line ends", in(500_000, "\r\n")},
		{"8-bit everywhere", in(100_000, "\xff\xfe\x80: \xe9\r\n") + "\r\n" + in(100_000, "\xff")},
	}
}

// TestMIMEBombs: mail that is built to blow up a parser is stored, described and
// searched in bounded time and memory, by a worker that lives on.
func TestMIMEBombs(t *testing.T) {
	d := harness.Start(t, "--users", "1", "--empty")
	c := login(t, d, "imap", "u1")
	c.OK("ENABLE UTF8=ACCEPT") // some headers are 8-bit
	var worker int
	for n, b := range bombs() {
		if err := c.Append("INBOX", "", b.text); err != nil {
			t.Fatalf("%s: APPEND: %v", b.name, err)
		}
		if n == 0 {
			c.OK("SELECT INBOX")
			worker = d.Status().Of("imapworker")[0].PID
		}
		c.OK("NOOP")
		began := time.Now()
		for _, items := range []string{"BODYSTRUCTURE", "ENVELOPE", "(RFC822.SIZE INTERNALDATE BODY)", "BODY.PEEK[1.1.1.1]", "BODY.PEEK[1.MIME]", "BODY.PEEK[HEADER.FIELDS (SUBJECT TO)]", "BODY.PEEK[TEXT]<0.100>"} {
			lines, err := c.TryIMAP("FETCH %d %s", n+1, items)
			if err != nil {
				t.Fatalf("%s: FETCH %s: %v", b.name, items, err)
			}
			if !strings.Contains(last(lines), " OK ") || len(lines) < 2 || !strings.HasPrefix(lines[len(lines)-2], fmt.Sprintf("* %d FETCH (", n+1)) {
				t.Errorf("%s: FETCH %s: %d lines, %.200q", b.name, items, len(lines), last(lines))
			}
		}
		c.OK("SEARCH %d SUBJECT nowhere", n+1)
		c.OK("SEARCH %d TEXT nowhere", n+1)
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s took %v", b.name, took)
		}
		if rss := harness.PeakRSS(worker); rss == 0 || rss > 200<<20 {
			t.Errorf("%s: the worker had %d MiB", b.name, rss>>20)
		}
	}
	for service, want := range map[string]string{"pop3": "+OK"} {
		p := login(t, d, service, "u1")
		for n := range bombs() {
			if got := p.POP3Lines("TOP %d 0", n+1); !strings.HasPrefix(got[0], want) {
				t.Errorf("TOP %d: %q", n+1, got[0])
			}
		}
	}
	time.Sleep(2 * time.Second) // memory is given back after a quiet second
	t.Logf("the worker had %d MiB at most and has %d MiB", harness.PeakRSS(worker)>>20, harness.RSS(worker)>>20)
	if now := d.Status().Of("imapworker"); len(now) != 1 || now[0].PID != worker {
		t.Errorf("the worker was %d, now there are %v", worker, now)
	}
	d.NoCrash(t)
}

// TestLargeAnswers: one command that asks for very much is answered without holding
// all of it in memory.
func TestLargeAnswers(t *testing.T) {
	d := harness.Start(t, "--users", "1", "--empty")
	c := login(t, d, "imap", "u1")
	for range 20 {
		must(t, c.Append("INBOX", "", "Subject: big\r\n\r\n"+in(40_000, in(76, "x")+"\r\n")))
	}
	c.OK("SELECT INBOX")
	worker := d.Status().Of("imapworker")[0].PID
	must(t, c.Send("f FETCH 1:* (BODY[] BODY[TEXT] RFC822)\r\n"))
	buf := make([]byte, 1<<20)
	total := 0
	for tail := ""; !strings.Contains(tail, "\r\nf OK"); {
		c.Conn().SetReadDeadline(time.Now().Add(harness.Timeout))
		n, err := c.Conn().Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		total += n
		tail = tail[max(0, len(tail)-20):] + string(buf[max(0, n-200):n])
	}
	most := harness.PeakRSS(worker)
	t.Logf("%d MiB sent, the worker had %d MiB at most", total>>20, most>>20)
	if total < 170<<20 || most > 64<<20 {
		t.Error("that is not right")
	}
}
