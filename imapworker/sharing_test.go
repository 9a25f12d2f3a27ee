package imapworker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/workermsg"
	"rookery/internal/maillog"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/settings"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
	"rookery/internal/worker"
)

// town is some users' workers, and what master and authd are between them.
type town struct {
	t       *testing.T
	members map[string]*member
	serving sync.WaitGroup

	mu      sync.Mutex
	told    map[string][]workermsg.Published
	reached []string // "guest>owner"
	ends    []chan string
	changes map[string]int // how often a worker told master of a change
	refuse  error
	news    chan struct{} // something was published
}

// member is a user's worker as others see it.
type member struct {
	*bench
	town *town
	user string
	disk vfs.FS // for control files
}

func newTown(t *testing.T, fields map[string]any, users ...string) *town {
	tn := &town{t: t, members: map[string]*member{}, told: map[string][]workermsg.Published{}, changes: map[string]int{}, news: make(chan struct{}, 100)}
	for i, user := range users {
		m := &member{town: tn, user: user, disk: memfs.New(memfs.Options{})}
		shared := map[string]any{"type": "shared", "prefix": "Other Users/", "separator": "/"}
		for k, v := range fields {
			shared[k] = v
		}
		set := settings.New()
		set.PutRow("namespace", settings.Row{Name: "inbox", Values: map[string]any{"inbox": true, "separator": "/"}})
		set.PutRow("namespace", settings.Row{Name: "others", Values: shared})
		set.PutRow("namespace", settings.Row{Name: "public", Values: map[string]any{"type": "public", "prefix": "Public/", "separator": "/", "owner": "team"}})
		host := &worker.Host{Log: maillog.Discard(), Settings: set, Changed: func() {
			tn.mu.Lock()
			defer tn.mu.Unlock()
			tn.changes[user]++
		}}
		host.User.User = user
		server, err := serverWith(host, memstore.New(memstore.Options{FirstGUID: uint64(i * 1000)}),
			outside{m, m.publish, func() (vfs.FS, error) { return m.disk, nil }})
		if err != nil {
			t.Fatal(err)
		}
		server.config.Settings.Poll = time.Hour // what is told here is told because someone said so
		m.bench = &bench{t: t, log: &logged{}, server: server}
		tn.mu.Lock()
		tn.members[user] = m
		tn.mu.Unlock()
	}
	t.Cleanup(func() {
		for _, m := range tn.members {
			m.serving.Wait()
			m.server.directory.close()
		}
		tn.serving.Wait()
		for _, m := range tn.members {
			m.server.Close()
		}
	})
	return tn
}

func (m *member) publish(boxes []workermsg.Published) {
	m.town.mu.Lock()
	m.town.told[m.user] = boxes
	all := slices.Collect(maps.Values(m.town.members))
	m.town.mu.Unlock()
	for _, other := range all {
		other.server.SharesChanged()
	}
	m.town.news <- struct{}{}
}

// Shares is authd's answer.
func (m *member) Shares(context.Context) (out []workermsg.Shared, err error) {
	m.town.mu.Lock()
	defer m.town.mu.Unlock()
	for owner, boxes := range m.town.told {
		for _, b := range boxes {
			list, err := acl.Parse([]byte(strings.Join(b.Entries, "\n") + "\n"))
			if err == nil && owner != m.user && list.Rights(acl.Who{User: m.user}).Has(acl.Lookup) {
				out = append(out, workermsg.Shared{Owner: owner, Name: b.Name})
			}
		}
	}
	slices.SortFunc(out, func(a, b workermsg.Shared) int { return strings.Compare(a.Owner+"\x00"+a.Name, b.Owner+"\x00"+b.Name) })
	return out, nil
}

// Reach is master's answer.
func (m *member) Reach(_ context.Context, owner string) (int, error) {
	tn := m.town
	tn.mu.Lock()
	defer tn.mu.Unlock()
	tn.reached = append(tn.reached, m.user+">"+owner)
	if tn.refuse != nil {
		return -1, tn.refuse
	}
	if tn.members[owner] == nil {
		return -1, errkind.Newf("reach", errkind.NotFound, "nobody")
	}
	ours, theirs, err := ipc.Pair()
	if err != nil {
		return -1, err
	}
	end := make(chan string, 1)
	tn.ends = append(tn.ends, end)
	g := &worker.Guest{ID: uint64(len(tn.ends)), User: m.user, FD: theirs, End: end}
	tn.serving.Go(func() { tn.members[owner].server.Guest(g) })
	return ours, nil
}

