package login

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/child"
	"rookery/internal/child/spawn"
	"rookery/internal/ipc"
	"rookery/internal/ipc/handoffmsg"
	"rookery/internal/ipc/logmsg"
	"rookery/internal/settings"
)

// process starts the real program, confined as master starts it, and gives a
// rig that plays the others.
func process(t *testing.T) (*rig, *spawn.Child) {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, child.Login.Program()), "rookery/cmd/rookery-login")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	program, err := spawn.Open(dir, child.Login.Program())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	forker, err := spawn.NewForker(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(forker.Close)
	r := newRig(t)
	info := child.Info{Strict: true, Settings: settings.New().ForRole(settings.RoleLogin)}
	files := []int{}
	pair := func() (ours, theirs int) {
		ours, theirs, err := ipc.Pair()
		if err != nil {
			t.Fatal(err)
		}
		return ours, theirs
	}
	ctl, ctlChild := pair()
	log, logChild := pair()
	auth, authChild := pair()
	empty, err := unix.Open(rootDir(t), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"imap", "imaps"} {
		info.Listeners = append(info.Listeners, child.ListenerInfo{Name: name, Protocol: name})
		files = append(files, listen(t, r, name))
	}
	sealed, err := child.Seal("settings", info.Encode())
	if err != nil {
		t.Fatal(err)
	}
	files = append([]int{ctlChild, int(sealed.Fd()), logChild, empty, authChild}, files...)
	c, err := forker.Start(spawn.Spec{Program: program, Files: files, Env: spawn.Environment(2, 0, "UTC"),
		Cred: &spawn.Cred{UID: 65531, GID: 65531}, PID: true, Net: true, Chroot: true})
	for _, fd := range files {
		if fd != int(sealed.Fd()) {
			unix.Close(fd)
		}
	}
	sealed.Close()
	if err != nil {
		t.Fatal(err)
	}
	if r.master, err = ipc.NewConn(ctl, handoffmsg.Protocol, ipc.FromServer); err != nil {
		t.Fatal(err)
	}
	logs, err := ipc.NewConn(log, logmsg.Protocol, ipc.FromServer)
	if err != nil {
		t.Fatal(err)
	}
	r.wg.Go(func() { r.takeLogs(logs) })
	r.startAuthd(auth)
	return r, c
}

// rootDir is an empty directory that is owned by root.
func rootDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (r *rig) takeLogs(conn *ipc.Conn) {
	defer conn.Close()
	for {
		m, _, err := conn.Recv()
		if err != nil {
			return
		}
		r.logs.SendEvent(m.(*logmsg.Event))
	}
}

// The real program in its real sandbox: nothing that it needs is missing there.
func TestInTheSandbox(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	r, c := process(t)
	stderr := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(c.Stderr)
		c.Stderr.Close()
		stderr <- string(b)
	}()
	if m, _, err := r.master.Recv(); err != nil {
		t.Fatal("not ready: ", err, <-stderr)
	} else if _, ok := m.(*handoffmsg.Ready); !ok {
		t.Fatalf("the first message is %T", m)
	}
	r.wg.Go(r.playMaster)
	r.master.Send(&handoffmsg.Welcome{Credits: 4, Processes: 1, HostName: "mail.example.test"}, -1)
	r.sendCertificates("mail.example.test")
	r.master.Send(&handoffmsg.TicketKeys{Keys: [][32]byte{{1}}}, -1)

	plain := r.dial("imap")
	plain.hear("* OK")
	plain.say("a1 LOGIN ann wrong")
	plain.hear("a1 NO [AUTHENTICATIONFAILED]")
	plain.say("a2 LOGIN ann pass")
	w := r.next()
	w.say("a2 OK\r\n")
	plain.hear("a2 OK")
	start := r.dial("imap")
	start.hear("* OK")
	start.say("a1 STARTTLS")
	start.hear("a1 OK")
	for _, secure := range []*client{start.startTLS(r, nil), r.dialTLS("imaps", nil)} {
		if secure.Conn.LocalAddr().String() != start.LocalAddr().String() {
			secure.hear("* OK")
		}
		secure.say("a3 LOGIN ann pass")
		w := r.next()
		big := "* " + strings.Repeat("x", 1<<20-2) + "\r\n"
		go w.say(big)
		if got := secure.hear("* xxx"); len(got) != 1<<20 {
			t.Error(len(got))
		}
		go secure.say("a4 %s", strings.Repeat("y", 1<<20))
		w.hear(t, "a4 "+strings.Repeat("y", 1<<20)+"\r\n")
		w.stream.Close()
		secure.end()
		secure.Close()
	}
	r.wait("imap-login: Login: user=<ann@example.test>, method=PLAIN, rip=127.0.0.1, lip=127.0.0.1, mpid=812, TLS, session=<")
	stranger := r.dial("imap")
	stranger.hear("* OK")
	r.master.Send(&handoffmsg.Shutdown{Within: 10 * time.Second}, -1)
	stranger.hear("* BYE [UNAVAILABLE]")
	exit, err := c.Wait()
	if text := <-stderr; err != nil || exit != (spawn.Exit{}) || text != "" {
		t.Errorf("%v, %v, %q", exit, err, text)
	}
	r.close()
}
