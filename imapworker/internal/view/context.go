package view

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
)

func equalFold(a, b string) bool { return strings.EqualFold(a, b) }

// Reply is the tagged answer of a command. Cond is imapwire.OK, NO or BAD.
type Reply struct {
	Cond string
	Code imapwire.Code
	Text string
}

// Done is the plain OK.
func Done(text string) Reply { return Reply{Cond: imapwire.OK, Text: text} }

// No is a NO with a code.
func No(code, text string) Reply {
	return Reply{Cond: imapwire.NO, Code: imapwire.Code{Name: code}, Text: text}
}

// Bad is a BAD: what the client sent cannot be.
func Bad(text string) Reply { return Reply{Cond: imapwire.BAD, Text: text} }

// Output takes what goes to the client. Its methods may block while the client
// reads slowly, and say an error once it is gone; the command then stops.
type Output interface {
	// Flush sends what enc holds and empties it.
	Flush(enc *imapwire.Encoder) error
	// Body sends bytes [off, off+n) of a message as they are, after a Flush. The
	// message may be closed when it returns.
	Body(m mailstore.Message, off, n int64) error
}

// ErrDisconnect in a command's error ends the connection, where the settings
// want that (imap_fetch_failure).
var ErrDisconnect = errors.New("disconnect")

// flushAt is how many bytes may wait in the encoder between two responses.
const flushAt = 64 << 10

// Context is what a command of another package runs in.
type Context struct {
	View *View             // of the selected mailbox
	Enc  *imapwire.Encoder // for untagged responses
	Out  Output
	Tag  string    // of the command, for ESEARCH's TAG correlator
	Now  time.Time // when the command came
	UID  bool      // it came with the UID prefix
	// Fetched counts what was sent, for the session's last line; never nil.
	Fetched *Fetched
	// Enable says that the command is a CONDSTORE enabling one; see NeedModSeqs.
	// It may be nil.
	Enable func()
	// Log writes a warning about the user's own mail (a broken message); it
	// takes no line ends. It may be nil.
	Log func(text string)
}

// NeedModSeqs is called by a command that asks for mod-sequences once it knows
// that it will be carried out: it is a CONDSTORE enabling command (RFC 7162 §3.1).
// ok is false for a mailbox without them, with the answer (§3.1.2.2).
func (c *Context) NeedModSeqs() (refused Reply, ok bool) {
	if !c.View.HasModSeqs() {
		return NoModSeqs(), false
	}
	if c.Enable != nil {
		c.Enable()
	}
	return Reply{}, true
}

// NoModSeqs is the answer to what needs mod-sequences where there are none
// (RFC 7162 §3.1.2.2: "MUST reject (with a tagged BAD response)").
func NoModSeqs() Reply { return Bad("The mailbox has no mod-sequences.") }

// Fetched counts what FETCH has sent: imap_logout_format shows it.
type Fetched struct {
	HeaderCount, HeaderBytes uint64 // sections of headers alone
	BodyCount, BodyBytes     uint64 // all other sections
}

// Flush sends what waits once that is much: to be called between responses.
func (c *Context) Flush() error {
	if c.Enc.Len() < flushAt {
		return nil
	}
	return c.Out.Flush(c.Enc)
}

// SmallBody is up to how many bytes a body goes with its response in one piece.
const SmallBody = 16 << 10

// Body sends n bytes of m from off, the content of a literal whose head
// Encoder.Literal wrote. plain says that there is no NUL in them: they can then
// go as the store has them. Others, and all up to SmallBody, go through Enc,
// which masks.
func (c *Context) Body(m mailstore.Message, off, n int64, plain bool) error {
	if n <= SmallBody && c.Enc.BodyFrom(m, off, int(n)) {
		return nil
	}
	if err := c.Out.Flush(c.Enc); err != nil {
		return err
	}
	if plain {
		return c.Out.Body(m, off, n)
	}
	for n > 0 {
		piece := min(n, SmallBody)
		if !c.Enc.BodyFrom(m, off, int(piece)) {
			return fmt.Errorf("%w: message is shorter than it was", ErrDisconnect)
		}
		if err := c.Out.Flush(c.Enc); err != nil {
			return err
		}
		off, n = off+piece, n-piece
	}
	return nil
}

// Job is a parsed command of another package, ready to run. It writes untagged
// responses to ctx.Enc and gives the tagged answer; the kind of an error
// decides the answer in its place. An error of ctx.Flush or ctx.Body must be
// given back as it is: it ends the session.
type Job interface {
	Run(ctx *Context) (Reply, error)
}

// Parse reads what follows a command's name, up to and including the end
// (Decoder.WantEnd). It says false after an error of the decoder, for which the
// answer is BAD. uid is true for the UID form. It must not look at a mailbox:
// sequence sets are kept as numset.Expr and resolved in Run by View.Resolve.
type Parse func(d *imapwire.Decoder, uid bool) (Job, bool)
