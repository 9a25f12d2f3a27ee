package worker

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Stream is a client's stream: its own socket, or one end of a socketpair
// behind which login keeps TLS. Read and Write may run at the same time.
type Stream struct {
	file    *os.File
	pending []byte // what login had read already
	in, out atomic.Uint64
	raw     *rawlog // nil for almost everybody
	rest    *resting
}

// NewStream takes ownership of fd. pending comes before what is read from it.
func NewStream(fd int, pending []byte) (*Stream, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("stream: %w", err)
	}
	return &Stream{file: os.NewFile(uintptr(fd), "client"), pending: pending}, nil
}

// Read reads; io.EOF at the client's end, also where it broke off.
func (s *Stream) Read(p []byte) (int, error) {
	if len(s.pending) > 0 {
		n := copy(p, s.pending)
		s.pending = s.pending[n:]
		s.came(p[:n])
		return n, nil
	}
	n, err := s.file.Read(p)
	s.came(p[:n])
	if errors.Is(err, unix.ECONNRESET) {
		err = io.EOF
	}
	return n, err
}

func (s *Stream) came(p []byte) {
	s.in.Add(uint64(len(p)))
	if s.rest != nil {
		s.rest.stir()
	}
	if s.raw != nil {
		_, _ = s.raw.in.Write(p) // a full disk must not end the session
	}
}

// Write writes all of p.
func (s *Stream) Write(p []byte) (int, error) {
	if s.raw != nil {
		_, _ = s.raw.out.Write(p)
	}
	n, err := s.file.Write(p)
	s.out.Add(uint64(n))
	return n, err
}

// WriteNow writes as much of p as the system takes at once, and says how much that
// was: a deadline, which costs more than the write, is only needed for the rest.
// A deadline that has passed is os.ErrDeadlineExceeded all the same.
func (s *Stream) WriteNow(p []byte) (n int, err error) {
	conn, err := s.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = conn.Write(func(fd uintptr) bool {
		for n < len(p) {
			m, err := unix.Write(int(fd), p[n:])
			switch {
			case err == unix.EINTR:
				continue
			case err == unix.EAGAIN:
				return true
			case err != nil:
				failed = fmt.Errorf("write: %w", err)
				return true
			}
			n += m
		}
		return true
	})
	s.out.Add(uint64(n))
	if s.raw != nil {
		_, _ = s.raw.out.Write(p[:n])
	}
	return n, cmp.Or(err, failed)
}

// SendFile writes n bytes of the file from off on, without copying them
// through this process.
func (s *Stream) SendFile(file uintptr, off, n int64) error {
	if s.raw != nil {
		return s.copyFile(int(file), off, n)
	}
	raw, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = raw.Write(func(to uintptr) bool {
		for n > 0 {
			sent, err := unix.Sendfile(int(to), int(file), &off, int(min(n, 1<<20)))
			switch {
			case err == unix.EINTR:
				continue
			case err == unix.EAGAIN:
				return false
			case err != nil:
				sendErr = err
				return true
			case sent == 0: // the file is shorter than it was
				sendErr = io.ErrUnexpectedEOF
				return true
			}
			n -= int64(sent)
			s.out.Add(uint64(sent))
		}
		return true
	})
	if err != nil {
		return err
	}
	return sendErr
}

// copyFile is SendFile for a session whose words are written down.
func (s *Stream) copyFile(file int, off, n int64) error {
	buf := make([]byte, 64<<10)
	for n > 0 {
		got, err := unix.Pread(file, buf[:min(n, int64(len(buf)))], off)
		if err == unix.EINTR {
			continue
		}
		if err != nil || got == 0 {
			return fmt.Errorf("read: %w", cmp.Or(err, io.ErrUnexpectedEOF))
		}
		if _, err := s.Write(buf[:got]); err != nil {
			return err
		}
		off += int64(got)
		n -= int64(got)
	}
	return nil
}

// SetReadDeadline bounds reads; the zero time takes the bound away.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.file.SetReadDeadline(t) }

// SetWriteDeadline bounds writes; the zero time takes the bound away.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.file.SetWriteDeadline(t) }

// Octets are those read and written so far.
func (s *Stream) Octets() (in, out uint64) { return s.in.Load(), s.out.Load() }

// Close closes the stream; a Read that waits ends with os.ErrClosed.
func (s *Stream) Close() error { return s.file.Close() }
