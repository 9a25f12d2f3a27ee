// Package session is one IMAP session after login, as a machine: bytes and
// events go in, bytes and effects come out (RFC 3501).
//
// The worker's process drives it from one goroutine: Input with what came from
// the client, Changed, Wake, Tick and Bye for what happened elsewhere, Close at
// the end. It calls the mail store and writes to view.Output; it must never read
// a clock, start a goroutine, touch a socket or know how a client logged in.
//
// One table (dispatch.go) says which commands there are, in which states they
// are legal and what may be told while they run. Each command has a file: its
// grammar, its parser, its run. A command is parsed whole before it acts.
package session

import (
	"fmt"
	"strings"
	"time"

	"rookery/imapworker/internal/view"
	"rookery/internal/imapname"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
)

// Settings are what an administrator can change.
type Settings struct {
	MaxLine     int                // imap_max_line_length: bytes of one command's lines
	MaxMessage  int64              // octets of one appended message; 0 is no limit of ours
	IdleNotify  time.Duration      // imap_idle_notify_interval
	AutoLogout  time.Duration      // without a byte from the client; RFC 3501 §5.4: at least 30 minutes
	BadCommands int                // after so many in a row the session ends
	Poll        time.Duration      // how often an idle session looks for other programs' changes
	MaxKeyword  int                // mail_max_keyword_length: bytes
	ServerID    []imapwire.NString // imap_id_send: key, value, key, value, …

	// imap_client_workarounds
	DelayNewMail   bool // new messages are told only in NOOP and CHECK (and IDLE)
	ExtraSeparator bool // a mailbox name may end in the separator
	LsubFlags      bool // LSUB shows \Noselect as LIST does

	UTF8         bool // mail_utf8_extensions: UTF8=ACCEPT is offered
	MessageLimit int  // imap_message_limit: messages that one command may work on; 0 is no limit
	SaveLimit    int  // imap_save_limit: messages that one COPY or APPEND may make; 0 is no limit
}

// Defaults are the settings where the administrator said nothing.
func Defaults() Settings {
	return Settings{UTF8: true, MaxLine: 64 << 10, MaxKeyword: 50, IdleNotify: 2 * time.Minute, AutoLogout: 30 * time.Minute, BadCommands: 20, Poll: time.Second,
		ServerID: []imapwire.NString{{S: "name", Set: true}, {S: "Rookery", Set: true}}}
}

// Logger takes the session's own lines: plain text without line ends.
type Logger interface {
	Info(text string)
	Warn(text string)
	Error(text string)
}

// Config is what a session needs.
type Config struct {
	Settings Settings
	Store    mailstore.Store
	Out      view.Output
	Language string // that was chosen before the login: a tag of imaplang, or ""
	Log      Logger
	// Changes gets a send after each change of the selected mailbox by others;
	// whoever receives from it calls Changed. It needs room for one.
	Changes chan<- struct{}
	// Changed is called after this session has changed the user's mail. May be nil.
	Changed func()
	// Watching is called when the client begins or ends to be told of mailboxes that
	// it has not selected: while it is, whoever changes one of them in this process
	// calls Wake. May be nil.
	Watching func(on bool)
	// MayPoll decides whether this session looks at the disk for other programs'
	// changes of a mailbox, or another session just did: what one finds, all
	// that watch are told. nil: always.
	MayPoll func(mailbox mailstore.GUID, now time.Time) bool
	// Clock gives the time in the middle of a command that takes long; the session
	// asks nobody else. nil: nobody is told how far a command is.
	Clock func() time.Time
	// Kicked tells in the middle of a command why the session has to end, "" while it
	// need not: whoever calls Bye may have to wait for the command. May be nil.
	Kicked func() string
	// Await is called before work that the session cannot look into: the client is to
	// be sent line, a whole response, every ProgressAfter until stop is called. It is
	// nil where nobody is told how far a command is.
	Await func(line []byte) (stop func())
	// Compress is called when COMPRESS was answered: from then on what goes to Out is
	// to be compressed, and what came has to be inflated before Feed. nil: COMPRESS is
	// not offered.
	Compress func()
	// Unauthenticate: whoever has the client's stream ends the session at UNAUTHENTICATE,
	// and gives nothing of what follows to this process.
	Unauthenticate bool
	Jobs
}

// Jobs are the commands that other packages implement.
type Jobs struct {
	Fetch, Search, Sort, Thread view.Parse
	// Multi is ESEARCH. nil: it is not offered.
	Multi view.ParseMulti
	// CheckFilter refuses what is no search key, to be stored as a filter. It may be
	// nil.
	CheckFilter func(keys string) error
}

// End says how a session ended.
type End uint8

