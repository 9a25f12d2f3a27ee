package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestParseStrace(t *testing.T) {
	table := `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 71.43    0.003000          30       100         2 fsync
 23.81    0.001000          20        50           fdatasync
  4.76    0.000200           2        99           sync_file_range
------ ----------- ----------- --------- --------- ----------------
100.00    0.004200          16       249         2 total
`
	for _, c := range []struct {
		text string
		want int
	}{{table, 150}, {"", 0}, {strings.ReplaceAll(table, "fdatasync", "syncfs   "), 150}} {
		if got, err := parseStrace(c.text); err != nil || got != c.want {
			t.Errorf("%d, %v, want %d", got, err, c.want)
		}
	}
	for _, bad := range []string{" 1.0 0.1 1 x fsync\n", " 1.0 0.1 1 3 unlink\n"} {
		if n, err := parseStrace(bad); err == nil {
			t.Errorf("%q gave %d", bad, n)
		}
	}
}

func TestStatus(t *testing.T) {
	text := "Name:\tx\nTracerPid:\t77\nUid:\t58101\t58101\t58101\t58101\n"
	if tracerOf(text) != 77 || uidOf(text) != 58101 {
		t.Errorf("tracer %d, uid %d", tracerOf(text), uidOf(text))
	}
	if tracerOf("Name:\tx\n") != 0 || uidOf("Name:\tx\n") != -1 {
		t.Error("something was found in nothing")
	}
}

func TestParseDeviceStat(t *testing.T) {
	if n, err := parseDeviceStat("  12  0  96  3  55  7  1024  9  0  12  12  0 0 0 0 1 2\n"); err != nil || n != 1024*512 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := parseDeviceStat("1 2 3"); err == nil {
		t.Error("a short line was taken")
	}
}

