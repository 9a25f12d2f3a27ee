// Package listen opens the sockets of the [[listener]] tables: IPv4, IPv6 and
// Unix ones, and takes those that systemd hands over.
//
// Only master uses it: login processes inherit the sockets. It must never
// accept a connection.
package listen

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"rookery/internal/child"
	"rookery/internal/settings"
)

// Socket is one listening socket.
type Socket struct {
	Info    child.ListenerInfo
	Address string // "0.0.0.0:143", "[::]:143", or a path
	FD      int
	mode    uint32
	unlink  bool // we made the file
	given   bool // systemd's: kept open, a later reload may want it again
}

// Set is the sockets of one reading of the settings.
type Set struct {
	Sockets  []*Socket
	Warnings []string
}

// backlog is how many connections may wait; the system's somaxconn is a
// further limit.
const backlog = 1024

// Open opens what the tables ask for. Sockets of old with the same address are
// kept open and used again; given are those from systemd. Nothing is changed
// if there is an error: sockets that were opened are closed again.
func Open(tables []settings.Listener, old *Set, given []Given) (*Set, error) {
	o := &opener{set: &Set{}, given: given, used: make([]bool, len(given))}
	if old != nil {
		o.old = old.Sockets
	}
	for _, l := range tables {
		if err := o.table(l); err != nil {
			for _, s := range o.fresh {
				s.close()
			}
			return nil, err
		}
	}
	if len(o.set.Sockets) > child.MaxListeners {
		for _, s := range o.fresh {
			s.close()
		}
		return nil, fmt.Errorf("%d listening sockets are too many, %d can be had", len(o.set.Sockets), child.MaxListeners)
	}
	for i, g := range given {
		if !o.used[i] {
			o.set.Warnings = append(o.set.Warnings, fmt.Sprintf("systemd's socket %q (%s) fits no [[listener]]: name it with systemd = %q, or give the listener that address", g.Name, g.Address, g.Name))
		}
	}
	return o.set, nil
}

type opener struct {
	set   *Set
	old   []*Socket
	fresh []*Socket
	given []Given
	used  []bool
}

func (o *opener) table(l settings.Listener) error {
	info := child.ListenerInfo{Name: l.Name, Protocol: l.Protocol, Haproxy: l.Haproxy}
	if o.named(l.Systemd, info) {
		return nil
	}
	if l.Path != "" {
		return o.add(&Socket{Info: info, Address: l.Path, FD: -1, mode: l.Mode})
	}
	for _, a := range l.Addresses {
		if a == "*" {
			a = "0.0.0.0"
		}
		addr, err := netip.ParseAddr(a)
		if err != nil {
			return fmt.Errorf("listener %q: address %q: %w", l.Name, a, err)
		}
		err = o.add(&Socket{Info: info, Address: netip.AddrPortFrom(addr, uint16(l.Port)).String(), FD: -1})
		if addr.Is6() && addr.IsUnspecified() && noIPv6(err) && len(l.Addresses) > 1 {
			o.set.Warnings = append(o.set.Warnings, fmt.Sprintf("listener %q: this system has no IPv6; \"::\" is left out", l.Name))
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func noIPv6(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)
}

// named takes systemd's sockets of that name.
func (o *opener) named(name string, info child.ListenerInfo) bool {
	found := false
	for i, g := range o.given {
		if name != "" && g.Name == name {
			o.used[i], found = true, true
			o.set.Sockets = append(o.set.Sockets, &Socket{Info: info, Address: g.Address, FD: g.FD, given: true})
		}
	}
	return found
}

// add takes the socket from systemd or from before, or opens it.
func (o *opener) add(s *Socket) error {
	for i, g := range o.given {
		if g.Address == s.Address {
			o.used[i] = true
			s.FD, s.given = g.FD, true
			o.set.Sockets = append(o.set.Sockets, s)
			return nil
		}
	}
	for _, was := range o.old {
		if was.Address == s.Address {
			s.FD, s.unlink = was.FD, was.unlink
			if s.mode != was.mode {
				if err := unix.Chmod(s.Address, s.mode); err != nil {
					return fmt.Errorf("listener %q: %s: %w", s.Info.Name, s.Address, err)
				}
			}
			o.set.Sockets = append(o.set.Sockets, s)
			return nil
		}
	}
	if err := s.open(); err != nil {
		return fmt.Errorf("listener %q: %s: %w", s.Info.Name, s.Address, err)
	}
	o.fresh = append(o.fresh, s)
	o.set.Sockets = append(o.set.Sockets, s)
	return nil
}

// CloseUnused closes the sockets of s that next does not use. Processes that
// have inherited them keep theirs.
func (s *Set) CloseUnused(next *Set) {
	for _, was := range s.Sockets {
		if next == nil || !slices.ContainsFunc(next.Sockets, func(n *Socket) bool { return n.FD == was.FD }) {
			was.close()
		}
	}
}

func (s *Socket) close() {
	if s.given {
		return
	}
	unix.Close(s.FD)
	if s.unlink {
		os.Remove(s.Address)
	}
}

func (s *Socket) open() error {
	if strings.HasPrefix(s.Address, "/") {
		return s.openUnix()
	}
	ap, err := netip.ParseAddrPort(s.Address)
	if err != nil {
		return err
	}
	domain, sa := unix.AF_INET, unix.Sockaddr(nil)
	if ap.Addr().Is4() {
		sa = &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}
	} else {
		domain = unix.AF_INET6
		zone, err := zoneID(ap.Addr().Zone())
		if err != nil {
			return err
		}
		sa = &unix.SockaddrInet6{Port: int(ap.Port()), Addr: ap.Addr().As16(), ZoneId: zone}
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil && domain == unix.AF_INET6 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	s.FD = fd
	return nil
}

func zoneID(zone string) (uint32, error) {
	if zone == "" {
		return 0, nil
	}
	i, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, fmt.Errorf("interface %q: %w", zone, err)
	}
	return uint32(i.Index), nil
}

// openUnix replaces a socket that nobody listens on any more, and no other file.
func (s *Socket) openUnix() error {
	fd, err := BindUnix(s.Address, unix.SOCK_STREAM, s.mode)
	if err != nil {
		return err
	}
	s.FD, s.unlink = fd, true
	return nil
}

// BindUnix makes a listening Unix socket at path, of the type, with the file
// mode. One that nobody listens on any more is replaced, no other file is.
func BindUnix(path string, typ int, mode uint32) (int, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err == nil {
		if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
			return -1, errors.New("there is a file of that name, which is no socket")
		}
		if answers(path, typ) {
			return -1, unix.EADDRINUSE
		}
		if err := unix.Unlink(path); err != nil {
			return -1, err
		}
	}
	fd, err := unix.Socket(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	// Until chmod nobody but the owner gets in: fchmod before bind sets the mode that bind gives.
	for _, step := range []func() error{
		func() error { return unix.Fchmod(fd, 0o600&mode) },
		func() error { return unix.Bind(fd, &unix.SockaddrUnix{Name: path}) },
		func() error { return unix.Chmod(path, mode) },
		func() error { return unix.Listen(fd, backlog) },
	} {
		if err := step(); err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	return fd, nil
}

// answers reports whether somebody listens at path.
func answers(path string, typ int) bool {
	fd, err := unix.Socket(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrUnix{Name: path}) != unix.ECONNREFUSED
}
