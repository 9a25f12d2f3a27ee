package master

import (
	"fmt"
	"path"

	"golang.org/x/sys/unix"

	"rookery/internal/child"
	"rookery/internal/child/spawn"
	"rookery/internal/ipc"
	"rookery/internal/ipc/dotlockmsg"
	"rookery/internal/ipc/workermsg"
	"rookery/internal/sandbox"
	"rookery/internal/settings"
	"rookery/master/internal/policy"
)

// openDotlock opens the program rookery-dotlock. Mail that needs it is refused without it.
func (m *master) openDotlock(dir string) {
	if p, err := spawn.Open(dir, child.Dotlock.Program()); err == nil {
		m.progs[child.Dotlock] = p
	}
}

// openInbox opens the directory of an mbox that lies in no root of the user's;
// ok is false if he has none. It does not run in the loop.
func openInbox(d policy.Dirs) (r openRoot, ok bool, err error) {
	if d.Inbox == "" {
		return r, false, nil
	}
	fd, _, err := sandbox.OpenRoot(path.Dir(d.Inbox))
	return openRoot{Root: policy.Root{Path: d.Inbox}, fd: fd, inbox: true}, err == nil, err
}

// sendRoots tells a process where the user's mail is. An mbox elsewhere gets a
// rookery-dotlock, whose channel the process is given.
func (m *master) sendRoots(p *proc, id policy.Identity, roots []openRoot) error {
	for _, r := range roots {
		if !r.inbox {
			m.send(p, &workermsg.Root{Path: r.Path, Chroot: r.Chroot}, r.fd)
			continue
		}
		fd, err := m.startDotlock(id, p.user, r)
		if err != nil {
			return fmt.Errorf("rookery-dotlock for %s: %w", r.Path, err)
		}
		m.send(p, &workermsg.Inbox{}, fd)
		unix.Close(fd)
	}
	return nil
}

// startDotlock starts the process for one mbox and gives the worker's end of its
// channel. It runs as the user, in the group that may make lock files; it ends
// when nobody holds the worker's end.
func (m *master) startDotlock(id policy.Identity, user string, r openRoot) (int, error) {
	if m.progs[child.Dotlock] == nil {
		return -1, fmt.Errorf("the program is not there; install it and restart the server")
	}
	var cred *spawn.Cred
	if m.root {
		cred = &spawn.Cred{UID: id.UID, GID: id.GID}
		if name := settings.MailPrivilegedGroup.Get(m.cfg.set); name != "" {
			gid, ok := m.cfg.policy.Idents.Group(name)
			if !ok || gid == 0 {
				return -1, fmt.Errorf("mail_privileged_group names %q, which /etc/group does not have, or which is root's", name)
			}
			cred.GID = gid
		}
	}
	info, err := sealInfo(child.Dotlock, child.Info{Strict: m.strict})
	if err != nil {
		return -1, err
	}
	worker, theirs, err := ipc.Pair()
	if err != nil {
		return -1, err
	}
	dir, err := unix.FcntlInt(uintptr(r.fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		unix.Close(worker)
		unix.Close(theirs)
		return -1, err
	}
	p := &proc{}
	p.onMsg = func(msg ipc.Message, _ int) {
		m.log.Errorf("dotlock[%d] is killed: it sent %T", p.pid, msg)
		p.kill()
	}
	p.onGone = func(error) {}
	p.onExit = func(e spawn.Exit) {
		if e != (spawn.Exit{}) && !p.doomed {
			m.log.Errorf("dotlock[%d] of %s ended: %s", p.pid, p.user, e)
		}
	}
	err = m.launch(birth{role: child.Dotlock, proto: dotlockmsg.Control, info: info, cred: cred, dir: dir, extra: []int{theirs}, forker: m.workFork, procs: 1, user: user}, p, func(err error) {
		unix.Close(theirs)
		unix.Close(dir)
		info.Close()
		if err != nil {
			m.log.Errorf("no rookery-dotlock for user %s: %v", user, err)
		}
	})
	if err != nil {
		unix.Close(worker)
		unix.Close(theirs)
		unix.Close(dir)
		return -1, err
	}
	m.send(p, &dotlockmsg.File{Name: path.Base(r.Path), Stale: settings.MboxDotlockChangeTimeout.Get(m.cfg.set)}, -1)
	return worker, nil
}
