package relay

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rookery/internal/ipc"
	"rookery/login/internal/sock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newPair(t testing.TB) (a, b *sock.Conn) {
	t.Helper()
	x, y, err := ipc.StreamPair()
	if err != nil {
		t.Fatal(err)
	}
	a, errA := sock.New(x, netip.AddrPort{}, netip.AddrPort{})
	b, errB := sock.New(y, netip.AddrPort{}, netip.AddrPort{})
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	return a, b
}

func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

type ends struct {
	client *tls.Conn
	raw    *sock.Conn // the client's side of the transport
	worker *sock.Conn
	done   chan struct{}
	sess   *Session
}

func start(t testing.TB, cert tls.Certificate, timeouts Timeouts) *ends {
	t.Helper()
	return startWatched(t, cert, timeouts, nil)
}

func startWatched(t testing.TB, cert tls.Certificate, timeouts Timeouts, watch Watch) *ends {
	t.Helper()
	outside, inside := newPair(t)
	ours, theirs := newPair(t)
	server := tls.Server(inside, &tls.Config{Certificates: []tls.Certificate{cert}})
	client := tls.Client(outside, &tls.Config{InsecureSkipVerify: true})
	fail := make(chan error, 1)
	go func() { fail <- client.Handshake() }()
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-fail; err != nil {
		t.Fatal(err)
	}
	e := &ends{client: client, raw: outside, worker: theirs, done: make(chan struct{})}
	e.sess = &Session{Client: inside, TLS: server, Worker: ours, Timeouts: timeouts, Watch: watch}
	e.sess.Run(func([]byte, bool) { close(e.done) })
	t.Cleanup(func() {
		outside.Close()
		theirs.Close()
		<-e.done
	})
	return e
}

var patient = Timeouts{Write: time.Minute, Half: time.Minute, Linger: time.Minute, Finish: time.Minute}

func TestBothWaysAndHalfClose(t *testing.T) {
	e := start(t, certificate(t), patient)
	up, down := make([]byte, 5<<20+17), make([]byte, 7<<20+3)
	rand.Read(up)
	rand.Read(down)
	go func() {
		e.client.Write(up)
		e.client.CloseWrite() // the client has said all; it still listens
	}()
	got := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(e.worker)
		got <- b
		e.worker.Write(down) // only after the client's end was seen
		e.worker.Close()
	}()
	back, err := io.ReadAll(e.client)
	if err != nil || !bytes.Equal(back, down) {
		t.Errorf("down: %d bytes, %v", len(back), err)
	}
	if b := <-got; !bytes.Equal(b, up) {
		t.Errorf("up: %d bytes", len(b))
	}
	e.client.Close()
	<-e.done
}

// A worker's last words arrive though the client goes on talking.
func TestLastWordsArrive(t *testing.T) {
	for range 20 {
		e := start(t, certificate(t), patient)
		e.client.Write([]byte("a1 LOGOUT\r\na2 NOOP\r\n"))
		buf := make([]byte, 11)
		io.ReadFull(e.worker, buf)
		e.worker.Write([]byte("* BYE\r\na1 OK\r\n"))
		e.worker.Close() // with bytes unread
		e.client.Write(bytes.Repeat([]byte("a3 NOOP\r\n"), 1000))
		got, err := io.ReadAll(e.client)
		if err != nil || string(got) != "* BYE\r\na1 OK\r\n" {
			t.Fatalf("%q, %v", got, err)
		}
		e.client.Close()
		<-e.done
	}
}

func TestClientThatStaysIsCutOff(t *testing.T) {
	e := start(t, certificate(t), Timeouts{Write: time.Minute, Half: time.Minute, Linger: time.Millisecond})
	e.worker.Close()
	<-e.done
	e = start(t, certificate(t), Timeouts{Write: time.Minute, Half: time.Millisecond, Linger: time.Minute})
	e.worker.CloseWrite()
	<-e.done
}

func TestClientThatVanishes(t *testing.T) {
	e := start(t, certificate(t), patient)
	e.raw.Close()
	if got, _ := io.ReadAll(e.worker); len(got) != 0 {
		t.Errorf("%q", got)
	}
	e.worker.Close()
	<-e.done
}

func TestClientThatDoesNotRead(t *testing.T) {
	e := start(t, certificate(t), Timeouts{Write: 50 * time.Millisecond, Half: time.Minute, Linger: time.Minute})
	go e.worker.Write(make([]byte, 64<<20))
	<-e.done
}

func TestGarbageInsteadOfARecord(t *testing.T) {
	e := start(t, certificate(t), patient)
	var w net.Conn = e.raw
	w.Write([]byte("\x17\x03\x03\x00\x30 this is no record that anybody could have encrypted"))
	<-e.done
	if got, _ := io.ReadAll(e.worker); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

// Idle sessions: the goal is 120 KB in all, of which the kernel and the worker
// have theirs.
func TestIdleSessionIsSmall(t *testing.T) {
	const n = 200
	cert := certificate(t)
	var before, after runtime.MemStats
	measure := func(m *runtime.MemStats) {
		for range 3 {
			runtime.GC()
		}
		runtime.ReadMemStats(m)
	}
	measure(&before)
	var all []*ends
	for range n {
		e := start(t, cert, patient)
		e.client.Write([]byte("a1 NOOP\r\n"))
		buf := make([]byte, 9)
		io.ReadFull(e.worker, buf)
		e.worker.Write([]byte("a1 OK\r\n"))
		io.ReadFull(e.client, buf[:7])
		all = append(all, e)
	}
	measure(&after)
	per := int(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse) / n
	t.Logf("%d bytes per session, with the test's client", per)
	if per > 60<<10 {
		t.Errorf("%d bytes per idle session", per)
	}
	for _, e := range all {
		e.client.Close()
	}
}
