package sandbox

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Probed is what this kernel offers to this process.
type Probed struct {
	LandlockABI int // the kernel's own; 0: none
	Seccomp     bool
	PIDNS       bool // a child may have its own pid namespace
	NetNS       bool // … network namespace
	IPCNS       bool // … System V IPC and message queue namespace
	UserNS      bool // the kernel has user namespaces (not used; shown to the operator)
}

// Probe asks the kernel by trying: the namespaces are made and thrown away on
// a thread that ends with them (about 2 ms).
func Probe() Probed {
	p := Probed{LandlockABI: landlockABI(), Seccomp: seccompOffered() == nil}
	var st unix.Stat_t
	p.UserNS = unix.Stat("/proc/self/ns/user", &st) == nil
	p.PIDNS = mayUnshare(unix.CLONE_NEWPID)
	p.NetNS = mayUnshare(unix.CLONE_NEWNET)
	p.IPCNS = mayUnshare(unix.CLONE_NEWIPC)
	return p
}

// mayUnshare tries on a thread that is never used again: a goroutine that ends
// while locked takes its thread along.
func mayUnshare(flag int) bool {
	ok := make(chan bool)
	go func() {
		runtime.LockOSThread()
		ok <- unix.Unshare(flag) == nil
	}()
	return <-ok
}

// MissingForSharedUID names what this kernel lacks of the protections that
// keep apart users who share one uid. Where the list is not empty such users
// must be refused, unless the operator has allowed it knowingly.
func (p Probed) MissingForSharedUID() []string {
	var missing []string
	if p.LandlockABI < minABI {
		missing = append(missing, "Landlock (Linux 5.19 or later, with landlock among the LSMs)")
	}
	if !p.Seccomp {
		missing = append(missing, "seccomp filters")
	}
	if !p.PIDNS {
		missing = append(missing, "pid namespaces (CAP_SYS_ADMIN)")
	}
	if !p.NetNS {
		missing = append(missing, "network namespaces (CAP_SYS_ADMIN)")
	}
	if !p.IPCNS {
		missing = append(missing, "IPC namespaces (CAP_SYS_ADMIN)")
	}
	return missing
}
