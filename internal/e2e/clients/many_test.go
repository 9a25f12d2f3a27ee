package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

// many is how much mail arrives in TestThousands.
func many() int {
	if os.Getenv("CI") == "true" || os.Getenv("ROOKERY_SOAK") != "" {
		return 5000
	}
	return 400
}

// arrivals is what a session in IDLE was told.
type arrivals struct {
	mu   sync.Mutex
	n    int
	last time.Time
	bad  string
	over chan struct{}
}

// tell begins IDLE on a session that has selected INBOX.
func tell(t *testing.T, c *harness.Client) *arrivals {
	t.Helper()
	a := &arrivals{over: make(chan struct{})}
	if err := c.Send("idle IDLE\r\n"); err != nil {
		t.Fatal(err)
	}
	c.ExpectPrefix("+ ")
	exists := regexp.MustCompile(`^\* (\d+) EXISTS$`)
	go func() {
		defer close(a.over)
		for {
			line, err := c.LineWithin(5 * time.Minute)
			if err != nil || strings.HasPrefix(line, "idle ") {
				return
			}
			a.mu.Lock()
			if m := exists.FindStringSubmatch(line); m != nil {
				n, _ := strconv.Atoi(m[1])
				if n < a.n {
					a.bad = fmt.Sprintf("%q after %d", line, a.n)
				}
				a.n, a.last = n, time.Now()
			} else if strings.Contains(line, "EXPUNGE") {
				a.bad = line
			}
			a.mu.Unlock()
		}
	}()
	return a
}

// TestThousands has four programs deliver at once, each in its own way, while
// sessions wait in IDLE, others look in now and then, and mutt flags messages in
// the same files. Every message must appear once, and be told within two seconds.
func TestThousands(t *testing.T) {
	harness.NeedRoot(t)
	procmail, maildrop := harness.Need(t, "procmail", "procmail"), harness.Need(t, "maildrop", "maildrop")
	harness.Need(t, "postfix", "postfix")
	d := harness.Start(t, "--users", "1", "--empty")
	dir := maildirFolder(t, d, 1, "")
	home := filepath.Dir(dir)
	p := startPostfix(t, d)
	filter := filepath.Join(home, "mailfilter")
	place(t, d, 1, filter, "to \""+dir+"\"\n")
	if err := os.Chmod(filter, 0o600); err != nil {
		t.Fatal(err)
	}
	var sessions []*harness.Client
	var told []*arrivals
	for range 3 {
		c := d.Dial("imaps")
		c.Login("u1")
		c.OK("SELECT INBOX")
		sessions, told = append(sessions, c), append(told, tell(t, c))
	}
	letter := func(id string) string { return plainMail(id, "Letter "+id+".\n") }
	direct := func(program string, args ...string) func(id string) {
		return func(id string) {
			cmd := asUser(t, d, 1, program, args...)
			cmd.Dir = home
			cmd.Env = []string{"HOME=" + home, "PATH=/usr/bin:/bin", "LOGNAME=u1"}
			cmd.Stdin = strings.NewReader(letter(id))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", id, err, out)
			}
		}
	}
	var script int
	ways := map[string]func(id string){
		"procmail": direct(procmail, "-m", "DEFAULT="+dir+"/", "ORGMAIL="+dir+"/", "/dev/null"),
		"maildrop": func(id string) { // it wants its user to have a name
			uid, gid := owner(t, d, 1)
			r := runWith(t, letter(id), []string{"HOME=" + home}, "unshare", "--mount", "--propagation", "private", "sh", "-c",
				`mount --bind "$0" /etc/passwd && exec setpriv --reuid "$1" --regid "$2" --clear-groups "$3" "$4"`,
				filepath.Join(filepath.Dir(p.conf), "passwd"), fmt.Sprint(uid), fmt.Sprint(gid), maildrop, filter)
			if r.code != 0 {
				t.Errorf("%s: %d %s%s", id, r.code, r.out, r.err)
			}
		},
		"postfix": func(id string) { p.send("u1@local.test", letter(id)) },
		"script": func(id string) {
			script++
			direct("/bin/sh", "-c", shellDelivery, dir, fmt.Sprintf("%d.P%dQ%d.host", time.Now().Unix(), os.Getpid(), script))(id)
		},
	}
	each := many() / len(ways)
	var work sync.WaitGroup
	for way, deliver := range ways {
		work.Go(func() {
			for i := range each {
				deliver(fmt.Sprintf("%s-%d", way, i))
			}
		})
	}
	stop := make(chan struct{})
	work.Go(func() { flagAll(dir, stop) })
	looked := lookIn(t, d, stop)
	total := each * len(ways)
	if !waitFor(t, 10*time.Minute, "all mail is delivered", func() bool { return t.Failed() || countFiles(dir) >= total }) {
		t.Errorf("%d of %d messages are in the Maildir", countFiles(dir), total)
	}
	delivered := time.Now()
	close(stop)
	work.Wait()
	if t.Failed() {
		return
	}
	for i, a := range told {
		waitFor(t, 30*time.Second, "the sessions know all", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return a.n == total })
		a.mu.Lock()
		if late := a.last.Sub(delivered); late > seenWithin {
			t.Errorf("session %d heard of the last message %v after it was there", i, late)
		}
		if a.bad != "" {
			t.Errorf("session %d: %s", i, a.bad)
		}
		a.mu.Unlock()
		if err := sessions[i].Send("DONE\r\n"); err != nil {
			t.Fatal(err)
		}
		<-a.over
	}
	if err := <-looked; err != nil {
		t.Error(err)
	}
	onceEach(t, sessions[0], ways, each)
}

