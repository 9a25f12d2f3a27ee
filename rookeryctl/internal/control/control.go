// Package control is rookeryctl's end of the control socket: one request, one
// answer.
//
// Only rookeryctl uses it. It trusts the server above all else: it checks that
// the socket belongs to root or to its own user before it says a password.
package control

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/ipc"
	"rookery/internal/ipc/ctlmsg"
	"rookery/internal/secret"
)

// The exit codes of sysexits(3) that rookeryctl uses.
const (
	ExitUsage       = 64
	ExitNoUser      = 67
	ExitUnavailable = 69
	ExitSoftware    = 70
	ExitCantCreate  = 73
	ExitTemp        = 75
	ExitNoPerm      = 77
	ExitConfig      = 78
)

// Error is a failure with the exit code that tells its kind.
type Error struct {
	Exit int
	Text string
}

func (e *Error) Error() string { return e.Text }

// Errorf makes an Error.
func Errorf(exit int, format string, args ...any) error {
	return &Error{exit, fmt.Sprintf(format, args...)}
}

// maxAnswer bounds what an answer may grow to.
const maxAnswer = 64 << 20

// Client is one connection.
type Client struct {
	conn *ipc.Conn
	// ServerPID is master's process id, as the kernel tells it.
	ServerPID int
}

// Dial connects to the socket at path.
func Dial(path string) (*Client, error) {
	fd, err := connect(path)
	if err != nil {
		return nil, dialError(path, err)
	}
	cred, err := ipc.PeerCred(fd)
	if err == nil && cred.UID != 0 && int(cred.UID) != os.Geteuid() {
		err = Errorf(ExitNoPerm, "%s belongs to a process of uid %d, not to root or to you; is control_socket_path right?", path, cred.UID)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	conn, err := ipc.NewConn(fd, ctlmsg.Protocol, ipc.FromClient)
	if err != nil {
		return nil, Errorf(ExitUnavailable, "%s: %v", path, err)
	}
	return &Client{conn, int(cred.PID)}, nil
}

// connect reaches a path of any length: by way of its folder's descriptor,
// since a socket's address has room for 108 bytes only.
func connect(path string) (int, error) {
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	addr := fmt.Sprintf("/proc/self/fd/%d/%s", dir, filepath.Base(path))
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: addr}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func dialError(path string, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ECONNREFUSED):
		return Errorf(ExitUnavailable, "the server is not running (nobody answers at %s); start it, or name its configuration with -c FILE", path)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return Errorf(ExitNoPerm, "you may not use %s; run this as root, or as the user of the server", path)
	}
	return Errorf(ExitUnavailable, "%s: %v", path, err)
}

// Close ends the connection.
func (c *Client) Close() { c.conn.Close() }

// Ask sends a request and joins the pieces of the answer. An answer that says
// failure is an *Error with its exit code.
func (c *Client) Ask(timeout time.Duration, verb string, password secret.Bytes, args ...string) ([]byte, error) {
	body, fd, err := c.AskFD(timeout, verb, password, args...)
	if fd >= 0 {
		unix.Close(fd)
	}
	return body, err
}

// AskFD is Ask for an answer that comes with a descriptor: the caller's, or -1.
func (c *Client) AskFD(timeout time.Duration, verb string, password secret.Bytes, args ...string) (body []byte, fd int, err error) {
	fd = -1
	defer func() {
		if err != nil && fd >= 0 {
			unix.Close(fd)
			fd = -1
		}
	}()
	if err := c.conn.Send(&ctlmsg.Request{Verb: verb, Args: args, Secret: password}, -1); err != nil {
		return nil, fd, Errorf(ExitUnavailable, "the server does not take the request: %v", err)
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return nil, fd, Errorf(ExitSoftware, "%v", err)
	}
	for {
		m, got, err := c.conn.Recv()
		if got >= 0 && fd >= 0 {
			unix.Close(got)
			return nil, fd, Errorf(ExitSoftware, "the server sent two descriptors")
		}
		fd = max(fd, got)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, fd, Errorf(ExitTemp, "the server does not answer within %v", timeout)
		}
		if err != nil {
			return nil, fd, Errorf(ExitUnavailable, "the server hung up: %v", err)
		}
		answer := m.(*ctlmsg.Answer)
		if answer.Exit != 0 {
			return nil, fd, &Error{int(answer.Exit), answer.Text}
		}
		if body = append(body, answer.Body...); len(body) > maxAnswer {
			return nil, fd, Errorf(ExitSoftware, "the answer is larger than %d bytes", maxAnswer)
		}
		if !answer.More {
			return body, fd, nil
		}
	}
}
