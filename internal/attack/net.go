package attack

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

func inet(addr string) (unix.Sockaddr, error) {
	if addr == "" {
		return nil, ErrNoTarget
	}
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}, nil
}

// withSocket makes a socket for f.
func withSocket(domain, kind int, f func(fd int) error) error {
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return f(fd)
}

// netAttempts reach for the network and for other programs' sockets.
func netAttempts() []Attempt {
	return []Attempt{
		{"connect by IP", Seccomp | NetNS | LandlockFull, func(e *Env) error {
			to, err := inet(e.TCP)
			if err != nil {
				return err
			}
			return withSocket(unix.AF_INET, unix.SOCK_STREAM, func(fd int) error { return unix.Connect(fd, to) })
		}},
		{"UDP", Seccomp | NetNS, func(e *Env) error {
			to, err := inet(e.UDP)
			if err != nil {
				return err
			}
			return withSocket(unix.AF_INET, unix.SOCK_DGRAM, func(fd int) error {
				return unix.Sendto(fd, []byte("out"), 0, to)
			})
		}},
		{"connect by Unix path", Seccomp | Chroot, func(e *Env) error {
			if e.UnixPath == "" {
				return ErrNoTarget
			}
			return withSocket(unix.AF_UNIX, unix.SOCK_STREAM, func(fd int) error {
				return unix.Connect(fd, &unix.SockaddrUnix{Name: e.UnixPath})
			})
		}},
		{"connect by abstract name", Seccomp | NetNS | LandlockFull, func(e *Env) error {
			if e.Abstract == "" {
				return ErrNoTarget
			}
			return withSocket(unix.AF_UNIX, unix.SOCK_STREAM, func(fd int) error {
				return unix.Connect(fd, &unix.SockaddrUnix{Name: "@" + e.Abstract})
			})
		}},
		{"netlink", Seccomp, func(*Env) error {
			return withSocket(unix.AF_NETLINK, unix.SOCK_RAW, func(int) error { return nil })
		}},
		{"bind and listen", Seccomp | LandlockFull, func(*Env) error {
			return withSocket(unix.AF_INET, unix.SOCK_STREAM, func(fd int) error {
				if err := unix.Bind(fd, &unix.SockaddrInet4{}); err != nil {
					return err
				}
				return unix.Listen(fd, 1)
			})
		}},
		// Inherited sockets belong to the namespace in which they were made: no
		// empty network namespace holds these two, nor the two after them.
		{"client socket: disconnect, connect", Seccomp | LandlockFull, func(e *Env) error { return reconnect(e, e.Streams, 1) }},
		{"listener: disconnect, connect", Seccomp | LandlockFull, func(e *Env) error { return reconnect(e, e.Listeners, 0) }},
		// Landlock (as of ABI 7) rules TCP and forgets MPTCP, which is what Go's
		// listeners are.
		{"MPTCP listener: disconnect, connect", Seccomp, func(e *Env) error { return reconnect(e, e.Multipath, 0) }},
		// connect by another name: a listener that was shut down is a socket
		// without a connection, and MSG_FASTOPEN connects one. Landlock asks at
		// connect(2) alone (as of ABI 7).
		{"listener: shutdown, MSG_FASTOPEN", Seccomp, func(e *Env) error {
			to, err := inet(e.TCP)
			if err != nil {
				return err
			}
			fd, err := take(e.Listeners, 1)
			if err != nil {
				return err
			}
			// The program closes a listener that fails; ours stays.
			if own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err == nil {
				fd = own
			}
			if err := unix.Shutdown(fd, unix.SHUT_RDWR); err != nil {
				return err
			}
			if err := unix.SetNonblock(fd, false); err != nil {
				return err
			}
			err = unix.Sendmsg(fd, []byte("out"), nil, to, unix.MSG_FASTOPEN|unix.MSG_NOSIGNAL)
			if err == unix.EINTR { // a signal of the runtime while it connects
				return nil
			}
			return err
		}},
		{"client socket: another ULP", Seccomp, func(e *Env) error {
			fd, err := take(e.Streams, 0)
			if err != nil {
				return err
			}
			err = unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_ULP, "none-of-that-name")
			if err == unix.ENOENT || err == unix.ENOTCONN { // asked, and there is none: it reached the kernel
				return nil
			}
			return err
		}},
		// A lingering socket blocks whoever closes its last copy.
		{"client socket: linger", Seccomp, func(e *Env) error {
			fd, err := take(e.Streams, 0)
			if err != nil {
				return err
			}
			return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 3600})
		}},
		{"descriptors through a fresh pair", Seccomp, func(*Env) error {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			unix.Close(pair[0])
			return unix.Close(pair[1])
		}},
	}
}

// reconnect takes a TCP socket from its peer, or from listening, and connects
// it to an address of our choice.
func reconnect(e *Env, fds []int, i int) error {
	to, err := inet(e.TCP)
	if err != nil {
		return err
	}
	fd, err := take(fds, i)
	if err != nil {
		return err
	}
	// AF_UNSPEC ends the connection, or the listening.
	unspec := [16]byte{}
	if err := connectRaw(fd, unspec[:]); err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		return err
	}
	return unix.Connect(fd, to)
}
