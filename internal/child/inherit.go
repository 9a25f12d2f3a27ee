package child

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"rookery/internal/ipc"
)

// Env is what a child was born with. Descriptors are -1 where the role has
// none; all are the caller's, and close-on-exec.
type Env struct {
	Role      Role
	Control   int
	Log       int
	Root      int // for sandbox.Options.Root
	Auth      int
	Tool      int
	Listeners []Listener
	Settings  []byte // for settings.Decode
	Strict    bool   // for sandbox.Options.Strict
	Spare     bool   // a worker that waits for its user
}

// Listener is one listening socket.
type Listener struct {
	ListenerInfo
	FD int
}

// Inherit takes what master handed over. It is to be called once, before
// anything else opens a descriptor: whatever is open beyond standard error and
// is not the role's, is closed.
func Inherit(role Role) (*Env, error) {
	want := slots(role)
	if want == nil {
		return nil, fmt.Errorf("no role %q", role)
	}
	e := &Env{Role: role, Control: -1, Log: -1, Root: -1, Auth: -1, Tool: -1}
	for _, s := range want {
		if err := take(s); err != nil {
			return nil, err
		}
		if s == slotTool { // its number is the auth channel's in other roles
			e.Tool = s.fd
			continue
		}
		e.put(s.fd)
	}
	b, err := ReadSealed(FDSettings)
	if err != nil {
		return nil, notOurs(slotSettings, err)
	}
	unix.Close(FDSettings)
	info, err := DecodeInfo(b)
	if err != nil {
		return nil, notOurs(slotSettings, err)
	}
	e.Settings, e.Strict, e.Spare = info.Settings, info.Strict, info.Spare
	if len(info.Listeners) > 0 && role != Login {
		return nil, fmt.Errorf("%s was given listeners", role)
	}
	for i, l := range info.Listeners {
		s := slot{FDListen + i, "listener " + l.Name, ipc.FDListener}
		if err := take(s); err != nil {
			return nil, err
		}
		e.Listeners = append(e.Listeners, Listener{l, s.fd})
	}
	return e, closeOthers(e.descriptors())
}

func (e *Env) put(fd int) {
	switch fd {
	case FDControl:
		e.Control = fd
	case FDLog:
		e.Log = fd
	case FDRoot:
		e.Root = fd
	case FDAuth:
		e.Auth = fd
	}
}

// descriptors lists what is the child's to keep.
func (e *Env) descriptors() []int {
	fds := []int{0, 1, 2}
	for _, fd := range []int{e.Control, e.Log, e.Root, e.Auth, e.Tool} {
		if fd >= 0 {
			fds = append(fds, fd)
		}
	}
	for _, l := range e.Listeners {
		fds = append(fds, l.FD)
	}
	return fds
}

// take checks one inherited descriptor and keeps it from any program that is
// run from here.
func take(s slot) error {
	if err := ipc.CheckFD(s.fd, s.kind); err != nil {
		return notOurs(s, err)
	}
	unix.CloseOnExec(s.fd)
	return nil
}

func notOurs(s slot, err error) error {
	return fmt.Errorf("descriptor %d (%s) is not what rookery passes on: %w; this program is started by rookery, not by hand", s.fd, s.name, err)
}

// closeOthers closes what is open and not in keep. The runtime's own poller is
// left alone.
func closeOthers(keep []int) error {
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return closeBlind(keep)
	}
	for _, n := range names {
		fd, err := strconv.Atoi(n.Name())
		if err != nil || slices.Contains(keep, fd) {
			continue
		}
		link, err := os.Readlink("/proc/self/fd/" + n.Name())
		if err != nil || strings.HasPrefix(link, "anon_inode:[event") { // ReadDir's own is closed already
			continue
		}
		unix.Close(fd)
	}
	return nil
}

// closeBlind does the same where there is no /proc: an epoll or eventfd has no
// file type.
func closeBlind(keep []int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("own descriptors: %w", err)
	}
	if limit.Cur > 1<<20 {
		return errors.New("own descriptors: there is no /proc, and the limit of open files is too high to try all")
	}
	for fd := range int(limit.Cur) {
		var st unix.Stat_t
		if slices.Contains(keep, fd) || unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT == 0 {
			continue
		}
		unix.Close(fd)
	}
	return nil
}
