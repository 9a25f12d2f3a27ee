package master

import (
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/child"
	"rookery/internal/child/spawn"
	"rookery/internal/ipc"
	"rookery/internal/ipc/ctlmsg"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/ipc/workermsg"
	"rookery/internal/settings"
	"rookery/master/internal/policy"
)

// tools are the processes that work on a user's mail for rookeryctl. They run
// as workers do: as the user, in his sandbox. master never reads what they and
// rookeryctl say to each other.
type tools struct {
	procs   []*proc
	held    map[string]int // users who get no session now, and for how many of rookeryctl
	missing error          // why there is no program for it
}

// maxTools bounds how many run at once: each is a process, and rookeryctl may
// be called in a loop.
const maxTools = 64

// heldText is for a client who comes while his mail is held.
const heldText = "This mailbox is being worked on; try again in some minutes."

// holdLimit is how long the user's sessions may take to end.
const holdLimit = 30 * time.Second

// openMailTool opens the program. The mail is served without it too.
func (m *master) openMailTool(dir string) {
	p, err := spawn.Open(dir, child.MailTool.Program())
	if err != nil {
		m.tools.missing = err
		return
	}
	m.progs[child.MailTool] = p
}

// mailTool starts a process for one user and gives rookeryctl the other end of
// its channel.
func (m *master) mailTool(r *ctlmsg.Request, to func(reply)) {
	m.toolFor(r.Args[0], to, func(rec redeemmsg.Record) {
		rec, err := m.settle("imap", rec)
		if err != nil {
			to(refusedTool(rec.User, err))
			return
		}
		m.placeTool(rec, nil, nil, to)
	})
}

// toolFor asks who a user is, for one more process that works on his mail.
func (m *master) toolFor(user string, to func(reply), place func(redeemmsg.Record)) {
	switch {
	case m.tools.missing != nil:
		to(failed(exitUnavailable, "%v; install it and restart the server", m.tools.missing))
		return
	case m.stop.began:
		to(failed(exitUnavailable, "the server is shutting down"))
		return
	case len(m.tools.procs) >= maxTools:
		to(failed(75, "%d commands work on users' mail already; try again when some have ended", maxTools))
		return
	}
	m.ask(func(id uint64) ipc.Message { return &redeemmsg.Lookup{ID: id, User: user, Service: "imap"} }, func(a answer) {
		if a.record == nil {
			to(a.reply())
			return
		}
		if m.tools.held[a.record.User] > 0 {
			to(failed(75, "another command has the mail of %s for itself; try again when it has ended", a.record.User))
			return
		}
		place(*a.record)
	})
}

// placeTool checks what authd says, as for a worker, and opens the user's
// directories. more, if not nil, adds to them; body, if not nil, is what
// rookeryctl is told.
func (m *master) placeTool(r redeemmsg.Record, more func(*policy.Dirs), body any, to func(reply)) {
	id, dirs, private, err := m.placeUser("imap", r)
	if err == nil && more != nil {
		more(&dirs)
	}
	if err != nil {
		to(refusedTool(r.User, err))
		return
	}
	go func() {
		roots, err := m.openRoots(child.MailTool, id, dirs)
		m.post(func() {
			if err != nil {
				to(refusedTool(r.User, err))
				return
			}
			defer closeRoots(roots)
			m.startTool(id, &workermsg.User{Record: r, PrivateUID: private}, roots, func(a reply) {
				if a.exit == 0 && body != nil {
					a.body = body
				}
				to(a)
			})
		})
	}()
}

func refusedTool(user string, err error) reply {
	exit := exitOSErr
	var r *policy.Refusal
	if errors.As(err, &r) {
		exit = exitConfig
	}
	return failed(exit, "no process can work on the mail of %s: %v", user, err)
}

func (m *master) startTool(id policy.Identity, user *workermsg.User, roots []openRoot, to func(reply)) {
	if m.stop.began {
		to(failed(exitUnavailable, "the server is shutting down"))
		return
	}
	operator, theirs, err := ipc.Pair()
	if err != nil {
		to(failed(exitOSErr, "%v", err))
		return
	}
	p := &proc{}
	p.onMsg = func(msg ipc.Message, _ int) { m.fromTool(p, msg) }
	p.onGone = func(err error) {
		if text := why(err); text != "" {
			m.log.Errorf("mailtool[%d] of %s is ended: %s", p.pid, p.user, text)
		}
		p.kill()
	}
	p.onExit = func(e spawn.Exit) { m.toolGone(p, e) }
	var cred *spawn.Cred
	if m.root {
		cred = &spawn.Cred{UID: id.UID, GID: id.GID, Groups: id.Groups}
	}
	info, err := sealInfo(child.MailTool, child.Info{Strict: m.strict, Settings: m.cfg.set.ForRole(settings.RoleIMAP)})
	if err == nil {
		err = m.launch(birth{role: child.MailTool, proto: workermsg.Protocol, info: info, cred: cred, extra: []int{theirs}, forker: m.workFork,
			procs: maxProcs(2), memory: settings.WorkerMemoryLimit.Get(m.cfg.set), user: user.Record.User}, p, func(err error) {
			unix.Close(theirs)
			m.toolLaunched(p, operator, err, to)
		})
	}
	if err != nil {
		unix.Close(operator)
		unix.Close(theirs)
		to(failed(exitOSErr, "%v", err))
		return
	}
	m.tools.procs = append(m.tools.procs, p)
	if err := m.sendRoots(p, id, roots); err != nil {
		m.log.Errorf("mailtool[%d] of %s: %v", p.pid, p.user, err)
	}
	m.send(p, user, -1)
	if m.debug != "" {
		m.send(p, &workermsg.LogDebug{Filter: m.debug}, -1)
	}
}

