// Package tool is rookeryctl's end of the channel to the process that works on
// a user's mail.
//
// Only rookeryctl uses it. It runs as root and that process as the user, who
// may have taken it over: what comes is bounded, and nothing of it is believed
// but that it was said.
package tool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/ipc"
	"rookery/internal/ipc/ctlmsg"
	"rookery/internal/ipc/toolmsg"
	"rookery/internal/secret"
	"rookery/rookeryctl/internal/control"
)

// startLimit is how long the server may take to start the process: authd may
// ask a database, and a user's directories may lie on a slow disk.
const startLimit = time.Minute

// maxLine bounds one object of a result.
const maxLine = 64 << 20

// Client is one process, for one user.
type Client struct {
	User string // as the server calls him
	ctl  *control.Client
	flow *toolmsg.Flow
	held bool // the user is kept out
}

// Move is a move of a user's mail, as the server sees it.
type Move struct {
	From, To string
	Switched bool // the mail is at To; what is at From is to be freed
}

// Start has the server start a process for the user. It takes over ctl.
func Start(ctl *control.Client, user string) (*Client, error) {
	c, _, err := start(ctl, ctlmsg.MailTool, user)
	return c, err
}

// StartMove is Start for a process that has a second directory, to which the mail
// is to be moved. With look nothing is made.
func StartMove(ctl *control.Client, user, to string, look bool) (*Client, Move, error) {
	args := []string{user, to}
	if look {
		args = append(args, "look")
	}
	return start(ctl, ctlmsg.MoveTool, args...)
}

func start(ctl *control.Client, verb string, args ...string) (*Client, Move, error) {
	var none Move
	body, fd, err := ctl.AskFD(startLimit, verb, secret.Bytes{}, args...)
	if err != nil {
		ctl.Close()
		return nil, none, err
	}
	var answer struct {
		User string
		Move
	}
	if err = json.Unmarshal(body, &answer); err == nil && fd < 0 {
		err = errors.New("no channel came")
	}
	if err != nil {
		if fd >= 0 {
			unix.Close(fd)
		}
		ctl.Close()
		return nil, none, control.Errorf(control.ExitSoftware, "the server's answer cannot be used: %v", err)
	}
	flow, err := toolmsg.NewFlow(fd, ipc.FromServer)
	if err != nil {
		ctl.Close()
		return nil, none, control.Errorf(control.ExitSoftware, "%v", err)
	}
	return &Client{User: answer.User, ctl: ctl, flow: flow}, answer.Move, nil
}

// Close ends the process. After a Hold it waits until the user can come again, so
// that who runs one command after the other finds nobody in the way.
func (c *Client) Close() {
	c.flow.Close()
	if c.held {
		// An error says that the server has gone: nobody is held then.
		_, _ = c.ctl.Ask(holdLimit, ctlmsg.MailEnd, secret.Bytes{})
	}
	c.ctl.Close()
}

// holdLimit is longer than the server's own.
const holdLimit = 45 * time.Second

// Hold ends the user's sessions and keeps him out until LetIn or Close.
func (c *Client) Hold() error {
	c.held = true
	_, err := c.ctl.Ask(holdLimit, ctlmsg.MailHold, secret.Bytes{}, c.User)
	return err
}

// LetIn ends a Hold.
func (c *Client) LetIn() error {
	c.held = false
	_, err := c.ctl.Ask(holdLimit, ctlmsg.MailLet, secret.Bytes{})
	return err
}

// Moved has the server note a step of a StartMove: "switch", "switch-keep", "freed".
func (c *Client) Moved(step string) error {
	_, err := c.ctl.Ask(holdLimit, ctlmsg.MailMove, secret.Bytes{}, step)
	return err
}

// Sink takes what a request gives. Functions that are nil make what they are
// for an error.
type Sink struct {
	Line     func(json []byte) error
	Progress func(*toolmsg.Progress)
	Message  func(ipc.Message) error // Folder, Item, Data
}

// Do sends a request and takes its result. A failure is a *control.Error.
func (c *Client) Do(ctx context.Context, r *toolmsg.Request, sink Sink) error {
	return c.DoWith(ctx, r, sink, nil)
}

// DoWith is Do for a request after which messages are sent: send runs in a
// goroutine of its own, and its error goes before what the process says of it.
func (c *Client) DoWith(ctx context.Context, r *toolmsg.Request, sink Sink, send func(*toolmsg.Flow) error) error {
	if err := c.flow.Send(r); err != nil {
		return c.broken(err)
	}
	sent := make(chan error, 1)
	if send == nil {
		sent <- nil
	} else {
		go func() { sent <- send(c.flow) }()
	}
	result := c.take(ctx, sink)
	if result != nil && send != nil {
		// The process has given up; so must whoever sends to it.
		select {
		case err := <-sent:
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		default:
			c.flow.Close()
			if err := <-sent; err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		}
		return result
	}
	if err := <-sent; err != nil && result == nil {
		return err
	}
	return result
}

func (c *Client) take(ctx context.Context, sink Sink) error {
	var line []byte
	for {
		m, _, err := c.flow.Next(ctx)
		if err != nil {
			return c.broken(err)
		}
		switch m := m.(type) {
		case *toolmsg.Line:
			if line = append(line, m.JSON...); len(line) > maxLine {
				return control.Errorf(control.ExitSoftware, "one result is larger than %d octets", maxLine)
			}
			if m.More {
				continue
			}
			if sink.Line == nil {
				return unasked(m)
			}
			if err := sink.Line(line); err != nil {
				return fault(err)
			}
			line = line[:0]
		case *toolmsg.Progress:
			if sink.Progress != nil {
				sink.Progress(m)
			}
		case *toolmsg.Done:
			if m.Exit != 0 {
				return &control.Error{Exit: int(m.Exit), Text: m.Text}
			}
			return nil
		default:
			if sink.Message == nil {
				return unasked(m)
			}
			if err := sink.Message(m); err != nil {
				return fault(err)
			}
		}
	}
}

// fault gives an error an exit code if it has none: the process is at fault.
func fault(err error) error {
	var ce *control.Error
	if errors.As(err, &ce) {
		return err
	}
	return control.Errorf(control.ExitSoftware, "%v", err)
}

func unasked(m ipc.Message) error {
	return control.Errorf(control.ExitSoftware, "the process sent what nobody asked for (%T)", m)
}

func (c *Client) broken(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return control.Errorf(control.ExitTemp, "interrupted")
	case errors.Is(err, io.EOF):
		return control.Errorf(control.ExitSoftware, "the process that works on the mail of %s ended; rookeryctl log errors says why", c.User)
	}
	return control.Errorf(control.ExitSoftware, "the process that works on the mail of %s: %v", c.User, fmt.Sprint(err))
}
