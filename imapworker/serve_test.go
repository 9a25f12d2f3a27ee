package imapworker

import (
	"bufio"
	"crypto/sha256"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rookery/internal/ipc"
	"rookery/internal/ipc/envelopemsg"
	"rookery/internal/ipc/logmsg"
	"rookery/internal/maillog"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/settings"
	"rookery/internal/vfs/memfs"
	"rookery/internal/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// logged keeps log lines.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) SendEvent(e *logmsg.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, e.Text)
}

// bench is a server on a store in memory.
type bench struct {
	t       *testing.T
	server  *server
	log     *logged
	serving sync.WaitGroup
}

func newBench(t *testing.T) *bench {
	return newBenchOn(t, memstore.New(memstore.Options{}), settings.New())
}

func newBenchOn(t *testing.T, store mailstore.Store, set *settings.Set) *bench {
	t.Helper()
	server, err := serverOn(&worker.Host{Log: maillog.Discard(), Settings: set, Changed: func() {}}, store)
	if err != nil {
		t.Fatal(err)
	}
	server.config.Settings.Poll = time.Hour // what is told here is told because someone said so
	return &bench{t: t, log: &logged{}, server: server}
}

// dialogue is a client of a session under test.
type dialogue struct {
	*bufio.Reader
	net.Conn
	t   *testing.T
	end chan string
}

// streamPair is a client's end of a connection, and the worker's, with what login had read
// already.
func streamPair(t testing.TB, pending string) (net.Conn, *worker.Stream) {
	t.Helper()
	ours, theirs, err := ipc.StreamPair()
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(ours), "client")
	conn, err := net.FileConn(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	stream, err := worker.NewStream(theirs, []byte(pending))
	if err != nil {
		t.Fatal(err)
	}
	return conn, stream
}

func (b *bench) connect(pending string) *dialogue {
	conn, stream := streamPair(b.t, pending)
	d := &dialogue{Reader: bufio.NewReader(conn), Conn: conn, t: b.t, end: make(chan string, 1)}
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	ws := &worker.Session{ID: 1, Name: "sess", Stream: stream, Log: maillog.New(b.log), End: d.end,
		Go: &envelopemsg.Go{Tag: "a0", Remote: netip.MustParseAddrPort("192.0.2.1:1")}}
	b.serving.Go(func() {
		b.server.Serve(ws)
		ws.Stream.Close() // as the worker does, once master knows
	})
	return d
}

func (d *dialogue) send(text string) {
	d.t.Helper()
	if _, err := io.WriteString(d.Conn, text); err != nil {
		d.t.Fatal(err)
	}
}

// until reads lines up to one that begins with prefix, which it gives.
func (d *dialogue) until(prefix string) string {
	d.t.Helper()
	for {
		line, err := d.ReadString('\n')
		if err != nil {
			d.t.Fatalf("waiting for %q: %v", prefix, err)
		}
		if strings.HasPrefix(line, prefix) {
			return line
		}
	}
}

func (d *dialogue) Read(p []byte) (int, error) { return d.Reader.Read(p) }

func TestServe(t *testing.T) {
	b := newBench(t)
	d := b.connect("a1 NOOP\r\n")
	if line := d.until("a0"); !strings.HasPrefix(line, "a0 OK [CAPABILITY IMAP4rev1 ") || !strings.HasSuffix(line, "] Logged in\r\n") {
		t.Errorf("greeting %q", line)
	}
	d.until("a1 OK")
	// A message larger than every buffer, there and back.
	body := "Subject: big\r\n\r\n" + strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab\r\n", 50000)
	d.send("a2 APPEND INBOX {3100016+}\r\n")
	go io.WriteString(d.Conn, body+"\r\n")
	d.until("a2 OK [APPENDUID 1001 1]")
	d.send("a3 SELECT INBOX\r\na4 FETCH 1 BODY.PEEK[]\r\n")
	d.until("* 1 FETCH (BODY[] {3100016}")
	got := make([]byte, len(body))
	if _, err := io.ReadFull(d.Reader, got); err != nil || sha256.Sum256(got) != sha256.Sum256([]byte(body)) {
		t.Errorf("the message came back changed: %v", err)
	}
	d.until("a4 OK")
	d.send("a5 LOGOUT\r\n")
	d.until("* BYE")
	d.until("a5 OK")
	if _, err := d.ReadString('\n'); err != io.EOF {
		t.Errorf("after LOGOUT: %v", err)
	}
	d.Close()
	b.serving.Wait()
	want := "Disconnected: Logged out in=3100107 out="
	if len(b.log.lines) != 1 || !strings.HasPrefix(b.log.lines[0], want) || !strings.Contains(b.log.lines[0], " body_count=1 body_bytes=3100016") {
		t.Errorf("log %q, want %q…", b.log.lines, want)
	}
}

