package mailstore

import (
	"errors"
	"fmt"

	"rookery/internal/numset"
)

// Transfer is a COPY or a MOVE that can be broken off.
type Transfer struct {
	UIDs numset.Set
	To   Name
	Move bool
	// Stop, if not nil, is asked between the steps whether to go on; an error breaks the
	// transfer off. It is asked for each message, and must not wait. Another goroutine
	// may ask it while the caller waits for that one.
	Stop func() error
}

// Transferrer is a Mailbox whose Copy and Move can be broken off. A mailbox that stands
// before another one has to offer it by itself: what it checks or counts in its own Copy
// and Move must not be passed by.
type Transferrer interface {
	// Transfer is Copy or Move. Broken off it is ErrStopped, and each message is where
	// it was: of a COPY none has a copy (RFC 9051 §6.4.7, "MUST restore the destination
	// mailbox to its state before the COPY attempt (other than possibly incrementing
	// UIDNEXT)"), of a MOVE those that the result names are moved and the others are not
	// (RFC 6851 §3.3, "either be moved or unaffected"). What can no longer be taken back
	// is done to its end.
	Transfer(t Transfer) (CopyResult, error)
}

// ErrStopped is wrapped by the error of a Transfer that was broken off, beside that of
// Stop.
var ErrStopped = errors.New("it was broken off")

// GoOn asks Stop. The error wraps ErrStopped.
func (t Transfer) GoOn() error {
	if t.Stop == nil {
		return nil
	}
	if err := t.Stop(); err != nil {
		return fmt.Errorf("%w: %w", ErrStopped, err)
	}
	return nil
}

// Name is what errors call it.
func (t Transfer) Name() string {
	if t.Move {
		return "move"
	}
	return "copy"
}

// Of does it with the messages of a mailbox. One that is no Transferrer is asked once,
// before it begins, whether to.
func (t Transfer) Of(mb Mailbox) (CopyResult, error) {
	if can, ok := mb.(Transferrer); ok {
		return can.Transfer(t)
	}
	if err := t.GoOn(); err != nil {
		return CopyResult{}, err
	}
	if t.Move {
		return mb.Move(t.UIDs, t.To)
	}
	return mb.Copy(t.UIDs, t.To)
}

// CommitStopper is an Appender whose Commit can be broken off.
type CommitStopper interface {
	// StopBy says, before Commit, what that is to ask between its steps: Transfer.GoOn,
	// whose error Commit then has. Nothing is added. It is asked as Transfer.Stop is.
	StopBy(goOn func() error)
}

// StopBy says so to an appender, or to one that it stands before. One that offers no such
// thing commits to the end.
func StopBy(a Appender, goOn func() error) {
	for a != nil {
		if s, ok := a.(CommitStopper); ok {
			s.StopBy(goOn)
			return
		}
		u, ok := a.(interface{ Unwrap() Appender })
		if !ok {
			return
		}
		a = u.Unwrap()
	}
}
