//go:build race

package sandbox

import "golang.org/x/sys/unix"

// raceBuild says whether this is a race-detector build. Such a build needs
// cgo, whose threads Go cannot make do a call all at once: capabilities and
// Landlock, which are kept per thread, are left out and the Report says so.
const raceBuild = true

// raceRows are the calls of the C library and of the detector. Builds that are
// meant to be used do not have them.
func raceRows() []row {
	extra := func(name string, nr uint32) row {
		return row{name: name, nr: nr, why: "the C library and the race detector"}
	}
	return []row{
		extra("clone", unix.SYS_CLONE), extra("mmap", unix.SYS_MMAP), extra("mremap", unix.SYS_MREMAP), extra("brk", unix.SYS_BRK),
		extra("rseq", unix.SYS_RSEQ), extra("set_robust_list", unix.SYS_SET_ROBUST_LIST), extra("membarrier", unix.SYS_MEMBARRIER),
		extra("prlimit64", unix.SYS_PRLIMIT64), extra("prctl", unix.SYS_PRCTL), extra("openat", unix.SYS_OPENAT),
		extra("sysinfo", unix.SYS_SYSINFO), extra("sched_getaffinity", unix.SYS_SCHED_GETAFFINITY), extra("mincore", unix.SYS_MINCORE),
		extra("clock_nanosleep", unix.SYS_CLOCK_NANOSLEEP), extra("gettimeofday", unix.SYS_GETTIMEOFDAY), extra("ppoll", unix.SYS_PPOLL),
		extra("readlinkat", unix.SYS_READLINKAT), extra("getrusage", unix.SYS_GETRUSAGE), extra("tgkill", unix.SYS_TGKILL),
	}
}
