package rookeryctl

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rookery/rookeryctl/internal/demo"
)

// bin makes a folder below /var/tmp with copies of this test program under the
// programs' names, where every uid can reach them.
func bin(t *testing.T, mode os.FileMode) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "rookeryctl-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	first := filepath.Join(dir, "rookery")
	if err := os.WriteFile(first, self, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"rookery-login", "rookery-authd", "rookery-logd", "rookery-imapworker", "rookery-pop3worker", "rookery-mailtool", "rookeryctl"} {
		if err := os.Link(first, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	return dir
}

// base finds a free base port.
func base(t *testing.T) int {
	t.Helper()
	for n := 30000 + os.Getpid()%10000; n < 60000; n += 1009 {
		free := true
		for _, p := range []int{110, 143, 993, 995} {
			l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", n+p))
			if err != nil {
				free = false
				break
			}
			l.Close()
		}
		if free {
			return n
		}
	}
	t.Fatal("no free ports")
	return 0
}

// demoRun is one `rookeryctl demo`.
type demoRun struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  bytes.Buffer
	err  bytes.Buffer
	done chan error
}

// start runs it until "rookery ready" or its end.
func start(t *testing.T, programs string, args ...string) (d *demoRun, ready bool) {
	t.Helper()
	d = &demoRun{t: t, cmd: exec.Command(filepath.Join(programs, "rookeryctl"), append([]string{"demo"}, args...)...), done: make(chan error, 1)}
	d.cmd.Stderr = &d.err
	d.cmd.Dir = programs
	pipe, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(60*time.Second, func() { d.cmd.Process.Kill() })
	lines := bufio.NewReader(pipe)
	for {
		line, err := lines.ReadString('\n')
		d.out.WriteString(line)
		if line == "rookery ready\n" {
			ready = true
			break
		}
		if err != nil {
			break
		}
	}
	go func() {
		io.Copy(io.Discard, lines)
		err := d.cmd.Wait()
		timer.Stop()
		d.done <- err
	}()
	return d, ready
}

// stop ends it and gives how long that took and its exit code.
func (d *demoRun) stop(signal os.Signal) (time.Duration, int) {
	began := time.Now()
	d.cmd.Process.Signal(signal)
	return time.Since(began), d.exit()
}

func (d *demoRun) exit() int {
	<-d.done
	return d.cmd.ProcessState.ExitCode()
}

func TestDemo(t *testing.T) {
	programs := bin(t, 0o755)
	dir := filepath.Join(programs, "demo")
	port := base(t)
	flags := []string{"--base-port", strconv.Itoa(port), "--users", "2"}
	d, ready := start(t, programs, flags...) // --dir is ./demo
	if !ready {
		t.Fatalf("%d\n%s%s", d.exit(), d.out.String(), d.err.String())
	}
	text := d.out.String()
	for _, want := range []string{
		"curl --cacert " + dir + "/tls/cert.pem -u u1:pass imaps://localhost:" + strconv.Itoa(port+993) + "/INBOX",
		"openssl s_client -quiet -crlf -connect localhost:" + strconv.Itoa(port+993),
		"telnet 127.0.0.1 " + strconv.Itoa(port+110),
		"auth_verbose = true\ninto " + dir + "/conf.d/10-logging.toml",
		"rookeryctl -c " + dir + "/rookery.toml reload", "tail -f " + dir + "/rookery.log",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the hints lack %q:\n%s", want, text)
		}
	}
	checkMail(t, dir)

	// A second one on the same ports names the process that holds them.
	other, ready := start(t, programs, "--dir", filepath.Join(programs, "other"), "--base-port", strconv.Itoa(port))
	if code := other.exit(); ready || code != 69 || !strings.Contains(other.err.String(), "is taken by process ") || !strings.Contains(other.err.String(), "(rookery)") {
		t.Errorf("busy port: %d %q", code, other.err.String())
	}
	if _, err := os.Stat(filepath.Join(programs, "other")); err == nil {
		t.Error("a folder was made although the ports were busy")
	}
	if took, code := d.stop(syscall.SIGTERM); took > 5*time.Second || code != 0 {
		t.Errorf("stopping took %v, exit %d: %s", took, code, d.err.String())
	}

	// Again, without flags: the folder knows its ports and users, and what the
	// user changed in it stays.
	logging := filepath.Join(dir, "conf.d", "10-logging.toml")
	old, err := os.ReadFile(logging)
	if err != nil {
		t.Fatal(err)
	}
	changed := append(old, "auth_verbose = true\n"...)
	if err := os.WriteFile(logging, changed, 0o644); err != nil {
		t.Fatal(err)
	}
	d, ready = start(t, programs, "--dir", dir)
	if !ready || !strings.Contains(d.out.String(), "Using "+dir) || !strings.Contains(d.out.String(), strconv.Itoa(port+143)) {
		t.Fatalf("%s%s", d.out.String(), d.err.String())
	}
	if now, _ := os.ReadFile(logging); !bytes.Equal(now, changed) {
		t.Error("a change in the folder was lost")
	}
	if _, code := d.stop(os.Interrupt); code != 0 {
		t.Errorf("Ctrl-C: exit %d", code)
	}

	// Contradictions stop.
	for _, args := range [][]string{{"--users", "3"}, {"--base-port", "20000"}, {"--empty"}, {"--no-localhost-exemption"}} {
		d, ready := start(t, programs, append([]string{"--dir", dir}, args...)...)
		if code := d.exit(); ready || code != 64 || !strings.Contains(d.err.String(), "contradicts "+dir) {
			t.Errorf("%v: %d %q", args, code, d.err.String())
		}
	}
}

