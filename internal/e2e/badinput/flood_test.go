package badinput

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

// loginRSS is the memory of all login processes together.
func loginRSS(d *harness.Demo) (sum int64) {
	for _, p := range d.Status().Of("login") {
		sum += harness.RSS(p.PID)
	}
	return sum
}

// flooded runs a flood twice, the second time on warm processes, and checks that
// login lives, serves others meanwhile, and has not grown.
func flooded(t *testing.T, d *harness.Demo, what string, limit int64, flood func()) {
	t.Helper()
	before := d.Status().Of("login")
	flood()
	warm := loginRSS(d)
	done := make(chan struct{})
	go func() { defer close(done); flood() }()
	began := time.Now()
	c := login(t, d, "imap", "u1")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("%s: a login meanwhile took %v", what, took)
	}
	c.OK("LOGOUT")
	<-done
	var after int64
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if after = loginRSS(d); after < warm+limit {
			break
		}
	}
	if after > warm+limit {
		t.Errorf("%s: login had %d KiB and has %d KiB", what, warm>>10, after>>10)
	}
	alive(t, before, d.Status().Of("login"))
	t.Logf("%s: %d KiB, then %d KiB", what, warm>>10, after>>10)
}

// pour sends text many times over, until it is all sent or the server ends the
// connection, and reads what comes meanwhile. It gives the last that came.
func pour(t *testing.T, d *harness.Demo, service, text string, times int) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", d.Addr(service), harness.Timeout)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	got := make(chan string, 1)
	go func() {
		tail := make([]byte, 0, 8192)
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			tail = append(tail, buf[:n]...)
			if len(tail) > 4096 {
				tail = append(tail[:0], tail[len(tail)-4096:]...)
			}
			if err != nil {
				got <- string(tail)
				return
			}
		}
	}()
	for range times {
		if _, err := io.WriteString(conn, text); err != nil {
			break
		}
	}
	conn.(*net.TCPConn).CloseWrite()
	return <-got
}

// TestFloods: what strangers pour in costs login no memory and nobody his
// service.
func TestFloods(t *testing.T) {
	d := harness.Start(t, "--users", "1", "--empty")
	const each = 20
	many := func(service, text string, times int) func() {
		return func() {
			var all sync.WaitGroup
			for range each {
				all.Go(func() { pour(t, d, service, text, times) })
			}
			all.Wait()
		}
	}
	for _, f := range []struct {
		what, service, text string
		times               int
	}{
		{"1 MB of (", "imap", strings.Repeat("(", 64<<10), 16},
		{"1 MB of ( over POP3", "pop3", strings.Repeat("(", 64<<10), 16},
		{"endless literals", "imap", "a LOGIN {10+}\r\n0123456789 {10+}\r\n", 2000},
		{"one command of endless literals", "imap", " {1000+}\r\n" + strings.Repeat("x", 1000), 1000},
		{"oversize non-synchronizing literal", "imap", "a LOGIN {1000000000+}\r\n" + strings.Repeat("x", 64<<10), 16},
		{"empty lines", "imap", strings.Repeat("\r\n", 1000), 50},
		{"NULs", "pop3", strings.Repeat("\x00", 64<<10), 16},
		{"garbage for TLS", "imaps", strings.Repeat("\x16\x03\x01\x40\x00", 10000), 10},
	} {
		flooded(t, d, f.what, 16<<20, many(f.service, f.text, f.times))
	}
	d.NoCrash(t)
}

// TestSlowStrangers: many connections that each hold all they may do not make
// login large.
func TestSlowStrangers(t *testing.T) {
	d := harness.Start(t, "--users", "1", "--empty")
	before := loginRSS(d)
	for range 300 {
		conn, err := net.Dial("tcp", d.Addr("imap"))
		must(t, err)
		t.Cleanup(func() { conn.Close() })
		_, err = io.WriteString(conn, "a LOGIN "+strings.Repeat("x", 8000))
		must(t, err)
	}
	c := login(t, d, "imap", "u1")
	c.OK("NOOP")
	after := loginRSS(d)
	if after > before+40<<20 {
		t.Errorf("login had %d KiB, and has %d KiB with 300 half lines", before>>10, after>>10)
	}
	t.Logf("%d KiB, then %d KiB", before>>10, after>>10)
	d.NoCrash(t)
}

