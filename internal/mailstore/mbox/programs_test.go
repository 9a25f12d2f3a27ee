package mbox_test

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/mbox"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// home is a user's home on the real disk.
type home struct {
	*testing.T
	dir string
}

// otherUID is whom Dovecot runs as where the test is root, which Dovecot refuses.
const otherUID = 64321

func newHome(t *testing.T) *home {
	dir, err := os.MkdirTemp("/var/tmp", "rookery-mbox")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &home{t, dir}
	if err := os.MkdirAll(filepath.Join(dir, "mail"), 0o700); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *home) own() {
	if os.Getuid() == 0 {
		filepath.WalkDir(h.dir, func(p string, _ fs.DirEntry, _ error) error { return os.Lchown(p, otherUID, otherUID) })
	}
}

// open opens the store with folders in mail/ and INBOX in inbox.
func (h *home) open() *engine.Store {
	h.Helper()
	disk, err := vfs.OpenRoot(h.dir)
	if err != nil {
		h.Fatal(err)
	}
	s, err := mbox.Open(mbox.Options{Options: engine.Options{FS: disk, ControlPath: "control", Note: func(s string) { h.Log(s) }}, MailPath: "mail", InboxPath: "inbox"})
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { s.Close(); disk.Close() })
	return s
}

// picture is what a client sees: UIDVALIDITY, then each message's UID, flags and keywords.
func (h *home) picture(mb mailstore.Mailbox) string {
	h.Helper()
	s, err := mb.Sync()
	if err != nil {
		h.Fatal(err)
	}
	out := []string{fmt.Sprint(mb.Info().UIDValidity)}
	names := map[mailstore.Flags]string{mailstore.Answered: `\Answered`, mailstore.Flagged: `\Flagged`, mailstore.Deleted: `\Deleted`, mailstore.Seen: `\Seen`, mailstore.Draft: `\Draft`}
	for i := range s.Len() {
		e := s.At(i)
		words := slices.Clone(s.Keywords(e.Keywords))
		for f, n := range names {
			if e.Flags&f != 0 {
				words = append(words, n)
			}
		}
		slices.Sort(words)
		out = append(out, fmt.Sprintf("%d(%s)", e.UID, strings.Join(words, " ")))
	}
	return strings.Join(out, " ")
}

// dovecot runs Debian's Dovecot on the same files, and gives the same picture
// after the commands.
func (h *home) dovecot(box string, commands ...string) string {
	h.Helper()
	h.own()
	conf := filepath.Join(h.dir, "dovecot.conf")
	text := "mail_location = mbox:~/mail:INBOX=~/inbox\nbase_dir = " + h.dir + "/run\nlog_path = " + h.dir + "/log\nmbox_write_locks = fcntl dotlock\nfirst_valid_uid = 1\nssl = no\n"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		h.Fatal(err)
	}
	cmd := exec.Command("/usr/lib/dovecot/imap", "-c", conf)
	cmd.Env = []string{"USER=u", "HOME=" + h.dir}
	cmd.Dir = h.dir
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: otherUID, Gid: otherUID, Groups: []uint32{}}}
	}
	in := "a SELECT " + box + "\r\n"
	for i, c := range commands {
		in += fmt.Sprintf("c%d %s\r\n", i, c)
	}
	in += "f UID FETCH 1:* (FLAGS)\r\nz LOGOUT\r\n"
	cmd.Stdin = &slowReader{text: in}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "z OK") || regexp.MustCompile(`(?m)^\w+ (NO|BAD)`).Match(out) {
		log, _ := os.ReadFile(h.dir + "/log")
		h.Fatalf("dovecot: %v\n%s\n%s", err, out, log)
	}
	if len(commands) > 0 { // their own answers would mix with the picture's
		return h.dovecot(box)
	}
	v := regexp.MustCompile(`UIDVALIDITY (\d+)`).FindStringSubmatch(string(out))
	pic := []string{v[1]}
	last := string(out)[strings.LastIndex(string(out), "* 1 FETCH"):]
	for _, m := range regexp.MustCompile(`FETCH \(UID (\d+) FLAGS \(([^)]*)\)\)`).FindAllStringSubmatch(last, -1) {
		words := slices.DeleteFunc(strings.Fields(m[2]), func(w string) bool { return w == `\Recent` })
		slices.Sort(words)
		pic = append(pic, fmt.Sprintf("%s(%s)", m[1], strings.Join(words, " ")))
	}
	return strings.Join(pic, " ")
}

// slowReader is a pipe: Dovecot does not read from files.
type slowReader struct{ text string }

func (r *slowReader) Read(p []byte) (int, error) {
	if r.text == "" {
		return 0, io.EOF
	}
	n := copy(p, r.text)
	r.text = r.text[n:]
	return n, nil
}

func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("needs the program %s", program)
	}
}

