package attack

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func connectRaw(fd int, addr []byte) error {
	return sys(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&addr[0])), uintptr(len(addr)))
}

// codeAttempts bring new code in or make processes and namespaces.
func codeAttempts() []Attempt {
	always := func(name string, f func() error) Attempt {
		return Attempt{name, Seccomp, func(*Env) error { return f() }}
	}
	return []Attempt{
		always("map executable", func() error {
			_, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE)
			return err
		}),
		always("map writable and executable", func() error {
			_, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE)
			return err
		}),
		always("make memory executable", func() error {
			mem, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
			if err != nil {
				return err
			}
			return unix.Mprotect(mem, unix.PROT_READ|unix.PROT_EXEC)
		}),
		always("shared writable memory", func() error {
			_, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_SHARED)
			return err
		}),
		always("code in a memfd", func() error {
			fd, err := unix.MemfdCreate("code", unix.MFD_CLOEXEC)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}),
		always("another process", func() error { return cloneAndEnd(uintptr(unix.SIGCHLD)) }),
		{"a process in a user namespace", Seccomp | Chroot, func(*Env) error { return cloneAndEnd(uintptr(unix.SIGCHLD) | unix.CLONE_NEWUSER) }},
		always("a thread with other flags", func() error {
			// Not a flag more or less than the runtime's: CLONE_VM is missing, so
			// the kernel says EINVAL to the rest if the call reaches it.
			err := sys(unix.SYS_CLONE, unix.CLONE_THREAD)
			if err == unix.EINVAL {
				return nil
			}
			return err
		}),
		always("own limits", func() error {
			var lim unix.Rlimit
			return unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &lim)
		}),
		always("dumpable again", func() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) }),
	}
}

// cloneAndEnd makes a process that ends at once, and waits for it.
func cloneAndEnd(flags uintptr) error {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, flags, 0, 0, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	if pid == 0 {
		for {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	_, err := unix.Wait4(int(pid), nil, 0, nil)
	return err
}
