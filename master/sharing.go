package master

import (
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/child"
	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/ctlmsg"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/ipc/workermsg"
	"rookery/internal/settings"
	"rookery/master/internal/handover"
)

// sharing is what master carries between workers and authd about mail that users
// share. It reads whose a message is, and nothing else of it.
type sharing struct {
	lists map[uint64]askedList // questions for lists that authd has not answered yet
	users map[uint64]*listing  // the same of rookeryctl for users
	asks  map[*proc]*handover.Bucket
	tells map[*proc]*handover.Bucket
	// unseen is how many parts of what processes told authd has still to read.
	unseen  int
	lost    time.Time // when the log was last told that some were not passed on
	changed affected  // who is to be told that something shared with him may have changed
	told    time.Time
	waiting bool // changed is told a little later
	toldAll time.Time
}

type askedList struct {
	p  *proc
	id uint64 // the worker's own number
}

// listing is a list of users that comes in parts.
type listing struct {
	names []string
	to    func(reply)
}

type affected struct {
	all   bool
	users map[string]bool
}

// What a process may ask and tell, this many times at once and then so often. A
// worker keeps to half of what it may tell; one that does not is killed.
const (
	listBurst  = 64
	listEvery  = 50 * time.Millisecond
	tellBurst  = 64
	tellEvery  = 50 * time.Millisecond
	maxUnseen  = 512
	maxLists   = 10_000
	tellAgain  = 100 * time.Millisecond // between two SharesChanged
	tellAll    = time.Second            // and where all workers are told
	lostEvery  = time.Minute
	authdAway  = "The server does not know at the moment what is shared. Try again later."
	sharesFile = "shares-"
)

func newSharing() sharing {
	return sharing{lists: map[uint64]askedList{}, users: map[uint64]*listing{}, asks: map[*proc]*handover.Bucket{}, tells: map[*proc]*handover.Bucket{}}
}

func take(buckets map[*proc]*handover.Bucket, p *proc, burst int, every time.Duration) bool {
	b := buckets[p]
	if b == nil {
		b = &handover.Bucket{}
		buckets[p] = b
	}
	return b.Take(time.Now(), burst, every)
}

