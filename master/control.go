package master

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/ctlmsg"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/maillog"
	"rookery/internal/secret"
)

// maxControl is how many rookeryctl may be connected at once.
const maxControl = 32

// serveControl accepts on the control socket. It does not run in the loop.
func (m *master) serveControl() {
	if err := unix.SetNonblock(m.control, false); err != nil {
		m.post(func() { m.log.Errorf("control socket: %v", err) })
		return
	}
	places := make(chan struct{}, maxControl)
	for {
		fd, _, err := unix.Accept4(m.control, unix.SOCK_CLOEXEC)
		switch {
		case err == unix.EINTR || err == unix.ECONNABORTED:
			continue
		case err == unix.EMFILE || err == unix.ENFILE || err == unix.ENOBUFS || err == unix.ENOMEM:
			time.Sleep(100 * time.Millisecond) // rookeryctl is needed most when these are short
			continue
		case err != nil:
			return
		}
		select {
		case places <- struct{}{}:
			go func() {
				m.converse(fd)
				<-places
			}()
		default:
			unix.Close(fd)
		}
	}
}

// converse serves one connection: one request after another.
func (m *master) converse(fd int) {
	cred, err := ipc.PeerCred(fd)
	if err != nil || cred.UID != 0 && cred.UID != uint32(os.Geteuid()) {
		m.post(func() { m.log.Warnf("uid %d may not use the control socket", cred.UID) })
		unix.Close(fd)
		return
	}
	conn, err := ipc.NewConn(fd, ctlmsg.Protocol, ipc.FromServer)
	if err != nil {
		return
	}
	defer conn.Close()
	var held holds
	defer m.post(func() { m.endHolds(&held, func() {}) })
	for {
		msg, _, err := conn.Recv()
		if err != nil {
			return
		}
		r := msg.(*ctlmsg.Request)
		answers := make(chan reply, 1)
		m.post(func() { m.command(r, &held, func(a reply) { answers <- a }) })
		select {
		case a := <-answers:
			if a.send(conn) != nil {
				return
			}
		case <-m.done:
			return
		}
	}
}

// reply is an answer to rookeryctl.
type reply struct {
	exit int
	text string
	body any
	fd   int // for rookeryctl, if above 0; closed once it is sent
}

func (a reply) send(conn *ipc.Conn) error {
	fd := -1
	if a.fd > 0 {
		fd = a.fd
		defer unix.Close(a.fd)
	}
	if a.exit != 0 {
		return conn.Send(&ctlmsg.Answer{Exit: uint8(a.exit), Text: clip(a.text, 16<<10)}, -1)
	}
	body, err := json.Marshal(a.body)
	if err != nil {
		return conn.Send(&ctlmsg.Answer{Exit: exitSoftware, Text: err.Error()}, -1)
	}
	for {
		n := min(len(body), ctlmsg.MaxBody)
		more := n < len(body)
		if err := conn.Send(&ctlmsg.Answer{Body: body[:n], More: more}, fd); err != nil || !more {
			return err
		}
		body, fd = body[n:], -1
	}
}

func clip(s string, limit int) string {
	if len(s) > limit {
		return s[:limit]
	}
	return s
}

func failed(exit int, format string, args ...any) reply {
	return reply{exit: exit, text: fmt.Sprintf(format, args...)}
}

// command runs one request; to is called once, now or later.
func (m *master) command(r *ctlmsg.Request, held *holds, to func(reply)) {
	verb, ok := map[string]struct {
		args int // at most
		need int // at least
		run  func(*ctlmsg.Request, func(reply))
	}{
		ctlmsg.Status:    {0, 0, func(_ *ctlmsg.Request, to func(reply)) { to(reply{body: m.status()}) }},
		ctlmsg.Who:       {1, 0, func(r *ctlmsg.Request, to func(reply)) { to(reply{body: m.who(arg(r, 0))}) }},
		ctlmsg.Processes: {0, 0, func(_ *ctlmsg.Request, to func(reply)) { to(reply{body: m.processes()}) }},
		ctlmsg.Kick:      {1, 1, m.kick},
		ctlmsg.Reload:    {0, 0, m.ctlReload},
		ctlmsg.Stop:      {0, 0, m.ctlStop},
		ctlmsg.AuthTest:  {3, 1, m.authTest},
		ctlmsg.Lookup:    {2, 1, m.lookup},
		ctlmsg.MailTool:  {1, 1, m.mailTool},
		ctlmsg.MailHold:  {1, 1, func(r *ctlmsg.Request, to func(reply)) { m.mailHold(held, r.Args[0], to) }},
		ctlmsg.MoveTool: {3, 2, func(r *ctlmsg.Request, to func(reply)) {
			m.moveTool(held, r.Args[0], r.Args[1], arg(r, 2) == "look", to)
		}},
		ctlmsg.MailMove:   {1, 1, func(r *ctlmsg.Request, to func(reply)) { m.mailMove(held, r.Args[0], to) }},
		ctlmsg.MailLet:    {0, 0, func(_ *ctlmsg.Request, to func(reply)) { m.letIn(held); to(reply{body: struct{}{}}) }},
		ctlmsg.MailEnd:    {0, 0, func(_ *ctlmsg.Request, to func(reply)) { m.endHolds(held, func() { to(reply{body: struct{}{}}) }) }},
		ctlmsg.MailMoves:  {0, 0, func(_ *ctlmsg.Request, to func(reply)) { to(reply{body: m.moves.All()}) }},
		ctlmsg.MailForget: {1, 1, m.mailForget},
		ctlmsg.Users:      {0, 0, m.listUsers},
		ctlmsg.LogErrors:  {0, 0, m.logErrors},
		ctlmsg.LogDebug:   {1, 1, m.setLogDebug},
	}[r.Verb]
	switch {
	case !ok:
		to(failed(exitUsage, "the server does not know %q; is rookeryctl of the same version?", r.Verb))
	case len(r.Args) > verb.args || len(r.Args) < verb.need:
		to(failed(exitUsage, "%s takes %d to %d arguments, %d were given", r.Verb, verb.need, verb.args, len(r.Args)))
	default:
		verb.run(r, to)
	}
}

