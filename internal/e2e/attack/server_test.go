package attack_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rookery/internal/attack"
	"rookery/internal/attack/attacktest"
	"rookery/internal/child"
	"rookery/internal/e2e/harness"
	"rookery/internal/sandbox"
	"rookery/internal/sandbox/sandboxtest"
)

// programs are built once, all with one build id, evil ones with it too.
var programs struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if programs.dir != "" {
		os.RemoveAll(programs.dir)
	}
	os.Exit(code)
}

func stamp() string {
	return "-X rookery/internal/buildid.stamp=attack-" + strconv.Itoa(os.Getpid())
}

func goBuild(root, out, pkg, tags, ldflags string) error {
	cmd := exec.Command("go", "build", "-buildvcs=false", "-tags", tags, "-ldflags", stamp()+" "+ldflags, "-o", out, pkg)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, text)
	}
	return nil
}

// good gives the folder with the real programs.
func good(t *testing.T) string {
	t.Helper()
	programs.once.Do(func() {
		if programs.dir, programs.err = os.MkdirTemp("/var/tmp", "rookery-attack-"); programs.err != nil {
			return
		}
		os.Chmod(programs.dir, 0o755)
		programs.err = goBuild(harness.Root(t), programs.dir+"/", "./cmd/...", "", "")
	})
	if programs.err != nil {
		t.Fatal(programs.err)
	}
	return programs.dir
}

// setup is one server with one of its programs taken over.
type setup struct {
	role   child.Role
	shared bool // all users have one uid
	abi    int  // Landlock's cap; 0 for none
	// without is what the taken-over program leaves out of its sandbox.
	without sandbox.Protection
	config  string // lines for 99-local.toml
}

func (s setup) String() string {
	return fmt.Sprintf("%s, shared uid %v, abi %d", s.role, s.shared, s.abi)
}

type server struct {
	t    *testing.T
	demo *harness.Demo
	cmd  *exec.Cmd
	out  bytes.Buffer
	done chan struct{}
}

// start makes a demo's folder by a real start, then starts master on it with
// the taken-over program.
func start(t *testing.T, s setup) *server {
	t.Helper()
	harness.NeedRoot(t)
	t.Setenv("ROOKERY_BIN", good(t))
	d := harness.Prepare(t)
	d.Start("--users", "20")
	d.Stop()
	if s.config != "" {
		d.Set(s.config)
	}
	uids := readUIDs(t, d, s.shared)
	env := aim(t, d, uids)
	if s.without&sandbox.Chroot != 0 {
		env.Own = env.Home
	}
	bin := takeOver(t, s, env)
	srv := &server{t: t, demo: d, done: make(chan struct{})}
	srv.cmd = exec.Command(filepath.Join(bin, "rookery"), "-c", filepath.Join(d.Dir, "rookery.toml"))
	srv.cmd.Stdout, srv.cmd.Stderr = &srv.out, &srv.out
	srv.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	must(t, srv.cmd.Start())
	go func() {
		srv.cmd.Wait()
		close(srv.done)
	}()
	t.Cleanup(srv.stop)
	srv.eventually("it listens", func() bool {
		c, err := net.Dial("tcp", d.Addr("imap"))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	if s.role == child.Login {
		// One that is ready before its siblings have started could take their sockets away.
		srv.eventually("all login processes have started", func() bool { return strings.Count(d.Log(), "serving on ") == 2 })
	}
	return srv
}

func (s *server) stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(10 * time.Second):
		s.t.Error("master did not stop within ten seconds")
		s.cmd.Process.Kill()
		<-s.done
	}
	if s.t.Failed() {
		log := s.demo.Log()
		s.t.Logf("master: %v, output:\n%s\nlog:\n%s", s.cmd.ProcessState, s.out.String(), log[max(0, len(log)-8000):])
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// userLine is the head of a line of the demo's passwd-file.
var userLine = regexp.MustCompile(`(?m)^(u\d+@example\.test):([^:]*):(\d+):(\d+):`)

// readUIDs gives the users' uids, by name; with shared, all are given u1's.
func readUIDs(t *testing.T, d *harness.Demo, shared bool) map[string]int {
	t.Helper()
	name := filepath.Join(d.Dir, "users")
	text, err := os.ReadFile(name)
	must(t, err)
	uids := map[string]int{}
	for _, m := range userLine.FindAllSubmatch(text, -1) {
		uids[string(m[1])], _ = strconv.Atoi(string(m[3]))
	}
	if !shared {
		return uids
	}
	one := uids["u1@example.test"]
	text = userLine.ReplaceAllFunc(text, func(line []byte) []byte {
		m := userLine.FindSubmatch(line)
		return fmt.Appendf(nil, "%s:%s:%d:%d:", m[1], m[2], one, one)
	})
	must(t, os.WriteFile(name, text, 0o640))
	for user := range uids {
		uids[user] = one
		must(t, filepath.Walk(filepath.Join(d.Dir, "mail", user), func(path string, _ os.FileInfo, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, one, one)
		}))
	}
	return uids
}

// aim makes the targets: u2's mail, seen from u1.
func aim(t *testing.T, d *harness.Demo, uids map[string]int) attack.Env {
	t.Helper()
	own := filepath.Join(d.Dir, "mail", "u1@example.test")
	other := filepath.Join(d.Maildir(2), "target")
	must(t, os.Mkdir(other, 0o700))
	uid := uids["u2@example.test"]
	must(t, os.Chown(other, uid, uid))
	w := attacktest.New(t, sandboxtest.PublicDir(t), own, other, uid)
	w.Victim(t, sandboxtest.Build(t, "rookery/internal/attack/attacker", "rookery_attack"), uid)
	w.Env.Passwords, w.Env.Key = filepath.Join(d.Dir, "users"), filepath.Join(d.Dir, "tls", "key.pem")
	for _, name := range []string{w.Env.Passwords, w.Env.Key} {
		_, err := os.Stat(name) // or the attempt on it proves nothing
		must(t, err)
	}
	w.Env.Own, w.Env.UID, w.Env.Home = "", uids["u1@example.test"], own
	return w.Env
}

// takeOver copies the programs and puts the evil one in its place.
func takeOver(t *testing.T, s setup, env attack.Env) string {
	t.Helper()
	bin := filepath.Join(sandboxtest.PublicDir(t), "bin")
	must(t, os.Mkdir(bin, 0o755))
	files, err := os.ReadDir(good(t))
	must(t, err)
	for _, f := range files {
		// Copied, not linked: the two may lie on different file systems.
		program, err := os.ReadFile(filepath.Join(good(t), f.Name()))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(bin, f.Name()), program, 0o755))
	}
	text, err := json.Marshal(env)
	must(t, err)
	flags := fmt.Sprintf("-X main.role=%s -X main.aim=%s", s.role, hex.EncodeToString(text))
	tags := ""
	if s.abi > 0 || s.without != 0 {
		flags += fmt.Sprintf(" -X rookery/internal/sandbox.attackABI=%d -X rookery/internal/sandbox.attackWithout=%d", s.abi, s.without)
		tags = "rookery_attack"
	}
	program := filepath.Join(bin, s.role.Program())
	must(t, os.Remove(program))
	must(t, goBuild(harness.Root(t), program, "./internal/e2e/attack/evil", tags, flags))
	return bin
}

