package worker

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"rookery/internal/ipc"
	"rookery/internal/ipc/workermsg"
)

// serveTool runs a program that serves a command of the operator: no session
// comes, and the process ends with the command.
func serveTool(p Program, host *Host, ctl *ipc.Conn, channel int) error {
	if err := ctl.Send(&workermsg.Ready{}, -1); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	go func() { stop(toolMessages(host, ctl)) }()
	err := p.Tool(ctx, host, channel)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, io.EOF) {
		return cause // what master said decides: the command was cut short
	}
	return err
}

// toolMessages reads master's messages until the process has to end; io.EOF is
// an orderly end.
func toolMessages(host *Host, ctl *ipc.Conn) error {
	for {
		m, fd, err := ctl.Recv()
		if err != nil {
			return err
		}
		if fd >= 0 {
			unix.Close(fd)
		}
		switch m := m.(type) {
		case *workermsg.LogDebug:
			setDebug(host.Log, m.Filter)
		case *workermsg.Wake, *workermsg.SharesChanged: // every command looks at the disk by itself
		case *workermsg.Shutdown, *workermsg.MayExit:
			return io.EOF
		default:
			return fmt.Errorf("master sent %T to a tool", m)
		}
	}
}
