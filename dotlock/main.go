// Dotlock opens one user's mbox for his worker and makes its lock file: what
// only the group mail may do in /var/mail.
//
// PRIVILEGES: the user's uid, the group of mail_privileged_group. It sees the
// one directory in which the mbox lies (by Landlock and by chroot, where they can be had).
// TALKS TO: master (which file), one worker (open, look, lock, unlock).
// NEVER: takes a path or a name from a worker, follows a link, reads a message,
// opens another file than the mbox and its lock file, has a socket to the network.
//
// It ends when the worker does, and takes the lock file with it.
package dotlock

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"rookery/internal/child"
	"rookery/internal/ipc"
	"rookery/internal/ipc/dotlockmsg"
	"rookery/internal/mailstore/mbox/spool"
	"rookery/internal/sandbox"
	"rookery/internal/vfs"
)

// Main runs the program and gives its exit code.
func Main() int {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", child.Dotlock.Program(), err)
		return 70 // EX_SOFTWARE
	}
	return 0
}

func run() error {
	env, err := child.Inherit(child.Dotlock)
	if err != nil {
		return err
	}
	ctl, err := ipc.NewConn(env.Control, dotlockmsg.Control, ipc.FromClient)
	if err != nil {
		return err
	}
	worker, err := ipc.NewConn(env.Tool, dotlockmsg.Protocol, ipc.FromServer)
	if err != nil {
		return err
	}
	unix.Umask(0o007) // a mailbox is its user's and the group's
	root, err := unix.FcntlInt(uintptr(env.Root), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return err
	}
	rule, err := unix.FcntlInt(uintptr(env.Root), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return err
	}
	_, err = sandbox.Enter(sandbox.Dotlock, sandbox.Options{Root: root, Rules: []sandbox.Rule{{FD: rule, Access: sandbox.ReadWrite}}, KeepDirs: []int{env.Root}, Strict: env.Strict})
	if err != nil {
		return err
	}
	m, _, err := ctl.Recv()
	if err != nil {
		return err
	}
	file, ok := m.(*dotlockmsg.File)
	if !ok {
		return fmt.Errorf("master sent %T", m)
	}
	s, err := newServer(vfs.FromDir(uintptr(env.Root), ""), file)
	if err != nil {
		return err
	}
	defer s.close()
	return s.serve(worker)
}

// server is the one file.
type server struct {
	spool spool.Path
	held  bool
}

func newServer(dir vfs.FS, file *dotlockmsg.File) (*server, error) {
	if clean, err := vfs.CleanPath(file.Name); err != nil || clean == "." || clean != vfs.Base(clean) {
		return nil, fmt.Errorf("master named the file %q, which is no name in one directory", file.Name)
	}
	return &server{spool: spool.Path{FS: dir, Name: file.Name, Stale: file.Stale, Mode: 0o660}}, nil
}

// close gives back a lock that the worker left.
func (s *server) close() {
	if s.held {
		_ = s.spool.Unlock()
	}
}

// serve answers until the worker is gone.
func (s *server) serve(worker *ipc.Conn) error {
	for {
		m, _, err := worker.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		a, f := s.answer(m)
		fd := -1
		if f != nil {
			if n, ok := f.Fd(); ok {
				fd = int(n)
			}
		}
		err = worker.Send(a, fd)
		if f != nil {
			f.Close()
		}
		if errors.Is(err, unix.EPIPE) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// answer does what one message asks for.
func (s *server) answer(m ipc.Message) (*dotlockmsg.Answer, vfs.File) {
	a := &dotlockmsg.Answer{}
	var f vfs.File
	var err error
	switch m := m.(type) {
	case *dotlockmsg.Open:
		f, a.Writable, err = s.spool.Open(m.Create)
		if err == nil {
			err = s.mine(f)
		}
		if err != nil && f != nil {
			f.Close()
			f = nil
		}
	case *dotlockmsg.Stat:
		var info vfs.Info
		if info, err = s.spool.Stat(); err == nil {
			a.Size, a.Mode, a.ModTime, a.ChangeTime = info.Size, uint32(info.Mode), info.ModTime, info.ChangeTime
			a.Inode, a.Device, a.Links = info.Inode, info.Device, info.Links
		}
	case *dotlockmsg.Lock:
		if s.held {
			err = unix.EEXIST
		} else if err = s.spool.Lock(m.Own); err == nil {
			s.held = true
		}
	case *dotlockmsg.Unlock:
		if s.held {
			err = s.spool.Unlock()
			s.held = err != nil
		}
	default:
		err = unix.EBADMSG
	}
	a.Errno = errno(err)
	return a, f
}

// mine refuses a file that is not the user's: the group may open others', too.
func (s *server) mine(f vfs.File) error {
	fd, ok := f.Fd()
	if !ok {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(fd), &st); err != nil {
		return err
	}
	if int(st.Uid) != os.Getuid() || st.Nlink > 1 {
		return unix.EACCES
	}
	return nil
}

func errno(err error) uint32 {
	var n unix.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &n):
		return uint32(n)
	}
	return uint32(unix.EIO)
}