// TestAbortedAuthentications: ten thousand AUTHENTICATEs that are given up leave
// nothing behind in login and authd.
func TestAbortedAuthentications(t *testing.T) {
	d := harness.Start(t, "--users", "1", "--empty")
	var aborted atomic.Int64
	round := func(n int) {
		var all sync.WaitGroup
		for worker := range 10 {
			mech := []string{"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"}[worker%4]
			all.Go(func() {
				for done := 0; done < n/10; {
					done += abort(t, d, mech, n/10-done)
					if t.Failed() {
						return
					}
				}
				aborted.Add(int64(n / 10))
			})
		}
		all.Wait()
	}
	round(1000)
	authd := d.Status().Of("authd")
	login0, authd0 := loginRSS(d), harness.RSS(authd[0].PID)
	round(10000)
	login1, authd1 := loginRSS(d), harness.RSS(authd[0].PID)
	t.Logf("%d aborted; login %d KiB, then %d; authd %d KiB, then %d", aborted.Load(), login0>>10, login1>>10, authd0>>10, authd1>>10)
	if login1 > login0+12<<20 || authd1 > authd0+12<<20 {
		t.Error("that grew")
	}
	alive(t, authd, d.Status().Of("authd"))
	c := login(t, d, "imap", "u1")
	c.OK("NOOP")
	d.NoCrash(t)
}

// abort gives up authentications on one connection until the server ends it, or
// most were tried. It tells how many.
func abort(t *testing.T, d *harness.Demo, mech string, most int) int {
	c, err := d.TryDial("imap")
	if err != nil {
		t.Error(err)
		return most
	}
	defer c.Close()
	if line, err := c.TryLine(); err != nil || !strings.HasPrefix(line, "* OK") {
		t.Errorf("greeting %q, %v", line, err)
		return most
	}
	for n := range most {
		if c.Send("a AUTHENTICATE "+mech+"\r\n") != nil {
			return max(n, 1)
		}
		line, err := c.TryLine()
		if err != nil || !strings.HasPrefix(line, "+ ") {
			if !strings.HasPrefix(line, "* BYE") && err == nil {
				t.Errorf("AUTHENTICATE %s: %q", mech, line)
			}
			return max(n, 1)
		}
		if c.Send("*\r\n") != nil {
			return n + 1
		}
		if line, err = c.TryLine(); err != nil || !strings.HasPrefix(line, "a BAD") {
			t.Errorf("aborted: %q, %v", line, err)
			return n + 1
		}
	}
	return most
}

// TestSTARTTLSInjection: what a third party put behind STARTTLS in the clear is
// never answered inside.
func TestSTARTTLSInjection(t *testing.T) {
	d := harness.Start(t, "--users", "1", "--empty")
	conf, err := d.TLS()
	must(t, err)
	for _, x := range []struct{ service, send, want, then, after string }{
		{"imap", "a STARTTLS\r\nb LOGIN u1 pass\r\nb NOOP\r\n", "a OK", "c NOOP\r\n", "c OK"},
		{"imap", "a STARTTLS\r\nb CAPABILITY", "a OK", "c NOOP\r\n", "c OK"}, // half a command
		{"imap", "a STARTTLS\r\nb LOGIN {2}\r\nu1 ", "a OK", "c NOOP\r\n", "c OK"},
		{"pop3", "STLS\r\nUSER u1\r\nPASS pass\r\n", "+OK", "NOOP\r\n", "+OK"},
		{"pop3", "USER u1\r\nSTLS\r\n", "+OK", "", ""},
	} {
		c := d.Dial(x.service)
		c.Line()
		must(t, c.Send(x.send))
		c.ExpectPrefix(x.want)
		if x.then == "" { // what was said in the clear is forgotten
			c.ExpectPrefix("+OK")
			c.StartTLS(conf)
			if got := c.POP3("PASS pass"); !strings.HasPrefix(got, "-ERR") {
				t.Errorf("PASS after STLS took the USER before it: %q", got)
			}
			continue
		}
		c.StartTLS(conf)
		if err := c.Send(x.then); err != nil {
			continue // the handshake met the injected bytes: refused is right too
		}
		line, err := c.TryLine()
		if err == nil && !strings.HasPrefix(line, x.after) {
			t.Errorf("%q: inside TLS came %q", x.send, line)
		}
		if err != nil && strings.HasSuffix(x.send, "CAPABILITY") {
			t.Logf("%q: %v", x.send, err)
		}
	}
	// Behind the answer: sent once "a OK" was read, before the hello.
	c := d.Dial("imap")
	c.ExpectPrefix("* OK")
	must(t, c.Send("a STARTTLS\r\n"))
	c.ExpectPrefix("a OK")
	must(t, c.Send("b NOOP\r\n"))
	raw := tls.Client(c.Conn(), conf)
	raw.SetDeadline(time.Now().Add(5 * time.Second))
	if err := raw.Handshake(); err == nil {
		t.Error("a handshake began with a command")
	}
	d.NoCrash(t)
}

