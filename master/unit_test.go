package master

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/child"
	"rookery/internal/ipc"
	"rookery/internal/ipc/logmsg"
	"rookery/internal/ipc/workermsg"
	"rookery/internal/maillog"
	"rookery/internal/sandbox"
	"rookery/internal/settings"
	"rookery/master/internal/policy"
)

// Where lines of each level go, with neighbours of one place in one sink.
func TestSinks(t *testing.T) {
	for _, c := range []struct{ log, info, debug, want string }{
		{"syslog", "", "", "syslog syslog 1-6"},
		{"/log", "", "", "file /log 1-6"},
		{"/log", "/info", "", "file /log 3-6; file /info 1-2"},
		{"/log", "/info", "/debug", "file /log 3-6; file /info 2-2; file /debug 1-1"},
		{"/log", "", "/debug", "file /log 2-6; file /debug 1-1"},
		{"stderr", "syslog", "/dev/stderr", "stderr stderr 3-6; syslog syslog 2-2; stderr /dev/stderr 1-1"},
	} {
		set := settings.New()
		settings.LogPath.Put(set, c.log)
		settings.InfoLogPath.Put(set, c.info)
		settings.DebugLogPath.Put(set, c.debug)
		var got []string
		for _, s := range sinks(set) {
			got = append(got, fmt.Sprintf("%s %s %d-%d", s.Kind, s.Path, s.Min, s.Max))
		}
		if text := strings.Join(got, "; "); text != c.want {
			t.Errorf("%q %q %q: %s, want %s", c.log, c.info, c.debug, text, c.want)
		}
	}
}

// A worker that floods its channel does not have the loop for itself.
func TestFloodsArePaced(t *testing.T) {
	mine, theirs, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := ipc.NewConn(mine, workermsg.Protocol, ipc.FromServer)
	if err != nil {
		t.Fatal(err)
	}
	worker, err := ipc.NewConn(theirs, workermsg.Protocol, ipc.FromClient)
	if err != nil {
		t.Fatal(err)
	}
	const count = 2*floodCount + 5 // as many as wait for one who does not read
	began := time.Now()
	for range count {
		if err := worker.Send(&workermsg.Changed{}, -1); err != nil {
			t.Fatal(err)
		}
	}
	got := 0
	p := &proc{role: child.IMAPWorker, conn: conn, onMsg: func(ipc.Message, int) { got++ }, onGone: func(error) {}}
	m := &master{events: make(chan func()), done: make(chan struct{})}
	read := make(chan struct{})
	go m.receive(p, read)
	for got < count {
		(<-m.events)()
	}
	if took := time.Since(began); took < 2*floodWindow {
		t.Errorf("%d messages within %v", count, took)
	}
	worker.Close()
	(<-m.events)()
	<-read
}

// A child that floods its standard error is read on, into nothing, and its
// lines come whole.
func TestStderrIsLimited(t *testing.T) {
	mine, theirs, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	logd, err := ipc.NewConn(mine, logmsg.Control, ipc.FromServer)
	if err != nil {
		t.Fatal(err)
	}
	defer logd.Close()
	reader, err := ipc.NewConn(theirs, logmsg.Control, ipc.FromClient)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	logd.SetSendBuffer(sendBuffer)
	m := &master{events: make(chan func(), 1), done: make(chan struct{}), up: true, log: maillog.Discard()}
	m.logd = logService{m: m, proc: &proc{conn: logd}}
	r, w := io.Pipe()
	over := make(chan struct{})
	go func() {
		m.pumpStderr(&proc{role: child.Login, pid: 7}, r)
		m.post(func() { close(over) })
	}()
	go func() {
		for i := range 100_000 {
			fmt.Fprintf(w, "line %d of a flood", i)
			io.WriteString(w, "\n")
		}
		w.Close()
	}()
	for done := false; !done; {
		select {
		case f := <-m.events:
			f()
		case <-over:
			done = true
		}
	}
	logd.Close()
	total := 0
	for {
		msg, _, err := reader.Recv()
		if err != nil {
			break
		}
		e := msg.(*logmsg.Stderr)
		if total == 0 && !strings.HasPrefix(string(e.Data), "line 0 of a flood\n") || !strings.HasSuffix(string(e.Data), "\n") || e.PID != 7 || e.Role != "login" {
			t.Fatalf("%q", e.Data)
		}
		total += len(e.Data)
	}
	if total == 0 || total > stderrBurst+16*stderrRate {
		t.Errorf("%d bytes came through", total)
	}
}

func TestAuthFiles(t *testing.T) {
	set := settings.New()
	row := func(table, name string, values map[string]any) {
		set.PutRow(table, settings.Row{Name: name, Values: values})
	}
	tmpl := func(s string) settings.Template {
		p, err := settings.ParseTemplate(s, []string{"user"})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	row("passdb", "a", map[string]any{"driver": "passwd-file", "passwd_file_path": tmpl("/etc/users")})
	row("passdb", "b", map[string]any{"driver": "passwd-file", "passwd_file_path": tmpl("/srv/%{user}/pw")})
	row("passdb", "c", map[string]any{"driver": "shadow"})
	row("userdb", "d", map[string]any{"driver": "passwd"})
	row("userdb", "e", map[string]any{"driver": "static"})
	want := []authFile{{"passwd-file", "a", "/etc/users"}, {"shadow", "c", "/etc/shadow"}, {"passwd", "d", "/etc/passwd"}}
	if got := authFiles(set); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// The limits by address see an IPv6 client's whole network, and IPv4 in either form.
func TestNetwork(t *testing.T) {
	for a, want := range map[string]string{"192.0.2.7": "192.0.2.7/32", "::ffff:192.0.2.7": "192.0.2.7/32", "2001:db8:1:2:3::4": "2001:db8:1:2::/64"} {
		if got := network(netip.MustParseAddr(a)).String(); got != want {
			t.Errorf("%s: %s, want %s", a, got, want)
		}
	}
}

func TestDebugSetting(t *testing.T) {
	set := settings.New()
	settings.LogDebug.Put(set, []string{"user=ann", "remote_ip=192.0.2.0/24"})
	if got := debugSetting(set); got != "user=ann ip=192.0.2.0/24" {
		t.Error(got)
	}
	if _, err := maillog.ParseFilter(debugSetting(set)); err != nil {
		t.Error(err)
	}
}

// A directory that somebody else can change is no place for a user's mail, but for
// root's own and what a group of the user's shares.
func TestOwnerOfAMailRoot(t *testing.T) {
	if !asRoot() {
		t.Skip("needs root")
	}
	const uid, gid, other, shared = 64301, 64302, 64303, 64304
	id := policy.Identity{UID: uid, GID: gid, Groups: []uint32{shared}}
	for _, c := range []struct {
		uid, gid int
		mode     os.FileMode
		ok       bool
	}{
		{uid, other, 0o700, true},
		{0, 0, 0o755, true},
		{other, other, 0o700, false},
		{other, other, 0o777, false},
		{other, gid, 0o755, false}, // the group may not write
		{other, gid, 0o770, true},
		{other, shared, 0o2770, true},
	} {
		dir := t.TempDir()
		if err := errors.Join(os.Chown(dir, c.uid, c.gid), os.Chmod(dir, c.mode)); err != nil {
			t.Fatal(err)
		}
		fd, _, err := sandbox.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		err = checkOwner(fd, dir, id)
		unix.Close(fd)
		var refused *policy.Refusal
		if c.ok && err != nil || !c.ok && !errors.As(err, &refused) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
