// Package maillog is how every process logs: an event with a level, a text in
// Dovecot's words, key=value fields and the session's id, sent to logd.
//
// A process cannot write in another's name: logd puts role, pid and user before
// the text by the channel that the event came on. Secrets do not get here: they
// are of type secret.Bytes, which does not print. Control characters in texts
// and values are made visible by logd, whatever the sender did.
//
// Every process uses it. It must never open a file or a socket.
package maillog

import (
	"fmt"
	"sync/atomic"
	"time"

	"rookery/internal/ipc/logmsg"
)

// Sender takes events. ipc.Conn's Send serves for it through ToChannel; tests
// have their own.
type Sender interface{ SendEvent(*logmsg.Event) }

// Logger writes events. Loggers derived from one share sender and filter.
// All methods may be called from several goroutines.
type Logger struct {
	to      Sender
	debug   *debugState
	prefix  string
	session string
	kv      []logmsg.Field
}

type debugState struct{ filter atomic.Pointer[Filter] }

// New makes a Logger. Debug lines are off until SetDebug.
func New(to Sender) *Logger { return &Logger{to: to, debug: &debugState{}} }

// Discard is a Logger that writes nowhere.
func Discard() *Logger { return New(discard{}) }

type discard struct{}

func (discard) SendEvent(*logmsg.Event) {}

// Prefix gives a Logger whose lines begin with p where the role has several
// prefixes ("imap-login", "pop3-login").
func (l *Logger) Prefix(p string) *Logger {
	c := *l
	c.prefix = p
	return &c
}

// Session gives a Logger whose lines carry the session's id.
func (l *Logger) Session(id string) *Logger {
	c := *l
	c.session = id
	return &c
}

// With gives a Logger with one more field.
func (l *Logger) With(key, value string) *Logger {
	c := *l
	c.kv = append(l.kv[:len(l.kv):len(l.kv)], logmsg.Field{Key: key, Value: value})
	return &c
}

// SetDebug sets whose debug lines are written from now on, for all derived Loggers.
func (l *Logger) SetDebug(f *Filter) { l.debug.filter.Store(f) }

// Debugging reports whether debug lines about this user and address (each "" if
// unknown) are written. Ask before building a costly line.
func (l *Logger) Debugging(user, ip string) bool {
	return l.debug.filter.Load().Matches(user, ip)
}

// Debugf writes a debug line. Callers ask Debugging first.
func (l *Logger) Debugf(format string, args ...any) {
	l.Log(logmsg.Debug, fmt.Sprintf(format, args...))
}

// Infof writes a line of ordinary running.
func (l *Logger) Infof(format string, args ...any) { l.Log(logmsg.Info, fmt.Sprintf(format, args...)) }

// Warnf writes a line about something that went on all the same.
func (l *Logger) Warnf(format string, args ...any) {
	l.Log(logmsg.Warning, fmt.Sprintf(format, args...))
}

// Errorf writes a line that a person should look at; say what to do.
func (l *Logger) Errorf(format string, args ...any) {
	l.Log(logmsg.Error, fmt.Sprintf(format, args...))
}

// Log writes a line as it is, with more fields.
func (l *Logger) Log(level logmsg.Level, text string, kv ...logmsg.Field) {
	e := &logmsg.Event{Level: level, Time: time.Now(), Prefix: l.prefix, Session: l.session, Text: clip(text, logmsg.MaxText)}
	for _, f := range append(l.kv[:len(l.kv):len(l.kv)], kv...) {
		if len(e.KV) == logmsg.MaxFields {
			break
		}
		e.KV = append(e.KV, logmsg.Field{Key: clip(f.Key, logmsg.MaxKey), Value: clip(f.Value, logmsg.MaxValue)})
	}
	l.to.SendEvent(e)
}

// clip keeps a line within the channel's limit: a cut line is better than none.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return s[:limit-3] + "..."
}