// The ends.
const (
	Running    End = iota
	LoggedOut      // by LOGOUT
	TimedOut       // the client said nothing for too long
	TooManyBad     // bad commands
	Killed         // Bye
	Gone           // the client is gone, or does not read
	Broken         // its bytes cannot be followed any more, or its mailbox is gone
)

// Counts are for the line at the end.
type Counts struct {
	Deleted, Expunged, Trashed, Appended uint64
	Fetched                              view.Fetched
}

// Session is one session. Its methods are for one goroutine.
type Session struct {
	cfg         Config
	out         stickyOutput
	framer      *imapwire.Framer
	names       imapname.Dialect
	enc         imapwire.Encoder
	view        *view.View // nil unless a mailbox is selected
	stopWatch   func()
	append      *appending // an APPEND whose literals are coming
	idle        *idling    // an IDLE that waits for DONE
	notify      *notify    // what NOTIFY asked for; nil before the first
	bad         int        // bad commands in a row
	complained  bool       // the log has been told of a bad command
	condstore   bool       // a CONDSTORE enabling command came (RFC 7162 §3.1)
	qresync     bool       // ENABLE QRESYNC came (RFC 7162 §3.2.3)
	removed     bool       // the command under way has expunged messages
	compressed  bool       // COMPRESS is active (RFC 4978)
	cutOff      bool       // the selected mailbox could not be reached when it was last looked at
	turned      bool       // Feed has to stop: see there
	kicked      string     // why the session ends, found out in the middle of a command
	highestSaid bool       // tellHighest was asked about the answer under way
	lowest      uint32     // UID: the command under way left out messages below; 0 for none
	language    string     // of the answers' texts: a tag of imaplang, "" for the default
	metadata    bool       // ENABLE METADATA
	notesTold   uint64     // the last change of annotations that was told
	ownNotes    []uint64   // this session's own since then
	stopNotes   func()
	now         time.Time
	heard       time.Time // when the client was last heard
	last        string    // the last command that was known; "" for none
	end         End
	why         string // of the end, for the log
	counts      Counts
}

// stickyOutput remembers that the client is gone.
type stickyOutput struct {
	to  view.Output
	err error
}

func (o *stickyOutput) Flush(enc *imapwire.Encoder) error {
	if o.err == nil && enc.Len() > 0 {
		o.err = o.to.Flush(enc)
	}
	return o.err
}

func (o *stickyOutput) Body(m mailstore.Message, off, n int64) error {
	if o.err == nil {
		o.err = o.to.Body(m, off, n)
	}
	return o.err
}

// literalLimit bounds a literal that is kept in memory; messages of APPEND are
// not. Names, search strings and header names are short.
const literalLimit = 64 << 10

func limits(set Settings) imapwire.Limits {
	return imapwire.Limits{Line: set.MaxLine, Literal: literalLimit, LiteralsTotal: 4 * literalLimit,
		LiteralCount: 1 << 14, Depth: 64, Items: 1 << 16}
}

// New makes the session of a user who has logged in.
func New(cfg Config, now time.Time) *Session {
	s := &Session{cfg: cfg, out: stickyOutput{to: cfg.Out}, now: now, heard: now}
	s.framer = imapwire.NewFramer(limits(cfg.Settings), s.decide)
	if spaces := cfg.Store.Namespaces(); len(spaces) > 0 {
		s.names.Separator = spaces[0].Separator
	}
	s.speak(cfg.Language)
	return s
}

// Start answers the command that logged in: "tag OK [CAPABILITY …] Logged in".
func (s *Session) Start(tag string) {
	s.enc.Status(tag, imapwire.OK, imapwire.Code{Name: "CAPABILITY", Args: strings.Join(s.offered(), " ")}, "Logged in")
	s.flush()
}

// Ended tells whether and how the session is over, in words for the log.
func (s *Session) Ended() (End, string) { return s.end, s.why }

// Counts gives what the session did.
func (s *Session) Counts() Counts { return s.counts }

// Idling reports whether the session waits in IDLE.
func (s *Session) Idling() bool { return s.idle != nil }

// Input takes bytes from the client and runs the commands that they complete,
// one after the other. It returns once all are answered.
func (s *Session) Input(now time.Time, p []byte) {
	for {
		p = p[s.Feed(now, p):]
		if len(p) == 0 || s.end != Running {
			return
		}
	}
}

// take handles one event of the framer.
func (s *Session) take(ev imapwire.Event) {
	switch ev.Kind {
	case imapwire.Command:
		if s.append != nil {
			s.finishAppend(ev)
		} else {
			s.command(ev.Text())
		}
	case imapwire.Line:
		s.endIdle(ev.Bytes)
	case imapwire.Continue:
		s.enc.Continue("OK")
		s.flush()
	case imapwire.Chunk:
		s.append.write(ev.Bytes)
	case imapwire.ChunkEnd:
		s.append.endMessage()
	case imapwire.Refused:
		s.refused(ev)
	case imapwire.Fatal:
		s.sayBye(Broken, "Disconnected: "+ev.Reason.String(), ev.Reason.String())
	}
}

