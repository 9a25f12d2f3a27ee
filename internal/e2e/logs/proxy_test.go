package logs

import (
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"rookery/internal/e2e/harness"
)

// pasted gives the indented lines of docs/stunnel.md that follow a comment, as
// one would paste them.
func pasted(t *testing.T, comment string) string {
	t.Helper()
	_, text, ok := strings.Cut(read(filepath.Join(harness.Root(t), "docs", "stunnel.md")), "    # "+comment+"\n")
	if !ok {
		t.Fatalf("docs/stunnel.md has no lines for %s", comment)
	}
	var out strings.Builder
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "    # ") {
			break
		}
		out.WriteString(strings.TrimPrefix(line, "    "))
	}
	return out.String()
}

// stunnel ends TLS and says who the client is; the log, and with it all that
// goes by addresses, has the client's.
func TestBehindStunnel(t *testing.T) {
	harness.NeedRoot(t)
	program := harness.Need(t, "stunnel", "stunnel4")
	d := harness.Prepare(t)
	flags := []string{"--users", "1", "--empty"}
	d.Write(flags...)
	base := harness.FreeBase(t)
	accept, behind := base+993, base+143
	at := func(text string) string {
		return strings.NewReplacer("10143", fmt.Sprint(behind), "= 993", "= "+harness.Addr(accept), "/etc/stunnel/mail.pem", filepath.Join(d.Dir, "mail.pem")).Replace(text)
	}
	local := at(pasted(t, "conf.d/99-local.toml"))
	if !strings.Contains(local, "haproxy = true") {
		t.Fatalf("the lines to paste are\n%s", local)
	}
	d.Set(`auth_failure_delay = "0"`, `auth_verbose = true`, `auth_penalty = false`, local)
	d.Start(flags...)
	pem := read(d.Cert()) + read(filepath.Join(d.Dir, "tls", "key.pem"))
	if err := os.WriteFile(filepath.Join(d.Dir, "mail.pem"), []byte(pem), 0o600); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(d.Dir, "stunnel.conf")
	write(t, conf, "foreground = yes\npid =\nsyslog = no\n"+at(pasted(t, "stunnel.conf")))
	cmd := exec.Command(program, conf)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	eventually(t, "stunnel listens", func() bool {
		c, err := tls.Dial("tcp", harness.Addr(accept), trust(t, d))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	before := len(d.Log())
	through := func(password string) *talk {
		plain := dialer(t, "127.0.0.66", harness.Addr(accept))
		c := newTalk(t, plain, trust(t, d))
		if c.banner = c.line(); !strings.HasPrefix(c.banner, "* OK ") {
			t.Fatalf("greeting %q", c.banner)
		}
		c.imap("LOGIN u1@example.test %s", password)
		return c
	}
	through("wrong").close()
	c := through("pass")
	if got := c.imap("NOOP"); !strings.HasPrefix(got, "OK") {
		t.Errorf("NOOP: %s", got)
	}
	who := d.MustCtl("who")
	if !strings.Contains(who, "127.0.0.66") {
		t.Errorf("who:\n%s", who)
	}
	c.imap("LOGOUT")
	c.drain()
	const rest = ", rip=127.0.0.66, lip=127.0.0.1"
	for _, want := range []string{
		"auth: Info: passwd-file(u1@example.test,127.0.0.66,<S>): Password mismatch",
		"imap-login: Info: Disconnected (auth failed, 1 attempts in N secs): user=<u1@example.test>, method=PLAIN" + rest + ", secured, session=<S>",
		"imap-login: Info: Login: user=<u1@example.test>, method=PLAIN" + rest + ", mpid=PID, secured, session=<S>",
	} {
		eventually(t, want+" in\n"+d.Log()[before:], func() bool {
			return strings.Contains(strings.Join(grep(d.Log()[before:], ""), "\n")+"\n", want+"\n")
		})
	}
	t.Run("without a header", func(t *testing.T) {
		before := len(d.Log())
		c := newTalk(t, mustDial(t, harness.Addr(behind)), nil)
		c.write("a LOGIN u1@example.test pass\r\n")
		c.drain()
		eventually(t, "the refusal", func() bool { return strings.Contains(d.Log()[before:], "PROXY protocol") })
		want := []string{"imap-login: Info: Disconnected: PROXY protocol: no PROXY header (no auth attempts in N secs): user=<>, rip=127.0.0.1, lip=127.0.0.1, session=<S>"}
		equalLines(t, "lines", grep(d.Log()[before:], "PROXY protocol"), want)
	})
	t.Run("from a network that is not trusted", func(t *testing.T) {
		before := len(d.Log())
		c := newTalk(t, dialer(t, "127.0.0.67", harness.Addr(behind)), nil)
		c.write("PROXY TCP4 192.0.2.1 127.0.0.1 4711 143\r\na LOGIN u1@example.test pass\r\n")
		c.drain()
		eventually(t, "the refusal", func() bool { return strings.Contains(d.Log()[before:], "PROXY protocol") })
		want := []string{"imap-login: Info: Disconnected: PROXY protocol: the sender is not in haproxy_trusted_networks (no auth attempts in N secs): user=<>, rip=127.0.0.67, lip=127.0.0.1, session=<S>"}
		equalLines(t, "lines", grep(d.Log()[before:], "PROXY protocol"), want)
	})
}
