package attack

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

func addresses() (handler, restorer uintptr)

// kernelSigaction is the kernel's struct sigaction of amd64; arm64 has no
// restorer between flags and mask.
type kernelSigaction struct {
	handler, flags, restorer, mask uintptr
}

const (
	saSiginfo  = 0x4
	saRestorer = 0x4000000
	saOnstack  = 0x8000000
	saNodefer  = 0x40000000
)

// surviveSIGSYS makes a refused call give the errno Trapped instead of ending
// the process: rt_sigaction is in every role's table, since Go needs it.
func surviveSIGSYS() error {
	handler, restorer := addresses()
	sa := kernelSigaction{handler: handler, flags: saSiginfo | saOnstack | saNodefer}
	if runtime.GOARCH == "amd64" {
		sa.flags |= saRestorer
		sa.restorer = restorer
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGSYS), uintptr(unsafe.Pointer(&sa)), 0, 8, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
