package toolmsg

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"rookery/internal/ipc"
	"rookery/internal/ipc/ipctest"
)

func samples() []ipc.Message {
	at := time.Unix(1700000000, 5).UTC()
	return []ipc.Message{
		&Request{Verb: Search, Args: []string{"a", "b"}, Options: []string{"mailbox=INBOX", "all"}}, &Stream{}, &End{},
		&Line{JSON: []byte(`{"a":1}`), More: true}, &Progress{Count: 1, Total: 2, Text: "t"}, &Done{Exit: 66, Text: "no"}, &Ack{Count: 32},
		&Folder{Name: "Ä/b", Subscribed: true}, &Item{UID: 7, Flags: 3, Keywords: []string{"$a"}, InternalDate: at, Size: 9}, &Data{Bytes: []byte("x"), Last: true},
	}
}

func TestRoundTrip(t *testing.T) { ipctest.RoundTrip(t, Protocol, samples()...) }
func FuzzDecode(f *testing.F)    { ipctest.Fuzz(f, Protocol, samples()...) }

func pair(t *testing.T) (server, client *Flow) {
	t.Helper()
	a, b, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	if server, err = NewFlow(a, ipc.FromServer); err != nil {
		t.Fatal(err)
	}
	if client, err = NewFlow(b, ipc.FromClient); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close(); client.Close() })
	return server, client
}

// A sender stops after Window messages that nobody reads, and goes on as they
// are read.
func TestWindow(t *testing.T) {
	server, client := pair(t)
	sent := make(chan int, 4*Window)
	go func() {
		for i := range 4 * Window {
			if client.Send(&Progress{Count: uint64(i)}) != nil {
				return
			}
			sent <- i
		}
	}()
	for range Window {
		<-sent
	}
	select {
	case <-sent:
		t.Fatal("a message went out beyond the window")
	case <-time.After(50 * time.Millisecond):
	}
	for i := range 4 * Window {
		m, _, err := server.Next(context.Background())
		if err != nil || m.(*Progress).Count != uint64(i) {
			t.Fatalf("message %d: %+v %v", i, m, err)
		}
	}
}

// A peer that sends without waiting is an error, not memory.
func TestFlood(t *testing.T) {
	a, b, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	server, err := NewFlow(a, ipc.FromServer)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	raw, err := ipc.NewConn(b, Protocol, ipc.FromClient)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	for range 3 * Window {
		if err := raw.Send(&Progress{}, -1); err != nil {
			break
		}
	}
	seen := make(chan struct{})
	server.Gone(func() { close(seen) })
	select {
	case <-seen:
	case <-time.After(10 * time.Second):
		t.Fatal("a flood was taken")
	}
	for range Window {
		if _, _, err := server.Next(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := server.Next(context.Background()); !errors.Is(err, errFlood) {
		t.Errorf("after the window: %v", err)
	}
}

func TestFalseAck(t *testing.T) {
	a, b, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	server, err := NewFlow(a, ipc.FromServer)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	raw, err := ipc.NewConn(b, Protocol, ipc.FromClient)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.Send(&Ack{Count: 1}, -1)
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	if _, _, err := server.Next(ctx); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an acknowledgement of nothing was taken: %v", err)
	}
}

func TestEnds(t *testing.T) {
	server, client := pair(t)
	gone := make(chan struct{})
	server.Gone(func() { close(gone) })
	if err := client.Send(&Done{Text: "last words"}); err != nil {
		t.Fatal(err)
	}
	client.Close()
	<-gone
	if m, _, err := server.Next(context.Background()); err != nil || m.(*Done).Text != "last words" {
		t.Errorf("%+v %v", m, err)
	}
	if _, _, err := server.Next(context.Background()); !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
	if err := server.Send(&End{}); !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	other, _ := pair(t)
	if _, _, err := other.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