func (s *server) eventually(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		select {
		case <-s.done:
			s.t.Fatalf("master has ended while waiting for: %s", what)
		default:
		}
		if ok() {
			return
		}
	}
	s.t.Fatalf("not within thirty seconds: %s", what)
}

// alive checks that master lives, and gives how many descriptors it holds.
func (s *server) descriptors() int {
	s.t.Helper()
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
	must(s.t, err)
	return len(fds)
}

// dial connects to a service.
func (s *server) dial(service string) (*harness.Client, error) {
	c, err := net.DialTimeout("tcp", s.demo.Addr(service), 5*time.Second)
	if err != nil {
		return nil, err
	}
	client := harness.NewClient(s.t, c)
	s.t.Cleanup(client.Close)
	return client, nil
}

// order sends a line and gives the answer, "" if the connection ended.
func order(c *harness.Client, format string, args ...any) string {
	if err := c.Send(fmt.Sprintf(format, args...) + "\r\n"); err != nil {
		return ""
	}
	line, err := c.TryLine()
	if err != nil {
		return ""
	}
	return line
}

// summary is what evil says of a whole catalogue.
type summary struct {
	Tried, Trapped int
	Done, NoAim    []string
	Why            map[string]string
	Error          string
}

func readSummary(t *testing.T, text string) summary {
	t.Helper()
	var s summary
	if err := json.Unmarshal([]byte(text), &s); err != nil || s.Error != "" {
		t.Fatalf("%v, %s: %.300q", err, s.Error, text)
	}
	if s.Tried != len(attack.Catalogue()) || s.Trapped < 90 {
		t.Errorf("tried %d of %d, %d of them trapped", s.Tried, len(attack.Catalogue()), s.Trapped)
	}
	return s
}

// logHead is the beginning of a line of the log: time, then who says it.
var logHead = regexp.MustCompile(`^\w{3} [ \d]\d \d\d:\d\d:\d\d (?:dovecot: )?([a-z0-9-]+)[(:\[]`)

// forgedAs checks who the forged lines are said to be by.
func (s *server) forgedAs(speakers ...string) {
	s.t.Helper()
	s.eventually("the forged lines are there", func() bool { return strings.Contains(s.demo.Log(), "forged 7") })
	seen := 0
	for line := range strings.Lines(s.demo.Log()) {
		if !strings.Contains(line, "forged") {
			continue
		}
		seen++
		m := logHead.FindStringSubmatch(line)
		ok := m != nil
		if ok {
			ok = false
			for _, want := range speakers {
				ok = ok || m[1] == want
			}
		}
		if !ok {
			s.t.Errorf("a forged line is not by %q: %q", speakers, line)
		}
		for _, r := range strings.TrimSuffix(line, "\n") {
			if r < ' ' || r == 0x202e || r == 0x7f {
				s.t.Errorf("a control character in %q", line)
			}
		}
	}
	if seen < 6 {
		s.t.Errorf("only %d of the forged lines are in the log", seen)
	}
}
