package listen

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"rookery/internal/settings"
)

// freePort is one that was free a moment ago on the address.
func freePort(t *testing.T, addr string) int {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	if err != nil {
		t.Skip("no " + addr + " here")
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func reach(t *testing.T, network, addr string) bool {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err == nil {
		c.Close()
	}
	return err == nil
}

func TestOpenAndReload(t *testing.T) {
	port := freePort(t, "127.0.0.1")
	path := filepath.Join(t.TempDir(), "imap")
	tables := []settings.Listener{
		{Name: "imap", Protocol: "imap", Addresses: []string{"127.0.0.1"}, Port: port, Haproxy: true},
		{Name: "local", Protocol: "pop3", Path: path, Mode: 0o660},
	}
	first, err := Open(tables, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	tcp := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if len(first.Sockets) != 2 || first.Sockets[0].Address != tcp || !first.Sockets[0].Info.Haproxy || first.Sockets[1].Info.Name != "local" {
		t.Errorf("%+v %+v", first.Sockets[0], first.Sockets[1])
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o660 {
		t.Errorf("%v %v", st, err)
	}
	if !reach(t, "tcp", tcp) || !reach(t, "unix", path) {
		t.Error("nobody listens")
	}
	if _, err := Open(tables[:1], nil, nil); !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), tcp) {
		t.Errorf("%v", err)
	}
	if _, err := Open(tables[1:], nil, nil); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("%v", err)
	}
	// A reload keeps the socket, whatever else of the table changed.
	tables[0].Protocol = "pop3"
	second, err := Open(tables[:1], first, nil)
	if err != nil {
		t.Fatal(err)
	}
	if second.Sockets[0].FD != first.Sockets[0].FD || second.Sockets[0].Info.Protocol != "pop3" {
		t.Errorf("%+v", second.Sockets[0])
	}
	// One that cannot be opened changes nothing.
	bad := append(tables[:1:1], settings.Listener{Name: "bad", Path: "/nonexistent/x"})
	if _, err := Open(bad, second, nil); err == nil || !reach(t, "tcp", tcp) {
		t.Errorf("%v", err)
	}
	first.CloseUnused(second)
	if _, err := os.Stat(path); !os.IsNotExist(err) || !reach(t, "tcp", tcp) {
		t.Errorf("%v: the unused one is to go, the other to stay", err)
	}
	second.CloseUnused(nil)
	if reach(t, "tcp", tcp) {
		t.Error("it still listens")
	}
}

func TestIPv6IsItsOwn(t *testing.T) {
	port := freePort(t, "::1")
	set, err := Open([]settings.Listener{{Name: "a", Protocol: "imap", Addresses: []string{"*", "::"}, Port: port}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer set.CloseUnused(nil)
	if len(set.Sockets) != 2 || set.Sockets[1].Address != "[::]:"+strconv.Itoa(port) {
		t.Fatalf("%+v", set.Sockets)
	}
	if only, err := unix.GetsockoptInt(set.Sockets[1].FD, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY); err != nil || only != 1 {
		t.Error(only, err)
	}
}

func TestUnixSocketFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close() // a dead server's
	fd, err := BindUnix(path, unix.SOCK_STREAM, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	plain := filepath.Join(dir, "file")
	if err := os.WriteFile(plain, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := BindUnix(plain, unix.SOCK_STREAM, 0o600); err == nil {
		t.Error("a file was replaced")
	}
	if b, _ := os.ReadFile(plain); string(b) != "mine" {
		t.Errorf("%q", b)
	}
}

func TestSystemd(t *testing.T) {
	// Descriptors as systemd gives them: one after another.
	base := 200
	var addrs []string
	for i := range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		if err := unix.Dup3(int(f.Fd()), base+i, 0); err != nil {
			t.Fatal(err)
		}
		f.Close()
		defer unix.Close(base + i)
		a, _ := address(base + i)
		addrs = append(addrs, a)
	}
	env := map[string]string{"LISTEN_PID": strconv.Itoa(os.Getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "imap:other"}
	getenv := func(k string) string { return env[k] }
	given, err := fromSystemd(getenv, base)
	if err != nil || len(given) != 2 || given[0].Name != "imap" || given[1].Address != addrs[1] {
		t.Fatalf("%+v %v", given, err)
	}
	if flags, _ := unix.FcntlInt(uintptr(base), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
		t.Error("it would leak into every child")
	}
	_, portText, _ := net.SplitHostPort(addrs[1])
	port, _ := strconv.Atoi(portText)
	set, err := Open([]settings.Listener{
		{Name: "a", Protocol: "imap", Addresses: []string{"*"}, Port: 1, Systemd: "imap"},
		{Name: "b", Protocol: "pop3", Addresses: []string{"127.0.0.1"}, Port: port},
	}, nil, given)
	if err != nil || len(set.Sockets) != 2 || set.Sockets[0].FD != base || set.Sockets[1].FD != base+1 || len(set.Warnings) != 0 {
		t.Errorf("%+v %v", set, err)
	}
	set, err = Open(nil, nil, given)
	if err != nil || len(set.Warnings) != 2 || !strings.Contains(set.Warnings[0], `"imap"`) {
		t.Errorf("%+v %v", set, err)
	}
	env["LISTEN_PID"] = "1"
	if given, err := fromSystemd(getenv, base); given != nil || err != nil {
		t.Errorf("%v %v: they are for another process", given, err)
	}
	env["LISTEN_PID"], env["LISTEN_FDS"] = strconv.Itoa(os.Getpid()), "3"
	if _, err := fromSystemd(getenv, base); err == nil {
		t.Error("a descriptor that is not there was taken")
	}
}
