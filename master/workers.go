package master

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/child"
	"rookery/internal/child/spawn"
	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/ipc/workermsg"
	"rookery/internal/sandbox"
	"rookery/internal/settings"
	"rookery/master/internal/handover"
	"rookery/master/internal/policy"
)

// workers are the users' processes.
type workers struct {
	byID  map[uint64]*workerProc // by the table's numbers
	info  map[child.Role]*os.File
	spare map[child.Role]*os.File
	pools []*pool
	users map[uint32]string // a user seen under a uid; "" if several were
}

// workerProc is one of them. A spare has no table number yet.
type workerProc struct {
	*proc
	table uint64
}

// pool is the spares of one shared identity and protocol.
type pool struct {
	role   child.Role
	id     policy.Identity
	spares []*workerProc
	last   time.Time
}

const (
	maxPools    = 8
	refillAfter = 15 * time.Millisecond // later than the login that used one up
)

func workerRole(service string) child.Role {
	if service == "pop3" {
		return child.POP3Worker
	}
	return child.IMAPWorker
}

// setWorkers makes the settings of workers to come.
func (m *master) setWorkers() error {
	info, spare := map[child.Role]*os.File{}, map[child.Role]*os.File{}
	for role, of := range map[child.Role]settings.Role{child.IMAPWorker: settings.RoleIMAP, child.POP3Worker: settings.RolePOP3} {
		i := child.Info{Strict: m.strict, Settings: m.cfg.set.ForRole(of)}
		var err error
		if info[role], err = sealInfo(role, i); err != nil {
			return err
		}
		i.Spare = true
		if spare[role], err = sealInfo(role, i); err != nil {
			return err
		}
	}
	m.workers.info, m.workers.spare = info, spare
	m.dropSpares()
	return nil
}

// maxSeen bounds the list of uids; beyond it all count as shared.
const maxSeen = 100_000

// shared reports whether several users' mail is kept under the uid: as the
// settings say, or as was seen.
func (w *workers) shared(uid uint32, set *settings.Set) bool {
	user, seen := w.users[uid]
	return policy.SharesUID(set) || seen && user == ""
}

// private reports whether nobody else's mail is kept under the user's uid, as
// far as master can know: he is a system user, and nobody else was seen.
func (w *workers) private(id policy.Identity, user string) bool {
	was, seen := w.users[id.UID]
	if seen && (was != user || was == "") {
		w.users[id.UID] = ""
		return false
	}
	if !seen && len(w.users) >= maxSeen {
		return false
	}
	w.users[id.UID] = user
	return id.System
}

// startWorker begins a worker for the table. What may block (directories, the
// fork) is done elsewhere.
func (m *master) startWorker(number uint64, k handover.Key, r redeemmsg.Record) {
	id, dirs, private, err := m.placeUser(k.Service, r)
	if err != nil {
		go m.post(func() { m.refuseWorker(number, k, err) }) // the table must not be called back
		return
	}
	role := workerRole(k.Service)
	go func() {
		roots, err := m.openRoots(role, id, dirs)
		m.post(func() {
			if err != nil {
				m.refuseWorker(number, k, err)
				return
			}
			m.bindWorker(number, role, id, &workermsg.User{Record: r, PrivateUID: private}, roots)
		})
	}()
}

// placeUser says whom a process that works on a user's mail runs as, and where.
func (m *master) placeUser(service string, r redeemmsg.Record) (id policy.Identity, dirs policy.Dirs, private bool, err error) {
	if id, err = m.cfg.policy.Identify(r); err != nil {
		return id, dirs, false, err
	}
	if dirs, err = m.cfg.policy.Dirs(service, r); err != nil {
		return id, dirs, false, err
	}
	private = m.workers.private(id, r.User)
	if m.root && !private && len(m.missing) > 0 && !settings.MailSharedUIDUnprotected.Get(m.cfg.set) {
		err = &policy.Refusal{Reason: fmt.Sprintf("uid %d is not this user's alone, and this system lacks what keeps users of one uid apart: %s; give him a uid of his own, or set mail_shared_uid_unprotected = true and read what is lost", id.UID, strings.Join(m.missing, ", "))}
	}
	return id, dirs, private, err
}

