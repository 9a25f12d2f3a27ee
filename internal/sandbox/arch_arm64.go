package sandbox

import "golang.org/x/sys/unix"

const (
	auditArch = unix.AUDIT_ARCH_AARCH64

	// Go's own flags for a thread (VM, FS, FILES, SIGHAND, SYSVSEM, THREAD).
	threadFlags = 0x50f00
)

const (
	sysNewfstatat = unix.SYS_FSTATAT
	oLargefile    = 0x20000
)
