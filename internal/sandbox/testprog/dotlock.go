package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/mailstore/mbox/spool"
	"rookery/internal/vfs"
)

// dotlock does to the mbox in dir what the helper does for a worker: makes and
// opens it, looks at it, takes and gives back its lock file, breaks one of a dead
// process, respects a living one's, and passes the descriptor.
func dotlock(dir string, channel int) error {
	disk, err := vfs.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer disk.Close()
	p := &spool.Path{FS: disk, Name: "mbox", Stale: time.Hour, Mode: 0o660}
	f, writable, err := p.Open(true)
	if err != nil || !writable {
		return fmt.Errorf("open: %v, writable %v", err, writable)
	}
	defer f.Close()
	if _, err := p.Stat(); err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	for _, own := range []bool{false, true} {
		if err := p.Lock(own); err != nil {
			return fmt.Errorf("lock: %w", err)
		}
		if err := p.Lock(false); !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("locked twice: %v", err)
		}
		if own { // what a dead process of ours left
			if err := p.Lock(true); err != nil {
				return fmt.Errorf("break a lock: %w", err)
			}
		}
		if err := p.Unlock(); err != nil {
			return fmt.Errorf("unlock: %w", err)
		}
	}
	fd, ok := f.Fd()
	if !ok {
		return os.ErrInvalid
	}
	if err := unix.Sendmsg(channel, []byte("x"), unix.UnixRights(int(fd)), nil, 0); err != nil {
		return fmt.Errorf("pass the mbox: %w", err)
	}
	buf, oob := make([]byte, 8), make([]byte, 128)
	n, oobn, _, _, err := unix.Recvmsg(channel, buf, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil || n != 1 {
		return fmt.Errorf("answer: %d, %v", n, err)
	}
	return closeRights(oob[:oobn])
}
