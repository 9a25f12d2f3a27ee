package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rigKey names one way of running one server for the rows of the mail store.
type rigKey struct {
	server string // "rookery" or "dovecot"
	driver string // "maildir", "mbox", "pack" (Rookery), "mdbox" (Dovecot)
	fsync  string // what mail_fsync is; "" for the default
	plugin string // a mail plugin of Dovecot's that a row needs; "" for as shipped
}

// name is what samples are kept under: rookery, dovecot, dovecot-always, …
func (k rigKey) name() string {
	if k.fsync == "" {
		return k.server
	}
	return k.server + "-" + k.fsync
}

// dir is a name that no other rig has: of its folder and of its control group.
func (k rigKey) dir() string {
	parts := []string{k.server, k.driver, k.fsync, strings.ReplaceAll(k.plugin, "_", "")}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "-")
}

// rig is a server that runs so, with its users' mail.
type rig struct {
	*server
	key    rigKey
	mail   string          // folder with a home for each user
	seeded map[string]bool // what was already put there
	count  map[string]int  // of operations that go on where the last measurement ended
}

// errNotThere is why a row is not measured: Rookery does not take a setting yet.
var errNotThere = errors.New("not there yet")

// lab is all rigs of a run, made when a row first asks for them.
type lab struct {
	disk   *disk
	bin    string
	only   string
	users  []user
	rigs   map[rigKey]*rig
	absent map[rigKey]error
	made   int
	first  map[string]string // where a folder of mail lies that others may link to
}

func newLab(d *disk, bin, only string) *lab {
	return &lab{disk: d, bin: bin, only: only, rigs: map[rigKey]*rig{}, absent: map[rigKey]error{}, first: map[string]string{}}
}

func (l *lab) stop() {
	for _, g := range l.rigs {
		g.stop()
	}
}

// labUsers is how many users each rig has; who does what is in seed.go.
const labUsers = 90

// rig gives a running server. An error that is errNotThere says that Rookery
// cannot be run so.
func (l *lab) rig(ctx context.Context, key rigKey) (*rig, error) {
	if err := l.absent[key]; err != nil {
		return nil, err
	}
	g := l.rigs[key]
	if g == nil {
		var err error
		if g, err = l.make(key); errors.Is(err, errNotThere) {
			l.absent[key] = err
		}
		if err != nil {
			return nil, err
		}
		l.rigs[key] = g
	}
	if g.cmd != nil {
		return g, nil
	}
	return g, g.start(ctx)
}

func (l *lab) make(key rigKey) (*rig, error) {
	// Bases 60 apart: no port of one is a port of the other.
	base, err := freeBase(28500 + 60*l.made)
	if err != nil {
		return nil, err
	}
	l.made++
	dir := filepath.Join(l.disk.root, key.dir())
	g := &rig{key: key, seeded: map[string]bool{}, count: map[string]int{}}
	if key.server == "rookery" {
		g.server, err = l.makeRookery(key, dir, base)
		g.mail = filepath.Join(dir, "mail")
	} else {
		g.server, err = l.makeDovecot(key, dir, base)
		g.mail = filepath.Join(dir, "mail")
	}
	if err != nil {
		return nil, err
	}
	for _, u := range l.users {
		home := filepath.Join(g.mail, u.name)
		if err := ownDir(home, u); err != nil {
			return nil, err
		}
		if key.driver != "maildir" {
			continue
		}
		u.home = home
		if err := makeMaildir(u); err != nil {
			return nil, err
		}
	}
	return g, nil
}

func ownDir(path string, u user) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return os.Lchown(path, u.uid, u.gid)
}

// makeRookery is a demo whose configuration gets a few lines more.
func (l *lab) makeRookery(key rigKey, dir string, base int) (*server, error) {
	args := []string{"demo", "--dir", dir, "--base-port", strconv.Itoa(base), "--users", strconv.Itoa(labUsers), "--empty"}
	ctl := filepath.Join(l.bin, "rookeryctl")
	if out, err := exec.Command(ctl, append(args[:len(args):len(args)], "--write-only")...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("rookeryctl demo: %w\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "conf.d", "99-bench.toml"), []byte(rookeryLines(key)), 0o644); err != nil {
		return nil, err
	}
	if out, err := exec.Command(ctl, "-c", filepath.Join(dir, "rookery.toml"), "config", "check").CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		_, said, _ := strings.Cut(strings.TrimSpace(string(out)), "99-bench.toml:")
		return nil, fmt.Errorf("%w: %s", errNotThere, said)
	}
	if l.users == nil {
		var err error
		if l.users, err = readUsers(filepath.Join(dir, "users")); err != nil {
			return nil, err
		}
	}
	return &server{
		name: key.dir(), title: "Rookery", ports: portsFrom(base), logFile: filepath.Join(dir, "rookery.log"),
		command: func() *exec.Cmd { return exec.Command(ctl, args...) },
	}, nil
}

// rookeryLines are the settings in which a rig differs from the demo.
func rookeryLines(key rigKey) string {
	var b strings.Builder
	if key.driver != "maildir" {
		fmt.Fprintf(&b, "mail_driver = %q\nmail_path = %q\n", key.driver, "~/"+key.driver)
	}
	if key.driver == "mbox" {
		b.WriteString("mail_inbox_path = \"~/inbox\"\n")
	}
	if key.fsync != "" {
		fmt.Fprintf(&b, "mail_fsync = %q\n", key.fsync)
	}
	// A process that nobody uses ends soon: rows that want a new one wait for
	// that. In all other rows sessions are open, or follow one another at once.
	b.WriteString("worker_idle_kill_interval = \"300 msecs\"\n")
	return b.String()
}

// makeDovecot is Dovecot as shipped, its mail_fsync and mail_location apart.
func (l *lab) makeDovecot(key rigKey, dir string, base int) (*server, error) {
	if l.users == nil {
		l.users = inventUsers(labUsers)
	}
	share := dir + "-users"
	if err := shareUsers(share, filepath.Join(dir, "mail"), l.users); err != nil {
		return nil, err
	}
	location := map[string]string{"maildir": "maildir:~/Maildir", "mbox": "mbox:~/mbox:INBOX=~/inbox", "mdbox": "mdbox:~/mdbox"}[key.driver]
	more := ""
	if key.fsync != "" {
		more = "mail_fsync = " + key.fsync + "\n"
	}
	if key.plugin != "" {
		more += "protocol imap {\n  mail_plugins = $mail_plugins " + key.plugin + "\n}\n"
	}
	return prepareDovecot(dovecotRun{name: key.dir(), title: "Dovecot", dir: dir, share: share, base: base, location: location, more: more})
}

// evict waits until the processes that served a user's sessions are gone, so
// that the next session meets a process that knows nothing: Dovecot's end with
// the session, Rookery's soon after the last one. None is killed: a server
// counts that as a failure and slows down.
func (g *rig) evict(ctx context.Context, u user) error {
	for range 500 {
		left := 0
		for _, pid := range g.group.pids() {
			data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			if err == nil && uidOf(string(data)) == u.uid {
				left++
			}
		}
		if left == 0 {
			return nil
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: processes of %s do not end", g.name, u.name)
}

// uidOf reads the real user id from the text of /proc/PID/status; -1: none.
func uidOf(status string) int {
	for _, line := range strings.Split(status, "\n") {
		if rest, ok := strings.CutPrefix(line, "Uid:"); ok {
			if f := strings.Fields(rest); len(f) > 0 {
				if uid, err := strconv.Atoi(f[0]); err == nil {
					return uid
				}
			}
		}
	}
	return -1
}
