// Package logmsg is the channel on which a process sends its log events to logd.
//
// logd is the server; it stamps role and pid by the channel that an event came
// on, so what an event says of its sender does not matter. master attaches
// channels and passes the open log files.
package logmsg

import (
	"time"

	"rookery/internal/ipc"
)

// Limits of fields.
const (
	MaxText   = 8 << 10
	MaxFields = 32
	MaxKey    = 64
	MaxValue  = 4 << 10
)

// Protocol is the channel of every process.
var Protocol = ipc.Define(ipc.Protocol{Name: "log", Version: 1, MaxBytes: 160 << 10, Defs: []ipc.Def{
	{New: func() ipc.Message { return new(Event) }, From: ipc.FromClient},
}})

// Control is the channel between master (the server) and logd.
var Control = ipc.Define(ipc.Protocol{Name: "logctl", Version: 1, MaxBytes: 160 << 10, Defs: []ipc.Def{
	{New: func() ipc.Message { return new(Attach) }, From: ipc.FromServer, FD: ipc.FDPacket},
	{New: func() ipc.Message { return new(Named) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Sink) }, From: ipc.FromServer, FD: ipc.FDFile, OptionalFD: true},
	{New: func() ipc.Message { return new(Style) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Stderr) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Errors) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(ErrorLines) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(SinksDone) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(SyslogSocket) }, From: ipc.FromServer, FD: ipc.FDDatagram},
	{New: func() ipc.Message { return new(Broken) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Ready) }, From: ipc.FromClient},
}})

// Level is an event's severity. As strict as Postfix's: a warning means that
// work went on, an error that a person should look.
type Level = uint8

// The levels.
const (
	Debug Level = 1 + iota
	Info
	Warning
	Error
	Fatal
	Panic
)

// Field is one key=value pair of an event.
type Field struct{ Key, Value string }

// Event is one line.
type Event struct {
	Level   Level
	Time    time.Time
	Prefix  string // what the line begins with where a role has several: "imap-login", "pop3-login"
	Session string // the session's id, "" if the line is of none
	Text    string // the line in Dovecot's words
	KV      []Field
}

// Type is for ipc.
func (*Event) Type() ipc.Type { return 1 }

// Fields is for ipc.
func (m *Event) Fields(c *ipc.Codec) {
	c.U8(&m.Level)
	c.Time(&m.Time)
	c.String(&m.Prefix, 64)
	c.String(&m.Session, 64)
	c.String(&m.Text, MaxText)
	n := c.Count(len(m.KV), MaxFields)
	if c.Reading() && n > 0 {
		m.KV = make([]Field, n)
	}
	for i := 0; i < n; i++ {
		c.String(&m.KV[i].Key, MaxKey)
		c.String(&m.KV[i].Value, MaxValue)
	}
}

// Attach gives logd its end of a new process's log channel.
type Attach struct {
	ID   uint64 // names the channel in Named; never reused
	Role string // "login", "auth", "imap", "pop3", "master", "log"
	PID  int32  // as seen outside its namespace; 0 if not yet known
	User string // of a worker, from master; ""
	// Resumed: an earlier logd read this channel; take it by ipc.Resume.
	Resumed bool
}

// Type is for ipc.
func (*Attach) Type() ipc.Type { return 1 }

// Fields is for ipc.
func (m *Attach) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	c.String(&m.Role, 32)
	v := uint32(m.PID)
	c.U32(&v)
	m.PID = int32(v)
	c.String(&m.User, 512)
	c.Bool(&m.Resumed)
}

// Named tells logd later whose an attached channel is: the pid once the
// process runs, the user once a spare worker has one. A channel's user is set
// once.
type Named struct {
	ID   uint64
	PID  int32
	User string
}

// Type is for ipc.
func (*Named) Type() ipc.Type { return 9 }

// Fields is for ipc.
func (m *Named) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	v := uint32(m.PID)
	c.U32(&v)
	m.PID = int32(v)
	c.String(&m.User, 512)
}

