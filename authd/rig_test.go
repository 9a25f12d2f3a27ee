package authd

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rookery/authd/internal/dbfile"
	"rookery/internal/ipc"
	"rookery/internal/ipc/authmsg"
	"rookery/internal/ipc/logmsg"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/maillog"
	"rookery/internal/secret"
	"rookery/internal/settings"
)

// logLines collects what would go to logd.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) SendEvent(e *logmsg.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, []string{"", "Debug", "Info", "Warning", "Error", "Fatal", "Panic"}[e.Level]+": "+e.Text)
}

// take gives the lines so far and forgets them.
func (l *logLines) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.lines
	l.lines = nil
	return out
}

// rig is an authd with master and one login process played by the test.
type rig struct {
	t      testing.TB
	dir    string
	log    *logLines
	master *ipc.Conn
	login  *ipc.Conn
	prefix string // APOP's
	mechs  []authmsg.Mechanism
	nextID uint64
	done   chan error
	set    *settings.Set
	server *server
}

const stdUsers = `ann:{PLAIN}pass:1000:1001::/srv/mail/ann::userdb_mail_path=/srv/mail/ann/Maildir
hash:{SHA256.hex}2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b:1002:1002::/h::
closed:{PLAIN}pass:1003:1003::/h::nologin reason=Closed_for_repairs
far:{PLAIN}pass:1004:1004::/h::allow_nets=10.0.0.0/8
free::1005:1005::/h::nopassword
odd:{NOSUCH}x:1006:1006::/h::
weak:{PLAIN-MD5}5ebe2294ecd0e0f08eab7690d2a6ee69:1007:1007::/h::
prox:{PLAIN}pass:1008:1008::/h::proxy host=192.0.2.99
alias:{PLAIN}pass:1009:1009::/h::user=ann
root:{PLAIN}pass:0:0::/root::
noid:{PLAIN}pass
empty::1010:1010::/h::
quick:{PLAIN}pass:1011:1011::/h::nodelay
boss:{PLAIN}boss:1012:1012::/h::
`

func newRig(t testing.TB, change func(*settings.Set)) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), log: &logLines{}, done: make(chan error, 1), set: settings.New()}
	r.write("users", stdUsers)
	r.set.PutRow("passdb", settings.Row{Name: "users", Values: map[string]any{"driver": "passwd-file", "passwd_file_path": r.template("users")}})
	r.set.PutRow("userdb", settings.Row{Name: "users", Values: map[string]any{"driver": "passwd-file", "passwd_file_path": r.template("users")}})
	settings.AuthMechanisms.Put(r.set, []string{"plain", "login", "scram-sha-256", "cram-md5", "apop"})
	settings.AuthFailureDelay.Put(r.set, 0)
	settings.AuthInternalFailureDelay.Put(r.set, 0)
	settings.AuthPenalty.Put(r.set, false)
	settings.AuthVerbose.Put(r.set, true)
	settings.Hostname.Put(r.set, "mail.example.test")
	if change != nil {
		change(r.set)
	}
	files := dbfile.New()
	set, err := settings.Decode(settings.RoleAuthd, r.set.ForRole(settings.RoleAuthd))
	if err != nil {
		t.Fatal(err)
	}
	openFolders(files, set, maillog.New(r.log))
	ours, theirs, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	ctl, err := ipc.NewConn(theirs, redeemmsg.Protocol, ipc.FromClient)
	if err != nil {
		t.Fatal(err)
	}
	if r.master, err = ipc.NewConn(ours, redeemmsg.Protocol, ipc.FromServer); err != nil {
		t.Fatal(err)
	}
	s, err := newServer(ctl, maillog.New(r.log), files, set, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	r.server = s
	go func() { r.done <- s.serve(); ctl.Close() }()
	t.Cleanup(r.stop)
	r.login = r.attach(7, "login")
	w := r.recv(r.login).(*authmsg.Welcome)
	r.prefix, r.mechs = w.APOPPrefix, w.Mechanisms
	return r
}

