package master

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rookery/authd"
	"rookery/imapworker"
	"rookery/internal/child"
	"rookery/internal/confload"
	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/authmsg"
	"rookery/internal/ipc/envelopemsg"
	"rookery/internal/ipc/handoffmsg"
	"rookery/internal/ipc/logmsg"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/ipc/workermsg"
	"rookery/internal/maillog"
	"rookery/logd"
	"rookery/login"
	"rookery/pop3worker"
)

// The test binary is every program: the name it was started by says which.
// login, authd and the workers are small fakes that keep to the channels'
// rules; logd is the real one.
func TestMain(m *testing.M) {
	programs := map[string]func() int{
		"rookery": Main, "rookery-logd": logd.Main, "rookery-login": fakeLogin, "rookery-authd": fakeAuthd,
		"rookery-imapworker": fakeWorker, "rookery-pop3worker": fakeWorker,
	}
	if exe, _ := os.Executable(); filepath.Base(exe) == realName { // a copy of the binary by that name: no fakes
		programs["rookery-login"], programs["rookery-authd"] = login.Main, authd.Main
		programs["rookery-imapworker"], programs["rookery-pop3worker"] = imapworker.Main, pop3worker.Main
	}
	if main, ok := programs[filepath.Base(os.Args[0])]; ok {
		os.Exit(main())
	}
	os.Exit(m.Run())
}

// What the copied binary is called decides what its programs are.
const (
	fakeName = "fake.test"
	realName = "real.test"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(70)
	}
}

func open(fd int, p *ipc.Protocol) *ipc.Conn {
	c, err := ipc.NewConn(fd, p, ipc.FromClient)
	must(err)
	return c
}

// fakeLogin speaks a protocol of one line: "LOGIN user", which leads to the
// user's worker or to "NO text".
func fakeLogin() int {
	env, err := child.Inherit(child.Login)
	must(err)
	f := &fakeLoginProc{ctl: open(env.Control, handoffmsg.Protocol), granted: map[uint64]chan ipc.Message{}, answers: map[uint64]chan *handoffmsg.Done{},
		log: maillog.New(maillog.ToChannel(open(env.Log, logmsg.Protocol)))}
	f.useAuth(open(env.Auth, authmsg.Protocol))
	must(f.ctl.Send(&handoffmsg.Ready{}, -1))
	for _, l := range env.Listeners {
		file := os.NewFile(uintptr(l.FD), l.Name)
		ln, err := net.FileListener(file)
		must(err)
		file.Close()
		f.listeners = append(f.listeners, ln)
		go f.accept(ln, strings.TrimSuffix(l.Protocol, "s"))
	}
	for {
		m, fd, err := f.ctl.Recv()
		if err != nil {
			return 0
		}
		switch m := m.(type) {
		case *handoffmsg.Done:
			f.mu.Lock()
			ch := f.answers[m.ID]
			delete(f.answers, m.ID)
			f.mu.Unlock()
			if ch != nil {
				ch <- m
			}
		case *handoffmsg.Auth:
			f.useAuth(open(fd, authmsg.Protocol))
		case *handoffmsg.Drain, *handoffmsg.Shutdown:
			for _, l := range f.listeners {
				l.Close()
			}
			f.clients.Wait()
			return 0
		}
	}
}

type fakeLoginProc struct {
	ctl       *ipc.Conn
	log       *maillog.Logger
	listeners []net.Listener
	clients   sync.WaitGroup
	mu        sync.Mutex
	auth      *ipc.Conn
	next      uint64
	granted   map[uint64]chan ipc.Message
	answers   map[uint64]chan *handoffmsg.Done
}

func (f *fakeLoginProc) useAuth(c *ipc.Conn) {
	f.mu.Lock()
	f.auth = c
	f.mu.Unlock()
	go func() {
		for {
			m, _, err := c.Recv()
			if err != nil {
				return
			}
			if g, ok := m.(*authmsg.Granted); ok {
				f.mu.Lock()
				ch := f.granted[g.ID]
				delete(f.granted, g.ID)
				f.mu.Unlock()
				ch <- g
			}
		}
	}()
}