func arg(r *ctlmsg.Request, i int) string {
	if i < len(r.Args) {
		return r.Args[i]
	}
	return ""
}

func (m *master) kick(r *ctlmsg.Request, to func(reply)) {
	n := m.table.Kick(r.Args[0], "Disconnected by the administrator.")
	if n > 0 {
		m.log.Infof("%d sessions of %q are ended by the administrator", n, r.Args[0])
	}
	to(reply{body: map[string]int{"kicked": n}})
}

func (m *master) ctlReload(_ *ctlmsg.Request, to func(reply)) {
	m.startReload(func(err error) {
		if err != nil {
			to(failed(exitConfig, "%v", err))
			return
		}
		to(reply{body: map[string]uint64{"generation": m.cfg.generation}})
	})
}

func (m *master) ctlStop(_ *ctlmsg.Request, to func(reply)) {
	to(reply{body: struct{}{}})
	m.startStop()
}

func service(r *ctlmsg.Request) string { return or(arg(r, 1), "imap") }

func (m *master) authTest(r *ctlmsg.Request, to func(reply)) {
	remote, err := parseRemote(arg(r, 2))
	if err != nil {
		to(failed(exitUsage, "%v", err))
		return
	}
	m.ask(func(id uint64) ipc.Message {
		return &redeemmsg.Test{ID: id, User: r.Args[0], Password: secret.New(r.Secret.Reveal()), Service: service(r), Remote: remote}
	}, func(a answer) { to(a.reply()) })
}

// parseRemote reads an address with or without a port; none is this host.
func parseRemote(text string) (netip.AddrPort, error) {
	if text == "" {
		return netip.MustParseAddrPort("127.0.0.1:1"), nil
	}
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap, nil
	}
	a, err := netip.ParseAddr(text)
	return netip.AddrPortFrom(a, 1), err
}

func (m *master) lookup(r *ctlmsg.Request, to func(reply)) {
	m.ask(func(id uint64) ipc.Message { return &redeemmsg.Lookup{ID: id, User: r.Args[0], Service: service(r)} },
		func(a answer) { to(a.reply()) })
}

// record is who a user is, as rookeryctl shows it.
type record struct {
	User      string   `json:"user"`
	Master    string   `json:"master,omitempty"`
	UID       uint32   `json:"uid"`
	GID       uint32   `json:"gid"`
	Groups    []string `json:"groups,omitempty"`
	Home      string   `json:"home"`
	Anonymous bool     `json:"anonymous,omitempty"`
	Fields    []string `json:"fields,omitempty"`
}

func (a answer) reply() reply {
	if a.record == nil {
		exit := map[errkind.Kind]int{errkind.NotFound: 67, errkind.AuthFailed: 77, errkind.Unavailable: 75}[a.kind]
		if exit == 0 {
			exit = 1
		}
		return failed(exit, "%s", or(a.text, a.kind.String()))
	}
	r := a.record
	return reply{body: record{r.User, r.Master, r.UID, r.GID, r.Groups, r.Home, r.Anonymous, r.Fields}}
}

func (m *master) setLogDebug(r *ctlmsg.Request, to func(reply)) {
	if _, err := maillog.ParseFilter(r.Args[0]); err != nil {
		to(failed(exitUsage, "%v", err))
		return
	}
	m.debug = r.Args[0]
	m.tellDebug()
	m.log.Infof("debug lines are written for %q", or(m.debug, "nobody"))
	to(reply{body: map[string]string{"filter": m.debug}})
}