// What one session does an idle one of the same user reads at once.
func TestIdleIsTold(t *testing.T) {
	b := newBench(t)
	one, two := b.connect(""), b.connect("")
	one.send("a SELECT INBOX\r\nb IDLE\r\n")
	one.until("+ idling")
	two.send("a APPEND INBOX {5+}\r\nhello\r\n")
	two.until("a OK")
	one.until("* 1 EXISTS")
	one.send("DONE\r\n")
	one.until("b OK")
	one.Close()
	two.Close()
	b.serving.Wait()
	ends := regexp.MustCompile(`^Disconnected: Connection closed \((IDLE|APPEND) finished \d+\.\d{3} secs ago\) in=`)
	for _, line := range b.log.lines {
		if !ends.MatchString(line) {
			t.Errorf("log %q", line)
		}
	}
}

// What another process of the user does is told when master says that there is
// something.
func TestWake(t *testing.T) {
	disk := memfs.New(memfs.Options{})
	if err := disk.Mkdir("Maildir", 0o700); err != nil {
		t.Fatal(err)
	}
	var stores [2]mailstore.Store
	for i := range stores {
		store, err := maildir.Open(maildir.Options{FS: disk, MailPath: "Maildir"})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		stores[i] = store
	}
	b := newBenchOn(t, stores[0], settings.New())
	d := b.connect("")
	d.send("a SELECT INBOX\r\nb IDLE\r\n")
	d.until("+ idling")
	a, err := stores[1].Append("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	w, err := a.Add(mailstore.AppendMeta{}, 2)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, "hi")
	if _, err := a.Commit(); err != nil {
		t.Fatal(err)
	}
	b.server.Wake()
	d.until("* 1 EXISTS")
	d.Close()
	b.serving.Wait()
}

func TestOnePollsForAll(t *testing.T) {
	s := &server{polled: make(map[mailstore.GUID]time.Time)}
	s.config.Settings.Poll = time.Second
	now := time.Unix(1000, 0)
	a, b := mailstore.GUID{1}, mailstore.GUID{2}
	for i, step := range []struct {
		box   mailstore.GUID
		after time.Duration
		want  bool
	}{{a, 0, true}, {a, 0, false}, {b, 0, true}, {a, 400 * time.Millisecond, false}, {a, 100 * time.Millisecond, true}, {a, time.Second, true}} {
		now = now.Add(step.after)
		if got := s.mayPoll(step.box, now); got != step.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
}

func TestKick(t *testing.T) {
	b := newBench(t)
	d := b.connect("")
	d.send("a IDLE\r\n")
	d.until("+ idling")
	d.end <- "Kicked by the administrator."
	if line := d.until("*"); line != "* BYE Kicked by the administrator.\r\n" {
		t.Errorf("%q", line)
	}
	b.serving.Wait()
	d.Close()
	if len(b.log.lines) != 1 || !strings.HasPrefix(b.log.lines[0], "Disconnected: Kicked by the administrator. in=8 ") {
		t.Errorf("log %q", b.log.lines)
	}
}

// A client that does not read what it asked for can still be ended.
func TestKickWhileTheClientDoesNotRead(t *testing.T) {
	b := newBench(t)
	d := b.connect("")
	text := strings.Repeat("x", 1<<20)
	d.send("a APPEND INBOX {1048576+}\r\n" + text + "\r\n")
	d.until("a OK")
	d.send("b SELECT INBOX\r\nc FETCH 1 (" + strings.Repeat("BODY.PEEK[] ", 40) + "UID)\r\n")
	d.until("* 1 FETCH")
	d.end <- "Shutting down."
	b.serving.Wait()
	d.Close()
	if len(b.log.lines) != 1 || !strings.HasPrefix(b.log.lines[0], "Disconnected: Shutting down. in=") {
		t.Errorf("log %q", b.log.lines)
	}
}