func (f *fakeLoginProc) accept(l net.Listener, service string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		f.clients.Add(1)
		go func() {
			defer f.clients.Done()
			defer c.Close()
			r := bufio.NewReader(c)
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				word, user, _ := strings.Cut(strings.TrimSpace(line), " ")
				switch word {
				case "LOGIN":
					if text, done := f.login(c.(*net.TCPConn), service, user); done {
						return
					} else {
						fmt.Fprintf(c, "NO %s\n", text)
					}
				case "FLOOD":
					f.flood()
				case "PANIC":
					panic("as asked")
				case "LOG":
					f.log.Infof("%s", user)
				}
			}
		}()
	}
}

// flood breaks the rule of credits.
func (f *fakeLoginProc) flood() {
	for i := range uint64(5000) {
		a, b, err := ipc.Pair()
		must(err)
		f.ctl.Send(&handoffmsg.Request{ID: 1e9 + i, Service: "imap", Session: "flood"}, a)
		unix.Close(a)
		unix.Close(b)
	}
}

func (f *fakeLoginProc) login(c *net.TCPConn, service, user string) (text string, done bool) {
	granted, answer := make(chan ipc.Message, 1), make(chan *handoffmsg.Done, 1)
	f.mu.Lock()
	f.next++
	id := f.next
	f.granted[id], f.answers[id] = granted, answer
	auth := f.auth
	f.mu.Unlock()
	session := fmt.Sprintf("s%d-%d", os.Getpid(), id)
	remote := netip.MustParseAddrPort(c.RemoteAddr().String())
	must(auth.Send(&authmsg.Begin{ID: id, Mech: "PLAIN", Peer: authmsg.Peer{Service: service, Session: session, Remote: remote}}, -1))
	must(auth.Send(&authmsg.Sign{ID: id, Content: []byte(user)}, -1)) // the fake's way to say the name
	g := (<-granted).(*authmsg.Granted)
	mine, theirs, err := ipc.Pair()
	must(err)
	env := open(mine, envelopemsg.Protocol)
	defer env.Close()
	ticket := g.Ticket
	if user == "forger" {
		ticket[0]++
	}
	must(f.ctl.Send(&handoffmsg.Request{ID: id, Ticket: ticket, Service: service, Session: session}, theirs))
	unix.Close(theirs)
	file, err := c.File()
	must(err)
	go func() { // a second ACCEPT means that the first worker is gone
		defer file.Close()
		for {
			if _, _, err := env.Recv(); err != nil {
				return
			}
			env.Send(&envelopemsg.Go{Kind: envelopemsg.StreamSocket, Session: session, Pending: []byte("")}, int(file.Fd()))
		}
	}()
	d := <-answer
	return d.Text, !d.Failed
}

// fakeAuthd grants everybody, each with the uid of the process or, as root, a
// shared or a private one.
func fakeAuthd() int {
	env, err := child.Inherit(child.Authd)
	must(err)
	f := &fakeAuthdProc{ctl: open(env.Control, redeemmsg.Protocol), tickets: map[[16]byte]issued{}, certs: map[uint64]string{}, shares: map[string][]redeemmsg.Published{}}
	base := string(env.Settings) // the directory of users stands in default_password paths: see the test's configuration
	f.mail = between(base, "MAILDIR<", ">")
	must(f.ctl.Send(&redeemmsg.Ready{}, -1))
	for {
		m, fd, err := f.ctl.Recv()
		if err != nil {
			return 0
		}
		f.message(m, fd)
	}
}

type issued struct {
	user    string
	channel uint64
	remote  netip.AddrPort
}

type fakeAuthdProc struct {
	ctl     *ipc.Conn
	mail    string
	mu      sync.Mutex
	tickets map[[16]byte]issued
	certs   map[uint64]string
	shares  map[string][]redeemmsg.Published
}

func between(s, a, b string) string {
	_, rest, _ := strings.Cut(s, a)
	out, _, _ := strings.Cut(rest, b)
	return out
}

