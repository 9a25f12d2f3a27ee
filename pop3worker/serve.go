package pop3worker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/settings"
	"rookery/internal/vfs"
	"rookery/internal/worker"
	"rookery/pop3worker/internal/session"
)

const (
	idleTimeout  = 10 * time.Minute // RFC 1939 §3: at least
	flushAfter   = 10 * time.Second // of idling: seen marks are stored then
	writeTimeout = 5 * time.Minute
	lockWait     = 10 * time.Second
)

func itoa(n int) string    { return strconv.Itoa(n) }
func utoa(n uint64) string { return strconv.FormatUint(n, 10) }

// Serve runs one session.
func (s *server) Serve(ws *worker.Session) {
	release, err := s.lock.take(lockWait)
	if err == nil {
		defer release()
		err = s.serveLocked(ws)
	}
	if err == nil {
		return
	}
	text, code := "Internal error; see the server's log.", "[SYS/TEMP] "
	if errkind.Is(err, errkind.InUse) {
		text, code = "Mailbox is in use by another POP3 session (pop3_lock_session).", "[IN-USE] "
	}
	ws.Log.Errorf("cannot open the mailbox: %v", err)
	ws.Stream.SetWriteDeadline(time.Now().Add(writeTimeout))
	fmt.Fprintf(ws.Stream, "-ERR %s%s\r\n", code, text)
}

func (s *server) serveLocked(ws *worker.Session) error {
	box, err := s.store.Open("INBOX")
	if err != nil {
		return err
	}
	defer box.Close()
	cfg := s.cfg
	cfg.Failed = func(err error) { ws.Log.Errorf("%v", err) }
	m, err := session.New(cfg, box, s.ownOrder)
	if err != nil {
		return err
	}
	d := &dialogue{ws: ws, m: m}
	reason := d.run()
	m.Finish()
	if err := m.Flush(); err != nil && !errkind.Is(err, errkind.NotFound) {
		ws.Log.Errorf("cannot store seen marks: %v", err)
	}
	ws.Log.Infof("%s %s", reason, s.logoutText(ws, m.Stats()))
	if m.Stats().DeletedCount > 0 || m.Stats().RetrCount > 0 {
		s.host.Changed()
	}
	return nil
}

// dialogue moves bytes between a session and its client.
type dialogue struct {
	ws         *worker.Session
	m          *session.Session
	out        []byte // waits to be sent
	complained bool   // the log has been told of a bad command

	mu    sync.Mutex
	ended string    // why the session must end, once it was told
	until time.Time // how long it may still send
}

// lastWords is how long a session that must end may still send. A client that
// reads nothing does not keep it.
const lastWords = 2 * time.Second

// endText is why the session must end, "" while it need not.
func (d *dialogue) endText() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ended
}

// gone is why a write failed.
func (d *dialogue) gone() string {
	if text := d.endText(); text != "" {
		return "Disconnected: " + text
	}
	return "Disconnected: Connection closed"
}

// end wakes whoever reads or writes.
func (d *dialogue) end(text string) {
	d.mu.Lock()
	d.ended, d.until = text, time.Now().Add(lastWords)
	d.mu.Unlock()
	d.ws.Stream.SetReadDeadline(time.Unix(1, 0))
	d.ws.Stream.SetWriteDeadline(d.until)
}

// run gives the reason of the end in Dovecot's words.
func (d *dialogue) run() string {
	stop := make(chan struct{})
	var told sync.WaitGroup
	told.Add(1)
	go func() {
		defer told.Done()
		select {
		case text := <-d.ws.End:
			d.end(text)
		case <-stop:
		}
	}()
	defer told.Wait()
	defer close(stop)
	if d.write(d.m.Begin()) != nil || d.flush() != nil {
		return d.gone()
	}
	buf := make([]byte, 4096)
	for {
		n, reason := d.read(buf)
		if reason != "" {
			return reason
		}
		reason = d.feed(buf[:n])
		if d.flush() != nil && reason == "" {
			reason = d.gone()
		}
		if reason != "" {
			return reason
		}
		d.rest()
	}
}