// refused answers a command that the framer did not take.
func (s *Session) refused(ev imapwire.Event) {
	if s.idle != nil {
		s.endIdle(nil)
		return
	}
	tag := tagOf(ev.Bytes)
	switch ev.Reason {
	case imapwire.ByDecider:
		reply := ev.Verdict.Tag.(view.Reply)
		s.dropAppend()
		s.answer(tag, reply)
	case imapwire.LiteralTooBig:
		s.dropAppend()
		s.complain(ev.Reason.String())
		s.answer(tag, view.No("TOOBIG", ev.Reason.String()))
	default:
		s.dropAppend()
		s.answer(tag, view.Bad(ev.Reason.String()))
	}
}

// tagOf finds the tag of a command that was not taken; "" if there is none.
func tagOf(p []byte) string {
	d := imapwire.NewDecoder(p, imapwire.Limits{})
	var tag string
	if d.WantTag(&tag) && d.WantSP() {
		return tag
	}
	return ""
}

// answer writes the tagged reply and counts bad commands.
//
// Whatever the answer is, a client of QRESYNC takes it for the point up to which it has
// all changes: where it has been told later flags than expunges, the one of a command
// that was refused, too, has to say how far it may go.
func (s *Session) answer(tag string, reply view.Reply) {
	if !s.highestSaid {
		reply = s.tellHighest(reply)
	}
	s.highestSaid = false
	s.enc.Status(tag, reply.Cond, reply.Code, reply.Text)
	switch reply.Cond {
	case imapwire.OK:
		s.bad = 0
	case imapwire.BAD:
		s.complain(reply.Text)
		s.bad++
		if s.bad >= s.cfg.Settings.BadCommands {
			s.sayBye(TooManyBad, "Disconnected: Too many invalid IMAP commands", "Too many invalid IMAP commands.")
		}
	}
}

// complain tells the log of a session's first bad input: one line, since a client
// can send any number of them.
func (s *Session) complain(text string) {
	if !s.complained {
		s.complained = true
		s.cfg.Log.Info("Bad command, answered: " + text)
	}
}

// flush sends what waits.
func (s *Session) flush() {
	if err := s.enc.Err(); err != nil {
		// Our own bug: the response was taken back, the client lacks it.
		s.cfg.Log.Error("BUG: " + err.Error())
	}
	if err := s.out.Flush(&s.enc); err != nil && s.end == Running {
		s.finish(Gone, "Disconnected: "+capital(err.Error()))
	}
	s.enc.Shrink()
}

// separator is what stands between the levels of names on the wire.
func (s *Session) separator() string {
	if s.names.Separator == 0 {
		return imapname.Separator
	}
	return string(rune(s.names.Separator))
}

// sayBye tells the client why and ends.
func (s *Session) sayBye(end End, why, text string) {
	if s.end != Running {
		return
	}
	s.enc.Status("", imapwire.BYE, imapwire.Code{}, text)
	s.finish(end, why)
	s.flush()
}

// finish gives everything up. It may be called in the middle of a command.
func (s *Session) finish(end End, why string) {
	if s.end != Running {
		return
	}
	s.end, s.why = end, why
	s.dropAppend()
	s.idle = nil
	s.forgetMetadata()
	s.deselect()
}

// Doing tells what the client did last, for the line of one that has gone:
// "(NOOP finished 0.250 secs ago)".
func (s *Session) Doing(now time.Time) string {
	secs := max(now.Sub(s.heard), 0).Seconds()
	switch {
	case s.last == "":
		return "(No commands sent)"
	case s.idle != nil || s.append != nil:
		return fmt.Sprintf("(%s running for %.3f secs)", s.last, secs)
	}
	return fmt.Sprintf("(%s finished %.3f secs ago)", s.last, secs)
}

// Close ends the session when the client's stream has ended; why is for the log.
func (s *Session) Close(why string) { s.finish(Gone, why) }

// Bye ends the session with an untagged BYE: shutdown, kick.
func (s *Session) Bye(now time.Time, text string) {
	s.now = now
	s.sayBye(Killed, "Disconnected: "+text, text)
}

// changed tells the process that this session changed the user's mail.
func (s *Session) changed() {
	if s.cfg.Changed != nil {
		s.cfg.Changed()
	}
}

// deselect leaves the selected mailbox, if there is one.
func (s *Session) deselect() {
	if s.view == nil {
		return
	}
	s.stopWatch()
	s.notSelected(s.view)
	if err := s.view.Box().Close(); err != nil {
		s.cfg.Log.Warn("closing mailbox: " + err.Error())
	}
	s.view, s.stopWatch = nil, nil
}
