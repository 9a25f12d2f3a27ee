package attack

import "golang.org/x/sys/unix"

// surfaceArch are amd64's older calls: the forms without a directory, which
// would pass by rules for the newer ones, and its own machine's.
var surfaceArch = []call{
	{"open", unix.SYS_OPEN, []uintptr{null, 0, 0}},
	{"creat", unix.SYS_CREAT, []uintptr{null, 0}},
	{"stat", unix.SYS_STAT, []uintptr{null, null}},
	{"lstat", unix.SYS_LSTAT, []uintptr{null, null}},
	{"access", unix.SYS_ACCESS, []uintptr{null, 0}},
	{"rename", unix.SYS_RENAME, []uintptr{null, null}},
	{"link", unix.SYS_LINK, []uintptr{null, null}},
	{"symlink", unix.SYS_SYMLINK, []uintptr{null, null}},
	{"readlink", unix.SYS_READLINK, []uintptr{null, null, 1}},
	{"unlink", unix.SYS_UNLINK, []uintptr{null}},
	{"chmod", unix.SYS_CHMOD, []uintptr{null, 0}},
	{"utimes", unix.SYS_UTIMES, []uintptr{null, null}},
	{"modify_ldt", unix.SYS_MODIFY_LDT, []uintptr{noCmd, 0, 0}},
	{"iopl", unix.SYS_IOPL, []uintptr{4}},
	{"arch_prctl", unix.SYS_ARCH_PRCTL, []uintptr{noCmd, 0}},
}
