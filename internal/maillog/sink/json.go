package sink

import (
	"io"
	"strings"

	"github.com/hashicorp/go-hclog"

	"rookery/internal/ipc/logmsg"
)

// JSON writes lines as JSON objects, one a line: @timestamp, @level, @message,
// @module (the role), pid, user, session, and the event's fields.
type JSON struct{ to hclog.Logger }

// NewJSON makes one that writes to w.
func NewJSON(w io.Writer) *JSON {
	return &JSON{hclog.New(&hclog.LoggerOptions{Output: w, JSONFormat: true, Level: hclog.Trace})}
}

// Write writes one line.
func (j *JSON) Write(l *Line) {
	e := l.Event
	args := []any{"pid", l.PID}
	if l.User != "" {
		args = append(args, "user", l.User)
	}
	if e.Session != "" {
		args = append(args, "session", e.Session)
	}
	if e.Level == logmsg.Fatal || e.Level == logmsg.Panic {
		args = append(args, "severity", LevelName(e.Level))
	}
	for _, f := range e.KV {
		args = append(args, l.fieldName(f.Key), f.Value)
	}
	module := l.Role
	for _, p := range prefixes[l.Role] {
		if p == e.Prefix {
			module = p
		}
	}
	j.to.Named(module).Log(hclogLevel(e.Level), string(AppendClean(nil, e.Text)), args...)
}

// fieldName keeps a sender's field from taking the place of what logd says of
// the line: whose it is, when and how grave.
func (l *Line) fieldName(key string) string {
	if strings.HasPrefix(key, "@") || key == "pid" || key == "severity" || key == "user" && l.User != "" {
		return "field_" + strings.TrimLeft(key, "@")
	}
	return key
}

func hclogLevel(l logmsg.Level) hclog.Level {
	switch l {
	case logmsg.Debug:
		return hclog.Debug
	case logmsg.Info:
		return hclog.Info
	case logmsg.Warning:
		return hclog.Warn
	}
	return hclog.Error
}