// sendAway ends all guests.
func (tn *town) sendAway() {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	for _, end := range tn.ends {
		select {
		case end <- "away":
		default:
		}
	}
}

func (tn *town) takeReached() []string {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	out := tn.reached
	tn.reached = nil
	return out
}

// until waits for the list of shares of an owner.
func (tn *town) until(owner, want string) {
	tn.t.Helper()
	deadline := time.After(20 * time.Second)
	got := ""
	for {
		tn.mu.Lock()
		var all []string
		for _, b := range tn.told[owner] {
			all = append(all, b.Name+":"+strings.Join(b.Entries, ";"))
		}
		tn.mu.Unlock()
		if got = strings.Join(all, " "); got == want {
			return
		}
		select {
		case <-tn.news:
		case <-deadline:
			tn.t.Fatalf("%s shares %q, want %q", owner, got, want)
		}
	}
}

// do sends a command and reads its answer, of which it gives the lines before the
// tagged one.
func (d *dialogue) do(command string) (lines []string) {
	d.t.Helper()
	d.send("x " + command + "\r\n")
	for {
		line, err := d.ReadString('\n')
		if err != nil {
			d.t.Fatalf("%s: %v", command, err)
		}
		lines = append(lines, strings.TrimSuffix(line, "\r\n"))
		if strings.HasPrefix(line, "x ") {
			return lines
		}
	}
}

func (d *dialogue) ok(command string) []string {
	d.t.Helper()
	lines := d.do(command)
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "x OK") {
		d.t.Fatalf("%s: %s", command, last)
	}
	return lines[:len(lines)-1]
}

func (m *member) login() *dialogue {
	d := m.connect("")
	d.until("a0 OK")
	return d
}

// Two users' workers: the list of shares follows what the owner does, LIST starts
// nobody, and what one does in a shared mailbox the other hears at once, both ways.
func TestTwoWorkers(t *testing.T) {
	tn := newTown(t, nil, "ann", "bob", "team")
	ann, bob := tn.members["ann"].login(), tn.members["bob"].login()
	defer ann.Close()
	defer bob.Close()
	tn.until("ann", "")
	ann.ok("CREATE Box")
	ann.ok("APPEND Box {6+}\r\na: b\r\n")
	ann.ok("SETACL Box bob lrswite")
	tn.until("ann", "Box:user=bob lrwstie")
	if got := bob.ok(`LIST "" *`); !slices.Contains(got, `* LIST (\HasNoChildren) "/" "Other Users/ann/Box"`) {
		t.Errorf("bob sees %q", got)
	}
	if got := bob.do("STATUS \"Other Users/ann/Nothing\" (MESSAGES)"); got[0] != "x NO [NONEXISTENT] Mailbox does not exist." {
		t.Errorf("%q", got)
	}
	if got := tn.takeReached(); len(got) > 0 {
		t.Errorf("LIST and a name that is not there started %q", got)
	}

	bob.ok(`SELECT "Other Users/ann/Box"`)
	ann.ok("SELECT Box")
	bob.send("i IDLE\r\n")
	bob.until("+ idling")
	ann.ok("APPEND Box {6+}\r\na: c\r\n")
	bob.until("* 2 EXISTS")
	ann.ok("STORE 2 +FLAGS (\\Flagged)")
	if line := bob.until("* 2 FETCH"); !strings.Contains(line, `\Flagged`) {
		t.Error(line)
	}
	bob.send("DONE\r\n")
	bob.until("i OK")
	tn.mu.Lock()
	before := tn.changes["ann"]
	tn.mu.Unlock()
	ann.send("i IDLE\r\n")
	ann.until("+ idling")
	bob.ok("STORE 1 +FLAGS (\\Seen key)")
	if line := ann.until("* 1 FETCH"); !strings.Contains(line, `\Seen`) {
		t.Error(line)
	}
	bob.ok("UID EXPUNGE 2")
	bob.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
	bob.ok("EXPUNGE")
	ann.until("* 2 EXPUNGE")
	ann.send("DONE\r\n")
	ann.until("i OK")
	tn.mu.Lock()
	if tn.changes["ann"] == before {
		t.Error("master was not told that ann's mail was changed by bob")
	}
	tn.mu.Unlock()
	if got := tn.takeReached(); !slices.Equal(got, []string{"bob>ann"}) {
		t.Errorf("channels: %q", got)
	}

	// The channel ends: bob goes on where he was.
	tn.sendAway()
	tn.serving.Wait()
	if got := bob.ok("UID FETCH 1 (FLAGS)"); len(got) != 1 || !strings.Contains(got[0], "UID 1") || !strings.Contains(got[0], "key") {
		t.Errorf("after the channel's end: %q", got)
	}
	ann.ok("APPEND Box {6+}\r\na: d\r\n")
	if got := bob.ok("NOOP"); !slices.Contains(got, "* 2 EXISTS") {
		t.Errorf("after the channel's end: %q", got)
	}
	if got := tn.takeReached(); !slices.Equal(got, []string{"bob>ann"}) {
		t.Errorf("channels: %q", got)
	}

	// What is renamed, deleted and taken away.
	ann.ok("CREATE Box/Sub")
	tn.until("ann", "Box:user=bob lrwstie Box/Sub:user=bob lrwstie")
	ann.ok("RENAME Box/Sub Other")
	tn.until("ann", "Box:user=bob lrwstie Other:user=bob lrwstie")
	ann.ok("DELETE Other")
	tn.until("ann", "Box:user=bob lrwstie")
	ann.ok("DELETEACL Box bob")
	tn.until("ann", "")
	bob.send("n NOOP\r\n")
	bob.until("* BYE Selected mailbox was deleted")
}

