// Package peers keeps some sessions of one user for tests: what they write, what
// their mailboxes tell them, and the time that they go by.
//
// Tests of the session machine and of its commands use it. It must not know the
// machine's package, whose own tests could not import it then.
package peers

import (
	"io"
	"testing"
	"time"

	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/transcript"
)

// Session is what is asked of a session.
type Session interface {
	Input(now time.Time, p []byte)
	Changed(now time.Time)
	Close(reason string)
}

// Output keeps what a client would get. It is a session's Out.
type Output struct {
	Broken bool // the client is gone
	buf    []byte
}

// Flush is for view.Output.
func (o *Output) Flush(enc *imapwire.Encoder) error {
	if o.Broken {
		return io.ErrClosedPipe
	}
	o.buf = append(o.buf, enc.Bytes()...)
	enc.Reset()
	return nil
}

// Body is for view.Output.
func (o *Output) Body(m mailstore.Message, off, n int64) error {
	p := make([]byte, n)
	if got, err := m.ReadAt(p, off); int64(got) < n {
		return err
	}
	o.buf = append(o.buf, p...)
	return nil
}

// Take gives what was written since the last call.
func (o *Output) Take() []byte {
	out := o.buf
	o.buf = nil
	return out
}

// Lines is a session's log in a test: an error fails it.
type Lines struct{ T testing.TB }

// Info, Warn and Error are the log's.
func (l Lines) Info(string)       {}
func (l Lines) Warn(text string)  { l.T.Logf("warning: %s", text) }
func (l Lines) Error(text string) { l.T.Errorf("error logged: %s", text) }

// Peers are the sessions, each begun with its first use.
type Peers[S Session] struct {
	Now   time.Time
	Begin func(out *Output, changes chan struct{}) S

	sessions [transcript.Sessions + 1]S
	outs     [transcript.Sessions + 1]*Output // nil: the session was not begun
	changes  [transcript.Sessions + 1]chan struct{}
}

// Session gives one of them.
func (p *Peers[S]) Session(n int) S {
	if p.outs[n] == nil {
		p.outs[n], p.changes[n] = &Output{}, make(chan struct{}, 1)
		p.sessions[n] = p.Begin(p.outs[n], p.changes[n])
	}
	return p.sessions[n]
}

// Each calls f for every session that was begun.
func (p *Peers[S]) Each(f func(s S)) {
	for n, out := range p.outs {
		if out != nil {
			f(p.sessions[n])
		}
	}
}

// Send is for transcript.Peer.
func (p *Peers[S]) Send(n int, b []byte) {
	p.Session(n).Input(p.Now, b)
	p.Settle()
}

// Settle delivers what the sessions' mailboxes told.
func (p *Peers[S]) Settle() {
	for n, out := range p.outs {
		if out == nil {
			continue
		}
		select {
		case <-p.changes[n]:
			p.sessions[n].Changed(p.Now)
		default:
		}
	}
}

// Take is for transcript.Peer.
func (p *Peers[S]) Take(n int) []byte {
	if p.outs[n] == nil {
		return nil
	}
	return p.outs[n].Take()
}

// Close ends all sessions.
func (p *Peers[S]) Close() { p.Each(func(s S) { s.Close("end of the test") }) }
