package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Enter confines the calling process as its role may be, in all threads, and
// proves that it holds. It closes o.Root and the rules' descriptors.
//
// After an error the process is half confined and must end. Without the
// capability to chroot (nobody started it as root) the rest still applies, and
// the Report names what was left out; with o.Strict that is an error.
func Enter(role Role, o Options) (Report, error) {
	return enter(role, o, "enter", func(s *steps) {
		s.prepare()
		s.chrootAndDrop()
		s.harden()
		s.landlock()
		s.seccomp(2)
	})
}

// EnterStage1 confines a spare worker that waits for its user: everything but
// the chroot, the loss of CAP_SYS_CHROOT, Landlock and the last calls. Root
// and Rules are not used yet.
func EnterStage1(role Role, o Options) (Report, error) {
	if !role.worker() {
		return Report{Role: role}, fmt.Errorf("sandbox: %v has no spares", role)
	}
	o.Root, o.Rules = 0, nil
	return enter(role, o, "enter stage 1", func(s *steps) {
		s.prepare()
		s.dropAllBut(capSysChroot)
		s.harden()
		s.seccomp(1)
	})
}

// EnterStage2 gives a spare worker its user's rules and takes away what was
// left for that. The Report covers both stages.
func EnterStage2(role Role, o Options) (Report, error) {
	return enter(role, o, "enter stage 2", func(s *steps) {
		s.chrootAndDrop()
		s.hardened()
		s.landlock()
		s.seccomp(2)
	})
}

// steps carries the first error through the checklist.
type steps struct {
	role   Role
	o      Options
	report Report
	err    error
}

func enter(role Role, o Options, what string, list func(*steps)) (Report, error) {
	o = tuned(o)
	// A race-detector build sets no_new_privs in one thread, and the filter's
	// call must come from that one.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s := &steps{role: role, o: o, report: Report{Role: role}}
	if _, err := rowsOf(role, o, 0); err != nil {
		return s.report, err
	}
	list(s)
	s.closeAll()
	for _, l := range s.report.LeftOut {
		if s.err == nil && o.Strict && !l.Chosen {
			s.err = fmt.Errorf("%v cannot be had: %s", l.Protection, l.Why)
		}
	}
	if s.err != nil {
		return s.report, fmt.Errorf("sandbox: %s %v: %w", what, role, s.err)
	}
	return s.report, nil
}

// skip tells whether a protection is not to be had at all in this build or run.
func (s *steps) skip(p Protection, perThread bool) bool {
	switch {
	case s.err != nil:
		return true
	case !s.o.has(p):
		s.report.leaveOut(p, "taken away by a test")
		return true
	case perThread && raceBuild:
		s.report.leaveOut(p, "race-detector build: C threads cannot be confined one by one")
		return true
	}
	return false
}

// prepare does what cannot be done later.
func (s *steps) prepare() {
	if s.err != nil {
		return
	}
	_ = time.Now().Local().String() // reads the zone file, which no role could open afterwards
	// A program that was started by descriptor is called by the descriptor's
	// number otherwise, in ps and in the kernel's lines about refused calls.
	_ = os.WriteFile("/proc/self/comm", []byte("rookery-"+s.role.String()), 0)
	s.err = verifyUIDs(s.o.Strict)
}

// chrootAndDrop takes the root while the capability lasts, then drops all.
func (s *steps) chrootAndDrop() {
	if s.err != nil {
		return
	}
	if s.o.Root > 0 {
		if s.err = strayDirs(s.o); s.err != nil {
			return
		}
	}
	threads := tasks()
	if threads != nil {
		defer threads.Close()
	}
	s.chroot()
	s.dropAllBut(0)
	if s.err != nil || !s.report.Holds(DropCaps) {
		return
	}
	if s.err = verifyCaps(threads); s.err == nil && !errors.Is(unix.Chroot("."), unix.EPERM) {
		s.err = errors.New("chroot is still possible")
	}
}

func (s *steps) chroot() {
	if s.skip(Chroot, false) {
		return
	}
	if s.o.Root <= 0 {
		s.report.LeftOut = append(s.report.LeftOut, LeftOut{Chroot, "no root directory was given", true})
		return
	}
	caps, err := ownCaps()
	if err != nil {
		s.err = err
		return
	}
	if caps.effective&uint64(capSysChroot) == 0 {
		s.report.leaveOut(Chroot, "no CAP_SYS_CHROOT: not started by root")
		return
	}
	if s.err = enterRoot(s.o.Root); s.err == nil {
		s.report.hold(Chroot)
	}
}

func (s *steps) dropAllBut(low uint32) {
	if s.skip(DropCaps, true) {
		return
	}
	if low != 0 {
		caps, err := ownCaps()
		if err != nil {
			s.err = err
			return
		}
		low &= uint32(caps.permitted)
	}
	if s.err = keepCaps(low); s.err == nil && low == 0 {
		s.report.hold(DropCaps)
	}
}

// harden is no_new_privs, no ptrace by others and no core.
func (s *steps) harden() {
	if !s.skip(NoNewPrivs, false) {
		if raceBuild { // seccomp's TSYNC carries it to the other threads
			s.err = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		} else {
			s.err = setNoNewPrivs()
		}
		if s.err == nil {
			s.report.hold(NoNewPrivs)
		}
	}
	if !s.skip(Undumpable, false) {
		if s.err = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); s.err == nil {
			s.report.hold(Undumpable)
		}
	}
	if !s.skip(NoCore, false) {
		if s.err = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); s.err == nil {
			s.report.hold(NoCore)
		}
	}
}

// hardened is what stage 2 can still see of stage 1.
func (s *steps) hardened() {
	if s.err != nil {
		return
	}
	if on, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || on != 1 {
		s.err = errors.New("stage 1 was not entered")
		return
	}
	s.report.hold(NoNewPrivs | NoCore)
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err == nil && dumpable == 0 {
		s.report.hold(Undumpable)
	}
}

func (s *steps) landlock() {
	if s.skip(Landlock, true) {
		return
	}
	abi := usableABI(s.o.LandlockABI)
	if abi < minABI {
		s.report.leaveOut(Landlock, fmt.Sprintf("the kernel offers ABI %d, %d is needed (Linux 5.19, and landlock among the LSMs)", landlockABI(), minABI))
		return
	}
	if s.err = applyLandlock(abi, s.o.Rules); s.err == nil {
		s.report.hold(Landlock)
		s.report.LandlockABI, s.report.LandlockNet, s.report.ScopedIPC = abi, abi >= 4, abi >= 6
	}
}

func (s *steps) seccomp(stage int) {
	s.closeAll() // a filter may not have what closing needs in a later version
	if s.skip(Seccomp, false) {
		return
	}
	rows, err := rowsOf(s.role, s.o, os.Getpid())
	if err != nil {
		s.err = err
		return
	}
	if stage == 1 {
		rows = append(rows, stageOneRows()...)
	}
	size, err := applySeccomp(rows)
	if errors.Is(err, unix.ENOSYS) {
		s.report.leaveOut(Seccomp, "the kernel has none")
		return
	}
	if s.err = err; err == nil {
		s.report.FilterSize = size
		s.report.hold(Seccomp)
		s.report.FilterRows, s.report.Stage = len(rows), stage
	}
}

// closeAll closes what the sandbox was built from, once.
func (s *steps) closeAll() {
	if s.o.Root > 0 {
		unix.Close(s.o.Root)
		s.o.Root = 0
	}
	for _, r := range s.o.Rules {
		unix.Close(r.FD)
	}
	s.o.Rules = nil
}