// TestDovecotRoundTrip: an mbox goes from Dovecot to Rookery and back, twice, and
// each time both show the same.
func TestDovecotRoundTrip(t *testing.T) {
	need(t, "/usr/lib/dovecot/imap")
	h := newHome(t)
	text := ""
	for i := range 5 {
		text += fmt.Sprintf("From a@b Sat Nov 29 22:33:5%d 2003\nSubject: m%d\n\nbody %d\n\n", i, i, i)
	}
	if err := os.WriteFile(filepath.Join(h.dir, "inbox"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	want := h.dovecot("INBOX", `STORE 1 +FLAGS (\Seen red $Junk)`, `STORE 2 +FLAGS (\Answered \Flagged)`, `STORE 3 +FLAGS (\Deleted)`, "EXPUNGE", `STORE 3 +FLAGS (\Draft blue)`)
	s := h.open()
	mb, err := s.Open("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	if got := h.picture(mb); got != want {
		t.Fatalf("Rookery shows %s\nDovecot    %s", got, want)
	}
	for round := range 2 {
		if _, err := mb.Store(mailstore.FlagChange{UIDs: numset.Of(1, 4), Op: mailstore.AddFlags, Flags: mailstore.Answered, Keywords: []string{fmt.Sprint("new", round), "red"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := mb.Store(mailstore.FlagChange{UIDs: numset.Of(2), Op: mailstore.SetFlags, Flags: mailstore.Draft}); err != nil {
			t.Fatal(err)
		}
		a, err := s.Append("INBOX")
		if err != nil {
			t.Fatal(err)
		}
		w, err := a.Add(mailstore.AppendMeta{Flags: mailstore.Flagged, Keywords: []string{"blue"}}, -1)
		if err == nil {
			_, err = fmt.Fprintf(w, "Subject: ours\r\n\r\nFrom a line that is none\r\n\r\n%s%d\r\n", "From a@b Sat Nov 29 22:33:52 2003\r\n\r\n", round)
		}
		if err == nil {
			_, err = a.Commit()
		}
		if err != nil {
			t.Fatal(err)
		}
		if round == 1 { // the one that holds X-IMAPbase
			if _, err := mb.Expunge(numset.Of(1)); err != nil {
				t.Fatal(err)
			}
		}
		want = h.picture(mb)
		if got := h.dovecot("INBOX"); got != want {
			t.Fatalf("round %d: Dovecot shows %s\nRookery       %s", round, got, want)
		}
		want = h.dovecot("INBOX", `STORE 2 +FLAGS (\Deleted back)`, fmt.Sprintf("STORE 1 FLAGS (\\Seen again%d)", round))
		if got := h.picture(mb); got != want {
			t.Fatalf("round %d: after Dovecot's changes Rookery shows %s\nDovecot %s", round, got, want)
		}
	}
}

// TestProcmail delivers with procmail's own locks while two processes' sessions
// work on the mailbox: each message appears once, whole.
func TestProcmail(t *testing.T) {
	need(t, "procmail")
	h := newHome(t)
	const workers, each = 3, 40
	inbox := filepath.Join(h.dir, "inbox")
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				cmd := exec.Command("procmail", "LOCKSLEEP=1", "LOGFILE=/dev/null", "ORGMAIL="+inbox, "DEFAULT="+inbox, "/dev/null")
				cmd.Stdin = strings.NewReader(fmt.Sprintf("From x@y Sat Nov 29 22:33:52 2003\nSubject: p%d.%d\n\nbody\n", w, i))
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("procmail: %v %s", err, out)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	boxes := []mailstore.Mailbox{}
	for range 2 {
		mb, err := h.open().Open("INBOX")
		if err != nil {
			t.Fatal(err)
		}
		boxes = append(boxes, mb)
	}
	uidOf, gone := map[string]mailstore.UID{}, map[mailstore.UID]bool{}
	look := func(n int) {
		mb := boxes[n%2]
		s, err := mb.Sync()
		if err != nil {
			t.Fatal(err)
		}
		for i := range s.Len() {
			u := s.At(i).UID
			if seen(uidOf, u) {
				continue
			}
			m, err := mb.Message(u)
			if err != nil {
				t.Fatalf("UID %d: %v", u, err)
			}
			b := make([]byte, m.Size())
			m.ReadAt(b, 0)
			m.Close()
			var name string
			if _, err := fmt.Sscanf(string(b), "Subject: %s", &name); err != nil || !strings.HasSuffix(string(b), "\r\n\r\nbody\r\n") {
				t.Fatalf("UID %d is not whole: %q", u, b)
			}
			if old, ok := uidOf[name]; ok {
				t.Fatalf("%s has the UIDs %d and %d", name, old, u)
			}
			uidOf[name] = u
			op := mailstore.FlagChange{UIDs: numset.Of(u), Op: mailstore.AddFlags, Flags: mailstore.Seen, Keywords: []string{"k"}}
			if _, err := mb.Store(op); err != nil {
				t.Fatal(err)
			}
			if u%3 == 0 {
				if _, err := mb.Expunge(numset.Of(u)); err != nil {
					t.Fatal(err)
				}
				gone[u] = true
			}
		}
	}
	for n := 0; ; n++ {
		look(n)
		select {
		case <-done:
			look(0)
			look(1)
			if len(uidOf) != workers*each {
				t.Fatalf("%d of %d deliveries appeared", len(uidOf), workers*each)
			}
			if s, err := boxes[0].Sync(); err != nil || s.Len() != workers*each-len(gone) {
				t.Fatalf("%d messages are left, want %d (%v)", s.Len(), workers*each-len(gone), err)
			}
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func seen(m map[string]mailstore.UID, u mailstore.UID) bool {
	for _, v := range m {
		if v == u {
			return true
		}
	}
	return false
}
