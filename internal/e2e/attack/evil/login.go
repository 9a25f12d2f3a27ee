package main

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/attack"
	"rookery/internal/child"
	"rookery/internal/ipc"
	"rookery/internal/ipc/authmsg"
	"rookery/internal/ipc/envelopemsg"
	"rookery/internal/ipc/handoffmsg"
	"rookery/internal/ipc/logmsg"
	"rookery/internal/sandbox"
	"rookery/internal/secret"
)

// evilLogin is a login process that was taken over: it still can do what every
// login process can, as the test orders, and tries the rest.
type evilLogin struct {
	env  *child.Env
	ctl  *ipc.Conn
	auth *ipc.Conn

	mu      sync.Mutex
	spki    [32]byte
	last    uint64
	answers map[uint64]chan ipc.Message // by id; ids are unique over both channels
	mark    []byte                      // tells login processes apart: each is pid 1 of its namespace
}

func runLogin() error {
	env, err := child.Inherit(child.Login)
	if err != nil {
		return err
	}
	l := &evilLogin{env: env, answers: map[uint64]chan ipc.Message{}, mark: []byte(rand.Text())}
	if l.ctl, err = ipc.NewConn(env.Control, handoffmsg.Protocol, ipc.FromClient); err != nil {
		return err
	}
	if l.auth, err = ipc.NewConn(env.Auth, authmsg.Protocol, ipc.FromClient); err != nil {
		return err
	}
	if _, err := ipc.NewConn(env.Log, logmsg.Protocol, ipc.FromClient); err != nil {
		return err
	}
	if _, err := sandbox.Enter(sandbox.Login, sandbox.Options{Root: env.Root, Strict: env.Strict}); err != nil {
		return err
	}
	if err := l.ctl.Send(&handoffmsg.Ready{}, -1); err != nil {
		return err
	}
	for _, listener := range env.Listeners {
		go l.accept(listener.FD)
	}
	go l.read(l.auth)
	return l.read(l.ctl)
}

// read files the answers to what was asked.
func (l *evilLogin) read(c *ipc.Conn) error {
	for {
		m, fd, err := c.Recv()
		if err != nil {
			return err
		}
		if fd >= 0 {
			unix.Close(fd)
		}
		var id uint64
		switch m := m.(type) {
		case *handoffmsg.Certificate:
			l.mu.Lock()
			l.spki = m.SPKI
			l.mu.Unlock()
			continue
		case *handoffmsg.Shutdown, *handoffmsg.Drain:
			return nil
		case *handoffmsg.Done:
			id = m.ID
		case *authmsg.Granted:
			id = m.ID
		case *authmsg.Refused:
			id = m.ID
		case *authmsg.Signed:
			id = m.ID
		default:
			continue
		}
		l.mu.Lock()
		if ch := l.answers[id]; ch != nil {
			ch <- m
			delete(l.answers, id)
		}
		l.mu.Unlock()
	}
}

// expect names a question and waits for its answer.
func (l *evilLogin) expect() (id uint64, wait func() (ipc.Message, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	ch := make(chan ipc.Message, 1)
	l.answers[l.last] = ch
	return l.last, func() (ipc.Message, error) {
		select {
		case m := <-ch:
			return m, nil
		case <-time.After(10 * time.Second):
			return nil, errors.New("no answer")
		}
	}
}

func (l *evilLogin) accept(fd int) {
	f := os.NewFile(uintptr(fd), "listener")
	listener, err := net.FileListener(f) // a copy: the number itself stays for the attacks
	if err != nil {
		return
	}
	defer f.Close()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go l.serve(conn.(*net.TCPConn))
	}
}

func (l *evilLogin) serve(conn *net.TCPConn) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		answer := l.obey(strings.Fields(lines.Text()), conn)
		if _, err := conn.Write(append(answer, '\n')); err != nil {
			return
		}
	}
}

func (l *evilLogin) obey(order []string, conn *net.TCPConn) []byte {
	if len(order) == 0 {
		return said(errors.New("no order"))
	}
	arg := strings.Join(order[1:], " ")
	switch {
	case order[0] == "ping":
		return []byte("login here")
	case order[0] == "pid":
		return l.mark
	case order[0] == "try":
		return try(l.aim)
	case order[0] == "log":
		return said(forgeLog())
	case order[0] == "abuse":
		return said(l.channel().abuse(arg))
	case order[0] == "abuse-auth":
		return said(l.authChannel().abuse(arg))
	case order[0] == "begin" && len(order) == 5: // user password session service
		return l.begin(order[1], order[2], order[3], order[4])
	case order[0] == "use" && len(order) == 4: // ticket session service
		return l.use(order[1], order[2], order[3])
	case order[0] == "forge":
		return l.forge()
	case order[0] == "sign":
		return l.sign(arg)
	}
	return said(fmt.Errorf("no order %q", order))
}

