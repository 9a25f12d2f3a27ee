package compress

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
)

// decoded is what a client makes of all that was sent so far.
func decoded(t *testing.T, sent []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	_, err := io.Copy(&out, flate.NewReader(bytes.NewReader(sent)))
	if !errors.Is(err, io.ErrUnexpectedEOF) { // the stream has no end
		t.Fatal(err)
	}
	return out.Bytes()
}

// Each flush lets the client read all that was written, whether the compressor was
// given back in between or not; sessions that share a pool do not disturb each
// other.
func TestFlush(t *testing.T) {
	for _, level := range []int{1, 3, 6, 9} {
		pool := NewPool(level)
		var sent [2][]byte
		var want [2]bytes.Buffer
		var layers [2]*Layer
		for i := range layers {
			layers[i] = New(pool, func(p []byte) error { sent[i] = append(sent[i], p...); return nil })
		}
		for round := range 60 {
			for i, l := range layers {
				text := fmt.Sprintf("* %d FETCH (UID %d FLAGS (\\Seen $Session%d))\r\n", round, round*7, i)
				if round%7 == 3 {
					text += string(bytes.Repeat([]byte(text), 200*round))
				}
				want[i].WriteString(text)
				if err := l.Write([]byte(text)); err != nil {
					t.Fatal(err)
				}
				if err := l.Flush(); err != nil {
					t.Fatal(err)
				}
				if round%3 > 0 {
					l.Rest()
				}
			}
			if round%10 == 9 {
				for i := range layers {
					if got := decoded(t, sent[i]); !bytes.Equal(got, want[i].Bytes()) {
						t.Fatalf("level %d, round %d, session %d: %d octets came, want %d", level, round, i, len(got), want[i].Len())
					}
				}
			}
		}
	}
}

// The compressor that comes after a rest begins where the last one was: a response
// like the one before is short.
func TestHistory(t *testing.T) {
	var sent int
	l := New(NewPool(6), func(p []byte) error { sent += len(p); return nil })
	line := []byte("* 12 FETCH (UID 4711 FLAGS (\\Answered \\Flagged \\Seen $Forwarded) MODSEQ (1732200000000001))\r\n")
	var sizes []int
	for range 3 {
		before := sent
		if err := errors.Join(l.Write(line), l.Flush()); err != nil {
			t.Fatal(err)
		}
		l.Rest()
		if l.lent != nil {
			t.Error("a resting session keeps a compressor")
		}
		sizes = append(sizes, sent-before)
	}
	if sizes[0] < 70 || sizes[1] > 20 || sizes[2] > 20 {
		t.Errorf("the same response took %d octets", sizes)
	}
}

// What is kept is the end of what was sent, however it came in portions.
func TestRemember(t *testing.T) {
	var all []byte
	l := New(NewPool(1), nil)
	for i, n := range []int{1, 100, 4000, 96, 4096, 5, 10_000, 4095, 4095, 1} {
		p := bytes.Repeat([]byte{byte(i)}, n)
		all = append(all, p...)
		l.remember(p)
		if want := all[max(0, len(all)-historySize):]; !bytes.Equal(l.history, want) || cap(l.history) != historySize {
			t.Fatalf("after portion %d: %d octets of room %d", i, len(l.history), cap(l.history))
		}
	}
}

// A large write goes out while it is compressed: little is held.
func TestLargeWrite(t *testing.T) {
	largest, total := 0, 0
	l := New(NewPool(1), func(p []byte) error { largest, total = max(largest, len(p)), total+len(p); return nil })
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = byte(i * i >> 7 * 31)
	}
	if err := errors.Join(l.Write(noise), l.Flush()); err != nil {
		t.Fatal(err)
	}
	if largest > sendAt+3*pieceSize {
		t.Errorf("%d octets were held of %d", largest, total)
	}
}

// What cannot be sent is said.
func TestSendFails(t *testing.T) {
	gone := errors.New("gone")
	l := New(NewPool(1), func([]byte) error { return gone })
	if err := errors.Join(l.Write([]byte("x")), l.Flush()); !errors.Is(err, gone) {
		t.Error(err)
	}
	if err := l.Write(make([]byte, 1<<10)); err != nil && !errors.Is(err, gone) {
		t.Error(err)
	}
	l.Rest()
	if err := New(NewPool(1), nil).Flush(); err != nil {
		t.Error("nothing was written:", err)
	}
}