func (f *fakeAuthdProc) message(m ipc.Message, fd int) {
	switch m := m.(type) {
	case *redeemmsg.Attach:
		c, err := ipc.NewConn(fd, authmsg.Protocol, ipc.FromServer)
		must(err)
		go f.serve(c, m.Channel)
	case *redeemmsg.File:
		b, err := io.ReadAll(os.NewFile(uintptr(fd), m.Path))
		must(err)
		if m.Use == "certificate" {
			f.certs[m.Pair] = string(b)
		} else if m.Use == "key" {
			r := &redeemmsg.PairChecked{Pair: m.Pair, NotAfter: time.Now().Add(time.Hour), Subject: "the subject", Chain: [][]byte{[]byte(f.certs[m.Pair])}}
			if err := confload.CheckPair([]byte(f.certs[m.Pair]), b); err != nil {
				r.Problem = err.Error()
			}
			f.ctl.Send(r, -1)
		}
	case *redeemmsg.Redeem:
		f.mu.Lock()
		t, ok := f.tickets[m.Ticket]
		delete(f.tickets, m.Ticket)
		f.mu.Unlock()
		if !ok || t.channel != m.Channel {
			kind := errkind.NotFound
			if ok {
				kind = errkind.AuthFailed
			}
			f.ctl.Send(&redeemmsg.Failed{ID: m.ID, Kind: kind, Text: "no such ticket"}, -1)
			return
		}
		f.ctl.Send(&redeemmsg.Redeemed{ID: m.ID, Record: f.record(t.user, t.remote)}, -1)
	case *redeemmsg.Lookup:
		if m.User == "nobody" {
			f.ctl.Send(&redeemmsg.Failed{ID: m.ID, Kind: errkind.NotFound, Text: "no such user"}, -1)
			return
		}
		f.ctl.Send(&redeemmsg.Redeemed{ID: m.ID, Record: f.record(m.User, netip.AddrPort{})}, -1)
	case *redeemmsg.Test:
		if string(m.Password.Reveal()) != "right" {
			f.ctl.Send(&redeemmsg.Failed{ID: m.ID, Kind: errkind.AuthFailed, Text: "wrong password"}, -1)
			return
		}
		f.ctl.Send(&redeemmsg.Redeemed{ID: m.ID, Record: f.record(m.User, m.Remote)}, -1)
	case *redeemmsg.Publish, *redeemmsg.SharesOf, *redeemmsg.Visit:
		f.sharing(m)
	case *redeemmsg.Settings:
		b, err := child.ReadSealed(fd)
		must(err)
		unix.Close(fd)
		r := &redeemmsg.SettingsDone{Generation: m.Generation}
		if strings.Contains(string(b), "REFUSE-ME") {
			r.Problem = "as the test wants"
		}
		f.ctl.Send(r, -1)
	}
}

// Names say what is to happen: "root" gives uid 0.
func (f *fakeAuthdProc) record(user string, remote netip.AddrPort) redeemmsg.Record {
	r := redeemmsg.Record{User: user, UID: 64200, GID: 64200, Home: filepath.Join(f.mail, user), Mech: "PLAIN", Remote: remote}
	if user == "root" {
		r.UID = 0
	}
	return r
}

func (f *fakeAuthdProc) serve(c *ipc.Conn, channel uint64) {
	remotes := map[uint64]netip.AddrPort{}
	for {
		m, _, err := c.Recv()
		if err != nil {
			return
		}
		switch m := m.(type) {
		case *authmsg.Begin:
			remotes[m.ID] = m.Peer.Remote
		case *authmsg.Sign:
			g := &authmsg.Granted{ID: m.ID, User: string(m.Content)}
			rand.Read(g.Ticket[:])
			f.mu.Lock()
			f.tickets[g.Ticket] = issued{g.User, channel, remotes[m.ID]}
			f.mu.Unlock()
			c.Send(g, -1)
		}
	}
}

