package imapmodel

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"rookery/imapworker/internal/compress"
	"rookery/imapworker/internal/fetch"
	"rookery/imapworker/internal/search"
	"rookery/imapworker/internal/session"
	"rookery/imapworker/internal/sorting"
	"rookery/imapworker/internal/view"
	"rookery/internal/acl"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/annotation"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/guarded"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/mailstore/mbox"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/mailstore/ownseen"
	"rookery/internal/mailstore/pack"
	mime "rookery/internal/message"
	"rookery/internal/modelclient"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

var start = time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)

// drivers are the storage formats; memory has no disk that could be damaged.
var drivers = []string{"memory", "maildir", "mbox", "pack"}

// failure is what a run panics with; run makes it an error.
type failure string

// world is one run's server, the truth about it, and its clients.
type world struct {
	mail    [2]*truth
	sharing sharing
	stores  [2]mailstore.Store // what each user's sessions have
	own     mailstore.Store    // bob's own mail, not with byNames
	reach   *directory
	driver  string
	disk    *memfs.FS
	clock   *memfs.Clock
	now     time.Time
	worker  *process // ann's, which serves bob too
	other   *process // of ann's as well: her deliveries; nil with memory
	conns   []*conn
	pool    *compress.Pool
	sep     string // between the levels of names on the wire
	bodies  int
	emails  map[string]string   // bodies by EMAILID
	ids     map[string]*mailbox // by MAILBOXID
	files   int
	said    []string // what was said on the wire, the last lines
	lines   int
	stats   map[string]int // steps that did something, by name
}

// process is one that has ann's mail open.
type process struct {
	store mailstore.Store
	fault *faultfs.FS // nil with memory
	guard [2]mailstore.Store
}

func newWorld(driver string, how sharing) *world {
	w := &world{mail: [2]*truth{newTruth(ann), newTruth(bob)}, sharing: how, driver: driver, now: start, clock: memfs.NewClock(start), pool: compress.NewPool(6), stats: map[string]int{},
		emails: map[string]string{}, ids: map[string]*mailbox{}}
	w.disk = memfs.New(memfs.Options{Now: w.clock.Now})
	w.mail[ann].split = how.split()
	w.must(w.disk.Mkdir("ann", 0o700))
	if driver == "maildir" {
		w.must(w.disk.Mkdir("Maildir", 0o700))
	}
	w.worker = w.process()
	if driver != "memory" {
		w.other = w.process()
	}
	w.share()
	w.begin()
	w.sep = string(rune(w.worker.store.Namespaces()[0].Separator))
	for i, user := range []int{ann, ann, ann, bob, bob} {
		w.conns = append(w.conns, &conn{w: w, n: i, user: user, device: newDevice()})
	}
	return w
}

func (w *world) must(err error) {
	if err != nil {
		w.fail("%v", err)
	}
}

func (w *world) fail(format string, args ...any) { panic(failure(fmt.Sprintf(format, args...))) }

func (w *world) say(format string, args ...any) {
	if len(w.said) >= 400 {
		w.said = append(w.said[:0], w.said[200:]...)
	}
	w.said = append(w.said, fmt.Sprintf(format, args...))
}

// process opens the mail as a process does.
func (w *world) process() *process {
	p := &process{}
	var disk vfs.FS = w.disk
	if w.driver == "memory" {
		p.store = memstore.New(memstore.Options{Now: w.clock.Now})
	} else {
		p.fault = faultfs.New(w.disk)
		disk = p.fault
		store, err := openDriver(w.driver, p.fault, func(text string) { w.say("(%s)", text) })
		w.must(err)
		p.store = store
	}
	p.store = annotation.Wrap(p.store, annotation.Options{FS: disk, Dir: "ann", Note: func(text string) { w.say("(%s)", text) }})
	for user, who := range []acl.Who{ann: {User: "ann", Owner: true}, bob: {User: "bob", Groups: groups}} {
		opt := guarded.Options{Who: who, Owner: "ann", Wide: w.sharing.wide()}
		if w.sharing.split() && user == bob {
			opt.Private = ownseen.New(disk, "ann", "bob")
		}
		guard, ok := guarded.Wrap(p.store, opt)
		if !ok {
			w.fail("the store keeps no lists")
		}
		p.guard[user] = guard
	}
	return p
}

func openDriver(driver string, disk vfs.FS, note func(string)) (mailstore.Store, error) {
	switch driver {
	case "maildir":
		return maildir.Open(maildir.Options{FS: disk, MailPath: "Maildir", Note: note})
	case "mbox":
		return mbox.Open(mbox.Options{Options: engine.Options{FS: disk, Note: note}, MailPath: "mail", Zone: time.UTC, JournalSize: 24 << 10})
	}
	return pack.Open(pack.Options{FS: disk, MailPath: "mail", Note: note, Step: 4096, JournalStep: 4096})
}