// What comes in is inflated, each flush at once.
func TestDecode(t *testing.T) {
	var sent bytes.Buffer
	w, err := flate.NewWriter(&sent, 6)
	if err != nil {
		t.Fatal(err)
	}
	l := New(NewPool(1), nil)
	buf := make([]byte, 100)
	for i := range 5 {
		line := fmt.Sprintf("a%d NOOP\r\n", i)
		io.WriteString(w, line)
		w.Flush()
		n, used, err := l.Decode(buf, sent.Bytes())
		if string(buf[:n]) != line || used != sent.Len() || err != nil {
			t.Fatalf("%q, %d of %d octets, %v", buf[:n], used, sent.Len(), err)
		}
		sent.Reset()
	}
	if _, _, err := l.Decode(buf, []byte{0xff, 0xff}); err == nil {
		t.Error("damaged data were taken")
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, level := range []int{1, 2, 3, 4, 5, 6} {
		for _, size := range []int{100, 4 << 10, 64 << 10} {
			b.Run(fmt.Sprintf("level %d, %d octets", level, size), func(b *testing.B) {
				var batch bytes.Buffer
				for i := 0; batch.Len() < size; i++ {
					fmt.Fprintf(&batch, "* %d FETCH (UID %d FLAGS (\\Seen) ENVELOPE (\"Mon, %d Jan 2024 12:%02d:00 +0100\" \"Re: minutes of the meeting\" ((\"Ann Other\" NIL \"ann%d\" \"example.org\")) NIL NIL NIL NIL NIL NIL \"<%x@example.org>\"))\r\n",
						i, 3*i, i%28+1, i%60, i*i%977, i*2654435761)
				}
				sent := 0
				l := New(NewPool(level), func(p []byte) error { sent += len(p); return nil })
				b.SetBytes(int64(size))
				for b.Loop() {
					if err := errors.Join(l.Write(batch.Bytes()[:size]), l.Flush()); err != nil {
						b.Fatal(err)
					}
					l.Rest()
				}
				b.ReportMetric(float64(sent)/float64(b.N)/float64(size), "ratio")
			})
		}
	}
}

// A session that waits costs little, however many there are beside it.
func TestRestingSessionsAreSmall(t *testing.T) {
	const sessions = 300
	var sent bytes.Buffer
	w, err := flate.NewWriter(&sent, 6)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		fmt.Fprintf(w, "a%d UID FETCH %d:* (FLAGS)\r\n", i, i*i)
	}
	w.Flush()
	pool := NewPool(6)
	layers := make([]*Layer, sessions)
	buf := make([]byte, 4<<10)
	heap := func() uint64 {
		runtime.GC()
		runtime.GC() // what the pool holds is gone after two
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range layers {
		l := New(pool, func([]byte) error { return nil })
		if _, _, err := l.Decode(buf, sent.Bytes()); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(l.Write(buf), l.Flush()); err != nil {
			t.Fatal(err)
		}
		l.Rest()
		layers[i] = l
	}
	if each := (heap() - before) / sessions; each > 12<<10 {
		t.Errorf("a session keeps %d octets", each)
	}
	runtime.KeepAlive(layers)
}

// A body that looks like base64 goes through the fast compressor, others do not;
// the client reads one stream.
func TestBodies(t *testing.T) {
	var sent []byte
	var want bytes.Buffer
	l := New(NewPool(6), func(p []byte) error { sent = append(sent, p...); return nil })
	noise := make([]byte, 300_000)
	for i := range noise {
		noise[i] = byte(i * i >> 9 * 77)
	}
	coded := []byte(base64.StdEncoding.EncodeToString(noise))
	text := bytes.Repeat([]byte("Some words of a letter, and some more of them.\r\n"), 5000)
	for _, step := range []struct {
		body bool
		p    []byte
		kind kind
	}{
		{false, []byte("* 1 FETCH (BODY[] {400000}\r\n"), usual}, {true, coded, fast}, {true, coded[:5000], fast}, {true, text, usual},
		{true, coded[:100], usual}, {true, coded, fast}, {false, coded, usual}, {false, []byte(")\r\n"), usual},
	} {
		write := l.Write
		if step.body {
			write = l.WriteBody
		}
		if err := write(step.p); err != nil {
			t.Fatal(err)
		}
		want.Write(step.p)
		if l.lent.kind != step.kind {
			t.Errorf("%.20q went to kind %d", step.p, l.lent.kind)
		}
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := decoded(t, sent); !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%d octets came, want %d", len(got), want.Len())
	}
}
