package main

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"rookery/internal/attack"
	"rookery/internal/child"
	"rookery/internal/ipc"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/ipc/workermsg"
	"rookery/internal/sandbox"
	"rookery/internal/settings"
	"rookery/internal/worker"
)

// runWorker starts as the real workers do; only what they do with a session
// is another.
func runWorker(r child.Role) int {
	p := worker.Program{Role: r, Protocol: "imap", Sandbox: sandbox.IMAPWorker, Settings: settings.RoleIMAP,
		New: func(h *worker.Host) (worker.Server, error) {
			if r == child.IMAPWorker && honest(h.User.User) {
				return honestServer(h)
			}
			return evilServer{h, new(heard)}, nil
		}}
	if r == child.POP3Worker {
		p.Protocol, p.Sandbox, p.Settings = "pop3", sandbox.POP3Worker, settings.RolePOP3
	}
	return worker.Main(p)
}

type evilServer struct {
	host  *worker.Host
	heard *heard
}

// heard is all that clients have said to this process.
type heard struct {
	mu  sync.Mutex
	all []byte
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, p...)
	return len(p), nil
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return string(h.all)
}

func (evilServer) Wake()  {}
func (evilServer) Close() {}

// Serve takes orders over the client's stream, a line each, and answers each
// with a line; UNAUTHENTICATE it does not answer, as a real worker does not, but waits
// for what else may come.
func (e evilServer) Serve(s *worker.Session) {
	fmt.Fprintf(s.Stream, "%s OK taken over\r\n", s.Go.Tag)
	_, _ = e.heard.Write(s.Go.Pending)
	lines := bufio.NewScanner(io.TeeReader(s.Stream, e.heard))
	for lines.Scan() {
		if strings.HasSuffix(lines.Text(), "UNAUTHENTICATE") {
			continue
		}
		answer := e.obey(strings.TrimSpace(lines.Text()))
		if _, err := s.Stream.Write(append(answer, '\n')); err != nil {
			return
		}
	}
}

func (e evilServer) obey(order string) []byte {
	what, arg, _ := strings.Cut(order, " ")
	switch what {
	case "try":
		return try(func(env *attack.Env) { e.aim(env) })
	case "ping":
		return []byte("here")
	case "heard":
		return []byte(strconv.Quote(e.heard.String()))
	case "log":
		return said(forgeLog())
	case "abuse":
		return said(e.channel().abuse(arg))
	case "other":
		return said(e.others())
	case "reach":
		fd, err := e.reach(arg)
		if err != nil {
			return []byte(err.Error())
		}
		unix.Close(fd)
		return []byte("reached")
	case "shares":
		return e.sharesText()
	case "forge":
		return said(e.forgeShares(arg))
	case "visit":
		owner, mark, _ := strings.Cut(arg, " ")
		return e.visit(owner, mark)
	}
	return said(fmt.Errorf("no order %q", order))
}

func said(err error) []byte {
	if err != nil {
		return []byte("failed: " + err.Error())
	}
	return []byte("done")
}

// aim sets what only this process knows: where its own files are, and its
// sockets.
func (e evilServer) aim(env *attack.Env) {
	if env.Own == "" {
		env.Own = "/" // chrooted into the user's top directory
	}
	env.Streams = sockets()
}

// sockets finds the process's own streams by trying the numbers.
func sockets() []int {
	var found []int
	for fd := range 256 {
		if ipc.CheckFD(fd, ipc.FDStream) == nil {
			found = append(found, fd)
		}
	}
	return found
}

func (e evilServer) channel() channel {
	return channel{fd: child.FDControl, valid: func() ([]byte, error) { return workermsg.Protocol.Encode(&workermsg.Changed{}) },
		wrong: encode(workermsg.Protocol, &workermsg.User{Record: redeemmsg.Record{User: "root", UID: 0, GID: 0}})}
}

// others speaks of sessions that are not this worker's, which must not touch
// them.
func (e evilServer) others() error {
	for id := range uint64(200) {
		for _, m := range []ipc.Message{&workermsg.Taken{ID: id}, &workermsg.Ended{ID: id, In: 1 << 40}} {
			err := unix.Sendmsg(child.FDControl, encode(workermsg.Protocol, m), nil, nil, unix.MSG_NOSIGNAL)
			if err != nil {
				return err
			}
		}
	}
	return nil
}
