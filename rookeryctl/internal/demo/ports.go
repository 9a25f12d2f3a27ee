package demo

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"rookery/internal/settings"
	"rookery/rookeryctl/internal/control"
)

// service is one listener of the demo.
type service struct {
	name string // imap, imaps, pop3, pop3s
	port int
}

func (s service) addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

func services(basePort int) []service {
	var out []service
	for _, name := range []string{"imap", "imaps", "pop3", "pop3s"} {
		out = append(out, service{name, basePort + settings.Ports()[name]})
	}
	return out
}

// checkPorts finds a port that is taken before anything is started.
func checkPorts(basePort int) error {
	for _, s := range services(basePort) {
		l, err := net.Listen("tcp4", s.addr())
		if err == nil {
			l.Close()
			continue
		}
		if errors.Is(err, syscall.EACCES) {
			return control.Errorf(control.ExitNoPerm, "port %d needs root; choose a larger --base-port", s.port)
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return control.Errorf(control.ExitUnavailable, "port %d: %v", s.port, err)
		}
		return control.Errorf(control.ExitUnavailable, "port %d (%s) is taken by %s; end that process, or choose another --base-port", s.port, s.name, holder(s.port))
	}
	return nil
}

// holder names the process that listens on a TCP port.
func holder(port int) string {
	inodes := map[string]bool{}
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		listening(name, port, inodes)
	}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		fds, err := os.ReadDir(filepath.Join(dir, "fd"))
		if err != nil {
			continue
		}
		for _, fd := range fds {
			target, err := os.Readlink(filepath.Join(dir, "fd", fd.Name()))
			inode, isSocket := strings.CutPrefix(target, "socket:[")
			if err == nil && isSocket && inodes[strings.TrimSuffix(inode, "]")] {
				comm, _ := os.ReadFile(filepath.Join(dir, "comm"))
				return fmt.Sprintf("process %s (%s)", filepath.Base(dir), strings.TrimSpace(string(comm)))
			}
		}
	}
	return "a process that this user may not see"
}

// listening collects the inodes of sockets that listen (state 0A) on port.
func listening(name string, port int, inodes map[string]bool) {
	f, err := os.Open(name)
	if err != nil {
		return
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) < 10 || fields[3] != "0A" {
			continue
		}
		_, hexPort, _ := strings.Cut(fields[1], ":")
		if n, err := strconv.ParseUint(hexPort, 16, 16); err == nil && int(n) == port {
			inodes[fields[9]] = true
		}
	}
}
