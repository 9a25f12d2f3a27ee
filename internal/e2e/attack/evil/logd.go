package main

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"rookery/internal/attack"
	"rookery/internal/child"
	"rookery/internal/ipc"
	"rookery/internal/ipc/logmsg"
	"rookery/internal/sandbox"
)

// runLogd holds the log files, and so may write anything into them: that is
// what it reports by.
func runLogd() error {
	env, err := child.Inherit(child.Logd)
	if err != nil {
		return err
	}
	ctl, err := ipc.NewConn(env.Control, logmsg.Control, ipc.FromClient)
	if err != nil {
		return err
	}
	if _, err := sandbox.Enter(sandbox.Logd, sandbox.Options{Root: env.Root, Strict: env.Strict}); err != nil {
		return err
	}
	if err := ctl.Send(&logmsg.Ready{}, -1); err != nil {
		return err
	}
	file := -1
	for {
		m, fd, err := ctl.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *logmsg.Attach:
			go readAll(fd)
		case *logmsg.Sink:
			if m.Kind == "file" {
				file = fd
			}
		case *logmsg.SinksDone:
			text := try(func(env *attack.Env) { env.Own = "/" })
			if _, err := unix.Write(file, append([]byte("summary "), text...)); err != nil {
				return err
			}
			for range 500 { // a flood of the one thing that it may ask for
				ctl.Send(&logmsg.Broken{}, -1)
			}
		}
	}
}

// readAll keeps a channel from filling up.
func readAll(fd int) {
	conn, err := ipc.NewConn(fd, logmsg.Protocol, ipc.FromServer)
	if err != nil {
		return
	}
	for {
		if _, _, err := conn.Recv(); err != nil {
			return
		}
	}
}
