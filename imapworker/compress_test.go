package imapworker

import (
	"bufio"
	"compress/flate"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"rookery/internal/mailstore/memstore"
	"rookery/internal/settings"
)

// squeezed is a client that has asked for compression.
type squeezed struct {
	*dialogue
	w   *flate.Writer
	out *bufio.Writer // below w: a command comes in one write
}

// compress turns compression on, as RFC 4978 §3's example does.
func (d *dialogue) compress() *squeezed {
	d.t.Helper()
	d.send("c compress deflate\r\n")
	if line := d.until("c "); line != "c OK DEFLATE active.\r\n" {
		d.t.Fatalf("%q", line)
	}
	out := bufio.NewWriterSize(d.Conn, 64<<10)
	w, err := flate.NewWriter(out, 6)
	if err != nil {
		d.t.Fatal(err)
	}
	d.Reader = bufio.NewReader(flate.NewReader(d.Reader))
	return &squeezed{d, w, out}
}

func (q *squeezed) send(text string) {
	q.t.Helper()
	io.WriteString(q.w, text)
	if err := errors.Join(q.w.Flush(), q.out.Flush()); err != nil {
		q.t.Fatal(err)
	}
}

// sendAside sends much while the test reads; what it gives is closed once all is sent.
func (q *squeezed) sendAside(text string) chan struct{} {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		io.WriteString(q.w, text)
		q.w.Flush()
		q.out.Flush()
	}()
	return sent
}

// RFC 4978 §3: from the OK on, both directions, whatever is sent.
func TestCompress(t *testing.T) {
	b := newBench(t)
	d := b.connect("")
	if line := d.until("a0"); !strings.Contains(line, " COMPRESS=DEFLATE") {
		t.Errorf("greeting %q", line)
	}
	q := d.compress()
	q.send("d CAPABILITY\r\n")
	if line := q.until("* CAPABILITY"); strings.Contains(line, "COMPRESS") {
		t.Errorf("offered again: %q", line)
	}
	q.send("e COMPRESS DEFLATE\r\n")
	if line := q.until("e "); !strings.HasPrefix(line, "e NO [COMPRESSIONACTIVE] ") {
		t.Errorf("%q", line)
	}
	// A message larger than every buffer, half of it noise, there and back.
	noise := make([]byte, 1<<20)
	r := rand.New(rand.NewPCG(3, 4))
	for i := range noise {
		noise[i] = byte(14 + r.UintN(242)) // no line ends
	}
	body := "Subject: big\r\n\r\n" + strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab\r\n", 20000) + string(noise)
	sent := q.sendAside(fmt.Sprintf("f APPEND INBOX {%d+}\r\n%s\r\n", len(body), body))
	q.until("f OK [APPENDUID 1001 1]")
	<-sent
	q.send("g SELECT INBOX\r\nh FETCH 1 BODY.PEEK[]\r\n")
	q.until(fmt.Sprintf("* 1 FETCH (BODY[] {%d}", len(body)))
	got := make([]byte, len(body))
	if _, err := io.ReadFull(q.Reader, got); err != nil || sha256.Sum256(got) != sha256.Sum256([]byte(body)) {
		t.Errorf("the message came back changed: %v", err)
	}
	q.until("h OK")
	q.send("i LOGOUT\r\n")
	q.until("* BYE")
	q.until("i OK")
	q.Close()
	b.serving.Wait()
	if len(b.log.lines) != 1 || !strings.HasPrefix(b.log.lines[0], "Disconnected: Logged out in=") {
		t.Errorf("log %q", b.log.lines)
	}
}

// IDLE tells at once, and what waits quietly holds no compressor.
func TestCompressedIdle(t *testing.T) {
	b := newBench(t)
	b.server.config.Settings.IdleNotify = 1500 * time.Millisecond // longer than restAfter
	one, two := b.connect("").compress(), b.connect("")
	one.send("a SELECT INBOX\r\nb IDLE\r\n")
	one.until("+ idling")
	for i := range 5 {
		two.send("a APPEND INBOX {5+}\r\nhello\r\n")
		two.until("a OK")
		one.until(fmt.Sprintf("* %d EXISTS", i+1))
	}
	b.server.mu.Lock()
	var quiet *client
	for c := range b.server.clients {
		c.mu.Lock()
		if c.layer != nil {
			quiet = c
		}
		c.mu.Unlock()
	}
	b.server.mu.Unlock()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		quiet.mu.Lock()
		busy := quiet.layer.Busy()
		quiet.mu.Unlock()
		if !busy {
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatal("the compressor is kept")
		}
	}
	two.send("a APPEND INBOX {5+}\r\nhello\r\n")
	one.until("* 6 EXISTS")
	one.until("* OK Still here")
	one.send("done\r\n")
	one.until("b OK")
	one.Close()
	two.Close()
	b.serving.Wait()
}

