package worker

import (
	"fmt"
	"io/fs"
	"sync"

	"golang.org/x/sys/unix"

	"rookery/internal/ipc"
	"rookery/internal/ipc/dotlockmsg"
	"rookery/internal/vfs"
)

// inbox is an mbox that rookery-dotlock opens.
type inbox struct {
	mu   sync.Mutex // one question at a time
	conn *ipc.Conn
}

func newInbox(fd int) (*inbox, error) {
	conn, err := ipc.NewConn(fd, dotlockmsg.Protocol, ipc.FromClient)
	if err != nil {
		return nil, err
	}
	return &inbox{conn: conn}, nil
}

// ask sends a question and takes the answer.
func (b *inbox) ask(op string, m ipc.Message) (*dotlockmsg.Answer, int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fail := func(err error) (*dotlockmsg.Answer, int, error) {
		return nil, -1, &fs.PathError{Op: op, Path: "INBOX", Err: err}
	}
	if err := b.conn.Send(m, -1); err != nil {
		return fail(fmt.Errorf("rookery-dotlock: %w", err))
	}
	got, fd, err := b.conn.Recv()
	if err != nil {
		return fail(fmt.Errorf("rookery-dotlock: %w", err))
	}
	a, ok := got.(*dotlockmsg.Answer)
	if !ok {
		return fail(fmt.Errorf("rookery-dotlock sent %T", got))
	}
	if a.Errno != 0 {
		if fd >= 0 {
			unix.Close(fd)
		}
		return fail(unix.Errno(a.Errno))
	}
	return a, fd, nil
}

// Open is mbox.Spool's.
func (b *inbox) Open(create bool) (vfs.File, bool, error) {
	a, fd, err := b.ask("open", &dotlockmsg.Open{Create: create})
	if err != nil {
		return nil, false, err
	}
	if fd < 0 {
		return nil, false, &fs.PathError{Op: "open", Path: "INBOX", Err: unix.EBADF}
	}
	return vfs.FromFile(uintptr(fd), "INBOX"), a.Writable, nil
}

// Stat is mbox.Spool's.
func (b *inbox) Stat() (vfs.Info, error) {
	a, _, err := b.ask("stat", &dotlockmsg.Stat{})
	if err != nil {
		return vfs.Info{}, err
	}
	return vfs.Info{Size: a.Size, Mode: fs.FileMode(a.Mode), ModTime: a.ModTime, ChangeTime: a.ChangeTime, Inode: a.Inode, Device: a.Device, Links: a.Links}, nil
}

// Lock is mbox.Spool's.
func (b *inbox) Lock(own bool) error {
	_, _, err := b.ask("lock", &dotlockmsg.Lock{Own: own})
	return err
}

// Unlock is mbox.Spool's.
func (b *inbox) Unlock() error {
	_, _, err := b.ask("unlock", &dotlockmsg.Unlock{})
	return err
}