// passShares opens the files of the list of shares as root and passes them to a new
// authd, before anything that asks for the list.
func (m *master) passShares() {
	dir := settings.StateDir.Get(m.cfg.set)
	for _, name := range []string{"a", "b"} {
		path := filepath.Join(dir, sharesFile+name)
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err == nil {
			err = ipc.CheckFD(int(f.Fd()), ipc.FDFile)
		}
		if err == nil {
			m.send(m.authd.proc, &redeemmsg.File{Use: "shares", Name: name, Path: path}, int(f.Fd()))
		} else {
			m.log.Errorf("the list of shares will be lost with the next restart: %v", err)
		}
		if f != nil {
			f.Close()
		}
		if err != nil {
			return
		}
	}
	if err := syncDir(dir); err != nil {
		m.log.Errorf("state_dir: %v", err)
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// fromSharing handles what a worker says about shared mail; false if it is something
// else.
func (m *master) fromSharing(w *workerProc, msg ipc.Message) bool {
	switch msg := msg.(type) {
	case *workermsg.Reach:
		m.table.Reach(w.table, msg.ID, msg.Owner, time.Now())
	case *workermsg.GuestEnded:
		m.table.GuestEnded(w.table, msg.ID, time.Now())
	case *workermsg.AskShares:
		m.askShares(w, msg.ID)
	case *workermsg.Publish:
		if w.role != child.IMAPWorker {
			m.table.WorkerBroken(w.table, "it told what its user shares")
		} else if !m.publish(w.proc, msg) {
			m.table.WorkerBroken(w.table, "it told what its user shares without a pause")
		}
	default:
		return false
	}
	return true
}

// askShares asks authd what others share with a worker's user.
func (m *master) askShares(w *workerProc, id uint64) {
	none := func(text string) { m.send(w.proc, &workermsg.Shares{ID: id, Last: true, Text: text}, -1) }
	switch {
	case w.role != child.IMAPWorker:
		m.table.WorkerBroken(w.table, "it asked for a list of shares")
	case m.table.AnonymousOf(w.table):
		none("")
	case !take(m.sharing.asks, w.proc, listBurst, listEvery) || len(m.sharing.lists) >= maxLists:
		none("The list of shares was asked for too often. Try again in a moment.")
	default:
		question := m.id()
		if !m.send(m.authd.proc, &redeemmsg.SharesOf{ID: question, User: w.user}, -1) {
			none(authdAway)
			return
		}
		m.sharing.lists[question] = askedList{w.proc, id}
		m.after(time.Minute, func() { m.endList(question) })
	}
}

// endList gives a question up that authd has not answered.
func (m *master) endList(question uint64) {
	if a, ok := m.sharing.lists[question]; ok {
		delete(m.sharing.lists, question)
		m.send(a.p, &workermsg.Shares{ID: a.id, Last: true, Text: authdAway}, -1)
	}
}

// fromAuthdShares handles authd's messages about shared mail; false if it is
// something else.
func (m *master) fromAuthdShares(msg ipc.Message) bool {
	switch msg := msg.(type) {
	case *redeemmsg.Shares:
		a, ok := m.sharing.lists[msg.ID]
		if !ok {
			break
		}
		if msg.Last {
			delete(m.sharing.lists, msg.ID)
		}
		m.send(a.p, &workermsg.Shares{ID: a.id, Boxes: msg.Boxes, Last: msg.Last, Text: msg.Text}, -1)
	case *redeemmsg.Users:
		m.usersListed(msg)
	case *redeemmsg.PublishSeen:
		m.sharing.unseen = max(0, m.sharing.unseen-1)
		if msg.Problem != "" {
			m.log.Warnf("what user %s shares was not taken into the list of shares: %s", msg.Owner, msg.Problem)
		}
		if msg.Changed {
			m.sharesChanged(msg.Users, msg.All)
		}
	case *redeemmsg.Visited:
		if f := m.asked[msg.ID]; f != nil {
			delete(m.asked, msg.ID)
			f(answer{record: &msg.Owner, groups: msg.Groups})
		}
	default:
		return false
	}
	return true
}

// publish passes on what a process tells of its own user's mailboxes. Whose they are
// is master's word, not the process's. False: it tells too often.
func (m *master) publish(p *proc, msg *workermsg.Publish) bool {
	if !take(m.sharing.tells, p, tellBurst, tellEvery) {
		return false
	}
	s := &m.sharing
	if s.unseen < maxUnseen && m.send(m.authd.proc, &redeemmsg.Publish{Owner: p.user, Source: p.id, First: msg.First, Last: msg.Last, Boxes: msg.Boxes}, -1) {
		s.unseen++
		return true
	}
	if now := time.Now(); now.Sub(s.lost) > lostEvery {
		s.lost = now
		m.log.Warnf("what user %s shares, and perhaps others, did not come into the list of shares, since authd is busy or being started anew; run: rookeryctl shares --rebuild", p.user)
	}
	return true
}

// sharesChanged has workers told that something shared with their user may have
// changed: those of named users at once, all of them at most once a second.
func (m *master) sharesChanged(users []string, all bool) {
	s := &m.sharing
	if s.changed.users == nil {
		s.changed.users = map[string]bool{}
	}
	for _, u := range users {
		s.changed.users[u] = true
	}
	s.changed.all = s.changed.all || all
	if s.waiting {
		return
	}
	m.tellSharesChanged()
}

// tellSharesChanged tells who may be told now, and comes again for the others.
func (m *master) tellSharesChanged() {
	s := &m.sharing
	now := time.Now()
	wait := time.Duration(0)
	switch {
	case now.Sub(s.told) < tellAgain:
		wait = tellAgain - now.Sub(s.told)
	case s.changed.all && now.Sub(s.toldAll) < tellAll && len(s.changed.users) == 0:
		wait = tellAll - now.Sub(s.toldAll)
	}
	if wait > 0 {
		s.waiting = true
		m.after(wait, func() {
			s.waiting = false
			m.tellSharesChanged()
		})
		return
	}
	all, users := s.changed.all && now.Sub(s.toldAll) >= tellAll, s.changed.users
	s.changed.users, s.told = nil, now
	if all {
		s.changed.all, s.toldAll = false, now
	}
	for _, id := range m.table.Running("imap") {
		if w := m.workers.byID[id]; w != nil && (all || users[w.user]) {
			m.send(w.proc, &workermsg.SharesChanged{}, -1)
		}
	}
	if s.changed.all {
		m.tellSharesChanged()
	}
}

// gone forgets a process that is gone.
func (s *sharing) gone(p *proc) {
	delete(s.asks, p)
	delete(s.tells, p)
	for id, a := range s.lists {
		if a.p == p {
			delete(s.lists, id)
		}
	}
}

// authGone answers who waits for an authd that has ended.
func (s *sharing) authGone(m *master) {
	s.unseen = 0
	for id := range s.lists {
		m.endList(id)
	}
	for id := range s.users {
		m.endUsers(id)
	}
}

// listUsers asks authd for all users that can be listed.
func (m *master) listUsers(_ *ctlmsg.Request, to func(reply)) {
	id := m.id()
	if !m.send(m.authd.proc, &redeemmsg.ListUsers{ID: id}, -1) {
		to(failed(75, "authd is being started anew; try again in a moment"))
		return
	}
	m.sharing.users[id] = &listing{names: []string{}, to: to}
	m.after(time.Minute, func() { m.endUsers(id) })
}

func (m *master) endUsers(id uint64) {
	if l := m.sharing.users[id]; l != nil {
		delete(m.sharing.users, id)
		l.to(failed(75, "authd did not answer; try again in a moment"))
	}
}

func (m *master) usersListed(msg *redeemmsg.Users) {
	l := m.sharing.users[msg.ID]
	if l == nil {
		return
	}
	l.names = append(l.names, msg.Names...)
	if msg.Last {
		delete(m.sharing.users, msg.ID)
		l.to(reply{body: map[string][]string{"users": l.names, "unlisted": append([]string{}, msg.Unlisted...)}})
	}
}

func (e effects) Visit(id uint64, guest, owner string) {
	m := e.m
	go m.post(func() { // the table must not be called back
		m.ask(func(question uint64) ipc.Message { return &redeemmsg.Visit{ID: question, Guest: guest, Owner: owner} }, func(a answer) {
			m.visited(id, a)
		})
	})
}

// visited is authd's answer: master checks for itself, as at a login, then the table
// goes on.
func (m *master) visited(id uint64, a answer) {
	switch {
	case a.record == nil && a.kind == errkind.NotFound:
		m.table.VisitFailed(id, errkind.NotFound, a.text)
		return
	case a.record == nil:
		m.table.VisitFailed(id, errkind.Unavailable, authdAway)
		return
	case m.tools.held[a.record.User] > 0:
		m.table.VisitFailed(id, errkind.Unavailable, heldText)
		return
	}
	var g handover.Grant
	_, err := m.cfg.policy.Identify(*a.record)
	r := *a.record
	if err == nil {
		r, err = m.settle("imap", r)
	}
	if err == nil {
		g, err = m.cfg.policy.Grant("imap", r)
	}
	if err != nil {
		m.log.Errorf("nobody can see what user %s shares: %v", r.User, err)
		m.table.VisitFailed(id, errkind.Unavailable, "The mail of this user cannot be opened.")
		return
	}
	slices.Sort(a.groups)
	m.table.Visited(id, g, a.groups, time.Now())
}

func (e effects) Reached(worker, request uint64, kind errkind.Kind, text string) {
	if w := e.m.workers.byID[worker]; w != nil {
		e.m.send(w.proc, &workermsg.Reached{ID: request, Kind: kind, Text: text}, -1)
	}
}

func (e effects) Introduce(from, request, owner, id uint64, user string, groups []string) {
	m := e.m
	host := m.workers.byID[owner]
	if host == nil {
		e.Reached(from, request, errkind.Unavailable, "The mail process of this user has ended. Try again in a moment.")
		return
	}
	theirs, his, err := ipc.Pair()
	if err != nil {
		m.log.Errorf("no channel between users' processes: %v", err)
		e.Reached(from, request, errkind.Unavailable, "Try again in a moment.")
		go m.post(func() { m.table.GuestEnded(owner, id, time.Now()) }) // his worker never heard of him
		return
	}
	defer unix.Close(theirs)
	defer unix.Close(his)
	if !m.send(host.proc, &workermsg.Guest{ID: id, User: user, Groups: groups}, his) {
		host.kill() // who waits for it is told when it is reaped
	}
	if w := m.workers.byID[from]; w != nil {
		m.send(w.proc, &workermsg.Reached{ID: request}, theirs)
	}
}