// A client may flush after each octet.
func TestCompressedByteByByte(t *testing.T) {
	b := newBench(t)
	q := b.connect("").compress()
	for _, c := range "a APPEND INBOX {5}\r\n" {
		q.send(string(c))
	}
	q.until("+ OK")
	for _, c := range "hello\r\nb STATUS INBOX (MESSAGES)\r\n" {
		q.send(string(c))
	}
	q.until("a OK")
	if line := q.until("* STATUS"); line != "* STATUS INBOX (MESSAGES 1)\r\n" {
		t.Errorf("%q", line)
	}
	q.until("b OK")
	q.Close()
	b.serving.Wait()
}

// RFC 4978 §3: "the client MUST NOT send any further commands until it has seen the
// result". What comes behind COMPRESS in plain text is no command: it would be one
// that somebody put in before compression began. It ends the session, with a line.
func TestPlainTextBehindCompress(t *testing.T) {
	b := newBench(t)
	d := b.connect("")
	d.send("c COMPRESS DEFLATE\r\nd CREATE x\r\n")
	d.until("c OK")
	d.Reader = bufio.NewReader(flate.NewReader(d.Reader))
	if line := d.until("*"); line != "* BYE Compressed data cannot be read.\r\n" {
		t.Errorf("%q", line)
	}
	b.serving.Wait()
	d.Close()
	if _, err := b.server.store.Lookup("x"); err == nil {
		t.Error("the command was run")
	}
	if len(b.log.lines) != 1 || !strings.HasPrefix(b.log.lines[0], "Disconnected: Damaged compressed data: ") {
		t.Errorf("log %q", b.log.lines)
	}
}

// What a client's stream has at its end is not waited for, and what comes behind
// its end is damage.
func TestCompressedStreamEnds(t *testing.T) {
	b := newBench(t)
	q := b.connect("").compress()
	q.send("a NOOP\r\n")
	q.until("a OK")
	if err := errors.Join(q.w.Close(), q.out.Flush()); err != nil {
		t.Fatal(err)
	}
	io.WriteString(q.Conn, "x")
	q.until("* BYE Compressed data")
	b.serving.Wait()
	q.Close()
	if len(b.log.lines) != 1 || !strings.HasPrefix(b.log.lines[0], "Disconnected: Damaged compressed data: data after the end in=") {
		t.Errorf("log %q", b.log.lines)
	}
}

// A client that does not read what it asked for can still be ended.
func TestKickWhileCompressed(t *testing.T) {
	b := newBench(t)
	q := b.connect("").compress()
	text := make([]byte, 1<<20)
	r := rand.New(rand.NewPCG(5, 6))
	for i := range text {
		text[i] = byte(14 + r.UintN(242)) // no line ends
	}
	copy(text, "\r\n") // no header
	sent := q.sendAside("a APPEND INBOX {1048576+}\r\n" + string(text) + "\r\n")
	q.until("a OK")
	<-sent
	q.send("b SELECT INBOX\r\nc FETCH 1 (" + strings.Repeat("BODY.PEEK[] ", 40) + "UID)\r\n")
	q.until("* 1 FETCH")
	q.end <- "Shutting down."
	b.serving.Wait()
	q.Close()
	if len(b.log.lines) != 1 || !strings.HasPrefix(b.log.lines[0], "Disconnected: Shutting down. in=") {
		t.Errorf("log %q", b.log.lines)
	}
}

// imap_compress_deflate_level = 0 takes COMPRESS away.
func TestCompressOff(t *testing.T) {
	set := settings.New()
	settings.IMAPCompressDeflateLevel.Put(set, 0)
	b := newBenchOn(t, memstore.New(memstore.Options{}), set)
	d := b.connect("a COMPRESS DEFLATE\r\nb LOGOUT\r\n")
	if line := d.until("a0"); strings.Contains(line, "COMPRESS") {
		t.Errorf("greeting %q", line)
	}
	if line := d.until("a "); line != "a BAD Unknown command.\r\n" {
		t.Errorf("%q", line)
	}
	d.until("b OK")
	d.Close()
	b.serving.Wait()
}