// A session that watches others' mailboxes hears of changes in them, and of what is
// shared with it or not any more, without a command.
func TestNotifyOfOthers(t *testing.T) {
	tn := newTown(t, nil, "ann", "bob", "team")
	ann, bob := tn.members["ann"].login(), tn.members["bob"].login()
	defer ann.Close()
	defer bob.Close()
	ann.ok("CREATE Box")
	ann.ok("SETACL Box bob lr")
	tn.until("ann", "Box:user=bob lr")
	bob.ok(`NOTIFY SET (SUBTREE "Other Users" (MessageNew MessageExpunge MailboxName))`)
	ann.ok("APPEND Box {6+}\r\na: b\r\n")
	if line := bob.until("* STATUS"); !strings.HasPrefix(line, `* STATUS "Other Users/ann/Box" (MESSAGES 1 UIDNEXT 2`) {
		t.Error(line)
	}
	ann.ok("CREATE New")
	ann.ok("SETACL New bob lr")
	bob.until(`* LIST (\HasNoChildren) "/" "Other Users/ann/New"`)
	ann.ok("SETACL New bob -l")
	bob.until(`* LIST (\NonExistent \HasNoChildren) "/" "Other Users/ann/New"`)
}

// A public namespace shows the mail of its owner, who has it as his own.
func TestPublicNamespace(t *testing.T) {
	tn := newTown(t, nil, "ann", "bob", "team")
	team, bob := tn.members["team"].login(), tn.members["bob"].login()
	defer team.Close()
	defer bob.Close()
	team.ok("CREATE Plans")
	team.ok("SETACL Plans bob lr")
	tn.until("team", "Plans:user=bob lr")
	if got := bob.ok("NAMESPACE"); got[0] != `* NAMESPACE (("" "/")) (("Other Users/" "/")) (("Public/" "/"))` {
		t.Error(got)
	}
	var names []string
	for _, line := range bob.ok(`LIST "" *`) {
		names = append(names, line[strings.Index(line, `"/" `)+4:])
	}
	if want := []string{"INBOX", `"Other Users"`, "Public", "Public/Plans"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	bob.ok("EXAMINE Public/Plans")
}

// What a guest has seen is his own where the namespace says so, and is kept among the
// owner's control files, until the mailbox goes.
func TestOwnSeen(t *testing.T) {
	tn := newTown(t, map[string]any{"seen": "private"}, "ann", "bob", "team")
	ann, bob := tn.members["ann"].login(), tn.members["bob"].login()
	defer ann.Close()
	defer bob.Close()
	ann.ok("CREATE Box")
	ann.ok("APPEND Box {6+}\r\na: b\r\n")
	ann.ok("SETACL Box bob lrs")
	tn.until("ann", "Box:user=bob lrs")
	bob.ok(`SELECT "Other Users/ann/Box"`)
	bob.ok("STORE 1 +FLAGS (\\Seen)")
	tn.sendAway()
	tn.serving.Wait()
	for d, want := range map[*dialogue]string{ann: `* STATUS Box (UNSEEN 1)`, bob: `* STATUS "Other Users/ann/Box" (UNSEEN 0)`} {
		name := strings.TrimSuffix(strings.TrimPrefix(want, "* STATUS "), want[len(want)-len(" (UNSEEN 1)"):])
		if got := d.ok("STATUS " + name + " (UNSEEN)"); got[0] != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	files := func() (n int) {
		if err := tn.members["ann"].disk.ReadDir("rookery-seen", func(vfs.DirEntry) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := files(); n != 1 {
		t.Errorf("%d files", n)
	}
	ann.ok("DELETE Box")
	if n := files(); n != 0 {
		t.Errorf("%d files of a mailbox that was deleted", n)
	}
}

// An owner who cannot be reached is asked again after a while, and costs others nothing.
func TestUnreachable(t *testing.T) {
	tn := newTown(t, nil, "ann", "bob", "team")
	dir := tn.members["bob"].server.directory
	start := time.Now()
	var later atomic.Int64
	dir.now = func() time.Time { return start.Add(time.Duration(later.Load())) }
	ann, bob := tn.members["ann"].login(), tn.members["bob"].login()
	defer ann.Close()
	defer bob.Close()
	ann.ok("CREATE Box")
	ann.ok("SETACL Box bob lr")
	tn.until("ann", "Box:user=bob lr")
	tn.mu.Lock()
	tn.refuse = errkind.Newf("reach", errkind.Unavailable, "it does not start")
	tn.mu.Unlock()
	for range 3 {
		if got := bob.do(`STATUS "Other Users/ann/Box" (MESSAGES)`); !strings.HasPrefix(got[0], "x NO [UNAVAILABLE]") {
			t.Error(got)
		}
	}
	if got := tn.takeReached(); len(got) != 1 {
		t.Errorf("asked %q", got)
	}
	bob.ok(`LIST "" *`)
	tn.mu.Lock()
	tn.refuse = nil
	tn.mu.Unlock()
	later.Store(int64(reachAgain))
	now := dir.now()
	bob.ok(`STATUS "Other Users/ann/Box" (MESSAGES)`)

	// As many channels as there may be: the one that was used the longest ago goes.
	ends := len(tn.takeReached())
	if !dir.drop("carol") || dir.drop("carol") {
		t.Error("the channel to ann was not the one to go")
	}
	bob.ok(`STATUS "Other Users/ann/Box" (MESSAGES)`)
	if got := tn.takeReached(); len(got) != ends {
		t.Errorf("asked %q", got)
	}
	// One that nobody uses goes by itself.
	c, err := dir.channel("ann")
	if err != nil {
		t.Fatal(err)
	}
	c.rest(now.Add(idleChannel - time.Second))
	if _, _, known := c.known(now); !known {
		t.Error("a channel in use was ended")
	}
	c.rest(now.Add(idleChannel))
	if _, _, known := c.known(now); known {
		t.Error("an idle channel stays")
	}
}

// The list of shares is asked for once, and again when it changed or is old; when it
// cannot be had the one from before holds.
func TestDirectoryList(t *testing.T) {
	f := &fakeAsker{}
	dir := newDirectory(f, func(string) {}, func(string) {})
	now := time.Now()
	dir.now = func() time.Time { return now }
	f.err = errkind.Newf("shares", errkind.Unavailable, "not yet")
	if _, err := dir.Shares(); !errkind.Is(err, errkind.Unavailable) {
		t.Error(err)
	}
	f.err, f.list = nil, []workermsg.Shared{{Owner: "ann", Name: "Box"}}
	want := func(asked, n int) {
		t.Helper()
		list, err := dir.Shares()
		if err != nil || len(list) != n || f.asked != asked {
			t.Errorf("asked %d times, want %d: %v, %v", f.asked, asked, list, err)
		}
	}
	want(2, 1)
	first, _ := dir.Shares()
	dir.sharesChanged()
	want(3, 1)
	if again, _ := dir.Shares(); &again[0] != &first[0] {
		t.Error("the same list is another slice")
	}
	now = now.Add(sharesAge)
	f.list = nil
	want(4, 0)
	f.err = errkind.Newf("shares", errkind.Unavailable, "gone")
	dir.sharesChanged()
	want(5, 0)
	want(6, 0)
	f.err = nil
	want(7, 0)
	want(7, 0)
}

type fakeAsker struct {
	list  []workermsg.Shared
	err   error
	asked int
}

func (f *fakeAsker) Shares(context.Context) ([]workermsg.Shared, error) {
	f.asked++
	return f.list, f.err
}

func (f *fakeAsker) Reach(context.Context, string) (int, error) { return -1, fmt.Errorf("not here") }