// checkMail looks at the Maildirs: the samples, and whose they are.
func checkMail(t *testing.T, dir string) {
	t.Helper()
	for n := 1; n <= 2; n++ {
		maildir := filepath.Join(dir, "mail", fmt.Sprintf("u%d@example.test", n), "Maildir")
		files, err := filepath.Glob(filepath.Join(maildir, "*", "*.localhost*"))
		if err != nil || len(files) != 7 {
			t.Fatalf("%s has %d messages", maildir, len(files))
		}
		all := ""
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all += string(b)
			info, err := os.Stat(f)
			if err != nil {
				t.Fatal(err)
			}
			uid := int(info.Sys().(*syscall.Stat_t).Uid)
			if os.Geteuid() == 0 && uid%1000 != 100+n-1 || os.Geteuid() != 0 && uid != os.Geteuid() || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: uid %d, mode %v", f, uid, info.Mode())
			}
		}
		for _, want := range []string{"multipart/mixed", "message/rfc822", "multipart/alternative", "=?utf-8?B?", "quoted-printable", "filename=\"report.csv\""} {
			if !strings.Contains(all, want) {
				t.Errorf("no sample has %s", want)
			}
		}
		for _, line := range strings.Split(all, "\n") {
			if path, ok := strings.CutPrefix(line, "Return-Path: "); ok && !regexp.MustCompile(`^<[a-z]+@example\.test>$`).MatchString(path) {
				t.Errorf("%s", line)
			}
		}
	}
	for name, mode := range map[string]os.FileMode{"tls/key.pem": 0o600, "users": 0o640, "tls/cert.pem": 0o644, "rookery.toml": 0o644} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
	exit, out, _ := runCtl("", "-c", filepath.Join(dir, "rookery.toml"), "config", "check")
	if exit != 0 || !strings.HasSuffix(out, "no errors.\n") {
		t.Errorf("config check: %d %s", exit, out)
	}
}

func TestDemoEmptyAndExemption(t *testing.T) {
	programs := bin(t, 0o755)
	dir := filepath.Join(programs, "d")
	d, _ := start(t, programs, "--dir", dir, "--base-port", strconv.Itoa(base(t)), "--users", "1", "--empty", "--no-localhost-exemption", "--write-only")
	if code := d.exit(); code != 0 {
		t.Fatal(d.err.String())
	}
	entries, err := os.ReadDir(filepath.Join(dir, "mail", "u1@example.test"))
	if err != nil || len(entries) != 0 {
		t.Errorf("%v %v", entries, err)
	}
	_, out, _ := runCtl("", "-c", filepath.Join(dir, "rookery.toml"), "config", "limits_exempt_networks")
	if !strings.HasPrefix(out, "limits_exempt_networks = []") {
		t.Error(out)
	}
	if users, _ := os.ReadFile(filepath.Join(dir, "users")); !strings.HasPrefix(string(users), "u1@example.test:{PLAIN}pass:") {
		t.Errorf("%s", users)
	}
}

