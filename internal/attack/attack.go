package attack

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Guard is one thing that can stop an attempt.
type Guard uint16

// The guards. Those of the sandbox itself come first; the parent gives the rest.
const (
	Chroot       Guard = 1 << iota
	Capabilities       // none is held
	Undumpable         // the process's own files in /proc belong to root
	LandlockFS         // files, as from ABI 2
	LandlockFull       // TCP (ABI 4) and scopes (ABI 6) as well
	Seccomp            // the call, or this argument of it, is in no role's table
	NetNS
	PidNS
	IPCNS
	UID // the victim runs under another uid
)

var guardNames = []string{"chroot", "capabilities", "undumpable", "landlock", "landlock(full)", "seccomp", "netns", "pidns", "ipcns", "uid"}

// String lists the guards.
func (g Guard) String() string {
	var names []string
	for i, n := range guardNames {
		if g&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return strings.Join(names, "+")
}

// Env is what an attempt aims at. Empty fields make attempts that need them
// say so (ErrNoTarget).
type Env struct {
	Own       string // a directory that the process may write; "/" in a chroot
	Other     string // the victim's directory; holds a file for each attempt, named after it
	Link      string // a symbolic link in Other
	Passwords string // the passwd-file
	Key       string // the TLS key's file
	UnixPath  string // a stream socket that anybody may connect to
	Abstract  string // an abstract socket's name, without the NUL
	TCP       string // host:port, IPv4
	UDP       string
	VictimPID int
	ShmKey    int
	UID       int    // for attempts on master by channels: a user's, that master would take
	Home      string // and his home
	// Inherited descriptors, one for each attempt, since attempts change them.
	Streams   []int // accepted TCP connections
	Listeners []int // plain TCP
	Multipath []int // listeners as Go makes them: MPTCP
}

// take gives a descriptor of a list, which the attempt of that index owns.
func take(fds []int, i int) (int, error) {
	if i >= len(fds) {
		return -1, ErrNoTarget
	}
	return fds[i], nil
}

// ErrNoTarget says that the Env has nothing to aim at.
var ErrNoTarget = errors.New("no target")

// Attempt is one thing to try. Run gives nil if it came through.
type Attempt struct {
	Name    string
	Stopped Guard // each of these alone stops it
	Run     func(*Env) error
}

// Outcome is what became of an attempt.
type Outcome struct {
	Name    string
	Done    bool   // it came through
	Trapped bool   // seccomp refused a call of it
	NoAim   bool   // it had no target
	Detail  string // the error
}

// Catalogue is every attempt that leaves the process alive.
func Catalogue() []Attempt {
	var all []Attempt
	for _, part := range [][]Attempt{fileAttempts(), metadataAttempts(), linkAttempts(), procAttempts(), netAttempts(), codeAttempts(), surfaceAttempts(), lastAttempts()} {
		all = append(all, part...)
	}
	return all
}

// RunAll tries everything, on one thread, surviving SIGSYS.
func RunAll(env *Env, list []Attempt) ([]Outcome, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := surviveSIGSYS(); err != nil {
		return nil, fmt.Errorf("attack: handler: %w", err)
	}
	var out []Outcome
	for _, a := range list {
		err := a.Run(env)
		o := Outcome{Name: a.Name, Done: err == nil, Trapped: errors.Is(err, Trapped), NoAim: errors.Is(err, ErrNoTarget)}
		if err != nil {
			o.Detail = err.Error()
		}
		out = append(out, o)
	}
	return out, nil
}

// Trapped is the errno that a refused call gives here; the kernel has none of
// this number.
const Trapped = unix.Errno(4000)
