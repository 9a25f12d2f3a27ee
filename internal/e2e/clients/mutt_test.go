package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rookery/internal/e2e/beside"
	"rookery/internal/e2e/harness"
)

// muttRC gives a muttrc for one mode; the home is a fresh folder.
func muttRC(t *testing.T, d *harness.Demo, m mode) (home, rc string) {
	t.Helper()
	home = t.TempDir()
	scheme, tls := "imap", "set ssl_starttls=no\nset ssl_force_tls=no"
	switch {
	case m.tls:
		scheme, tls = "imaps", "set ssl_force_tls=yes"
	case m.starttls:
		tls = "set ssl_starttls=yes\nset ssl_force_tls=yes"
	}
	url := fmt.Sprintf("%s://u1@localhost:%d/", scheme, d.Port(m.imap))
	text := fmt.Sprintf(`set folder="%s"
set spoolfile="+INBOX"
set imap_pass="pass"
%s
set certificate_file="%s"
set ssl_ca_certificates_file="%s"
set header_cache="" tmpdir="~"
set realname="Tester" from="u1@example.test"
set delete=yes
set move=no
set confirmappend=no
set confirmcreate=no
set mark_old=no
set sort=date
set wait_key=no
set prompt_after=no
set fast_reply=yes
set sendmail="/bin/true"
set copy=no
set imap_idle=yes
set mail_check=1
set timeout=1
`, url, tls, d.Cert(), d.Cert())
	return home, write(t, filepath.Join(home, "muttrc"), text)
}

// TestMuttBatch has mutt do everything by pushed keys: read the first, flag
// the second, delete the third, save the fourth into a folder that is made for it.
func TestMuttBatch(t *testing.T) {
	mutt := harness.Need(t, "mutt", "mutt")
	harness.Need(t, "tmux", "tmux")
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			d := harness.Start(t, "--users", "1", "--empty")
			texts := muttInbox(t, d)
			home, rc := muttRC(t, d, m)
			keys := `<first-entry><display-message><exit>2<enter><flag-message>3<enter><delete-message>4<enter><save-message>=Saved<enter>` +
				`<sync-mailbox>1<enter><copy-message>=Copied<enter><quit>`
			term := newTerminal(t, home, mutt, "-n", "-F", rc, "-e", "push "+keys)
			term.WaitEnd(30 * time.Second)
			checkMutt(t, d, texts)
			wantMessages(t, filepath.Join(d.Maildir(1), ".Copied"), kept{"S", texts[0]}) // COPY keeps the line ends
		})
	}
}

// muttInbox delivers four messages whose dates give their order.
func muttInbox(t *testing.T, d *harness.Demo) []string {
	t.Helper()
	var texts []string
	for i, subject := range []string{"read me", "flag me", "delete me", "save me"} {
		text := strings.Replace(plainMail(subject, "Body of "+subject+".\n"), "10:00:00", fmt.Sprintf("1%d:00:00", i), 1)
		deliver(t, d, 1, "", fmt.Sprintf("100000000%d.M1P1.host", i), text)
		texts = append(texts, text)
	}
	return texts
}

// checkMutt compares what is left after the four have been dealt with.
func checkMutt(t *testing.T, d *harness.Demo, texts []string) {
	t.Helper()
	d.Eventually("mutt has synced", func() bool { return len(messages(t, d.Maildir(1))) == 2 })
	wantMessages(t, d.Maildir(1), kept{"S", texts[0]}, kept{"F", texts[1]})
	saved := messages(t, filepath.Join(d.Maildir(1), ".Saved"))
	if len(saved) != 1 || saved[0].text != texts[3] {
		t.Errorf("Saved holds %v, want %q", saved, texts[3])
	}
}

// TestMuttTmux does the same by hand, in a terminal, looking at the screen.
func TestMuttTmux(t *testing.T) {
	mutt := harness.Need(t, "mutt", "mutt")
	harness.Need(t, "tmux", "tmux")
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			d := harness.Start(t, "--users", "1", "--empty")
			texts := muttInbox(t, d)
			home, rc := muttRC(t, d, m)
			term := newTerminal(t, home, mutt, "-n", "-F", rc)
			term.See("save me")
			term.Keys("1", "Enter")
			term.Keys("Enter")
			term.See("Body of read me.")
			term.Keys("i")
			term.See("flag me")
			term.Keys("2", "Enter")
			term.Keys("F")
			term.Keys("3", "Enter")
			term.Keys("d")
			term.Keys("4", "Enter")
			term.Keys("s")
			term.See("Save to mailbox")
			term.Keys("C-u")
			term.Keys("=Saved")
			term.Keys("Enter")
			// What is delivered while mutt is open shows up by itself.
			term.Keys("$")
			term.Gone("delete me")
			deliver(t, d, 1, "", "1000000009.M1P1.host", strings.Replace(plainMail("came later", "x\n"), "10:00:00", "18:00:00", 1))
			term.See("came later")
			term.Keys("q")
			term.WaitEnd(30 * time.Second)
			all := messages(t, d.Maildir(1))
			if len(all) != 3 {
				t.Errorf("INBOX holds %v", all)
			}
			for _, k := range all {
				if strings.Contains(k.text, "came later") && strings.ContainsAny(k.flags, "SFT") {
					t.Errorf("the late message has flags %q", k.flags)
				}
			}
			saved := messages(t, filepath.Join(d.Maildir(1), ".Saved"))
			if len(saved) != 1 || saved[0].text != texts[3] {
				t.Errorf("Saved holds %v, want %q", saved, texts[3])
			}
		})
	}
}

// newTerminal starts a program in a terminal, at home.
func newTerminal(t *testing.T, home, program string, args ...string) *beside.Terminal {
	t.Helper()
	env := []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "MAILCAPS=/dev/null"}
	return beside.NewTerminal(t, home, env, append([]string{program}, args...)...)
}