// refuseWorker tells the log why, and the client whom to ask.
func (m *master) refuseWorker(number uint64, k handover.Key, err error) {
	m.log.Errorf("no %s process for user %s: %v", k.Service, k.User, err)
	var r *policy.Refusal
	if errors.As(err, &r) {
		m.table.WorkerFailed(number, policy.Kind, "This account cannot be used; please ask the administrator.")
		return
	}
	m.table.WorkerFailed(number, errkind.Unavailable, "The mail process cannot be started. Try again later.")
}

// openRoot is a directory for a worker.
type openRoot struct {
	policy.Root
	fd    int
	inbox bool // the directory of an mbox: rookery-dotlock's alone
}

func closeRoots(roots []openRoot) {
	for _, r := range roots {
		unix.Close(r.fd)
	}
}

// openRoots opens a user's directories; what is missing a process of his uid
// makes. It does not run in the loop.
func (m *master) openRoots(role child.Role, id policy.Identity, d policy.Dirs) ([]openRoot, error) {
	missing := slices.DeleteFunc(slices.Clone(d.Make), exists)
	if len(missing) > 0 {
		if err := m.makeDirs(role, id, missing); err != nil {
			return nil, err
		}
	}
	all := append(slices.Clone(d.Make), slices.DeleteFunc(slices.Clone(d.Also), func(p string) bool { return !exists(p) })...)
	var out []openRoot
	for _, r := range policy.Roots(all, d.Home) {
		fd, _, err := sandbox.OpenRoot(r.Path)
		if err != nil {
			closeRoots(out)
			return nil, err
		}
		out = append(out, openRoot{Root: r, fd: fd})
		if m.root {
			if err := checkOwner(fd, r.Path, id); err != nil {
				closeRoots(out)
				return nil, err
			}
		}
	}
	if r, ok, err := openInbox(d); err != nil {
		closeRoots(out)
		return nil, err
	} else if ok {
		out = append(out, r)
	}
	return out, nil
}

// checkOwner refuses a directory that somebody else could change under the user's
// process: it must be the user's own, root's, or one that a group of his may write
// (mail_access_groups). Else a home that a wrong userdb names, or one that was
// left by a user whose uid is another's now, would be told by an obscure error of
// the worker, or not at all.
func checkOwner(fd int, path string, id policy.Identity) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	byGroup := st.Mode&0o020 != 0 && (st.Gid == id.GID || slices.Contains(id.Groups, st.Gid))
	if st.Uid == id.UID || st.Uid == 0 || byGroup {
		return nil
	}
	return &policy.Refusal{Reason: fmt.Sprintf("%s belongs to uid %d and group %d, not to the user, who has uid %d and gid %d: chown it, or mend what the userdb says", path, st.Uid, st.Gid, id.UID, id.GID)}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil || !errors.Is(err, fs.ErrNotExist) // another error is told when it is opened
}

// makeDirs has a process with the user's uid make directories.
func (m *master) makeDirs(role child.Role, id policy.Identity, paths []string) error {
	spec := spawn.Spec{Program: m.progs[role], Args: append([]string{child.MakeDirsFlag}, paths...), Env: spawn.Environment(1, 0, ""), PID: m.pidNS}
	if m.root {
		spec.Cred = &spawn.Cred{UID: id.UID, GID: id.GID, Groups: id.Groups}
	}
	c, err := m.workFork.Start(spec)
	if err != nil {
		return err
	}
	timer := time.AfterFunc(30*time.Second, func() { _ = c.Signal(unix.SIGKILL) })
	text, _ := io.ReadAll(io.LimitReader(c.Stderr, 4<<10))
	c.Stderr.Close()
	e, err := c.Wait()
	timer.Stop()
	switch {
	case err != nil:
		return err
	case e.Code != 0 || e.Signal != 0:
		return fmt.Errorf("making %s: %s (make it for him, or give uid %d the right to)", strings.Join(paths, ", "), or(strings.TrimSpace(string(text)), e.String()), id.UID)
	}
	return nil
}