func (l *evilLogin) aim(env *attack.Env) {
	env.Own = "/"
	env.Streams = sockets()
	env.Listeners = []int{l.env.Listeners[0].FD, l.env.Listeners[1].FD}
	env.Multipath = []int{l.env.Listeners[2].FD} // a plain one in fact
}

// begin asks authd with a password that was typed here: the one thing that a
// taken-over login process can do in a user's name.
func (l *evilLogin) begin(user, password, session, service string) []byte {
	id, wait := l.expect()
	here := netip.MustParseAddrPort("127.0.0.1:143")
	m := &authmsg.Begin{ID: id, Mech: "PLAIN", HasInitial: true, Initial: secret.FromString("\x00" + user + "\x00" + password),
		Peer: authmsg.Peer{Service: service, Session: session, Remote: netip.MustParseAddrPort("127.0.0.1:40000"), Local: here,
			RealRemote: netip.MustParseAddrPort("127.0.0.1:40000"), RealLocal: here, Secured: true}}
	if err := l.auth.Send(m, -1); err != nil {
		return said(err)
	}
	answer, err := wait()
	if err != nil {
		return said(err)
	}
	switch m := answer.(type) {
	case *authmsg.Granted:
		return []byte("ticket " + hex.EncodeToString(m.Ticket[:]))
	case *authmsg.Refused:
		return []byte("refused " + m.Kind.String())
	}
	return said(fmt.Errorf("%T", answer))
}

// use shows a ticket to master and hands a stream of its own over.
func (l *evilLogin) use(ticket, session, service string) []byte {
	raw, err := hex.DecodeString(ticket)
	if err != nil || len(raw) != 16 {
		return said(errors.New("not a ticket"))
	}
	id, wait := l.expect()
	mine, theirs, err := ipc.Pair()
	if err != nil {
		return said(err)
	}
	defer unix.Close(theirs)
	envelope, err := ipc.NewConn(mine, envelopemsg.Protocol, ipc.FromClient)
	if err != nil {
		return said(err)
	}
	go passStream(envelope, session)
	if err := l.ctl.Send(&handoffmsg.Request{ID: id, Ticket: [16]byte(raw), Service: service, Session: session}, theirs); err != nil {
		return said(err)
	}
	answer, err := wait()
	if err != nil {
		return said(err)
	}
	if done := answer.(*handoffmsg.Done); done.Failed {
		return []byte("refused " + done.Kind.String())
	}
	return []byte("taken")
}

// passStream plays login's part in an envelope.
func passStream(envelope *ipc.Conn, session string) {
	defer envelope.Close()
	if _, _, err := envelope.Recv(); err != nil {
		return
	}
	a, b, err := ipc.StreamPair()
	if err != nil {
		return
	}
	defer unix.Close(a)
	envelope.Send(&envelopemsg.Go{Kind: envelopemsg.StreamRelay, Session: session, Tag: "x", Command: "LOGIN"}, b)
	unix.Close(b)
	unix.SetNonblock(a, false)
	unix.Read(a, make([]byte, 512))
}

// forge shows tickets that nobody issued.
func (l *evilLogin) forge() []byte {
	for range 50 {
		guess := make([]byte, 16)
		if _, err := rand.Read(guess); err != nil {
			return said(err)
		}
		if answer := l.use(hex.EncodeToString(guess), "made-up", "imap"); string(answer) == "taken" {
			return answer
		}
	}
	return l.use(strings.Repeat("00", 16), "made-up", "imap")
}

// sign asks authd's key to sign what is no handshake.
func (l *evilLogin) sign(text string) []byte {
	id, wait := l.expect()
	l.mu.Lock()
	spki := l.spki
	l.mu.Unlock()
	if err := l.auth.Send(&authmsg.Sign{ID: id, SPKI: spki, Scheme: 0x0403, Content: []byte(text)}, -1); err != nil {
		return said(err)
	}
	answer, err := wait()
	if err != nil {
		return said(err)
	}
	return fmt.Appendf(nil, "signature of %d bytes", len(answer.(*authmsg.Signed).Signature))
}

func (l *evilLogin) channel() channel {
	return channel{fd: child.FDControl, needs: 1, valid: func() ([]byte, error) {
		return handoffmsg.Protocol.Encode(&handoffmsg.Request{ID: 1 << 40, Service: "imap", Session: "flood"})
	}, wrong: encode(handoffmsg.Protocol, &handoffmsg.Welcome{Credits: 1 << 20})}
}

func (l *evilLogin) authChannel() channel {
	return channel{fd: child.FDAuth, valid: func() ([]byte, error) {
		return authmsg.Protocol.Encode(&authmsg.Cancel{ID: 1 << 40})
	}, wrong: encode(authmsg.Protocol, &authmsg.Granted{User: "u1"})}
}
