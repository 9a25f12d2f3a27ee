package ipc

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

type note struct{ Text string }

func (*note) Type() Type        { return 1 }
func (m *note) Fields(c *Codec) { c.String(&m.Text, 1000) }

type carry struct{ N uint32 }

func (*carry) Type() Type        { return 2 }
func (m *carry) Fields(c *Codec) { c.U32(&m.N) }

var testProto = Define(Protocol{Name: "test", Version: 3, MaxBytes: 4096, Defs: []Def{
	{New: func() Message { return new(note) }, From: FromBoth},
	{New: func() Message { return new(carry) }, From: FromClient, FD: FDFile},
}})

func pair(t *testing.T) (client, server *Conn) {
	t.Helper()
	a, b, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	if client, err = NewConn(a, testProto, FromClient); err != nil {
		t.Fatal(err)
	}
	if server, err = NewConn(b, testProto, FromServer); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func TestSendRecvWithDescriptor(t *testing.T) {
	client, server := pair(t)
	f, err := os.CreateTemp(t.TempDir(), "x")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := client.Send(&note{"hello"}, -1); err != nil {
		t.Fatal(err)
	}
	if err := client.Send(&carry{7}, int(f.Fd())); err != nil {
		t.Fatal(err)
	}
	m, fd, err := server.Recv()
	if err != nil || fd != -1 || m.(*note).Text != "hello" {
		t.Fatal(m, fd, err)
	}
	m, fd, err = server.Recv()
	if err != nil || fd < 0 || m.(*carry).N != 7 {
		t.Fatal(m, fd, err)
	}
	unix.Close(fd)
	client.Close()
	if _, _, err := server.Recv(); err != io.EOF {
		t.Fatal(err)
	}
}

func TestLastWordsOfAPeerThatDiedWithUnreadPackets(t *testing.T) {
	client, server := pair(t)
	server.Send(&note{"never read"}, -1)
	client.Send(&note{"last words"}, -1)
	client.Close()
	if m, _, err := server.Recv(); err != nil || m.(*note).Text != "last words" {
		t.Fatal(m, err)
	}
	if _, _, err := server.Recv(); err != io.EOF {
		t.Fatal(err) // ECONNRESET comes before EOF
	}
}

// rawPeer gives a channel's server end and a bare socket that can misbehave.
func rawPeer(t *testing.T) (raw int, server *Conn) {
	t.Helper()
	a, b, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	if server, err = NewConn(b, testProto, FromServer); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(a); server.Close() })
	return a, server
}

func TestStrictReceive(t *testing.T) {
	hello := testProto.encodeHello()
	enc := func(m Message) []byte { b, _ := testProto.Encode(m); return b }
	old := Define(Protocol{Name: "test", Version: 2, MaxBytes: 10}).encodeHello()
	dirFD, err := unix.Open(t.TempDir(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dirFD)
	cases := []struct {
		name  string
		hello []byte
		data  []byte
		fds   []int
		want  string
	}{
		{"no hello", enc(&note{"x"}), nil, nil, "before the hello"},
		{"other version", old, nil, nil, "restart after the upgrade"},
		{"unknown message", hello, []byte{0, 99}, nil, "message 99 is unknown"},
		{"one byte", hello, []byte{1}, nil, "a packet of 1 bytes"},
		{"left over", hello, append(enc(&note{"x"}), 1), nil, "1 bytes are left over"},
		{"missing field", hello, []byte{0, 1, 0, 0}, nil, "field of 4 bytes, 2 are left"},
		{"too long field", hello, enc2(5000), nil, "limit is 1000"},
		{"too long packet", hello, make([]byte, 5000), nil, "over 4096 bytes"},
		{"unannounced descriptor", hello, enc(&note{"x"}), []int{dirFD}, "came with a descriptor"},
		{"missing descriptor", hello, enc(&carry{1}), nil, "without its descriptor"},
		{"wrong descriptor", hello, enc(&carry{1}), []int{dirFD}, "of type"},
		{"two descriptors", hello, enc(&carry{1}), []int{dirFD, dirFD}, "more than one descriptor"},
		{"many descriptors", hello, enc(&carry{1}), []int{dirFD, dirFD, dirFD, dirFD, dirFD, dirFD, dirFD, dirFD}, "more than one descriptor"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			before := countFDs(t)
			raw, server := rawPeer(t)
			unix.Sendmsg(raw, c.hello, nil, nil, 0)
			if c.data != nil {
				if err := unix.Sendmsg(raw, c.data, unix.UnixRights(c.fds...), nil, 0); err != nil {
					t.Fatal(err)
				}
			}
			_, _, err := server.Recv()
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "test") {
				t.Errorf("got %v, want …%s…", err, c.want)
			}
			server.Close()
			unix.Close(raw)
			if after := countFDs(t); after > before {
				t.Errorf("%d descriptors were left open", after-before)
			}
		})
	}
}

func enc2(n int) []byte {
	c := Codec{}
	typ, b := uint16(1), make([]byte, n)
	c.U16(&typ)
	c.Bytes(&b, n)
	return c.buf[:4000]
}

func countFDs(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

func TestQueueIsBoundedAndDelivered(t *testing.T) {
	client, server := pair(t)
	var full error
	sent := 0
	for ; full == nil && sent < 20000; sent++ {
		full = client.Send(&note{strings.Repeat("x", 900)}, -1)
	}
	sent--
	if !errors.Is(full, ErrQueueFull) {
		t.Fatal(full)
	}
	for i := 0; i < sent; i++ {
		if _, _, err := server.Recv(); err != nil {
			t.Fatalf("packet %d of %d: %v", i, sent, err)
		}
	}
	server.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, _, err := server.Recv(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestCloseWakesRecvAndRefusesSend(t *testing.T) {
	client, _ := pair(t)
	done := make(chan error)
	go func() { _, _, err := client.Recv(); done <- err }()
	time.Sleep(time.Millisecond)
	client.Close()
	if err := <-done; err != io.EOF {
		t.Fatal(err)
	}
	if err := client.Send(&note{"x"}, -1); !errors.Is(err, os.ErrClosed) {
		t.Fatal(err)
	}
}

func TestDefineRefusesDoubleNumbers(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("two messages share a number")
		}
	}()
	Define(Protocol{Name: "x", Defs: []Def{{New: func() Message { return new(note) }}, {New: func() Message { return new(note) }}}})
}

func TestChannelWithoutHelloTakesPacketsOfAnySize(t *testing.T) {
	proto := Define(Protocol{Name: "bare", Version: 1, MaxBytes: 1100, NoHello: true, Defs: testProto.Defs})
	a, b, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	client, _ := NewConn(a, proto, FromClient)
	server, _ := NewConn(b, proto, FromServer)
	defer client.Close()
	defer server.Close()
	f, err := os.CreateTemp(t.TempDir(), "x")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	before := countFDs(t)
	for _, text := range []string{"short", strings.Repeat("x", 1000), "", "y"} {
		client.Send(&note{text}, -1)
	}
	client.Send(&carry{1}, int(f.Fd()))
	for _, text := range []string{"short", strings.Repeat("x", 1000), "", "y"} {
		if m, _, err := server.Recv(); err != nil || m.(*note).Text != text {
			t.Fatalf("%.20q: %v %v", text, m, err)
		}
	}
	if _, fd, err := server.Recv(); err != nil || countFDs(t) != before+1 {
		t.Fatal("a look at a packet's size must not take its descriptor", fd, err)
	} else {
		unix.Close(fd)
	}
	client.Close()
	if _, _, err := server.Recv(); err != io.EOF {
		t.Fatal(err)
	}
}