// Folders that are something else are left alone.
func TestDemoRefusesForeignFolders(t *testing.T) {
	programs := bin(t, 0o755)
	full := filepath.Join(programs, "full")
	if err := os.MkdirAll(full, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(full, "mine"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	d, ready := start(t, programs, "--dir", full, "--base-port", strconv.Itoa(base(t)))
	if code := d.exit(); ready || code != 73 || !strings.Contains(d.err.String(), "is not empty and is no demo's folder") {
		t.Errorf("%d %q", code, d.err.String())
	}
	if os.Geteuid() != 0 {
		return
	}
	foreign := filepath.Join(programs, "foreign")
	if err := os.Mkdir(foreign, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(foreign, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	d, ready = start(t, programs, "--dir", foreign, "--base-port", strconv.Itoa(base(t)))
	if code := d.exit(); ready || code != 77 || !strings.Contains(d.err.String(), "belongs to uid 12345") {
		t.Errorf("%d %q", code, d.err.String())
	}
}

// Where the users cannot reach the programs or the folder, both go to /var/tmp.
func TestDemoCopies(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: only then do the users have uids of their own")
	}
	programs := bin(t, 0o700)
	d, ready := start(t, programs, "--base-port", strconv.Itoa(base(t)), "--users", "1")
	if !ready {
		t.Fatalf("%d %s%s", d.exit(), d.out.String(), d.err.String())
	}
	text := d.out.String()
	_, after, found := strings.Cut(text, "the demo's folder is ")
	dir, _, _ := strings.Cut(after, "\n")
	if !found || !strings.HasPrefix(dir, "/var/tmp/rookery-demo-") || !strings.Contains(text, "the programs are copied to "+filepath.Dir(dir)+"/bin") {
		t.Fatal(text)
	}
	defer os.RemoveAll(filepath.Dir(dir))
	if files, _ := filepath.Glob(dir + "/mail/u1@example.test/Maildir/new/*"); len(files) == 0 {
		t.Error("no mail")
	}
	if _, code := d.stop(syscall.SIGTERM); code != 0 {
		t.Error(code, d.err.String())
	}
	if _, err := os.Stat(filepath.Dir(dir) + "/bin"); err == nil {
		t.Error("the copied programs are still there")
	}
}

// What cannot be made whole is taken away again: the next try is not stopped.
func TestDemoHalfMade(t *testing.T) {
	programs := bin(t, 0o755)
	ctl := filepath.Join(programs, "rookeryctl")
	dir := filepath.Join(programs, "d")
	// The copy that writes the samples is found by its name; without it that fails.
	if err := os.Rename(ctl, filepath.Join(programs, "x")); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(programs, "rookeryctl")
	if err := os.WriteFile(broken, []byte("#!/nowhere\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	o := demo.Options{Dir: dir, BasePort: base(t), Users: 1, Driver: "maildir", ProgramDir: programs}
	var out bytes.Buffer
	err := demo.Run(t.Context(), o, &out, &out)
	if err == nil || !strings.Contains(err.Error(), "the sample messages of u1@example.test cannot be written") {
		t.Fatalf("%v %s", err, out.String())
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the folder is still there")
	}
}

// A server that ends by itself or does not end in time is no hang.
func TestDemoServerTrouble(t *testing.T) {
	programs := bin(t, 0o755)
	dir := filepath.Join(programs, "d")
	d, _ := start(t, programs, "--dir", dir, "--base-port", strconv.Itoa(base(t)), "--users", "1", "--empty", "--write-only")
	if code := d.exit(); code != 0 {
		t.Fatal(d.err.String())
	}
	local := filepath.Join(dir, "conf.d", "99-local.toml")
	if err := os.WriteFile(local, []byte("login_greeting = \"die\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	d, ready := start(t, programs, "--dir", dir)
	if code := d.exit(); ready || code != 70 || !strings.Contains(d.err.String(), "as you wish") || !strings.Contains(d.err.String(), "the server ended") {
		t.Errorf("%d %q", code, d.err.String())
	}
	if err := os.WriteFile(local, []byte("login_greeting = \"deaf\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	d, ready = start(t, programs, "--dir", dir)
	if !ready {
		t.Fatal(d.err.String())
	}
	began := time.Now()
	if _, code := d.stop(syscall.SIGTERM); code != 0 || time.Since(began) > 5*time.Second {
		t.Errorf("exit %d after %v", code, time.Since(began))
	}
}

// The server does not outlive a demo that is killed.
func TestDemoKilled(t *testing.T) {
	programs := bin(t, 0o755)
	port := base(t)
	d, ready := start(t, programs, "--dir", filepath.Join(programs, "d"), "--base-port", strconv.Itoa(port), "--users", "1", "--empty")
	if !ready {
		t.Fatal(d.err.String())
	}
	d.cmd.Process.Kill()
	d.exit()
	for deadline := time.Now().Add(10 * time.Second); ; {
		l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port+143))
		if err == nil {
			l.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the server still listens")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestPw(t *testing.T) {
	programs := bin(t, 0o755)
	ctl := func(stdin string, args ...string) (string, int) {
		cmd := exec.Command(filepath.Join(programs, "rookeryctl"), append([]string{"pw"}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	for _, test := range []struct {
		stdin, args, out string
		exit             int
	}{
		{"se cret\n", "", "{SHA512-CRYPT}0//se cret\n", 0},
		{"x", "-s SSHA -r 5 -u ann", "{SSHA}5/ann/x\n", 0},
		{"x", "--json", "{\n  \"hash\": \"{SHA512-CRYPT}0//x\"\n}\n", 0},
		{"x", "-s NONE", "rookeryctl: unknown scheme NONE\n", 64},
		{"", "", "rookeryctl: the password is empty\n", 64},
		{"", "-l", "scheme  can_hash\nPLAIN   true\n", 0},
	} {
		if out, exit := ctl(test.stdin, strings.Fields(test.args)...); out != test.out || exit != test.exit {
			t.Errorf("pw %s: %d %q", test.args, exit, out)
		}
	}
}
