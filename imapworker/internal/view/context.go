package view

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
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
	// QResync says that the client has issued ENABLE QRESYNC.
	QResync bool
	// Filter gives the keys that the user has stored under a filter's name (RFC 5466
	// §3.1). It is nil where there are none.
	Filter func(name string) (keys string, ok bool, err error)
	// FetchNew writes what FETCH items tell of messages; see Live. It may be nil.
	FetchNew func(items []byte, uids numset.Set) error
	// Progress is called by a command that may take long, every now and then, with
	// how much of it is done: the client is told after a while (RFC 9585). It may
	// be nil. Its error ends the command.
	Progress func(done, goal uint64) error
	// Limit is how many messages the command may work on, 0 for no limit; Lowest is
	// set to the lowest UID that it worked on if there are more. See Within.
	Limit  uint64
	Lowest mailstore.UID
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

// Numbered is a Job that may name messages by sequence numbers although it came
// with the UID prefix: in the criteria of UID SEARCH, UID SORT and UID THREAD.
type Numbered interface{ Numbered() bool }

// Parse reads what follows a command's name, up to and including the end
// (Decoder.WantEnd). It says false after an error of the decoder, for which the
// answer is BAD. uid is true for the UID form. It must not look at a mailbox:
// sequence sets are kept as numset.Expr and resolved in Run by View.Resolve.
type Parse func(d *imapwire.Decoder, uid bool) (Job, bool)

// MultiJob is a search of several mailboxes, parsed (RFC 7377). Each is searched
// with a Context of its own, one after the other.
type MultiJob interface {
	// Saves reports whether the result is to be saved, so that none but the
	// selected mailbox may be searched (RFC 7377 §2.2).
	Saves() bool
	// Updates reports whether the changes of the result are to be told, which is
	// done for the selected mailbox alone.
	Updates() bool
	// Check finds what is wrong whatever mailboxes there are to search: charset and
	// filters. A Reply with Cond ends the command.
	Check(ctx *Context) (Reply, error)
	// Search searches the mailbox of ctx.View and writes what there is to say of it
	// under the name that the client knows it by. selected says that it is the
	// selected one. A Reply with Cond ends the command.
	Search(ctx *Context, name string, selected bool) (Reply, error)
}

// ParseMulti reads what follows ESEARCH's source options, as Parse does.
type ParseMulti func(d *imapwire.Decoder) (MultiJob, bool)

// TakesItems gives what tells whether FETCH takes a list of items in parentheses.
func TakesItems(fetch Parse) func(items []byte) bool {
	return func(items []byte) bool {
		d := imapwire.NewDecoder(append([]byte(" 1 "), items...), imapwire.Limits{Depth: 8, Items: 1 << 10})
		_, ok := fetch(d, true)
		return ok
	}
}