// kill ends ann's worker as kill -9 does, and starts another.
func (w *world) kill() {
	for _, c := range w.conns {
		if c.user == ann || w.sharing == byNames {
			c.lose()
		}
	}
	if w.worker.fault == nil {
		return
	}
	w.reach.lose()
	w.worker.fault.Kill()
	_ = w.worker.store.Close() // for its goroutines: nothing reaches the disk any more
	w.worker = w.process()
	w.share()
	for _, c := range w.conns {
		if c.shaken = c.s != nil; c.box != nil && c.box.name != c.heard {
			// Its end knows the mailbox by a name that is gone: it would say that so is
			// the mailbox.
			c.lose()
		}
	}
}

func (w *world) close() {
	for _, c := range w.conns {
		c.lose()
	}
	w.reach.lose()
	w.must(w.worker.store.Close())
	if w.own != nil {
		w.must(w.own.Close())
	}
	if w.other != nil {
		w.must(w.other.store.Close())
	}
}

// told gives a mailbox's name as it is on the wire, without quotes.
func (w *world) told(name string) string { return strings.ReplaceAll(name, "/", w.sep) }

// wire gives a mailbox's name as clients write it.
func (w *world) wire(name string) string {
	if name = w.told(name); strings.Contains(name, " ") {
		return `"` + name + `"`
	}
	return name
}

// What messages are sorted and threaded by.
var (
	subjects = []string{"apple", "Re: apple", "pear", "plum", "Fwd: pear", "re: plum", "Re: Re: apple", "fig"}
	authors  = []string{"dora", "carl", "berta", "adam"}
)

// body makes a message's text. Some are answers to earlier ones.
func (w *world) body() string {
	w.bodies++
	n := w.bodies
	text := fmt.Sprintf("Subject: %s\r\nFrom: %s@example.org\r\nDate: Fri, 1 Mar 2024 %02d:%02d:00 +0000\r\nMessage-ID: <m%d@x>\r\n",
		subjects[n*5%len(subjects)], authors[n*7%len(authors)], n*11%24, n*7%20, n)
	if n > 3 && n%3 > 0 {
		text += fmt.Sprintf("References: <m%d@x>\r\n", n-1-n*5%3)
	}
	return text + fmt.Sprintf("\r\ntext %d\r\n", n)
}

// jobs are the commands of other packages, as the worker has them.
func jobs() session.Jobs {
	fetching := fetch.Parser(fetch.Config{Limits: mime.DefaultLimits()})
	cfg := search.Config{Limits: mime.DefaultLimits(), FetchItems: view.TakesItems(fetching)}
	return session.Jobs{Fetch: fetching, Search: search.Parser(cfg), Sort: sorting.Sort(cfg), Thread: sorting.Thread(cfg),
		Multi: search.Multi(cfg), CheckFilter: search.CheckFilter}
}

// log is a session's. Its errors are failures, but for those that tell of damage.
type log struct{ c *conn }

func (log) Info(string)        {}
func (l log) Warn(text string) { l.c.w.say("(warning: %s)", text) }

func (l log) Error(text string) {
	l.c.w.say("(error: %s)", text)
	if strings.Contains(text, "BUG") {
		l.c.w.fail("%s", text)
	}
}

// foreign adds a message as another process of ann's does, and gives it to the model.
func (w *world) foreign(name, flags string) {
	b := w.mail[ann].boxes[name]
	if b == nil {
		return
	}
	body := w.body()
	store := w.worker.store
	if w.other != nil {
		store = w.other.store
	}
	meta := mailstore.AppendMeta{}
	for _, f := range strings.Fields(flags) {
		if system, ok := view.SystemFlag(f); ok {
			meta.Flags |= system
		} else {
			meta.Keywords = append(meta.Keywords, f)
		}
	}
	a, err := store.Append(name)
	w.must(err)
	to, err := a.Add(meta, int64(len(body)))
	w.must(err)
	_, err = io.WriteString(to, body)
	w.must(err)
	res, err := a.Commit()
	w.must(err)
	w.say("(another process appends %d to %s)", res.UIDs, name)
	if len(res.UIDs) != 1 || res.UIDs[0] < b.next || res.UIDs[0] > b.next && !b.of.doubt {
		w.fail("UIDs %d, want %d", res.UIDs, b.next)
	}
	b.next = res.UIDs[0]
	b.add(flags, body)
}

// foreignExpunge makes room in a mailbox, as another process of ann's.
func (w *world) foreignExpunge(b *mailbox) {
	w.settle(0) // who is still to be told of messages that now go is told
	list := slices.Clone(b.messages[:len(b.messages)*2/3])
	uids := numset.FromSorted(uidsOf(list))
	w.say("(another process expunges %s of %s)", uids, b.name)
	w.elsewhere(b, func(box mailstore.Mailbox) {
		gone, err := box.Expunge(uids)
		w.must(err)
		if !gone.Equal(uids) {
			w.fail("%s were expunged", gone)
		}
	})
	b.expunge(list)
}