func (m *master) toolLaunched(p *proc, operator int, err error, to func(reply)) {
	if err != nil {
		unix.Close(operator)
		m.forgetTool(p)
		to(failed(exitOSErr, "%v", err))
		return
	}
	m.log.Infof("mailtool[%d] works on the mail of %s for the administrator", p.pid, p.user)
	to(reply{body: map[string]string{"user": p.user}, fd: operator})
}

func (m *master) fromTool(p *proc, msg ipc.Message) {
	switch msg := msg.(type) {
	case *workermsg.Publish:
		if !m.publish(p, msg) {
			m.log.Errorf("mailtool[%d] is killed: it told what its user shares without a pause", p.pid)
			p.kill()
		}
	case *workermsg.Ready:
		p.ready = true
	case *workermsg.Changed:
		m.table.WakeUser(p.user)
	default:
		m.log.Errorf("mailtool[%d] is killed: it sent %T", p.pid, msg)
		p.kill()
	}
}

func (m *master) toolGone(p *proc, e spawn.Exit) {
	m.sharing.gone(p)
	m.forgetTool(p)
	if e != (spawn.Exit{}) && !p.doomed {
		m.log.Errorf("mailtool[%d] of %s ended: %s", p.pid, p.user, e)
	}
	if m.stop.began {
		m.stopping()
	}
}

func (m *master) forgetTool(p *proc) {
	for i, q := range m.tools.procs {
		if q == p {
			m.tools.procs = append(m.tools.procs[:i:i], m.tools.procs[i+1:]...)
			return
		}
	}
}

// stopTools lets them end what they do within the time.
func (m *master) stopTools(within time.Duration) {
	for _, p := range m.tools.procs {
		p.exiting = true
		m.send(p, &workermsg.Shutdown{Within: within}, -1)
	}
}

// holds are the users that one connection of rookeryctl holds. The loop's.
type holds struct {
	users   []string
	granted bool    // the last of them has no session left
	move    *moving // what its MoveTool is for; nil if it has none
}

// mailHold ends a user's sessions and keeps him out, until endHolds: what
// rookeryctl does then must not meet a session, whatever becomes of rookeryctl.
// Of the user's tools only the one of the rookeryctl that asks may be left.
func (m *master) mailHold(h *holds, user string, to func(reply)) {
	h.users = append(h.users, user)
	m.tools.held[user]++
	m.table.Kick(user, heldText)
	m.table.KickGuests(user, heldText)
	deadline := time.Now().Add(holdLimit)
	var look func()
	look = func() {
		m.table.LetUserGo(user)
		n := m.table.WorkersOf(user) // one that is being started was told the place of before
		n += len(m.toolsOf(user))
		switch {
		case n <= 1:
			h.granted = true
			to(reply{body: struct{}{}})
		case time.Now().After(deadline):
			to(failed(75, "%d processes of %s are there after %s, one may be; try again, or look with rookeryctl who", n, user, holdLimit))
		default:
			m.after(50*time.Millisecond, look)
		}
	}
	look()
}

func (m *master) toolsOf(users ...string) (procs []*proc) {
	for _, p := range m.tools.procs {
		if slices.Contains(users, p.user) {
			procs = append(procs, p)
		}
	}
	return procs
}

// endHolds lets the connection's users in again: rookeryctl is done, or has gone,
// and may have been killed. Its tool may still be at what a session must not meet,
// so that they come in once it has ended; then done is called.
func (m *master) endHolds(h *holds, done func()) {
	deadline := time.Now().Add(holdLimit)
	var look func()
	look = func() {
		left := m.toolsOf(h.users...)
		if !h.granted || len(left) == 0 {
			m.letIn(h)
			done()
			return
		}
		if time.Now().After(deadline) {
			for _, p := range left {
				m.log.Errorf("mailtool[%d] of %s is killed: it works on though nobody listens", p.pid, p.user)
				p.kill()
			}
			deadline = time.Now().Add(holdLimit)
		}
		m.after(10*time.Millisecond, look)
	}
	look()
}

func (m *master) letIn(h *holds) {
	for _, user := range h.users {
		if m.tools.held[user]--; m.tools.held[user] <= 0 {
			delete(m.tools.held, user)
		}
	}
	h.users, h.granted = nil, false
}