// bindWorker takes a spare or starts a process, and tells it whose it is.
func (m *master) bindWorker(number uint64, role child.Role, id policy.Identity, user *workermsg.User, roots []openRoot) {
	defer closeRoots(roots)
	if m.stop.began {
		m.table.WorkerFailed(number, errkind.Unavailable, "The server is shutting down.")
		return
	}
	w := m.takeSpare(role, id, user.PrivateUID)
	fresh := w == nil
	if fresh {
		w = &workerProc{proc: &proc{}}
		if err := m.launchWorker(w, role, id, m.workers.info[role], user.Record.User); err != nil {
			m.log.Errorf("no %s process for user %s: %v", role, user.Record.User, err)
			m.table.WorkerFailed(number, errkind.Unavailable, "The mail process cannot be started. Try again later.")
			return
		}
	}
	w.table, w.user = number, user.Record.User
	m.workers.byID[number] = w
	if err := m.sendRoots(w.proc, id, roots); err != nil {
		m.log.Errorf("%s[%d] of %s: %v", w.role, w.pid, w.user, err)
	}
	m.send(w.proc, user, -1)
	if m.debug != "" {
		m.send(w.proc, &workermsg.LogDebug{Filter: m.debug}, -1)
	}
	if !fresh {
		m.logd.named(w.logID, w.pid, w.user)
		m.table.WorkerStarted(number, w.pid)
	}
	if m.root && m.workers.shared(id.UID, m.cfg.set) {
		m.refill(role, id)
	}
}

func (m *master) launchWorker(w *workerProc, role child.Role, id policy.Identity, info *os.File, user string) error {
	w.onMsg = func(msg ipc.Message, _ int) { m.fromWorker(w, msg) }
	w.onGone = func(err error) {
		if w.table == 0 {
			w.kill()
			return
		}
		m.table.WorkerBroken(w.table, why(err))
	}
	w.onExit = func(e spawn.Exit) { m.workerGone(w, e) }
	var cred *spawn.Cred
	if m.root {
		cred = &spawn.Cred{UID: id.UID, GID: id.GID, Groups: id.Groups}
	}
	return m.launch(birth{role: role, proto: workermsg.Protocol, info: info, cred: cred, forker: m.workFork, procs: maxProcs(2),
		memory: settings.WorkerMemoryLimit.Get(m.cfg.set), user: user}, w.proc, func(err error) { m.workerLaunched(w, err) })
}

func (m *master) workerLaunched(w *workerProc, err error) {
	switch {
	case err != nil && w.table == 0:
		m.removeSpare(w)
		m.log.Errorf("%s cannot be started: %v", w.role, err)
	case err != nil:
		delete(m.workers.byID, w.table)
		m.log.Errorf("no %s process for user %s: %v", w.role, w.user, err)
		m.table.WorkerFailed(w.table, errkind.Unavailable, "The mail process cannot be started. Try again later.")
	case w.table != 0:
		m.table.WorkerStarted(w.table, w.pid)
	}
}

func (m *master) fromWorker(w *workerProc, msg ipc.Message) {
	if r, ok := msg.(*workermsg.Ready); ok {
		w.ready = true
		if !r.Spare {
			m.table.WorkerReady(w.table)
		}
		return
	}
	if w.table == 0 {
		m.log.Errorf("%s[%d] is killed: a spare sent %T", w.role, w.pid, msg)
		w.kill()
		return
	}
	now := time.Now()
	switch msg := msg.(type) {
	case *workermsg.Taken:
		m.table.Taken(w.table, msg.ID, now)
	case *workermsg.Ended:
		m.table.Ended(w.table, msg.ID, now)
	case *workermsg.AskExit:
		m.table.AskExit(w.table)
	case *workermsg.Changed:
		m.table.Changed(w.table)
	default:
		m.fromSharing(w, msg)
	}
}

func (m *master) workerGone(w *workerProc, e spawn.Exit) {
	clean := e == spawn.Exit{}
	m.sharing.gone(w.proc)
	if w.table == 0 {
		m.removeSpare(w)
		if !clean && !w.doomed {
			m.ended(w.proc, e)
		}
		return
	}
	delete(m.workers.byID, w.table)
	if !clean && !w.doomed {
		m.log.Errorf("%s[%d] of %s ended: %s", w.role, w.pid, w.user, e)
	}
	m.table.WorkerGone(w.table, clean, time.Now())
	if m.stop.began {
		m.stopping()
	}
}