// TestStrangersLines: broken lines before login.
func TestStrangersLines(t *testing.T) {
	d := harness.StartWith(t, []string{"login_bad_command_limit = 5"}, "--users", "1", "--empty")
	for _, x := range []exchange{
		{"unknown command", "x FROBNICATE\r\n", "x BAD", ""},
		{"command of after login", "x SELECT INBOX\r\n", "x BAD", ""},
		{"NUL", "x NO\x00OP\r\n", "x BAD", ""},
		{"8-bit", "x LOGIN \xe9 \xe9\r\n", "x BAD", ""},
		{"long line", "x NOOP " + in(9000, "a") + "\r\n", "x BAD", ""},
		{"oversize literal", "x LOGIN {5000}\r\n", "x", ""},
		{"oversize non-synchronizing literal", "x LOGIN {5000+}\r\n" + in(5000, "a") + "\r\n", "x", ""},
		{"no base64", "x AUTHENTICATE PLAIN !!!\r\n", "x BAD", ""},
		{"unknown mechanism", "x AUTHENTICATE NONSENSE\r\n", "x NO", ""},
		{"half a name", "x LOGIN \"u1\r\n", "x BAD", ""},
		{"bare LF", "x NOOP\n", "x OK", ""},
		{"no tag", "\r\n", "* BAD", ""},
	} {
		c := d.Dial("imap")
		c.ExpectPrefix("* OK")
		must(t, c.Send(x.send))
		if got := c.Line(); !strings.HasPrefix(got, x.want) || strings.HasPrefix(got, "x OK") != (x.want == "x OK") {
			t.Errorf("%s: %.200q", x.name, got)
		}
		c.OK("LOGIN u1 pass")
		c.OK("LOGOUT")
	}
	c := d.Dial("imap")
	c.ExpectPrefix("* OK")
	must(t, c.Send(in(9, "x NONSENSE\r\n")))
	if got := c.Rest(); len(got) != 6 && len(got) != 5 || !strings.HasPrefix(last(got), "* BYE") {
		t.Errorf("nine bad commands: %q", got)
	}
	sessionLine(t, d, "Too many invalid (IMAP )?commands")
	for _, x := range []exchange{
		{"unknown command", "FROBNICATE\r\n", "-ERR", ""},
		{"NUL", "USER a\x00b\r\n", "-ERR", ""},
		{"long line", "USER " + in(9000, "a") + "\r\n", "-ERR", ""},
		{"PASS first", "PASS x\r\n", "-ERR", ""},
		{"no digest", "APOP u1 nonsense\r\n", "-ERR", ""},
		{"bare LF", "NOOP\n", "+OK", ""},
	} {
		c := d.Dial("pop3")
		c.ExpectPrefix("+OK")
		must(t, c.Send(x.send))
		if got := c.Line(); !strings.HasPrefix(got, x.want) {
			t.Errorf("POP3 %s: %.200q", x.name, got)
		}
		if got := c.POP3("USER u1"); !strings.HasPrefix(got, "+OK") {
			t.Errorf("POP3 %s, then USER: %q", x.name, got)
		}
		if got := c.POP3("PASS pass"); !strings.HasPrefix(got, "+OK") {
			t.Errorf("POP3 %s, then PASS: %q", x.name, got)
		}
	}
	d.NoCrash(t)
}
