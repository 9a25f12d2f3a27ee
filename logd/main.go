package logd

import (
	"fmt"
	"os"
	"strings"
	"time"

	"rookery/internal/child"
	"rookery/internal/ipc"
	"rookery/internal/ipc/logmsg"
	"rookery/internal/maillog/sink"
	"rookery/internal/sandbox"
	"rookery/internal/settings"
)

// Main runs logd and gives its exit code.
func Main() int {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", child.Logd.Program(), err)
		return 70 // EX_SOFTWARE
	}
	return 0
}

func run() error {
	env, err := child.Inherit(child.Logd)
	if err != nil {
		return err
	}
	ctl, err := ipc.NewConn(env.Control, logmsg.Control, ipc.FromClient)
	if err != nil {
		return err
	}
	// The zone's file cannot be read in the sandbox: the first local time reads it.
	_ = time.Now().Local().String()
	if _, err := sandbox.Enter(sandbox.Logd, sandbox.Options{Root: env.Root, Strict: env.Strict}); err != nil {
		return err
	}
	if err := ctl.Send(&logmsg.Ready{}, -1); err != nil {
		return err
	}
	return newServer(ctl, time.Now).serve()
}

// newStyle reads master's message. The template was checked when the settings
// were read; one that cannot be filled in gives Dovecot's usual head.
func newStyle(m *logmsg.Style) *sink.Style {
	style := &sink.Style{Timestamp: m.Timestamp}
	t, err := settings.ParseTemplate(m.MailPrefix, []string{"user", "protocol", "process:pid", "session"})
	if err != nil || m.MailPrefix == "" {
		return style
	}
	style.MailHead = func(protocol, user, pid, session string) string {
		head, err := t.Expand(map[string]string{"user": user, "protocol": protocol, "process:pid": pid, "session": session})
		if err != nil {
			return protocol
		}
		head = strings.TrimSuffix(head, ": ")
		return strings.ReplaceAll(head, "<>", "") // a line of no session
	}
	return style
}
