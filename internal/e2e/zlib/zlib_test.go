package zlib

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/compress"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// owner is a user that no system has.
const owner = 61234

// dovecot is a Maildir with the configuration of Dovecot for it.
type dovecot struct {
	*testing.T
	dir string
}

func newDovecot(t *testing.T) *dovecot {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give the mail to a user of its own")
	}
	if _, err := exec.LookPath("doveadm"); err != nil {
		t.Fatal("doveadm is missing: scripts/install-test-tools installs it")
	}
	dir, err := os.MkdirTemp("/var/tmp", "rookery-zlib") // a test's own directory is below root's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &dovecot{t, dir}
	for _, sub := range []string{"mail/cur", "mail/new", "mail/tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	d.give()
	return d
}

// give makes Dovecot's user the owner of everything.
func (d *dovecot) give() {
	d.Helper()
	err := filepath.WalkDir(d.dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = os.Chown(path, owner, owner)
		}
		return err
	})
	if err != nil {
		d.Fatal(err)
	}
}

// run runs doveadm, whose new messages are stored as save says.
func (d *dovecot) run(save, input string, args ...string) string {
	d.Helper()
	conf := filepath.Join(d.dir, "dovecot.conf")
	text := fmt.Sprintf("base_dir = %[1]s/run\nstate_dir = %[1]s/run\nlog_path = /dev/stderr\nmail_location = maildir:%[1]s/mail\nmail_plugins = zlib\n"+
		"mail_uid = %[2]d\nmail_gid = %[2]d\nfirst_valid_uid = 1\nssl = no\nplugin {\n  zlib_save = %[3]s\n}\n", d.dir, owner, save)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		d.Fatal(err)
	}
	cmd := exec.Command("doveadm", append([]string{"-c", conf}, args...)...)
	cmd.Env = append(os.Environ(), "USER=nobody", "HOME="+d.dir)
	cmd.Stdin = strings.NewReader(input)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil || strings.Contains(said.String(), "Error:") {
		d.Fatalf("doveadm %v: %v\n%s", args, err, said.String())
	}
	return string(out)
}

// texts gives what Dovecot reads, by UID.
func (d *dovecot) texts() map[string]string {
	d.Helper()
	out := map[string]string{}
	for _, m := range strings.Split(d.run("", "", "-f", "flow", "fetch", "uid", "all"), "\n") {
		uid, ok := strings.CutPrefix(m, "uid=")
		if !ok {
			continue
		}
		text := d.run("", "", "fetch", "text", "uid", uid)
		text = strings.TrimPrefix(text, "text:\n")
		out[uid] = strings.TrimRight(strings.ReplaceAll(text, "\r\n", "\n"), "\n\f")
	}
	return out
}

func (d *dovecot) open(compressed bool) (mailstore.Store, mailstore.Mailbox) {
	d.Helper()
	disk, err := vfs.OpenRoot(d.dir)
	if err != nil {
		d.Fatal(err)
	}
	s, err := maildir.Open(maildir.Options{FS: disk, MailPath: "mail", Host: "rookery.test", Compress: compressed, FileMode: 0o600,
		Note: func(text string) { d.Errorf("note: %s", text) }})
	if err != nil {
		d.Fatal(err)
	}
	mb, err := s.Open("INBOX")
	if err != nil {
		d.Fatal(err)
	}
	return s, mb
}

func (d *dovecot) close(s mailstore.Store, mb mailstore.Mailbox) {
	d.Helper()
	if err := mb.Close(); err != nil {
		d.Fatal(err)
	}
	if err := s.Close(); err != nil {
		d.Fatal(err)
	}
	d.give()
}

// same compares a mailbox with what its messages are.
func (d *dovecot) same(mb mailstore.Mailbox, want []string) {
	d.Helper()
	s, err := mb.Sync()
	if err != nil {
		d.Fatal(err)
	}
	if s.Len() != len(want) {
		d.Fatalf("%d messages, want %d", s.Len(), len(want))
	}
	for pos, text := range want {
		uid := s.At(pos).UID
		if int(uid) != pos+1 {
			d.Errorf("message %d has the UID %d", pos+1, uid)
		}
		m, err := mb.Message(uid)
		if err != nil {
			d.Fatal(err)
		}
		b, err := io.ReadAll(io.NewSectionReader(m, 0, m.Size()))
		m.Close()
		if err != nil || string(b) != strings.ReplaceAll(text, "\n", "\r\n") {
			d.Errorf("message %d has %d octets, want %d: %v", uid, len(b), len(text), err)
		}
	}
}

func TestDovecotZlib(t *testing.T) {
	d := newDovecot(t)
	long := strings.Repeat("a line of a long message, the same again and again\n", 20000)
	var want []string
	for i, form := range []string{"gz", "bz2", "lz4", "zstd"} {
		for _, rest := range []string{"short, but long enough to be compressed\n" + long[:600], long} {
			text := fmt.Sprintf("Subject: %s %d\n\n%s", form, i, rest)
			d.run(form, text, "save", "-m", "INBOX")
			want = append(want, text)
		}
	}
	s, mb := d.open(true)
	validity := mb.Info().UIDValidity
	d.same(mb, want)
	if _, err := mb.ClaimRecent(false); err != nil {
		t.Fatal(err)
	}
	text := "Subject: from here\n\n" + long
	a, err := s.Append("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	w, err := a.Add(mailstore.AppendMeta{Flags: mailstore.Seen}, int64(len(text)+strings.Count(text, "\n")))
	if err == nil {
		_, err = io.WriteString(w, strings.ReplaceAll(text, "\n", "\r\n"))
	}
	if err == nil {
		_, err = a.Commit()
	}
	if err == nil {
		_, err = mb.Copy(numset.Of(1, 6), "INBOX")
	}
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, text, want[0], want[5])
	d.same(mb, want)
	d.close(s, mb)
	d.allCompressed()

	texts := d.texts()
	for i, text := range want {
		if got := texts[fmt.Sprint(i+1)]; got != strings.TrimRight(text, "\n") {
			t.Errorf("Dovecot reads message %d as %d octets, want %d", i+1, len(got), len(text))
		}
	}
	d.run("zstd", "Subject: last\n\nx\n", "save", "-m", "INBOX")
	want = append(want, "Subject: last\n\nx\n")
	d.give()
	s, mb = d.open(false)
	if got := mb.Info().UIDValidity; got != validity {
		t.Errorf("UIDVALIDITY is %d, was %d", got, validity)
	}
	d.same(mb, want)
	d.close(s, mb)
}

// allCompressed makes sure that the test is of compressed files.
func (d *dovecot) allCompressed() {
	d.Helper()
	for _, sub := range []string{"mail/cur", "mail/new"} {
		list, err := os.ReadDir(filepath.Join(d.dir, sub))
		if err != nil {
			d.Fatal(err)
		}
		for _, e := range list {
			b, err := os.ReadFile(filepath.Join(d.dir, sub, e.Name()))
			if err != nil || compress.Detect(b) == compress.None {
				d.Errorf("%s is not compressed: %v", e.Name(), err)
			}
		}
	}
}