func TestInHierarchy(t *testing.T) {
	mounts := "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
	for path, want := range map[string]string{"/sys/fs/cgroup/unified/a/b": "a/b", "/sys/fs/cgroup/cpu/a": "", "": ""} {
		if got := inHierarchy(path, mounts); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestTexts(t *testing.T) {
	for us, want := range map[float64]string{0.5: "0.50 µs", 35.84: "35.8 µs", 999: "999 µs", 1500: "1.50 ms", 2.5e6: "2.50 s", 123456: "123 ms"} {
		if got := timeText(us); got != want {
			t.Errorf("timeText(%v) = %q, want %q", us, got, want)
		}
	}
	for b, want := range map[float64]string{768: "768 B", 4096: "4.0 KB", 3 << 20: "3.00 MB"} {
		if got := bytesText(b); got != want {
			t.Errorf("bytesText(%v) = %q, want %q", b, got, want)
		}
	}
	for n, want := range map[int]string{0: "empty 0", 100: "100 100", 1000: "1k 1,000", 100_000: "100k 100,000", 1_000_000: "1m 1,000,000"} {
		if got := sizeName(n) + " " + sizeText(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

// serve answers one command with a text, from the other end of a pipe.
func serve(t *testing.T, answer string) *client {
	t.Helper()
	here, there := net.Pipe()
	t.Cleanup(func() { here.Close(); there.Close() })
	go func() {
		if _, err := bufio.NewReader(there).ReadString('\n'); err == nil {
			io.WriteString(there, answer)
		}
	}()
	return &client{conn: &conn{Conn: here}, r: bufio.NewReaderSize(here, 4096)}
}

func TestAnswer(t *testing.T) {
	c := serve(t, "* 17 EXISTS\r\n* 1 FETCH (UID 3 BODY[] {14}\r\na OK a trap!\r\n X {3}\r\nabc)\r\n* 2 FETCH (FLAGS ())\r\n* 2 EXPUNGE\r\n* LIST () \"/\" f1\r\n* STATUS f1 (MESSAGES 3)\r\na OK [COPYUID 1 2 3] done\r\n")
	if err := c.askFor("X", []byte("FLAGS (")); err != nil {
		t.Fatal(err)
	}
	g := c.got
	if g.exists != 17 || g.fetches != 2 || g.wanted != 1 || g.literals != 17 || g.expunges != 1 || g.lists != 1 || g.statuses != 1 {
		t.Errorf("counted %+v", g)
	}
	if err := c.hasCode("COPYUID"); err != nil {
		t.Error(err)
	}
	if err := c.hasCode("APPENDUID"); err == nil {
		t.Error("a code that is not there was found")
	}
	if err := serve(t, "* 1 EXISTS\r\na NO not now\r\n").ask("X"); err == nil {
		t.Error("NO was taken for OK")
	}
	if err := serve(t, "* BYE gone\r\n").ask("X"); err == nil {
		t.Error("BYE was not seen")
	}
}

// A SEARCH answer may be longer than any buffer.
func TestLongSearch(t *testing.T) {
	for _, n := range []int{0, 1, 3, 5000} {
		c := serve(t, "* SEARCH"+strings.Repeat(" 12345", n)+"\r\na OK done\r\n")
		if err := c.ask("SEARCH ALL"); err != nil || c.got.found != n {
			t.Errorf("%d found, want %d; %v", c.got.found, n, err)
		}
	}
	for _, n := range []int{1, 3, 5000} { // however the buffer cuts it
		c := serve(t, "* THREAD "+strings.Repeat("(7 (12345)(9 10))", n)+"\r\na OK done\r\n")
		if err := c.ask("THREAD"); err != nil || c.got.found != 4*n {
			t.Errorf("%d found, want %d; %v", c.got.found, 4*n, err)
		}
	}
	if err := serve(t, "* 1 FETCH ("+strings.Repeat("x", 5000)+")\r\na OK done\r\n").ask("X"); err == nil {
		t.Error("an endless line was taken")
	}
}

func TestAppendCommand(t *testing.T) {
	if got := string(appendCommand("A", []byte("one"), []byte("three"))); got != "a APPEND A {3+}\r\none {5+}\r\nthree\r\n" {
		t.Errorf("%q", got)
	}
}

// The same number gives the same letter, sizes in names are true, and the words
// that searches look for are where they are counted.
func TestCorpus(t *testing.T) {
	subjects, bodies := 0, 0
	total := 0
	for n := range 442 {
		l, again := corpus{}.letter(n), corpus{}.letter(n)
		if !bytes.Equal(l.text, again.text) || l.base != again.base {
			t.Fatalf("letter %d differs from itself", n)
		}
		head, _, ok := bytes.Cut(l.text, []byte("\n\n"))
		if !ok || bytes.Contains(l.text, []byte("\r")) || !bytes.HasSuffix(l.text, []byte("\n")) {
			t.Fatalf("letter %d is no message", n)
		}
		if !strings.Contains(l.base, ",W="+itoa(len(l.wire()))) || !strings.Contains(l.base, ",S="+itoa(len(l.text))+",") {
			t.Errorf("letter %d is called %s, and has %d bytes, %d with CRLF", n, l.base, len(l.text), len(l.wire()))
		}
		if bytes.Contains(head, []byte(subjectWord)) {
			subjects++
		}
		if bytes.Contains(l.text[len(head):], []byte(bodyWord)) {
			bodies++
		}
		total += len(l.text)
	}
	if s, b := wordCounts(442); s != subjects || b != bodies || s != 5 {
		t.Errorf("%d subjects and %d bodies have the words, %d and %d are counted", subjects, bodies, s, b)
	}
	if mean := total / 442; mean < 3000 || mean > 8000 {
		t.Errorf("a letter has %d bytes on average", mean)
	}
	if size := len(corpus{small: true}.letter(3).text); size > 900 {
		t.Errorf("a small letter has %d bytes", size)
	}
}

func itoa(n int) string { return strings.ReplaceAll(sizeText(n), ",", "") }

func TestGrowth(t *testing.T) {
	row := func(n int, ours, theirs float64) rowResult {
		return rowResult{Name: "x", Family: "store", Size: n, Constant: true, Kind: timeOfOne, Peers: []string{"dovecot"},
			Samples: map[string][]sample{"rookery": withCPU(samplesOf(ours), ours), "dovecot": withCPU(samplesOf(theirs), theirs)}}
	}
	for ours, want := range map[float64]string{15: "1.5× / 8.0×: constant", 16: "1.6× / 8.0×: GROWS"} {
		table := (&result{Rows: []rowResult{row(1000, 10, 20), row(100_000, ours, 160)}}).growth()
		if len(table) != 2 || table[1][len(table[1])-1] != want {
			t.Errorf("%v, want %s", table, want)
		}
	}
}

// Rows that write are compared with Dovecot's way of the same durability.
func TestPeers(t *testing.T) {
	for _, r := range storeRows() {
		var names []string
		for _, k := range r.peers() {
			names = append(names, k.driver+" "+k.name())
		}
		got := strings.Join(names, ", ")
		like := map[string]string{"maildir": "maildir", "pack": "mdbox", "mbox": "mbox"}[r.driver]
		want := r.driver + " rookery, " + like + " dovecot"
		switch {
		case r.fsync == "never":
			want = r.driver + " rookery-never, " + like + " dovecot-never"
		case r.write:
			want = r.driver + " rookery, " + like + " dovecot-always, " + like + " dovecot"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", r.name, got, want)
		}
		if r.seed == nil || r.measure == nil {
			t.Errorf("%s cannot be measured", r.name)
		}
	}
}

// Two rigs never share a folder and a control group.
func TestRigsDiffer(t *testing.T) {
	seen := map[string]rigKey{}
	for _, r := range storeRows() {
		for _, k := range r.peers() {
			if other, ok := seen[k.dir()]; ok && other != k {
				t.Errorf("%v and %v are both %s", k, other, k.dir())
			}
			seen[k.dir()] = k
		}
	}
	if len(seen) != 16 {
		t.Errorf("%d rigs", len(seen))
	}
}

func TestQuickSize(t *testing.T) {
	for n, want := range map[int]int{0: 0, 1000: 1000, 10_000: 1000, 100_000: 10_000} {
		if got := quickSize(n); got != want {
			t.Errorf("%d becomes %d, want %d", n, got, want)
		}
	}
}

// together counts all operations, ends at the limit, and gives errors on.
func TestTogether(t *testing.T) {
	g, err := newGroup("together")
	if err != nil {
		t.Fatal(err)
	}
	defer g.end()
	b := &bed{lab: &lab{disk: &disk{}}, rig: &rig{server: &server{group: g}}, row: &storeRow{}, span: time.Minute, limit: 20}
	out, err := b.together(context.Background(), 4, func(client, i int) error {
		if client == 3 && i == 2 {
			return errDone
		}
		return nil
	})
	if err != nil || out.Count != 17 {
		t.Errorf("%d operations, %v; want 5, 5, 5 and 2", out.Count, err)
	}
	wrong := errors.New("wrong answer")
	if _, err := b.together(context.Background(), 2, func(client, i int) error {
		if client == 1 && i == 1 {
			return wrong
		}
		return nil
	}); !errors.Is(err, wrong) {
		t.Errorf("a wrong answer gave %v", err)
	}
}
