package logd

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/ipc"
	"rookery/internal/ipc/logmsg"
	"rookery/internal/maillog"
	"rookery/internal/maillog/sink"
)

var clock = time.Date(2026, 11, 21, 8, 5, 9, 0, time.UTC)

// rig is a logd with the test as its master.
type rig struct {
	t    *testing.T
	ctl  *ipc.Conn
	done chan error
	dir  string
}

func start(t *testing.T) *rig {
	t.Helper()
	a, b, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := ipc.NewConn(b, logmsg.Control, ipc.FromServer)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := ipc.NewConn(a, logmsg.Control, ipc.FromClient)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t, ours, make(chan error, 1), t.TempDir()}
	go func() { r.done <- newServer(theirs, func() time.Time { return clock }).serve() }()
	t.Cleanup(func() { ours.Close() })
	return r
}

func (r *rig) send(m ipc.Message, fd int) {
	r.t.Helper()
	if err := r.ctl.Send(m, fd); err != nil {
		r.t.Fatal(err)
	}
}

// file gives logd a sink into a file of this name.
func (r *rig) file(name string, low, high logmsg.Level, format string) {
	r.t.Helper()
	f, err := os.OpenFile(filepath.Join(r.dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	r.send(&logmsg.Sink{Kind: "file", Path: name, Min: low, Max: high, Format: format}, int(f.Fd()))
}

func (r *rig) attach(id uint64, role string, pid int32, user string) *ipc.Conn {
	r.t.Helper()
	a, b, err := ipc.Pair()
	if err != nil {
		r.t.Fatal(err)
	}
	defer unix.Close(b)
	r.send(&logmsg.Attach{ID: id, Role: role, PID: pid, User: user}, b)
	conn, err := ipc.NewConn(a, logmsg.Protocol, ipc.FromClient)
	if err != nil {
		r.t.Fatal(err)
	}
	return conn
}

// end closes all and gives what was written.
func (r *rig) end(name string) string {
	r.t.Helper()
	r.ctl.Close()
	if err := <-r.done; err != nil {
		r.t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(data)
}

func TestStampsByChannelAndSplitsByLevel(t *testing.T) {
	r := start(t)
	r.file("err", logmsg.Warning, logmsg.Panic, "text")
	r.file("info", logmsg.Info, logmsg.Info, "text")
	r.send(&logmsg.SinksDone{Count: 2}, -1)
	login, worker := r.attach(1, "login", 10, ""), r.attach(2, "imap", 11, "ann")
	l := maillog.New(maillog.ToChannel(login)).Prefix("imap-login")
	l.Infof("Login: user=<ann>")
	login.Close()
	w := maillog.New(maillog.ToChannel(worker)).Prefix("imap-login").Session("s1")
	w.Infof("forged")
	w.Errorf("broken")
	w.Debugf("never asked for")
	worker.Close()
	info := r.end("info")
	for _, want := range []string{"Nov 21 08:05:09 imap-login: Info: Login: user=<ann>\n", "Nov 21 08:05:09 imap(ann)<11><s1>: Info: forged\n"} {
		if !strings.Contains(info, want) {
			t.Errorf("%q is not in %q", want, info)
		}
	}
	if strings.Count(info, "\n") != 2 {
		t.Error(info)
	}
	if data, _ := os.ReadFile(filepath.Join(r.dir, "err")); string(data) != "Nov 21 08:05:09 imap(ann)<11><s1>: Error: broken\n" {
		t.Errorf("%q", data)
	}
}

func TestSinksAreReplacedAndUserIsSetOnce(t *testing.T) {
	r := start(t)
	r.file("one", logmsg.Debug, logmsg.Panic, "text")
	r.send(&logmsg.SinksDone{Count: 1}, -1)
	conn := r.attach(1, "imap", 0, "")
	log := maillog.New(maillog.ToChannel(conn))
	log.Infof("spare")
	r.settle(1)
	r.send(&logmsg.Named{ID: 1, PID: 12, User: "ann"}, -1)
	r.send(&logmsg.Named{ID: 1, User: "root"}, -1)
	r.file("two", logmsg.Debug, logmsg.Panic, "json")
	r.file("three", logmsg.Debug, logmsg.Panic, "text")
	r.send(&logmsg.Style{Timestamp: "%H:%M ", MailPrefix: "[%{user}/%{protocol}/%{process:pid}] "}, -1)
	r.send(&logmsg.SinksDone{Count: 1}, -1)
	r.settle(1)
	log.Infof("serving")
	conn.Close()
	two := r.end("two")
	if one, _ := os.ReadFile(filepath.Join(r.dir, "one")); string(one) != "Nov 21 08:05:09 imap: Info: spare\n" {
		t.Errorf("%q", one)
	}
	if three, _ := os.ReadFile(filepath.Join(r.dir, "three")); string(three) != "08:05 [ann/imap/12] : Info: serving\n" && string(three) != "08:05 [ann/imap/12] Info: serving\n" {
		t.Errorf("%q", three)
	}
	if !strings.Contains(two, `"user":"ann"`) || !strings.Contains(two, `"pid":12`) || strings.Contains(two, "root") {
		t.Error(two)
	}
}

func line(text string) *sink.Line {
	return &sink.Line{Time: clock, Role: "auth", Event: &logmsg.Event{Level: logmsg.Error, Text: text}}
}

// settle waits until logd has taken everything sent on the control channel.
func (r *rig) settle(id uint64) []logmsg.ErrorLine {
	r.t.Helper()
	time.Sleep(20 * time.Millisecond) // for what is on other channels
	r.send(&logmsg.Errors{ID: id}, -1)
	m, _, err := r.ctl.Recv()
	if err != nil {
		r.t.Fatal(err)
	}
	return m.(*logmsg.ErrorLines).Lines
}

func TestLastErrorsAndStderr(t *testing.T) {
	r := start(t)
	r.file("log", logmsg.Debug, logmsg.Panic, "text")
	r.send(&logmsg.SinksDone{Count: 1}, -1)
	r.send(&logmsg.Stderr{Role: "auth", PID: 5, Data: []byte("panic: x\n\tat\x1b[2J y\n")}, -1)
	lines := r.settle(3)
	if len(lines) != 2 || lines[0].Text != "auth: stderr: panic: x" || lines[1].Text != `auth: stderr: \x09at\x1b[2J y` || lines[1].Number != 2 {
		t.Errorf("%+v", lines)
	}
	if got := r.end("log"); got != "Nov 21 08:05:09 auth: Error: stderr: panic: x\nNov 21 08:05:09 auth: Error: stderr: \\x09at\\x1b[2J y\n" {
		t.Errorf("%q", got)
	}
}

func TestRingForgetsTheOldest(t *testing.T) {
	r := newRing(3)
	for i := 1; i <= 5; i++ {
		l := line("e" + strconv.Itoa(i))
		r.add(l, &sink.Style{})
	}
	lines, more := r.after(0, 2)
	if len(lines) != 2 || !more || lines[0].Text != "auth: e3" || lines[1].Number != 4 {
		t.Errorf("%+v %t", lines, more)
	}
	if lines, more = r.after(4, 2); len(lines) != 1 || more || lines[0].Text != "auth: e5" {
		t.Errorf("%+v %t", lines, more)
	}
}

func TestQuotaDropsAndTells(t *testing.T) {
	q := quota{last: clock}
	granted := 0
	for i := 0; i < burst+500; i++ {
		if ok, _ := q.take(clock); ok {
			granted++
		}
	}
	ok, dropped := q.take(clock.Add(time.Second))
	if granted != burst || !ok || dropped != 500 {
		t.Error(granted, ok, dropped)
	}
}

func TestSyslogDatagram(t *testing.T) {
	r := start(t)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	r.send(&logmsg.Sink{Kind: "syslog", Min: logmsg.Debug, Max: logmsg.Panic, Facility: "mail", Tag: "dovecot"}, -1)
	r.send(&logmsg.SinksDone{Count: 1}, -1)
	r.send(&logmsg.SyslogSocket{}, fds[1])
	unix.Close(fds[1])
	r.settle(1)
	conn := r.attach(1, "auth", 3, "")
	maillog.New(maillog.ToChannel(conn)).Infof("passwd-file(u,192.0.2.7,<s>): Password mismatch")
	buf := make([]byte, 500)
	n, err := unix.Read(fds[0], buf)
	if want := "<22>Nov 21 08:05:09 dovecot: auth: passwd-file(u,192.0.2.7,<s>): Password mismatch"; err != nil || string(buf[:n]) != want {
		t.Errorf("%q %v", buf[:n], err)
	}
	unix.Close(fds[0])
	maillog.New(maillog.ToChannel(conn)).Infof("lost")
	if m, _, err := r.ctl.Recv(); err != nil || m.Type() != (&logmsg.Broken{}).Type() {
		t.Errorf("master is not asked for a new socket: %v %v", m, err)
	}
	conn.Close()
	r.ctl.Close()
	<-r.done
}

func TestBadPeerIsClosedAndNamed(t *testing.T) {
	r := start(t)
	r.file("log", logmsg.Debug, logmsg.Panic, "text")
	r.send(&logmsg.SinksDone{Count: 1}, -1)
	a, b, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	r.send(&logmsg.Attach{ID: 1, Role: "imap", PID: 4, User: "ann"}, b)
	unix.Close(b)
	unix.Write(a, []byte("not a hello"))
	for { // until logd has closed its end
		if _, err := unix.Write(a, []byte("x")); err != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	unix.Close(a)
	if got := r.end("log"); !strings.Contains(got, "Error: the log channel of imap is closed: channel log: hello") {
		t.Error(got)
	}
}
