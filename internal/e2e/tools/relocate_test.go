package tools

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

// target makes a directory that user 1's mail can be moved to.
func target(t *testing.T, d *harness.Demo, name string) string {
	t.Helper()
	dir := filepath.Join(filepath.Dir(d.Dir), name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	uid, gid := d.Owner(1)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return dir
}

// filesIn lists what lies below a directory.
func filesIn(t *testing.T, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err == nil && p != dir {
			out = append(out, strings.TrimPrefix(p, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A client's view of the mail is the same at the new place, whatever format it is
// kept in; what was copied is gone at the old one, and the way back is a move like
// any other.
func TestRelocate(t *testing.T) {
	for _, driver := range []string{"maildir", "mbox", "pack"} {
		t.Run(driver, func(t *testing.T) {
			d := harness.StartWith(t, []string{`mail_driver = "` + driver + `"`, `quota_storage_size = "100 MiB"`}, "--users", "1", "--empty")
			fill(t, d, 40)
			seen(t, d, "INBOX", "Lists.Go") // takes \Recent away
			before := seen(t, d, "INBOX", "Lists.Go")
			quota := ctl(t, d, 0, "quota", "get", "-u", "u1", "--json")
			old, to := d.Maildir(1), target(t, d, "moved")
			plan := rows(t, d, "relocate", "-u", "u1", "--to", to, "--dry-run")
			if plan[0]["from"] != old || plan[0]["room"] != true || plan[0]["to_copy"].(float64) < 3 || len(filesIn(t, to)) != 0 {
				t.Errorf("%v %v", plan, filesIn(t, to))
			}
			c := d.Dial("imap")
			c.Login("u1")
			c.OK("SELECT INBOX")
			got := rows(t, d, "relocate", "-u", "u1", "--to", to)
			if steps := fmt.Sprint(column(got, "step")); steps != "[copied copied caught up checked switched late freed]" {
				t.Error(steps)
			}
			if line, err := c.TryLine(); err != nil || !strings.HasPrefix(line, "* BYE") {
				t.Errorf("the session is told %q, %v", line, err)
			}
			if after := seen(t, d, "INBOX", "Lists.Go"); after != before {
				t.Errorf("after: %s", differs(after, before))
			}
			if left := filesIn(t, old); len(left) != 0 {
				t.Errorf("at the old place there is %q", left)
			}
			if left, _ := filepath.Glob(to + "/rookery-relocate*"); len(left) != 0 {
				t.Errorf("the move has left %q", left)
			}
			if now := ctl(t, d, 0, "quota", "get", "-u", "u1", "--json"); now != quota {
				t.Errorf("quota was %s is %s", quota, now)
			}
			// What was expunged before can still be put back.
			if got := rows(t, d, "undelete", "-u", "u1"); len(got) != 1 || got[0]["messages"] != 2.0 {
				t.Errorf("undelete: %v", got)
			}
			seen(t, d, "INBOX", "Lists.Go")
			before = seen(t, d, "INBOX", "Lists.Go")
			// The list outlives the server.
			d.Stop()
			d.Start("--users", "1", "--empty")
			if after := seen(t, d, "INBOX", "Lists.Go"); after != before {
				t.Errorf("after a restart: %s", differs(after, before))
			}
			if list := rows(t, d, "relocate", "--list"); len(list) != 1 || list[0]["to"] != to || list[0]["from"] != old || list[0]["old"] != nil {
				t.Errorf("%v", list)
			}
			ctl(t, d, 64, "relocate", "-u", "u1", "--to", to) // it is there
			// And back.
			ctl(t, d, 0, "relocate", "-u", "u1", "--to", old)
			if after := seen(t, d, "INBOX", "Lists.Go"); after != before {
				t.Errorf("back: %s", differs(after, before))
			}
			if list := rows(t, d, "relocate", "--list"); len(list) != 0 {
				t.Errorf("%v", list)
			}
			d.NoCrash(t)
		})
	}
}

// A place that mail cannot be moved to is refused, with the reason.
func TestRelocateRefuses(t *testing.T) {
	d := harness.Start(t, "--users", "2", "--empty")
	fill(t, d, 4)
	old, to := d.Maildir(1), target(t, d, "moved")
	home := filepath.Dir(old)
	for _, c := range []struct {
		exit     int
		to, want string
	}{
		{64, old, "is in " + old + " already"},
		{78, old + "/below", "lie one in the other"},
		{78, home, "lie one in the other"},
		{78, "/", "no place for mail"},
		{78, "relative", "no place for mail"},
		{71, "/proc/nowhere/x", "make it for him"},
		{73, filepath.Dir(d.Maildir(2)), ""},
	} {
		out := ctlAny(t, d, "relocate", "-u", "u1", "--to", c.to)
		if !strings.Contains(out, c.want) || strings.Contains(out, "switched") {
			t.Errorf("--to %s: %s, want %q", c.to, out, c.want)
		}
	}
	if err := os.WriteFile(filepath.Join(to, "mine"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if out := ctl(t, d, 73, "relocate", "-u", "u1", "--to", to); !strings.Contains(out, "is not empty") {
		t.Error(out)
	}
	os.Remove(filepath.Join(to, "mine"))
	if err := os.Symlink("/etc", filepath.Join(old, ".linked")); err != nil {
		t.Fatal(err)
	}
	if out := ctl(t, d, 65, "relocate", "-u", "u1", "--to", to); !strings.Contains(out, "is a link") {
		t.Error(out)
	}
	os.Remove(filepath.Join(old, ".linked"))
	// The userdb's word is newer than a move, and one that it says itself is forgotten.
	ctl(t, d, 0, "relocate", "-u", "u1", "--to", to)
	d.Set(`mail_path = "` + to + `"`)
	ctl(t, d, 0, "reload")
	login(t, d).Close()
	d.Eventually("the move is forgotten", func() bool { return len(rows(t, d, "relocate", "--list")) == 0 })
	d.NoCrash(t)
}

// ctlAny runs rookeryctl, which must fail.
func ctlAny(t *testing.T, d *harness.Demo, args ...string) string {
	t.Helper()
	out, err := d.Ctl(args...)
	if err == nil {
		t.Errorf("rookeryctl %q succeeded", args)
	}
	return out
}

// busy is a user who delivers and reads all the while, and comes back when he is
// sent away.
type busy struct {
	t       *testing.T
	d       *harness.Demo
	stop    chan struct{}
	wg      sync.WaitGroup
	mu      sync.Mutex
	stored  []string // subjects that were answered OK
	unknown []string // the answer never came
}

func startBusy(t *testing.T, d *harness.Demo) *busy {
	b := &busy{t: t, d: d, stop: make(chan struct{})}
	b.wg.Add(2)
	go b.store()
	go b.read()
	return b
}

func (b *busy) session() *harness.Client {
	for {
		select {
		case <-b.stop:
			return nil
		default:
		}
		if c, err := b.d.TryDial("imap"); err == nil {
			if line, err := c.TryLine(); err == nil && strings.HasPrefix(line, "* OK") {
				if lines, err := c.TryIMAP("LOGIN u1 pass"); err == nil && strings.Contains(lines[len(lines)-1], " OK ") {
					return c
				}
			}
			c.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (b *busy) store() {
	defer b.wg.Done()
	c := b.session()
	for n := 0; c != nil; n++ {
		subject := fmt.Sprintf("busy-%d-", n)
		text := "Subject: " + subject + "\r\n\r\n" + strings.Repeat("x", rand.IntN(5000)) + "\r\n"
		lines, err := c.TryIMAP("APPEND INBOX {%d+}\r\n%s", len(text), text)
		ok := err == nil && strings.Contains(lines[len(lines)-1], " OK ")
		b.mu.Lock()
		if ok {
			b.stored = append(b.stored, subject)
		} else {
			b.unknown = append(b.unknown, subject)
		}
		b.mu.Unlock()
		select {
		case <-b.stop:
			c.Close()
			return
		case <-time.After(150 * time.Millisecond):
		}
		if err != nil {
			c.Close()
			c = b.session()
		}
	}
}

func (b *busy) read() {
	defer b.wg.Done()
	for c := b.session(); c != nil; c = b.session() {
		for {
			if _, err := c.TryIMAP("SELECT INBOX"); err != nil {
				break
			}
			if _, err := c.TryIMAP("UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])"); err != nil {
				break
			}
			select {
			case <-b.stop:
				c.Close()
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
		c.Close()
	}
}

// end stops him and checks that each message that was answered is there once.
func (b *busy) end() {
	b.t.Helper()
	close(b.stop)
	b.wg.Wait()
	c := login(b.t, b.d)
	defer c.Close()
	c.OK("SELECT INBOX")
	count := map[string]int{}
	for _, line := range c.OK("UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])") {
		if i := strings.Index(line, "busy-"); i >= 0 {
			s := line[i:]
			s = s[:strings.LastIndexByte(s, '-')+1]
			count[s]++
		}
	}
	for _, s := range b.stored {
		if count[s] != 1 {
			b.t.Errorf("%s is there %d times", s, count[s])
		}
	}
	for s, n := range count {
		if n > 1 || !slices.Contains(b.stored, s) && !slices.Contains(b.unknown, s) {
			b.t.Errorf("%s is there %d times", s, n)
		}
	}
	b.t.Logf("%d messages were stored meanwhile, of %d nobody knows", len(b.stored), len(b.unknown))
	if len(b.stored) < 5 {
		b.t.Errorf("only %d messages were stored meanwhile", len(b.stored))
	}
}

// A move that is killed at any moment, by its tool, by its rookeryctl or by the
// server itself, loses nothing while a user delivers and reads, and the same
// command ends it. A client with its state downloads nothing again.
func TestRelocateKilled(t *testing.T) {
	const kills, most = 9, 90
	d := harness.Start(t, "--users", "1", "--empty")
	fill(t, d, 150)
	sync := newMbsync(t, d)
	sync.run()
	user := startBusy(t, d)
	places := []string{d.Maildir(1), target(t, d, "second"), target(t, d, "third")}
	at, next := 0, 1
	start := time.Now()
	endMove(t, d, places[next])
	took := time.Since(start)
	at, next = next, 2
	killed := 0
	for try := 0; killed < kills; try++ {
		if try == most {
			t.Fatalf("only %d of %d moves were killed before they ended", killed, try)
		}
		out, err := runKilled(t, d, rand.N(took), try%3, "relocate", "-u", "u1", "--to", places[next])
		if err != nil {
			killed++
			t.Logf("kill %d: %.200q", try, out)
			endMove(t, d, places[next])
		}
		if left := filesIn(t, places[at]); len(left) != 0 {
			t.Fatalf("after kill %d: in %s there is %q", try, places[at], left[:min(len(left), 10)])
		}
		at, next = next, (next+1)%len(places)
	}
	user.end()
	sync.nothingAgain()
	d.NoCrash(t)
}

// endMove gives the command until it ends well.
func endMove(t *testing.T, d *harness.Demo, to string) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) { // the killed process's lock may still be held
		out, err := d.Ctl("relocate", "-u", "u1", "--to", to)
		if err == nil || strings.Contains(out, "is in "+to+" already") {
			return
		}
		if time.Now().After(end) {
			t.Fatal(out)
		}
	}
}

// mbsync is a client with a cache.
type mbsync struct {
	t         *testing.T
	dir, conf string
}

func newMbsync(t *testing.T, d *harness.Demo) *mbsync {
	t.Helper()
	if _, err := exec.LookPath("mbsync"); err != nil {
		t.Fatal("mbsync is not installed")
	}
	m := &mbsync{t: t, dir: t.TempDir()}
	m.conf = filepath.Join(m.dir, "mbsyncrc")
	text := fmt.Sprintf(`IMAPAccount r
Host 127.0.0.1
Port %d
User u1
Pass pass
SSLType None
AuthMechs LOGIN

IMAPStore far
Account r

MaildirStore near
SubFolders Verbatim
Path %[2]s/near/
Inbox %[2]s/near/INBOX

Channel c
Far :far:
Near :near:
Patterns INBOX Lists.Go
Create Near
Sync Pull
SyncState *
`, d.Port("imap"), m.dir)
	if err := os.MkdirAll(filepath.Join(m.dir, "near"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *mbsync) run() string {
	m.t.Helper()
	out, err := exec.Command("mbsync", "-c", m.conf, "-a", "-V").CombinedOutput()
	if err != nil {
		m.t.Fatalf("mbsync: %v\n%s", err, out)
	}
	return string(out)
}

// files are the messages that it has, without those that came while the mail moved.
func (m *mbsync) files() map[string]bool {
	out := map[string]bool{}
	for _, pattern := range []string{"near/*/cur/*", "near/*/new/*"} {
		list, _ := filepath.Glob(filepath.Join(m.dir, pattern))
		for _, f := range list {
			base, _, _ := strings.Cut(filepath.Base(f), ":")
			out[base] = true
		}
	}
	return out
}

// nothingAgain synchronizes, and fails if a message that it had was loaded again
// or lost.
func (m *mbsync) nothingAgain() {
	m.t.Helper()
	before := m.files()
	if len(before) == 0 {
		m.t.Fatal("mbsync has nothing")
	}
	m.run()
	subjects := map[string]int{}
	for f := range m.files() {
		for _, pattern := range []string{"near/*/cur/" + f + "*", "near/*/new/" + f + "*"} {
			list, _ := filepath.Glob(filepath.Join(m.dir, pattern))
			for _, p := range list {
				b, err := os.ReadFile(p)
				if err != nil {
					m.t.Fatal(err)
				}
				for _, line := range strings.Split(string(b), "\n") {
					if strings.HasPrefix(line, "Subject: ") {
						subjects[strings.TrimSpace(line)]++
						break
					}
				}
			}
		}
		delete(before, f)
	}
	if len(before) > 0 {
		m.t.Errorf("%d messages that it had are gone", len(before))
	}
	for s, n := range subjects {
		if n > 1 {
			m.t.Errorf("%q was loaded %d times", s, n)
		}
	}
}
