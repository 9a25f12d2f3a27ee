package attack

import (
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// onVictim makes an attempt on the victim's process.
func onVictim(name string, stopped Guard, f func(pid int) error) Attempt {
	return Attempt{Name: name, Stopped: stopped, Run: func(e *Env) error {
		if e.VictimPID == 0 {
			return ErrNoTarget
		}
		return f(e.VictimPID)
	}}
}

func errnoErr(errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

func sys(nr uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	_, _, errno := unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	return errnoErr(errno)
}

// procAttempts reach for other processes.
func procAttempts() []Attempt {
	const stopped = Seccomp | PidNS | UID
	list := []Attempt{
		onVictim("kill", stopped|LandlockFull, func(pid int) error { return unix.Kill(pid, 0) }),
		onVictim("tgkill", stopped|LandlockFull, func(pid int) error { return unix.Tgkill(pid, pid, 0) }),
		onVictim("tkill", stopped|LandlockFull, func(pid int) error { return sys(unix.SYS_TKILL, uintptr(pid), 0) }),
		onVictim("pidfd signal", stopped|LandlockFull, func(pid int) error {
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.PidfdSendSignal(fd, 0, nil, 0)
		}),
		onVictim("ptrace", stopped|LandlockFS, func(pid int) error { return sys(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, 0) }),
		onVictim("process_vm_readv", stopped|LandlockFS, readMemory),
		onVictim("prlimit", stopped, func(pid int) error {
			var lim unix.Rlimit
			return unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &lim)
		}),
		onVictim("sched_setaffinity", stopped, func(pid int) error {
			var set unix.CPUSet
			set.Set(0)
			return unix.SchedSetaffinity(pid, &set)
		}),
		onVictim("setpriority", stopped, func(pid int) error { return unix.Setpriority(unix.PRIO_PROCESS, pid, 5) }),
	}
	for _, file := range []string{"environ", "mem", "status", "fd"} {
		// Without a pid namespace these are the victim's; with one the number is
		// still the outer one, since /proc is the outer one's.
		guards := Chroot | LandlockFS
		if file != "status" {
			guards |= UID
		}
		list = append(list, onVictim("/proc/PID/"+file, guards, func(pid int) error {
			return openClose(unix.AT_FDCWD, "/proc/"+strconv.Itoa(pid)+"/"+file, unix.O_RDONLY)
		}))
	}
	return append(list,
		Attempt{"/proc/self/mem", Chroot | LandlockFS | Undumpable, func(*Env) error {
			return openClose(unix.AT_FDCWD, "/proc/self/mem", unix.O_RDWR)
		}},
		Attempt{"/etc/passwd", Chroot | LandlockFS, func(*Env) error { return openClose(unix.AT_FDCWD, "/etc/passwd", unix.O_RDONLY) }},
		Attempt{"signals by F_SETOWN", Seccomp | PidNS, func(e *Env) error {
			fd, err := take(e.Streams, 0)
			if err != nil || e.VictimPID == 0 {
				return ErrNoTarget
			}
			_, err = unix.FcntlInt(uintptr(fd), unix.F_SETOWN, e.VictimPID)
			return err
		}},
		Attempt{"shared memory", Seccomp | IPCNS, func(e *Env) error {
			if e.ShmKey == 0 {
				return ErrNoTarget
			}
			id, err := unix.SysvShmGet(e.ShmKey, 0, 0)
			if err != nil {
				return err
			}
			mem, err := unix.SysvShmAttach(id, 0, unix.SHM_RDONLY)
			if err != nil {
				return err
			}
			return unix.SysvShmDetach(mem)
		}},
	)
}

// lastAttempts spoil what others need.
func lastAttempts() []Attempt {
	return []Attempt{
		// CAP_SYS_CHROOT leads out of any chroot.
		{"leave the chroot", Capabilities | Seccomp, breakOut},
	}
}

// readMemory asks for a byte of the victim at an address that may not be
// mapped: EFAULT comes after the question of permission.
func readMemory(pid int) error {
	buf := make([]byte, 1)
	_, err := unix.ProcessVMReadv(pid, []unix.Iovec{{Base: &buf[0], Len: 1}}, []unix.RemoteIovec{{Base: 0x1000, Len: 1}}, 0)
	if err == unix.EFAULT {
		return nil
	}
	return err
}

// breakOut changes the root to a directory below, so that the working
// directory lies outside of it, and walks up.
func breakOut(e *Env) error {
	if e.Own == "" {
		return ErrNoTarget
	}
	if err := unix.Mkdirat(unix.AT_FDCWD, e.Own+"/jail", 0o700); err != nil && err != unix.EEXIST {
		return err
	}
	name, err := unix.BytePtrFromString(e.Own + "/jail")
	if err != nil {
		return err
	}
	return sys(unix.SYS_CHROOT, uintptr(unsafe.Pointer(name)))
}
