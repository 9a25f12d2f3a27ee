package listen

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"rookery/internal/ipc"
)

// Given is a listening socket that systemd handed over.
type Given struct {
	Name    string // FileDescriptorName=
	Address string
	FD      int
}

// firstGiven is where systemd begins (sd_listen_fds(3)).
const firstGiven = 3

// FromSystemd takes the sockets that LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES
// announce; getenv is os.Getenv but in tests. To be called before anything
// else opens descriptors.
func FromSystemd(getenv func(string) string) ([]Given, error) {
	return fromSystemd(getenv, firstGiven)
}

func fromSystemd(getenv func(string) string, first int) ([]Given, error) {
	if getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(getenv("LISTEN_FDS"))
	if err != nil || n < 0 || n > 256 {
		return nil, fmt.Errorf("LISTEN_FDS=%q", getenv("LISTEN_FDS"))
	}
	names := strings.Split(getenv("LISTEN_FDNAMES"), ":")
	var out []Given
	for i := range n {
		g := Given{FD: first + i}
		if i < len(names) {
			g.Name = names[i]
		}
		if err := ipc.CheckFD(g.FD, ipc.FDListener); err != nil {
			return nil, fmt.Errorf("systemd's socket %q (descriptor %d): %w", g.Name, g.FD, err)
		}
		unix.CloseOnExec(g.FD)
		if err := unix.SetNonblock(g.FD, true); err != nil {
			return nil, err
		}
		if g.Address, err = address(g.FD); err != nil {
			return nil, fmt.Errorf("systemd's socket %q: %w", g.Name, err)
		}
		out = append(out, g)
	}
	return out, nil
}

// address is where a socket listens, as Socket.Address writes it.
func address(fd int) (string, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return "", err
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)).String(), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)).String(), nil
	case *unix.SockaddrUnix:
		return sa.Name, nil
	}
	return "", fmt.Errorf("address family %T", sa)
}
