package master

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/child"
	"rookery/internal/child/spawn"
	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/settings"
	"rookery/master/internal/watch"
)

// authService is authd.
type authService struct {
	proc *proc // nil while there is none
	done func(problem string)
}

// answer is authd's to a lookup or a test of rookeryctl, or to a guest's wish.
type answer struct {
	record *redeemmsg.Record
	groups []string // of a guest
	kind   errkind.Kind
	text   string
}

// startAuthd starts authd, passes the files that it may not open, and gives
// each login process a new auth channel.
func (m *master) startAuthd() error {
	info, err := sealInfo(child.Authd, child.Info{Strict: m.strict, Settings: m.cfg.set.ForRole(settings.RoleAuthd)})
	if err != nil {
		return err
	}
	p := &proc{}
	p.onMsg = func(msg ipc.Message, _ int) { m.fromAuthd(p, msg) }
	p.onGone = func(err error) {
		if text := why(err); text != "" {
			m.log.Errorf("authd[%d]: %s", p.pid, text)
		}
		p.kill()
	}
	p.onExit = func(e spawn.Exit) { m.authdGone(p, e) }
	err = m.launch(birth{role: child.Authd, proto: redeemmsg.Protocol, info: info, cred: m.cred(m.cfg.auth), forker: m.forker,
		net: true, procs: maxProcs(64)}, p, func(err error) {
		if err != nil {
			m.serviceFailed(child.Authd, err)
		}
	})
	if err != nil {
		return err
	}
	m.authd.proc = p
	m.passShares()
	m.passFiles()
	m.pairs.passAll(m)
	for _, l := range m.logins.all {
		m.reattach(l)
	}
	if m.debug != "" {
		m.send(p, &redeemmsg.LogDebug{Filter: m.debug}, -1)
	}
	return nil
}

func (m *master) authdGone(p *proc, e spawn.Exit) {
	if m.authd.proc == p {
		m.authd.proc = nil
	}
	m.table.AuthGone()
	m.pairs.authGone()
	m.sharing.authGone(m)
	for id, f := range m.asked {
		delete(m.asked, id)
		f(answer{kind: errkind.Unavailable, text: "authd ended"})
	}
	if m.authd.done != nil {
		m.authd.done("authd ended: " + e.String())
	}
	if m.stop.began {
		return
	}
	m.ended(p, e)
	m.again(p, e, func() {
		if err := m.startAuthd(); err != nil {
			m.serviceFailed(child.Authd, err)
		}
	})
}

func (m *master) fromAuthd(p *proc, msg ipc.Message) {
	switch msg := msg.(type) {
	case *redeemmsg.Ready:
		p.ready = true
		m.advance()
	case *redeemmsg.Redeemed:
		if f := m.asked[msg.ID]; f != nil {
			delete(m.asked, msg.ID)
			f(answer{record: &msg.Record})
			return
		}
		m.redeemed(msg)
	case *redeemmsg.Failed:
		if f := m.asked[msg.ID]; f != nil {
			delete(m.asked, msg.ID)
			f(answer{kind: msg.Kind, text: msg.Text})
			return
		}
		m.log.Warnf("a login process showed a ticket that authd refuses: %s", msg.Text)
		m.table.TicketRefused(msg.ID, msg.Kind)
	case *redeemmsg.PairChecked:
		m.pairs.checked(m, msg)
	case *redeemmsg.SettingsDone:
		if m.authd.done != nil && msg.Generation == m.cfg.generation+1 {
			m.authd.done(msg.Problem)
		}
	default:
		m.fromAuthdShares(msg)
	}
}

// askID marks numbers of such questions: the table's never reach it.
const askID = 1 << 63

// ask sends a question of rookeryctl, or of a worker that wants to see another's mail.
func (m *master) ask(make func(id uint64) ipc.Message, f func(answer)) {
	if m.authd.proc == nil {
		f(answer{kind: errkind.Unavailable, text: "authd is being started anew; try again in a moment"})
		return
	}
	id := m.id() | askID
	m.asked[id] = f
	if !m.send(m.authd.proc, make(id), -1) {
		delete(m.asked, id)
		f(answer{kind: errkind.Unavailable, text: "authd does not answer"})
		return
	}
	m.after(time.Minute, func() {
		if f := m.asked[id]; f != nil {
			delete(m.asked, id)
			f(answer{kind: errkind.Unavailable, text: "authd did not answer within a minute"})
		}
	})
}

// authFile is a file that authd may not open itself.
type authFile struct{ use, name, path string }

// authFiles lists them: the system's databases, and passwd-files whose path
// has no variables (the others authd must be able to read).
func authFiles(set *settings.Set) []authFile {
	var out []authFile
	add := func(db settings.Database) {
		path := db.PasswdFile.String()
		switch {
		case db.Driver == "shadow":
			out = append(out, authFile{"shadow", db.Name, "/etc/shadow"})
		case db.Driver == "passwd":
			out = append(out, authFile{"passwd", db.Name, "/etc/passwd"})
		case db.Driver == "passwd-file" && path != "" && !strings.Contains(path, "%"):
			out = append(out, authFile{"passwd-file", db.Name, path})
		}
	}
	for _, db := range set.Passdbs() {
		add(db.Database)
	}
	for _, db := range set.Userdbs() {
		add(db.Database)
	}
	return out
}

// passFiles passes them all, and has them watched.
func (m *master) passFiles() {
	for _, f := range authFiles(m.cfg.set) {
		m.passFile(f)
	}
	m.watchFiles()
}

// passFile opens a file as root and passes it. One that is missing is authd's
// to name when somebody needs it.
func (m *master) passFile(f authFile) {
	go func() {
		file, err := os.OpenFile(f.path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
		m.post(func() {
			if err != nil {
				m.log.Errorf("%s of %q: %v", f.use, f.name, err)
				return
			}
			defer file.Close()
			if err := ipc.CheckFD(int(file.Fd()), ipc.FDFile); err != nil {
				m.log.Errorf("%s: %v", f.path, err)
				return
			}
			m.send(m.authd.proc, &redeemmsg.File{Use: f.use, Name: f.name, Path: f.path}, int(file.Fd()))
		})
	}()
}

// watchEvery is how often files are looked at.
const watchEvery = time.Second

// watchFiles hands the watching goroutine the present list.
func (m *master) watchFiles() {
	var sets []*watch.Set
	for _, f := range authFiles(m.cfg.set) {
		sets = append(sets, &watch.Set{Paths: []string{f.path}, Reported: func() { m.post(func() { m.passFile(f) }) }})
	}
	for _, s := range m.pairs.specs(m.cfg.set) {
		sets = append(sets, &watch.Set{Paths: []string{s.cert, s.key}, Reported: func() { m.post(func() { m.pairs.changed(m, s) }) }})
	}
	select {
	case <-m.watchSet: // a list that was not taken yet
	default:
	}
	m.watchSet <- sets
}

// watching looks at the files, since a stat may block. It does not run in the loop.
func (m *master) watching() {
	var w watch.Watcher
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		select {
		case sets := <-m.watchSet:
			w.Clear()
			for _, s := range sets {
				w.Add(s)
			}
		case <-t.C:
			w.Poll()
		case <-m.done:
			return
		}
	}
}