// elsewhere works on a mailbox as another process of ann's.
func (w *world) elsewhere(b *mailbox, do func(box mailstore.Mailbox)) {
	store := w.worker.store
	if w.other != nil {
		store = w.other.store
	}
	if b.of.user == bob {
		store = w.own
	}
	box, err := store.Open(b.name)
	w.must(err)
	_, err = box.Sync()
	w.must(err)
	do(box)
	w.must(box.Close())
}

// look gives what another process sees of a mailbox from a side: flags by UID.
func (w *world) look(b *mailbox, side int) map[uint32]string {
	out := map[uint32]string{}
	read := func(box mailstore.Mailbox) {
		snap := box.Snapshot()
		for i := range snap.Len() {
			e := snap.At(i)
			out[e.UID] = modelclient.FlagText(append(view.SystemFlags(e.Flags), snap.Keywords(e.Keywords)...))
		}
	}
	if side == common {
		w.elsewhere(b, read)
		return out
	}
	box, err := w.worker.guard[bob].Open(b.name)
	w.must(err)
	_, err = box.Sync()
	w.must(err)
	read(box)
	w.must(box.Close())
	return out
}

// wake tells the sessions that another process has changed the mail.
func (w *world) wake() {
	w.reach.told()
	for _, c := range w.conns {
		if c.s != nil {
			c.s.Wake(w.now)
			c.unasked()
		}
	}
}

// deliver puts a file into a Maildir, which no process knows of. It gets its UID from
// whoever looks first: asked, if it is not nil, or another process.
func (w *world) deliver(b *mailbox, asked *conn) {
	w.files++
	body := w.body()
	dir := "Maildir"
	if b.name != "INBOX" {
		dir += "/." + strings.ReplaceAll(b.name, "/", ".")
	}
	for _, sub := range []string{"", "/tmp", "/new", "/cur"} { // what is missing a delivery agent makes
		if err := w.disk.Mkdir(dir+sub, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			w.fail("%v", err)
		}
	}
	name := fmt.Sprintf("17%08d.M%dP7.host", w.files, w.files)
	f, err := w.disk.OpenFile(dir+"/tmp/"+name, vfs.Write|vfs.Create|vfs.Excl, 0o600)
	w.must(err)
	_, err = f.Write([]byte(strings.ReplaceAll(body, "\r\n", "\n")))
	w.must(err)
	w.must(f.Close())
	w.must(w.disk.Rename(dir+"/tmp/"+name, dir+"/new/"+name))
	w.say("(%s is put into %s/new)", name, dir)
	if b.of.doubt { // its UID cannot be foreseen
		w.elsewhere(b, func(box mailstore.Mailbox) { b.next = max(b.next, box.Snapshot().UIDNext()-1) })
	}
	b.add("", body)
	if asked != nil && asked.s != nil && asked.idle == "" && asked.box == b && asked.open(b) {
		doNoop(w, asked, [6]uint32{})
	}
	w.elsewhere(b, func(box mailstore.Mailbox) {
		if s := box.Snapshot(); s.UIDNext() != b.next {
			w.fail("UIDNEXT of %s is %d after a delivery, want %d", b.name, s.UIDNext(), b.next)
		}
	})
}

// damage does something to index files.
func (w *world) damage(n uint32) {
	if w.driver == "memory" {
		return
	}
	var paths []string
	w.walk(".", func(path string) {
		if base := path[strings.LastIndexByte(path, '/')+1:]; strings.HasPrefix(base, "rookery.index") {
			paths = append(paths, path)
		}
	})
	if len(paths) == 0 {
		return
	}
	w.mail[ann].doubt = true
	hit := func(path string) {
		if n/8%2 == 0 {
			w.say("(%s is removed)", path)
			w.must(w.disk.Remove(path))
			return
		}
		f, err := w.disk.OpenFile(path, vfs.Write, 0)
		w.must(err)
		info, err := f.Stat()
		w.must(err)
		if at := int64(n/64) % max(info.Size, 1); n/16%2 == 0 {
			w.say("(%s is cut at %d)", path, at)
			w.must(f.Truncate(at))
		} else {
			w.say("(%s has noise at %d)", path, at)
			_, err = f.WriteAt([]byte{0xa5, byte(n >> 8), byte(n >> 16), 0, 0xff}, at)
			w.must(err)
		}
		w.must(f.Close())
	}
	if n%8 < 3 {
		for _, path := range paths {
			hit(path)
		}
		return
	}
	hit(paths[int(n/32)%len(paths)])
}

func (w *world) walk(dir string, do func(path string)) {
	var dirs []string
	err := w.disk.ReadDir(dir, func(e vfs.DirEntry) bool {
		path := vfs.Join(dir, e.Name)
		if e.Type.IsDir() {
			dirs = append(dirs, path)
		} else {
			do(path)
		}
		return true
	})
	w.must(err)
	for _, d := range dirs {
		w.walk(d, do)
	}
}
