package logmsg

import (
	"testing"
	"time"

	"rookery/internal/ipc"
	"rookery/internal/ipc/ipctest"
)

func events() []ipc.Message {
	return []ipc.Message{&Event{Level: Info, Time: time.Unix(1, 2).UTC(), Prefix: "p", Session: "s", Text: "t", KV: []Field{{"k", "v"}}}}
}

func controls() []ipc.Message {
	return []ipc.Message{&Attach{ID: 3, Role: "imap", PID: 7, User: "u", Resumed: true}, &Sink{Kind: "file", Path: "/p", Min: Info, Max: Panic, Format: "text", Facility: "mail", Tag: "dovecot"},
		&Named{ID: 3, PID: 8, User: "v"}, &SinksDone{Count: 1}, &Style{Timestamp: "%T ", MailPrefix: "p"}, &SyslogSocket{}, &Broken{}, &Ready{}, &Stderr{Role: "imap", PID: 7, Data: []byte("panic")}, &Errors{ID: 1, After: 2},
		&ErrorLines{ID: 1, Lines: []ErrorLine{{Number: 1, Time: time.Unix(1, 0).UTC(), Level: Error, Text: "t"}}, More: true}}
}

func TestRoundTrip(t *testing.T) {
	ipctest.RoundTrip(t, Protocol, events()...)
	ipctest.RoundTrip(t, Control, controls()...)
}
func FuzzEvent(f *testing.F)   { ipctest.Fuzz(f, Protocol, events()...) }
func FuzzControl(f *testing.F) { ipctest.Fuzz(f, Control, controls()...) }