// Sink passes one open log file; a set of them ends with SinksDone and then
// replaces the set before (at start, on reload, on SIGUSR1).
type Sink struct {
	Kind     string // "file" (with its descriptor), "stderr", "syslog"
	Path     string // for messages
	Min, Max Level  // which levels go here
	Format   string // "text", "json"
	Facility string // of syslog: "mail", "local0", …
	Tag      string // of syslog: "dovecot"
}

// Type is for ipc.
func (*Sink) Type() ipc.Type { return 2 }

// Fields is for ipc.
func (m *Sink) Fields(c *ipc.Codec) {
	c.String(&m.Kind, 16)
	c.String(&m.Path, 4<<10)
	c.U8(&m.Min)
	c.U8(&m.Max)
	c.String(&m.Format, 16)
	c.String(&m.Facility, 16)
	c.String(&m.Tag, 64)
}

// SinksDone puts the sinks sent before it into use.
type SinksDone struct{ Count uint32 }

// Type is for ipc.
func (*SinksDone) Type() ipc.Type { return 6 }

// Fields is for ipc.
func (m *SinksDone) Fields(c *ipc.Codec) { c.U32(&m.Count) }

// SyslogSocket passes a datagram socket connected to /dev/log; again after the
// system's logger was restarted. logd itself may not connect.
type SyslogSocket struct{}

// Type is for ipc.
func (*SyslogSocket) Type() ipc.Type { return 7 }

// Fields is for ipc.
func (*SyslogSocket) Fields(*ipc.Codec) {}

// Broken asks master for a new SyslogSocket.
type Broken struct{}

// Type is for ipc.
func (*Broken) Type() ipc.Type { return 8 }

// Fields is for ipc.
func (*Broken) Fields(*ipc.Codec) {}

// Stderr passes on what a child wrote to its standard error (a panic's trace).
type Stderr struct {
	Role string
	PID  int32
	Data []byte
}

// Type is for ipc.
func (*Stderr) Type() ipc.Type { return 3 }

// Fields is for ipc.
func (m *Stderr) Fields(c *ipc.Codec) {
	c.String(&m.Role, 32)
	v := uint32(m.PID)
	c.U32(&v)
	m.PID = int32(v)
	c.Bytes(&m.Data, 64<<10)
}

// Errors asks for the last warnings and errors, newest last.
type Errors struct {
	ID    uint64
	After uint64 // only those with a higher number
}

// Type is for ipc.
func (*Errors) Type() ipc.Type { return 4 }

// Fields is for ipc.
func (m *Errors) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	c.U64(&m.After)
}

// ErrorLines answers Errors with some lines; ask again after the last Number
// until More is false.
type ErrorLines struct {
	ID    uint64
	Lines []ErrorLine
	More  bool
}

// ErrorLine is one warning or error.
type ErrorLine struct {
	Number uint64
	Time   time.Time
	Level  Level
	Text   string // role and prefix included
}

// Type is for ipc.
func (*ErrorLines) Type() ipc.Type { return 5 }

// Fields is for ipc.
func (m *ErrorLines) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	n := c.Count(len(m.Lines), 16)
	if c.Reading() {
		m.Lines = make([]ErrorLine, n)
	}
	for i := 0; i < n; i++ {
		c.U64(&m.Lines[i].Number)
		c.Time(&m.Lines[i].Time)
		c.U8(&m.Lines[i].Level)
		c.String(&m.Lines[i].Text, MaxText)
	}
	c.Bool(&m.More)
}

// Ready is logd's first message: it is confined. master counts it as started.
type Ready struct{}

// Type is for ipc.
func (*Ready) Type() ipc.Type { return 10 }

// Fields is for ipc.
func (*Ready) Fields(*ipc.Codec) {}

// Style says how lines look; sent before SinksDone and in use with it.
type Style struct {
	Timestamp  string // strftime(3) letters, for files
	MailPrefix string // template of mail_log_prefix
}

// Type is for ipc.
func (*Style) Type() ipc.Type { return 11 }

// Fields is for ipc.
func (m *Style) Fields(c *ipc.Codec) {
	c.String(&m.Timestamp, 256)
	c.String(&m.MailPrefix, 1<<10)
}
