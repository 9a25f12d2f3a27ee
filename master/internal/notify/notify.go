// Package notify tells the service manager how master is: sd_notify(3)'s
// datagrams. Without NOTIFY_SOCKET all calls do nothing.
package notify

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Manager is the service manager's socket.
type Manager struct {
	fd       int
	addr     *unix.SockaddrUnix
	Watchdog time.Duration // how often it wants a sign; 0: never
}

// New reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID by getenv, which is
// os.Getenv but in tests.
func New(getenv func(string) string) (*Manager, error) {
	name := getenv("NOTIFY_SOCKET")
	if name == "" {
		return &Manager{fd: -1}, nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	m := &Manager{fd: fd, addr: &unix.SockaddrUnix{Name: name}} // a leading @ is an abstract name, as unix takes it
	usec, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64)
	pid := getenv("WATCHDOG_PID")
	if err == nil && usec > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		m.Watchdog = time.Duration(usec) * time.Microsecond / 2
	}
	return m, nil
}

func (m *Manager) send(text string) {
	if m.fd >= 0 {
		// Nobody to tell if it fails; the manager sees a missing sign itself.
		_ = unix.Sendto(m.fd, []byte(text), unix.MSG_NOSIGNAL, m.addr)
	}
}

// Ready says that the start, or a reload, is over.
func (m *Manager) Ready(status string) { m.send("READY=1\nSTATUS=" + status) }

// Reloading says that a reload begins. monotonic is CLOCK_MONOTONIC.
func (m *Manager) Reloading(monotonic time.Duration) {
	m.send(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", monotonic.Microseconds()))
}

// Stopping says that the end begins.
func (m *Manager) Stopping() { m.send("STOPPING=1") }

// Alive is the watchdog's sign.
func (m *Manager) Alive() { m.send("WATCHDOG=1") }

// Monotonic reads CLOCK_MONOTONIC.
func Monotonic() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