func (r *rig) stop() {
	r.master.Close()
	r.login.Close()
	select {
	case err := <-r.done:
		if err != nil {
			r.t.Errorf("authd ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		r.t.Error("authd does not end with its master")
	}
}

func (r *rig) template(name string) settings.Template {
	tm, err := settings.ParseTemplate(filepath.Join(r.dir, name), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return tm
}

func (r *rig) write(name, text string) {
	r.t.Helper()
	tmp := filepath.Join(r.dir, name+".new")
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(r.dir, name)); err != nil {
		r.t.Fatal(err)
	}
}

// attach makes a login process's channel.
func (r *rig) attach(channel uint64, kind string) *ipc.Conn {
	r.t.Helper()
	ours, theirs, err := ipc.Pair()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.master.Send(&redeemmsg.Attach{Channel: channel, Kind: kind}, theirs); err != nil {
		r.t.Fatal(err)
	}
	unix.Close(theirs)
	c, err := ipc.NewConn(ours, authmsg.Protocol, ipc.FromClient)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func (r *rig) recv(c *ipc.Conn) ipc.Message {
	r.t.Helper()
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	m, fd, err := c.Recv()
	if err != nil || fd >= 0 {
		r.t.Fatalf("no answer: %v", err)
	}
	return m
}

func (r *rig) peer() authmsg.Peer {
	return authmsg.Peer{Service: "imap", Session: "s1", Remote: netip.MustParseAddrPort("192.0.2.7:4711"),
		Local: netip.MustParseAddrPort("192.0.2.1:143"), TLS: true, TLSVersion: "TLSv1.3", Secured: true}
}

func (r *rig) send(c *ipc.Conn, m ipc.Message) {
	r.t.Helper()
	if err := c.Send(m, -1); err != nil {
		r.t.Fatal(err)
	}
}

// begin starts an exchange and gives the first answer.
func (r *rig) begin(mech string, initial string, change ...func(*authmsg.Peer)) ipc.Message {
	r.t.Helper()
	r.nextID++
	p := r.peer()
	for _, f := range change {
		f(&p)
	}
	r.send(r.login, &authmsg.Begin{ID: r.nextID, Peer: p, Mech: mech, HasInitial: initial != "", Initial: secret.FromString(initial)})
	return r.recv(r.login)
}

func (r *rig) next(response string) ipc.Message {
	r.t.Helper()
	r.send(r.login, &authmsg.Continue{ID: r.nextID, Response: secret.FromString(response)})
	return r.recv(r.login)
}

func (r *rig) plain(user, password string, change ...func(*authmsg.Peer)) ipc.Message {
	r.t.Helper()
	return r.begin("PLAIN", "\x00"+user+"\x00"+password, change...)
}

func (r *rig) redeem(ticket [16]byte, channel uint64, service, session string) ipc.Message {
	r.t.Helper()
	r.send(r.master, &redeemmsg.Redeem{ID: 99, Channel: channel, Ticket: ticket, Service: service, Session: session})
	return r.recv(r.master)
}

func show(m ipc.Message) string {
	switch m := m.(type) {
	case *authmsg.Granted:
		s := "granted " + m.User
		if m.Master != "" {
			s += " by " + m.Master
		}
		return s
	case *authmsg.Refused:
		return fmt.Sprintf("refused %q %v %q", m.User, m.Kind, m.Text)
	case *authmsg.Challenge:
		return fmt.Sprintf("challenge %q", m.Data)
	case *redeemmsg.Redeemed:
		rec := m.Record
		return fmt.Sprintf("redeemed %s %d/%d %s %v %s", rec.User, rec.UID, rec.GID, rec.Home, rec.Fields, rec.Mech)
	case *redeemmsg.Failed:
		return fmt.Sprintf("failed %v %q", m.Kind, m.Text)
	}
	return fmt.Sprintf("%T", m)
}

func (r *rig) wantLog(want ...string) {
	r.t.Helper()
	if got := r.log.take(); !slices.Equal(got, want) {
		r.t.Errorf("log:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func removeFile(r *rig, name string) error { return os.Remove(filepath.Join(r.dir, name)) }
