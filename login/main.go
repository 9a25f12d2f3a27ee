package login

import (
	"fmt"
	"os"
	"time"

	"rookery/internal/child"
	"rookery/internal/ipc"
	"rookery/internal/ipc/authmsg"
	"rookery/internal/ipc/handoffmsg"
	"rookery/internal/ipc/logmsg"
	"rookery/internal/maillog"
	"rookery/internal/sandbox"
	"rookery/internal/settings"
	"rookery/login/internal/sock"
)

// Main runs a login process and gives its exit code.
func Main() int {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", child.Login.Program(), err)
		return 70 // EX_SOFTWARE
	}
	return 0
}

func run() error {
	env, err := child.Inherit(child.Login)
	if err != nil {
		return err
	}
	set, err := settings.Decode(settings.RoleLogin, env.Settings)
	if err != nil {
		return err
	}
	logConn, err := ipc.NewConn(env.Log, logmsg.Protocol, ipc.FromClient)
	if err != nil {
		return err
	}
	ctl, err := ipc.NewConn(env.Control, handoffmsg.Protocol, ipc.FromClient)
	if err != nil {
		return err
	}
	authConn, err := ipc.NewConn(env.Auth, authmsg.Protocol, ipc.FromClient)
	if err != nil {
		return err
	}
	listeners, err := newListeners(env.Listeners)
	if err != nil {
		return err
	}
	s := newServer(newConfig(set), maillog.New(maillog.ToChannel(logConn)), ctl, listeners, time.Now)
	s.setDebug(s.cfg.debug)
	if _, err := sandbox.Enter(sandbox.Login, sandbox.Options{Root: env.Root, Strict: env.Strict}); err != nil {
		return err
	}
	if err := ctl.Send(&handoffmsg.Ready{}, -1); err != nil {
		return err
	}
	// Nothing of authd's or a stranger's is read before this line.
	s.auth.attach(authConn)
	return s.run()
}

func newListeners(inherited []child.Listener) ([]*listener, error) {
	var list []*listener
	for _, l := range inherited {
		ls, err := sock.NewListener(l.FD)
		if err != nil {
			return nil, fmt.Errorf("listener %q: %w", l.Name, err)
		}
		row := settings.Listener{Protocol: l.Protocol}
		list = append(list, &listener{sock: ls, name: l.Name, service: row.Service(), implicit: row.TLS(), haproxy: l.Haproxy})
	}
	return list, nil
}
