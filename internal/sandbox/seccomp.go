package sandbox

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// seccompOffered asks whether filters with the actions that we use can be had.
func seccompOffered() error {
	action := uint32(retTrap)
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}

// applySeccomp puts the filter on all threads at once and has refusals logged
// by the kernel. It needs no_new_privs.
func applySeccomp(rows []row) (instructions int, err error) {
	prog, err := assemble(rows)
	if err != nil {
		return 0, err
	}
	return len(prog), loadFilter(prog)
}

func loadFilter(prog []bpf.RawInstruction) error {
	// bpf.RawInstruction has the layout of the kernel's struct sock_filter.
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: (*unix.SockFilter)(unsafe.Pointer(&prog[0]))}
	const flags = unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_LOG
	tid, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&fprog)))
	runtime.KeepAlive(prog)
	if errno != 0 {
		return fmt.Errorf("seccomp filter of %d instructions: %w", len(prog), errno)
	}
	if tid != 0 {
		return fmt.Errorf("seccomp filter: thread %d did not take it", tid)
	}
	return nil
}
