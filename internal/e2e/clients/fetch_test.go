package clients

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

// The messages that the fetching clients get.
func inboxOfThree(t *testing.T, d *harness.Demo) []string {
	t.Helper()
	texts := []string{
		plainMail("one", "Hello.\n.\n..two\nFrom the start\n"),
		plainMail("two", strings.Repeat(strings.Repeat("y", 60)+"\n", 3000)),
		plainMail("three", "Grüße\n"),
	}
	for i, text := range texts {
		deliver(t, d, 1, "", fmt.Sprintf("100000000%d.M1P1.host", i), text)
	}
	return texts
}

// fetchmailRC gives a fetchmailrc for one poll; the mda appends to a file, with
// a line behind each message.
func fetchmailRC(t *testing.T, d *harness.Demo, m mode, proto, options, file string) string {
	t.Helper()
	service, tls := d.Port(m.imap), "sslproto ''"
	if proto != "IMAP" {
		service = d.Port(m.pop3)
	}
	switch {
	case m.tls:
		tls = "ssl sslcertck sslcertfile " + d.Cert()
	case m.starttls:
		tls = "sslproto TLS1.2+ sslcertck sslcertfile " + d.Cert()
	}
	auth := "auth password"
	if proto == "APOP" {
		auth = ""
	}
	rc := fmt.Sprintf("poll localhost proto %s service %d %s\n  user u1 password pass %s no rewrite no mimedecode no stripcr no dropstatus %s\n  mda \"cat >>%s && echo =END= >>%s\"\n",
		proto, service, auth, tls, options, file, file)
	return write(t, filepath.Join(t.TempDir(), "fetchmailrc"), rc)
}

// fetchmail runs it once; code 1 is "no mail".
func fetchmail(t *testing.T, rc string, code int, more ...string) {
	t.Helper()
	dir := filepath.Dir(rc)
	args := append([]string{"-f", rc, "--pidfile", filepath.Join(dir, "pid"), "-i", filepath.Join(dir, "ids"), "--invisible", "--bad-header", "accept", "-v"}, more...)
	r := runWith(t, "", []string{"FETCHMAILHOME=" + dir, "HOME=" + dir}, "fetchmail", args...)
	if r.code != code {
		t.Errorf("fetchmail: exit %d, want %d\n%s%s", r.code, code, r.out, r.err)
	}
}

// fetched gives the messages that the mda wrote, with LF, and without the
// Received lines that fetchmail puts before some.
func fetched(t *testing.T, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var all []string
	for _, text := range strings.Split(string(data), "=END=\n") {
		if text == "" {
			continue
		}
		if i := strings.Index(text, "From: Ann"); i >= 0 {
			text = text[i:]
		}
		all = append(all, strings.ReplaceAll(text, "\r\n", "\n"))
	}
	return all
}

func wantTexts(t *testing.T, what string, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d messages, want %d", what, len(got), len(want))
		return
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%s, message %d: %q, want %q", what, i+1, short(got[i]), short(want[i]))
		}
	}
}

func TestFetchmail(t *testing.T) {
	harness.Need(t, "fetchmail", "fetchmail")
	for _, m := range modes() {
		for _, proto := range []string{"POP3", "APOP", "IMAP"} {
			t.Run(m.name+"/"+proto, func(t *testing.T) {
				t.Parallel()
				d := harness.Start(t, "--users", "1", "--empty")
				texts := inboxOfThree(t, d)
				file := filepath.Join(t.TempDir(), "got")
				var uidl []string
				if proto == "POP3" {
					uidl = []string{"--uidl"}
				}
				// Kept first: all three come, and stay.
				keep := fetchmailRC(t, d, m, proto, "keep fetchall", file)
				fetchmail(t, keep, 0, uidl...)
				wantTexts(t, "with keep", fetched(t, file), texts)
				if got := messages(t, d.Maildir(1)); len(got) != 3 {
					t.Errorf("with keep %d messages are left", len(got))
				}
				if proto == "APOP" {
					d.WaitLog("method=APOP")
				}
				if proto == "POP3" { // the same configuration without fetchall knows what it has by UIDL
					write(t, keep, strings.Replace(read(t, keep), " fetchall", "", 1))
					fetchmail(t, keep, 1, uidl...)
					wantTexts(t, "again with keep", fetched(t, file), texts)
				}
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
				fetchmail(t, fetchmailRC(t, d, m, proto, "no keep fetchall", file), 0)
				wantTexts(t, "without keep", fetched(t, file), texts)
				d.Eventually("the fetched messages are gone", func() bool { return len(messages(t, d.Maildir(1))) == 0 })
				fetchmail(t, fetchmailRC(t, d, m, proto, "no keep fetchall", file), 1)
			})
		}
	}
}