// fakeWorker greets its client and echoes lines. Its user's name says what
// goes wrong: "once-…" dies before GO the first time, "never-…" each time.
func fakeWorker() int {
	if done, exit := child.MakeDirsMode(os.Args[1:]); done {
		return exit
	}
	role := child.IMAPWorker
	if strings.Contains(os.Args[0], "pop3") {
		role = child.POP3Worker
	}
	env, err := child.Inherit(role)
	must(err)
	w := &fakeWorkerProc{ctl: open(env.Control, workermsg.Protocol), end: make(chan struct{}), asks: time.NewTimer(time.Hour), answers: make(chan sharingAnswer, 100)}
	if env.Spare {
		must(w.ctl.Send(&workermsg.Ready{Spare: true}, -1))
	}
	for {
		m, fd, err := w.ctl.Recv()
		if err != nil {
			return 0
		}
		switch m := m.(type) {
		case *workermsg.Root:
			w.root = fd
		case *workermsg.User:
			w.user, w.spare = m.Record.User, env.Spare
			must(w.ctl.Send(&workermsg.Ready{}, -1))
			go w.ask()
		case *workermsg.Session:
			w.wg.Add(1)
			go w.session(m, fd, w.end)
		case *workermsg.Guest:
			w.wg.Add(1)
			go w.guest(m, fd, w.end)
		case *workermsg.Reached, *workermsg.Shares:
			w.answers <- sharingAnswer{m, fd}
		case *workermsg.SharesChanged:
			w.changes.Add(1)
		case *workermsg.MayExit:
			return 0
		case *workermsg.Kick, *workermsg.Shutdown:
			close(w.end)
			w.end = make(chan struct{})
			if _, ok := m.(*workermsg.Shutdown); ok {
				w.wg.Wait()
				return 0
			}
		}
	}
}

type fakeWorkerProc struct {
	ctl   *ipc.Conn
	root  int
	user  string
	spare bool
	end   chan struct{}
	asks  *time.Timer
	wg    sync.WaitGroup

	answers chan sharingAnswer
	changes atomic.Int64
}

// ask asks to go 300 ms after the last session.
func (w *fakeWorkerProc) ask() {
	w.asks.Reset(300 * time.Millisecond)
	for range w.asks.C {
		w.ctl.Send(&workermsg.AskExit{}, -1)
		w.asks.Reset(300 * time.Millisecond)
	}
}

func (w *fakeWorkerProc) session(m *workermsg.Session, envelope int, end <-chan struct{}) {
	defer w.wg.Done()
	env, err := ipc.NewConn(envelope, envelopemsg.Protocol, ipc.FromServer)
	must(err)
	defer env.Close()
	env.Send(&envelopemsg.Accept{}, -1)
	w.misbehave()
	msg, fd, err := env.Recv()
	if err != nil {
		w.ctl.Send(&workermsg.Ended{ID: m.ID}, -1)
		return
	}
	g := msg.(*envelopemsg.Go)
	must(w.ctl.Send(&workermsg.Taken{ID: m.ID}, -1))
	f := os.NewFile(uintptr(fd), "client")
	c, err := net.FileConn(f)
	must(err)
	f.Close()
	stop := context(end, c)
	fmt.Fprintf(c, "OK %s pid %d uid %d spare %t\n", w.user, os.Getpid(), os.Getuid(), w.spare)
	r := bufio.NewReader(io.MultiReader(strings.NewReader(string(g.Pending)), c))
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			break
		}
		if line == "DIE\n" {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			os.Exit(9)
		}
		if w.sharing(c, strings.Fields(line)) {
			continue
		}
		fmt.Fprintf(c, "%s: %s", w.user, line)
	}
	stop()
	c.Close()
	w.ctl.Send(&workermsg.Ended{ID: m.ID}, -1)
}

// context closes c when end is closed.
func context(end <-chan struct{}, c net.Conn) (stop func()) {
	over := make(chan struct{})
	go func() {
		select {
		case <-end:
			fmt.Fprintln(c, "BYE")
			c.Close()
		case <-over:
		}
	}()
	return func() { close(over) }
}

func (w *fakeWorkerProc) misbehave() {
	if strings.HasPrefix(w.user, "never-") {
		os.Exit(9)
	}
	if strings.HasPrefix(w.user, "once-") {
		fd, err := unix.Openat(w.root, "died", unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
		if err == nil {
			unix.Close(fd)
			os.Exit(9)
		}
		if !errors.Is(err, unix.EEXIST) {
			must(err)
		}
	}
}