// countFiles counts what is in new/ and cur/.
func countFiles(dir string) int {
	n := 0
	for _, sub := range []string{"new", "cur"} {
		if list, err := os.ReadDir(filepath.Join(dir, sub)); err == nil {
			n += len(list)
		}
	}
	return n
}

// flagAll does what mail programs on the same Maildir do: it moves files from new/ to
// cur/ and renames them for other flags, all the time.
func flagAll(dir string, stop chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-time.After(20 * time.Millisecond):
		}
		if names, _ := filepath.Glob(filepath.Join(dir, "new", "*")); len(names) > 0 {
			name := names[n%len(names)]
			os.Rename(name, filepath.Join(dir, "cur", filepath.Base(name)+":2,"))
		}
		if names, _ := filepath.Glob(filepath.Join(dir, "cur", "*:2,")); len(names) > 0 {
			name := names[n%len(names)]
			os.Rename(name, name+"F")
		}
	}
}

// lookIn opens session after session and reads; UIDs must ascend and sizes hold.
func lookIn(t *testing.T, d *harness.Demo, stop chan struct{}) <-chan error {
	done := make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			case <-time.After(300 * time.Millisecond):
			}
			c, err := d.TryDial("imap")
			if err != nil {
				done <- err
				return
			}
			c.TryLine()
			for _, command := range []string{"LOGIN u1 pass", "SELECT INBOX", "UID SEARCH ALL", "FETCH * (UID RFC822.SIZE BODY.PEEK[HEADER])", "LOGOUT"} {
				lines, err := c.TryIMAP("%s", command)
				if err != nil || !strings.Contains(lines[len(lines)-1], " OK ") && !strings.HasPrefix(command, "FETCH") {
					done <- fmt.Errorf("%s: %v %v", command, lines, err)
					c.Close()
					return
				}
			}
			c.Close()
		}
	}()
	return done
}

// onceEach compares the mailbox with what was delivered.
func onceEach(t *testing.T, c *harness.Client, ways map[string]func(string), each int) {
	t.Helper()
	subject := regexp.MustCompile(`(?mi)^Subject: (\S+)\r$`)
	seen := map[string]int{}
	for _, line := range c.OK("UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])") {
		if m := subject.FindStringSubmatch(line); m != nil {
			seen[m[1]]++
		}
	}
	wrong := 0
	for way := range ways {
		for i := range each {
			id := fmt.Sprintf("%s-%d", way, i)
			if seen[id] != 1 {
				if wrong++; wrong < 20 {
					t.Errorf("%s is there %d times", id, seen[id])
				}
			}
			delete(seen, id)
		}
	}
	if len(seen) > 0 {
		t.Errorf("%d messages that nobody delivered: %v", len(seen), seen)
	}
}