// read waits for bytes; after some idle seconds it stores the seen marks.
func (d *dialogue) read(buf []byte) (n int, reason string) {
	deadline := time.Now().Add(idleTimeout)
	next := time.Now().Add(flushAfter)
	for {
		d.ws.Stream.SetReadDeadline(next)
		if text := d.endText(); text != "" { // after setting it, or a Kick could be overlooked
			d.say(session.Bye(text))
			return 0, "Disconnected: " + text
		}
		n, err := d.ws.Stream.Read(buf)
		switch {
		case n > 0:
			return n, ""
		case errors.Is(err, io.EOF):
			return 0, "Disconnected: Connection closed"
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return 0, fmt.Sprintf("Disconnected: %v", err)
		case d.endText() != "":
			continue
		case !time.Now().Before(deadline):
			d.say(session.Bye("Disconnected for inactivity."))
			return 0, "Disconnected for inactivity"
		}
		if err := d.m.Flush(); err != nil {
			d.ws.Log.Errorf("cannot store seen marks: %v", err)
		}
		next = deadline
	}
}

// feed gives the machine what came and does what it says.
func (d *dialogue) feed(p []byte) (reason string) {
	for {
		n, out, effect := d.m.Feed(p)
		p = p[n:]
		if text := d.m.FirstBad(); text != "" && !d.complained {
			d.complained = true
			d.ws.Log.Infof("Bad command, answered: %s", text)
		}
		if d.write(out) != nil {
			return d.gone()
		}
		switch effect {
		case session.None:
			return ""
		case session.Close:
			if d.m.Quit() {
				return "Disconnected: Logged out"
			}
			return "Disconnected: Too many bad commands"
		case session.Send:
			if reason := d.send(); reason != "" {
				return reason
			}
		}
	}
}

// send sends a message's lines.
func (d *dialogue) send() (reason string) {
	defer d.m.Sent()
	for {
		var err error
		d.wait()
		d.out, err = d.m.Body.Append(d.out)
		if errors.Is(err, io.EOF) {
			return ""
		}
		if err != nil {
			// Half of it is out: only a closed connection tells the client.
			d.ws.Log.Errorf("cannot read a message: %v", err)
			return "Disconnected: message could not be read"
		}
		if len(d.out) >= outSize && d.flush() != nil {
			return d.gone()
		}
	}
}

// outSize is how much waits before it is sent while more commands are at hand.
const outSize = 64 << 10

// outs are buffers of sessions that have something to say; one that waits for its
// client holds none.
var outs = sync.Pool{New: func() any { b := make([]byte, 0, 2*outSize); return &b }}

// write lets p wait until flush, or sends it if that is much.
func (d *dialogue) write(p []byte) error {
	d.wait()
	if d.out = append(d.out, p...); len(d.out) < outSize {
		return nil
	}
	return d.flush()
}

// wait takes a buffer.
func (d *dialogue) wait() {
	if d.out == nil {
		d.out = *outs.Get().(*[]byte)
	}
}

// rest gives the buffer back.
func (d *dialogue) rest() {
	if out := d.out[:0]; cap(out) >= outSize && cap(out) <= 8*outSize {
		outs.Put(&out)
	}
	d.out = nil
}

// say sends last words, whether or not they arrive.
func (d *dialogue) say(p []byte) {
	_ = d.write(p)
	_ = d.flush()
}

// flush sends what waits: answers to commands that came together go together.
func (d *dialogue) flush() error {
	p := d.out
	d.out = d.out[:0]
	n, err := d.ws.Stream.WriteNow(p)
	if err != nil || n == len(p) {
		return err
	}
	d.ws.Stream.SetWriteDeadline(time.Now().Add(writeTimeout))
	d.mu.Lock() // after setting it, or an end could be overlooked
	if d.ended != "" {
		d.ws.Stream.SetWriteDeadline(d.until)
	}
	d.mu.Unlock()
	if _, err = d.ws.Stream.Write(p[n:]); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended == "" {
		d.ws.Stream.SetWriteDeadline(time.Time{}) // or the next write could be late for it
	}
	return nil
}

// lock is pop3_lock_session: one session at a time for a user.
type lock struct {
	file func() (vfs.File, error) // nil if it is not wanted
}

// lockName lies beside the control files. It is never removed or replaced.
const lockName = "rookery-pop3-session.lock"

func newLock(host *worker.Host) lock {
	if !settings.POP3LockSession.Get(host.Settings) {
		return lock{}
	}
	return lock{file: func() (vfs.File, error) {
		dir, err := host.ControlDir()
		if err != nil {
			return nil, err
		}
		return dir.OpenFile(lockName, vfs.Read|vfs.Write|vfs.Create, 0o600)
	}}
}

// take waits for the lock; errkind.InUse if another session keeps it. Every
// session opens the file anew: the lock belongs to the open file.
func (l lock) take(wait time.Duration) (release func(), err error) {
	if l.file == nil {
		return func() {}, nil
	}
	f, err := l.file()
	if err != nil {
		return nil, err
	}
	if err := f.Lock(true, wait); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}
