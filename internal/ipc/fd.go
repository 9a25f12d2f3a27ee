package ipc

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Pair makes a channel's two ends, close-on-exec and non-blocking.
func Pair() (a, b int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, -1, fmt.Errorf("socketpair: %w", err)
	}
	return fds[0], fds[1], nil
}

// StreamPair makes the two ends of a relayed client stream.
func StreamPair() (a, b int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, -1, fmt.Errorf("socketpair: %w", err)
	}
	return fds[0], fds[1], nil
}

// CheckFD reports whether fd is what kind says.
func CheckFD(fd int, kind FDKind) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("descriptor %d: %w", fd, err)
	}
	wantMode := map[FDKind]uint32{FDStream: unix.S_IFSOCK, FDPacket: unix.S_IFSOCK, FDListener: unix.S_IFSOCK, FDDatagram: unix.S_IFSOCK,
		FDFile: unix.S_IFREG, FDDir: unix.S_IFDIR}[kind]
	if st.Mode&unix.S_IFMT != wantMode {
		return fmt.Errorf("the descriptor is of type %o, not %o", st.Mode&unix.S_IFMT, wantMode)
	}
	if wantMode != unix.S_IFSOCK {
		return nil
	}
	typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return fmt.Errorf("descriptor %d: %w", fd, err)
	}
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return fmt.Errorf("descriptor %d: %w", fd, err)
	}
	listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return fmt.Errorf("descriptor %d: %w", fd, err)
	}
	return checkSocket(typ, domain, listening != 0, kind)
}

func checkSocket(typ, domain int, listening bool, kind FDKind) error {
	switch {
	case domain != unix.AF_UNIX && domain != unix.AF_INET && domain != unix.AF_INET6:
		return fmt.Errorf("the socket is of domain %d", domain)
	case kind == FDPacket && (typ != unix.SOCK_SEQPACKET || domain != unix.AF_UNIX):
		return fmt.Errorf("the socket is not a channel (type %d, domain %d)", typ, domain)
	case kind == FDDatagram && (typ != unix.SOCK_DGRAM || domain != unix.AF_UNIX):
		return fmt.Errorf("the socket is not a Unix datagram socket (type %d, domain %d)", typ, domain)
	case kind != FDPacket && kind != FDDatagram && typ != unix.SOCK_STREAM:
		return fmt.Errorf("the socket is not a stream (type %d)", typ)
	case kind == FDListener != listening:
		return fmt.Errorf("listening is %t", listening)
	}
	return nil
}

// Cred is who is at the other end of a Unix socket.
type Cred struct {
	PID      int32
	UID, GID uint32
}

// PeerCred asks the kernel who connected (SO_PEERCRED). On master's socketpairs
// it always shows master.
func PeerCred(fd int) (Cred, error) {
	u, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Cred{}, fmt.Errorf("SO_PEERCRED: %w", err)
	}
	return Cred{u.Pid, u.Uid, u.Gid}, nil
}