// fetchmail waits with IDLE; what is delivered comes while it waits.
func TestFetchmailIdle(t *testing.T) {
	harness.Need(t, "fetchmail", "fetchmail")
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			d := harness.Start(t, "--users", "1", "--empty")
			file := filepath.Join(t.TempDir(), "got")
			rc := fetchmailRC(t, d, m, "IMAP", "no keep idle", file)
			dir := filepath.Dir(rc)
			log, err := os.Create(filepath.Join(dir, "out"))
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			cmd := exec.Command("fetchmail", "-f", rc, "--pidfile", filepath.Join(dir, "pid"), "-i", filepath.Join(dir, "ids"), "--invisible", "-v")
			cmd.Env = append(os.Environ(), "FETCHMAILHOME="+dir, "HOME="+dir, "LC_ALL=C")
			cmd.Stdout, cmd.Stderr = log, log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			defer func() {
				cmd.Process.Signal(syscall.SIGTERM)
				select {
				case <-ended:
				case <-time.After(30 * time.Second):
					cmd.Process.Kill()
					<-ended
				}
				if t.Failed() {
					t.Logf("fetchmail said:\n%s", tailOf(read(t, log.Name())))
				}
			}()
			var want []string
			for i := range 3 {
				if !waitFor(t, 20*time.Second, fmt.Sprintf("fetchmail begins IDLE %d", i+1), func() bool {
					return strings.Count(read(t, log.Name()), " IDLE\n") > i && strings.HasPrefix(lastLine(read(t, log.Name())), "fetchmail: IMAP< +")
				}) {
					return
				}
				text := plainMail(fmt.Sprintf("pushed %d", i), "x\n")
				want = append(want, text)
				deliver(t, d, 1, "", fmt.Sprintf("110000000%d.M1P1.host", i), text)
				if !waitFor(t, 4*time.Second, "the message is fetched", func() bool { return len(fetched(t, file)) == len(want) }) {
					return
				}
			}
			wantTexts(t, "with IDLE", fetched(t, file), want)
			d.Eventually("the fetched messages are gone", func() bool { return len(messages(t, d.Maildir(1))) == 0 })
		})
	}
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return lines[len(lines)-1]
}

func TestMpop(t *testing.T) {
	harness.Need(t, "mpop", "mpop")
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			d := harness.StartWith(t, quick, "--users", "1", "--empty")
			texts := inboxOfThree(t, d)
			dir := t.TempDir()
			tls := "tls off"
			switch {
			case m.tls:
				tls = "tls on\ntls_starttls off\ntls_trust_file " + d.Cert()
			case m.starttls:
				tls = "tls on\ntls_starttls on\ntls_trust_file " + d.Cert()
			}
			var file string
			mpop := func(auth, password, keep, uidls string) ran {
				file = filepath.Join(dir, "got."+auth+keep)
				os.Remove(file)
				rc := write(t, filepath.Join(dir, "mpoprc"), fmt.Sprintf(`account default
host localhost
port %d
user u1
password %s
auth %s
%s
keep %s
received_header off
uidls_file %s
delivery mda "cat >>%s && echo =END= >>%s"
`, d.Port(m.pop3), password, auth, tls, keep, filepath.Join(dir, uidls), file, file))
				return run(t, "mpop", "-C", rc, "-q")
			}
			for _, auth := range []string{"user", "apop", "plain", "login", "cram-md5", "scram-sha-256"} {
				if r := mpop(auth, "pass", "on", "uidls."+auth); r.code != 0 {
					t.Errorf("mpop with %s: exit %d\n%s%s", auth, r.code, r.out, r.err)
				}
				wantTexts(t, "mpop with "+auth, fetched(t, file), texts)
				if r := mpop(auth, "wrong", "on", "uidls."+auth); r.code == 0 {
					t.Errorf("mpop with %s took a wrong password", auth)
				}
			}
			if r := mpop("user", "pass", "on", "uidls.user"); r.code != 0 || len(fetched(t, file)) != 0 {
				t.Errorf("run again, mpop ended with %d and fetched %d messages", r.code, len(fetched(t, file)))
			}
			if r := mpop("user", "pass", "off", "uidls.new"); r.code != 0 {
				t.Errorf("mpop without keep: exit %d\n%s%s", r.code, r.out, r.err)
			}
			wantTexts(t, "mpop without keep", fetched(t, file), texts)
			d.Eventually("the fetched messages are gone", func() bool { return len(messages(t, d.Maildir(1))) == 0 })
		})
	}
}
