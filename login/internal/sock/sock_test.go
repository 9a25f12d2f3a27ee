package sock

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/ipc"
)

func pair(t *testing.T) (a, b *Conn) {
	t.Helper()
	x, y, err := ipc.StreamPair()
	if err != nil {
		t.Fatal(err)
	}
	a, errA := New(x, netip.AddrPort{}, netip.AddrPort{})
	b, errB := New(y, netip.AddrPort{}, netip.AddrPort{})
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestInstantReads(t *testing.T) {
	a, b := pair(t)
	b.SetInstant(true)
	buf := make([]byte, 10)
	if _, err := b.Read(buf); !errors.Is(err, ErrWouldBlock) {
		t.Fatal(err)
	}
	go a.Write([]byte("hello"))
	if err := b.Wait(); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Read(buf); err != nil || string(buf[:n]) != "hello" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	a.CloseWrite()
	if err := b.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Read(buf); err != io.EOF {
		t.Fatal(err)
	}
}

func TestPeekTakesNothing(t *testing.T) {
	a, b := pair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, part := range []string{"ab", "cd", "ef"} {
			a.Write([]byte(part))
		}
	}()
	buf := make([]byte, 100)
	n, err := b.Peek(buf, func(p []byte) bool { return len(p) >= 5 })
	if err != nil || string(buf[:n]) != "abcdef" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	<-done
	got := make([]byte, 6)
	if _, err := io.ReadFull(b, got); err != nil || string(got) != "abcdef" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestDeadlineEndsWait(t *testing.T) {
	_, b := pair(t)
	b.SetReadDeadline(time.Now().Add(-time.Second))
	if err := b.Wait(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestCloseEndsWait(t *testing.T) {
	_, b := pair(t)
	done := make(chan error)
	go func() { done <- b.Wait() }()
	b.Close()
	if err := <-done; err == nil {
		t.Fatal("no error")
	}
}

func TestPeerGone(t *testing.T) {
	a, b := pair(t)
	if a.PeerGone() {
		t.Fatal("gone though it is there")
	}
	b.CloseWrite() // the other half still takes
	if a.PeerGone() {
		t.Fatal("gone after a half-close")
	}
	b.Close()
	if !a.PeerGone() {
		t.Fatal("not gone though it is closed")
	}
}

// What goes to another process must stay non-blocking, and closing our copy
// must not disturb the other.
func TestDescriptorLeaves(t *testing.T) {
	a, b := pair(t)
	var copied int
	if err := b.WithFD(func(fd int) (err error) {
		copied, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if flags, err := unix.FcntlInt(uintptr(copied), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Fatal("the descriptor blocks", err)
	}
	c, err := New(copied, netip.AddrPort{}, netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := make([]byte, 1<<20)
	rand.Read(want)
	go func() { a.Write(want); a.CloseWrite() }()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatal(len(got), err)
	}
}

func TestReadPooled(t *testing.T) {
	a, b := pair(t)
	pool := &sync.Pool{New: func() any { return new(Buffer) }}
	type result struct {
		text string
		err  error
	}
	got := make(chan result)
	read := func() {
		buf, n, err := b.ReadPooled(pool)
		if err != nil {
			got <- result{"", err}
			return
		}
		got <- result{string(buf[:n]), nil}
		pool.Put(buf)
	}
	go read()
	a.Write([]byte("hello"))
	if r := <-got; r.text != "hello" || r.err != nil {
		t.Fatal(r)
	}
	b.SetReadDeadline(time.Now().Add(-time.Second))
	go read()
	if r := <-got; !errors.Is(r.err, os.ErrDeadlineExceeded) {
		t.Fatal(r.err)
	}
	b.SetReadDeadline(time.Time{})
	a.CloseWrite()
	go read()
	if r := <-got; r.err != io.EOF {
		t.Fatal(r.err)
	}
}
