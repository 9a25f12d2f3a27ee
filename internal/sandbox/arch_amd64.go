package sandbox

import "golang.org/x/sys/unix"

const (
	auditArch = unix.AUDIT_ARCH_X86_64

	// Go's own flags for a thread (VM, FS, FILES, SIGHAND, SYSVSEM, THREAD);
	// on amd64 the runtime adds SETTLS.
	threadFlags = 0x50f00 | unix.CLONE_SETTLS
)

const (
	sysNewfstatat = unix.SYS_NEWFSTATAT
	oLargefile    = 0x8000 // Go's runtime sets it in its own opens
)
