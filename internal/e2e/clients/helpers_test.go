package clients

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// ran is what a program did.
type ran struct {
	out, err string
	code     int
}

// run runs a program for at most two minutes.
func run(t *testing.T, program string, args ...string) ran {
	t.Helper()
	return runWith(t, "", nil, program, args...)
}

// runWith gives it input and more environment too.
func runWith(t *testing.T, stdin string, env []string, program string, args ...string) ran {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(append(os.Environ(), "LC_ALL=C.UTF-8"), env...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s %q: %v", program, args, err)
	}
	if ctx.Err() != nil {
		t.Fatalf("%s %q took more than two minutes\n%s%s", program, args, out.String(), errs.String())
	}
	return ran{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// ok is run that must succeed; it gives the standard output.
func ok(t *testing.T, program string, args ...string) string {
	t.Helper()
	r := run(t, program, args...)
	if r.code != 0 {
		t.Fatalf("%s %q: exit %d\n%s%s", program, args, r.code, r.out, r.err)
	}
	return r.out
}

// owner is the uid and gid of a user's files.
func owner(t *testing.T, d *harness.Demo, user int) (uid, gid int) {
	t.Helper()
	st, err := os.Stat(filepath.Dir(d.Maildir(user)))
	if err != nil {
		t.Fatal(err)
	}
	sys := st.Sys().(*syscall.Stat_t)
	return int(sys.Uid), int(sys.Gid)
}

// deliver puts a message into a folder's new/ as a deliverer does; "" is INBOX.
// The file's name is given back.
func deliver(t *testing.T, d *harness.Demo, user int, folder, name, text string) string {
	t.Helper()
	dir := maildirFolder(t, d, user, folder)
	tmp := filepath.Join(dir, "tmp", name)
	place(t, d, user, tmp, text)
	if err := os.Rename(tmp, filepath.Join(dir, "new", name)); err != nil {
		t.Fatal(err)
	}
	return name
}

// place writes a file that belongs to the user.
func place(t *testing.T, d *harness.Demo, user int, path, text string) {
	t.Helper()
	uid, gid := owner(t, d, user)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Lchown(path, uid, gid); err != nil {
		t.Fatal(err)
	}
}

// maildirFolder makes a Maildir++ folder where it is missing; name is its
// name on disk, without the leading dot.
func maildirFolder(t *testing.T, d *harness.Demo, user int, name string) string {
	t.Helper()
	uid, gid := owner(t, d, user)
	dir := d.Maildir(user)
	paths := []string{dir}
	if name != "" {
		dir = filepath.Join(dir, "."+name)
		paths = append(paths, dir)
	}
	paths = append(paths, filepath.Join(dir, "cur"), filepath.Join(dir, "new"), filepath.Join(dir, "tmp"))
	for _, p := range paths {
		if err := os.Mkdir(p, 0o700); errors.Is(err, os.ErrExist) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		if err := os.Lchown(p, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// kept is one message in a Maildir: flags of the file name, in order, and bytes.
type kept struct {
	flags string
	text  string
}

func (k kept) String() string { return fmt.Sprintf("{%s %q}", k.flags, short(k.text)) }

func short(s string) string {
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}

// messages reads cur and new of a Maildir folder, in the order of their bytes.
func messages(t *testing.T, dir string) []kept {
	t.Helper()
	var all []kept
	for _, sub := range []string{"cur", "new"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		for _, e := range entries {
			data, err := os.ReadFile(filepath.Join(dir, sub, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			_, info, _ := strings.Cut(e.Name(), ":2,")
			flags := []byte(info)
			slices.Sort(flags)
			all = append(all, kept{string(flags), string(data)})
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].text+all[i].flags < all[j].text+all[j].flags })
	return all
}

// wantMessages compares a folder of the server's Maildir, byte for byte.
func wantMessages(t *testing.T, dir string, want ...kept) {
	t.Helper()
	got := messages(t, dir)
	want = slices.Clone(want)
	sort.Slice(want, func(i, j int) bool { return want[i].text+want[i].flags < want[j].text+want[j].flags })
	if !slices.Equal(got, want) {
		t.Errorf("%s holds %d messages, want %d:\n got %v\nwant %v", dir, len(got), len(want), got, want)
	}
	if tmp, err := os.ReadDir(filepath.Join(dir, "tmp")); err == nil && len(tmp) > 0 {
		t.Errorf("%s/tmp still holds %d files", dir, len(tmp))
	}
}

// crlf is a text as it goes over the wire.
func crlf(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }

// plainMail is a small message with LF line ends.
func plainMail(subject, body string) string {
	return "From: Ann <ann@example.test>\nTo: u1@example.test\nSubject: " + subject +
		"\nDate: Mon, 02 Mar 2026 10:00:00 +0000\nMessage-ID: <" + strings.ReplaceAll(subject, " ", ".") + "@example.test>\n\n" + body
}

// mode is how a client connects.
type mode struct {
	name     string
	imap     string // the harness's name of the service
	pop3     string
	starttls bool
	tls      bool // from the first byte
}

// modes are all ways to connect: every client is tried with each.
func modes() []mode {
	return []mode{
		{name: "plain", imap: "imap", pop3: "pop3"},
		{name: "starttls", imap: "imap", pop3: "pop3", starttls: true},
		{name: "tls", imap: "imaps", pop3: "pop3s", tls: true},
	}
}

// waitFor polls for something that another process does.
func waitFor(t *testing.T, limit time.Duration, what string, ok func() bool) bool {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	t.Errorf("not within %v: %s", limit, what)
	return false
}

// write makes a file with content that only we may read, as clients want their
// configurations.
func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// read gives a file's content.
func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
