package imapworker

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/settings"
	"rookery/internal/worker"
)

// endless is a store whose copies go on until they are broken off.
type endless struct {
	mailstore.Store
	begun chan struct{}
}

func (s *endless) Open(name mailstore.Name) (mailstore.Mailbox, error) {
	box, err := s.Store.Open(name)
	return &endlessBox{box, s}, err
}

type endlessBox struct {
	mailstore.Mailbox
	s *endless
}

func (b *endlessBox) Transfer(t mailstore.Transfer) (res mailstore.CopyResult, err error) {
	for b.s.begun <- struct{}{}; err == nil; err = t.GoOn() {
		time.Sleep(time.Millisecond)
	}
	return res, err
}

// A kick ends a COPY that would go on for long, and the process does not wait for it.
func TestKickWhileCopying(t *testing.T) {
	store := &endless{memstore.New(memstore.Options{}), make(chan struct{}, 1)}
	b := newBenchOn(t, store, settings.New())
	d := b.connect("")
	d.until("a0")
	d.send("a1 APPEND INBOX {4+}\r\nx: y\r\na2 SELECT INBOX\r\n")
	d.until("a2 OK")
	d.send("a3 COPY 1 INBOX\r\n")
	<-store.begun
	d.end <- "Server shutting down."
	rest, err := io.ReadAll(d)
	if err != nil || string(rest) != "* BYE Server shutting down.\r\n" {
		t.Errorf("%q, %v", rest, err)
	}
	b.serving.Wait()
}

// Where the client cannot be told how far a command is, the command is to end.
func TestAwaitClientGone(t *testing.T) {
	conn, stream := streamPair(t, "")
	defer stream.Close()
	conn.Close()
	synctest.Test(t, func(t *testing.T) {
		c := &client{ws: &worker.Session{Stream: stream}}
		stop := c.await([]byte("* OK x\r\n"))
		if text := c.toldToEnd(); text != "" {
			t.Errorf("told to end before it was tried: %q", text)
		}
		time.Sleep(25 * time.Second)
		if text := c.toldToEnd(); text != "Connection closed" {
			t.Errorf("told to end with %q", text)
		}
		stop()
	})
}
