package logd

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"rookery/internal/ipc/logmsg"
	"rookery/internal/maillog/sink"
)

// sinks are where lines go now.
type sinks struct {
	outputs []*output
	syslog  int // connected to /dev/log; -1 if there is none
	hasLog  bool
	buf     []byte
}

// output is one of them.
type output struct {
	logmsg.Sink
	file   *os.File // of a file; standard error for "stderr"
	json   *sink.JSON
	failed uint64 // lines lost since the last one that went
}

func newOutput(m *logmsg.Sink, fd int) *output {
	o := &output{Sink: *m}
	switch {
	case m.Kind == "file" && fd >= 0:
		o.file = os.NewFile(uintptr(fd), m.Path)
	case m.Kind == "stderr":
		o.file = os.Stderr
	}
	if m.Format == "json" && o.file != nil {
		o.json = sink.NewJSON(o.file)
	}
	return o
}

func (s *sinks) replace(next []*output) {
	for _, o := range s.outputs {
		o.close()
	}
	s.outputs = next
}

func (s *sinks) close() { s.replace(nil); s.setSyslog(-1) }

func (o *output) close() {
	if o.Kind == "file" && o.file != nil {
		o.file.Close()
	}
}

func (s *sinks) setSyslog(fd int) {
	if s.hasLog {
		unix.Close(s.syslog)
	}
	s.syslog, s.hasLog = fd, fd >= 0
}

// write writes a line to every output that takes its level. broken says that
// the system's logger does not answer any more.
func (s *sinks) write(l *sink.Line, style *sink.Style) (broken bool) {
	for _, o := range s.outputs {
		if l.Event.Level < o.Min || l.Event.Level > o.Max {
			continue
		}
		if o.Kind == "syslog" {
			broken = s.toSyslog(o, l, style) || broken
			continue
		}
		s.toFile(o, l, style)
	}
	return broken
}

func (s *sinks) toFile(o *output, l *sink.Line, style *sink.Style) {
	if o.file == nil {
		return
	}
	if o.json != nil {
		o.json.Write(l)
		return
	}
	s.buf = s.buf[:0]
	if o.failed > 0 {
		s.buf = append(s.buf, "(before this line, lines that could not be written: "+utoa(o.failed)+")\n"...)
	}
	if o.Format == "journal" {
		s.buf = l.AppendJournal(s.buf, style)
	} else {
		s.buf = l.AppendFile(s.buf, style)
	}
	if _, err := o.file.Write(s.buf); err != nil {
		o.failed++
		return
	}
	o.failed = 0
}

func (s *sinks) toSyslog(o *output, l *sink.Line, style *sink.Style) (broken bool) {
	if !s.hasLog {
		o.failed++
		return o.failed == 1
	}
	s.buf = l.AppendSyslog(s.buf[:0], style, o.Facility, o.Tag)
	_, err := unix.SendmsgN(s.syslog, s.buf, nil, nil, unix.MSG_NOSIGNAL) // master has bounded how long it may take
	switch {
	case err == nil && o.failed > 0:
		lost := &sink.Line{Time: l.Time, Role: "log", PID: int32(unix.Getpid()), Event: &logmsg.Event{Level: logmsg.Warning,
			Text: "the system's logger did not take these many lines before this one: " + utoa(o.failed)}}
		if _, err := unix.SendmsgN(s.syslog, lost.AppendSyslog(s.buf[:0], style, o.Facility, o.Tag), nil, nil, unix.MSG_NOSIGNAL); err == nil {
			o.failed = 0
		}
		return false
	case err == nil:
		return false
	case errors.Is(err, unix.EAGAIN): // the system's logger is slow: a line is lost rather than the server held up
		o.failed++
		return false
	}
	o.failed++
	s.setSyslog(-1)
	return true
}
