package imapworker

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/settings"
	"rookery/internal/worker"
)

// slow is a store in which messages can be opened only until something has happened.
type slow struct {
	mailstore.Store
	begun chan struct{} // gets a send when the first is opened
	wait  func()        // before each further one
}

func (s *slow) Open(name mailstore.Name) (mailstore.Mailbox, error) {
	box, err := s.Store.Open(name)
	return &slowBox{box, s}, err
}

type slowBox struct {
	mailstore.Mailbox
	s *slow
}

func (b *slowBox) Message(uid mailstore.UID) (mailstore.Message, error) {
	select {
	case b.s.begun <- struct{}{}:
	default:
		b.s.wait()
	}
	return b.Mailbox.Message(uid)
}

// A kick ends a search that would go on for long, and the process does not wait for it.
func TestKickWhileSearching(t *testing.T) {
	store := &slow{Store: memstore.New(memstore.Options{}), begun: make(chan struct{}, 1), wait: func() {}}
	b := newBenchOn(t, store, settings.New())
	d := b.connect("")
	d.until("a0")
	for range 300 {
		d.send("a1 APPEND INBOX {4+}\r\nx: y\r\n")
		d.until("a1 OK")
	}
	told := make(chan struct{})
	store.wait = func() {
		<-told
		for len(d.end) > 0 {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Millisecond) // what was taken is known a moment later: not all is searched by then
	}
	d.send("a2 SELECT INBOX\r\n")
	d.until("a2 OK")
	d.send("a3 SEARCH BODY nonsense\r\n")
	<-store.begun
	d.end <- "Server shutting down."
	close(told)
	rest, err := io.ReadAll(d)
	if err != nil || string(rest) != "* BYE Server shutting down.\r\n" {
		t.Errorf("%q, %v", rest, err)
	}
	b.serving.Wait()
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	if !strings.Contains(strings.Join(b.log.lines, "\n"), "Disconnected: Server shutting down.") {
		t.Errorf("%q", b.log.lines)
	}
}

// Each ten seconds of a command that nobody can look into, and not after it.
func TestAwait(t *testing.T) {
	conn, stream := streamPair(t, "")
	defer conn.Close()
	synctest.Test(t, func(t *testing.T) {
		c := &client{ws: &worker.Session{Stream: stream}}
		stop := c.await([]byte("* OK x\r\n"))
		time.Sleep(25 * time.Second)
		stop()
		time.Sleep(time.Minute)
	})
	stream.Close()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "* OK x\r\n* OK x\r\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// While one session searches, another of the same process selects the same mailbox,
// reads, adds to it and is answered.
func TestOthersAreServedMeanwhile(t *testing.T) {
	release := make(chan struct{})
	store := &slow{Store: memstore.New(memstore.Options{}), begun: make(chan struct{}, 1), wait: func() {}}
	b := newBenchOn(t, store, settings.New())
	d, other := b.connect(""), b.connect("")
	d.until("a0")
	other.until("a0")
	for range 3 {
		d.send("a1 APPEND INBOX {4+}\r\nx: y\r\n")
		d.until("a1 OK")
	}
	d.send("a2 SELECT INBOX\r\n")
	d.until("a2 OK")
	store.wait = func() { <-release }
	d.send("a3 SEARCH BODY nonsense\r\n")
	<-store.begun
	other.send("b1 SELECT INBOX\r\nb2 FETCH 1:* FLAGS\r\nb3 APPEND INBOX {4+}\r\nx: y\r\nb4 STORE 1 +FLAGS (\\Seen)\r\n")
	for _, answer := range []string{"b1 OK", "b2 OK", "b3 OK", "b4 OK"} {
		other.until(answer)
	}
	close(release)
	d.until("a3 OK")
	for _, s := range []*dialogue{d, other} {
		s.send("z LOGOUT\r\n")
		s.until("z OK")
	}
	b.serving.Wait()
}
