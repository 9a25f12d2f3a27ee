package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// capSets are one thread's capability sets.
type capSets struct{ effective, permitted, inheritable uint64 }

func ownCaps() (capSets, error) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return capSets{}, fmt.Errorf("capget: %w", err)
	}
	join := func(lo, hi uint32) uint64 { return uint64(hi)<<32 | uint64(lo) }
	return capSets{
		effective:   join(data[0].Effective, data[1].Effective),
		permitted:   join(data[0].Permitted, data[1].Permitted),
		inheritable: join(data[0].Inheritable, data[1].Inheritable),
	}, nil
}

const capSysChroot = uint32(1) << unix.CAP_SYS_CHROOT

// allThreads runs one call in every thread of the process. The runtime panics
// if two threads answer differently.
func allThreads(what string, trap, a1, a2, a3, a4, a5 uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall6(trap, a1, a2, a3, a4, a5, 0)
	return allThreadsError(what, errno)
}

func allThreadsError(what string, errno syscall.Errno) error {
	if errno == syscall.ENOTSUP {
		return errors.New(what + ": this build links cgo, and its threads cannot be confined; build with CGO_ENABLED=0")
	}
	if errno != 0 {
		return fmt.Errorf("%s: %w", what, errno)
	}
	return nil
}

// keepCaps makes low (capabilities 0 to 31) all that any thread may have, and
// nothing of it inheritable or ambient.
func keepCaps(low uint32) error {
	// The ambient set needs no call of its own, which would cost a signal to each
	// thread: what is not inheritable is not ambient (capabilities(7), checked by
	// verifyCaps).
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: low, Permitted: low}}
	// Called here and not by allThreads: only so do the pointers stay valid.
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&hdr)), uintptr(unsafe.Pointer(&data[0])), 0)
	return allThreadsError("capset", errno)
}

func setNoNewPrivs() error {
	return allThreads("prctl(PR_SET_NO_NEW_PRIVS)", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// enterRoot makes the directory "/" and the working directory.
func enterRoot(fd int) error {
	if err := unix.Fchdir(fd); err != nil {
		return fmt.Errorf("fchdir into the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil { // the working directory is then the new "/"
		return fmt.Errorf("chroot: %w", err)
	}
	return nil
}

// strayDirs gives an error for an open directory that is not expected: after a
// chroot it would be a way out.
func strayDirs(o Options) error {
	fds, err := openDescriptors()
	if err != nil {
		return err
	}
	for _, fd := range fds {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		isRule := slices.ContainsFunc(o.Rules, func(r Rule) bool { return r.FD == fd })
		if fd != o.Root && !isRule && !slices.Contains(o.KeepDirs, fd) {
			return fmt.Errorf("descriptor %d is a directory that nobody named: it would lead out of the chroot", fd)
		}
	}
	return nil
}

// openDescriptors lists what is open. Without /proc (or where it is closed to
// us, as for a program that we may run and not read) it tries the first 1,024.
func openDescriptors() ([]int, error) {
	var fds []int
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		for fd := range 1024 {
			fds = append(fds, fd)
		}
		return fds, nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("own descriptors: %w", err)
	}
	for _, name := range names {
		if fd, err := strconv.Atoi(name); err == nil && fd != int(dir.Fd()) {
			fds = append(fds, fd)
		}
	}
	return fds, nil
}

// tasks is this process's list of threads in /proc, opened before the chroot
// so that the check after it can still read. nil where there is no /proc.
func tasks() *os.Root {
	root, err := os.OpenRoot("/proc/self/task")
	if err != nil {
		return nil
	}
	return root
}

// verifyCaps proves that no thread holds a capability, and that none can be
// had back.
func verifyCaps(threads *os.Root) error {
	caps, err := ownCaps()
	if err != nil {
		return err
	}
	if caps != (capSets{}) {
		return fmt.Errorf("capabilities are left: %+v", caps)
	}
	if threads == nil {
		return nil
	}
	return fs.WalkDir(threads.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		status, err := threads.ReadFile(path + "/status")
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a thread may have ended
			return err
		}
		for _, line := range strings.Split(string(status), "\n") {
			name, value, _ := strings.Cut(line, ":")
			switch name {
			case "CapInh", "CapPrm", "CapEff", "CapAmb":
				if strings.Trim(value, "0\t ") != "" {
					return fmt.Errorf("thread %s still has %s %s", path, name, strings.TrimSpace(value))
				}
			}
		}
		return fs.SkipDir
	})
}

// verifyUIDs proves that root cannot be had back. Only the calling thread
// tries; if it succeeds the caller ends the process.
//
// A gid 0 that an unprivileged user brought along (some container platforms do
// that) is let pass unless strict.
func verifyUIDs(strict bool) error {
	if unix.Getuid() == 0 || unix.Geteuid() == 0 {
		return errors.New("the process runs as root: whoever starts it sets its uid")
	}
	hasGid0 := unix.Getgid() == 0 || unix.Getegid() == 0
	if hasGid0 && strict {
		return errors.New("the process has gid 0: whoever starts it sets its gid")
	}
	keep := ^uintptr(0)
	for _, try := range []struct {
		what string
		nr   uintptr
	}{{"setresuid", unix.SYS_SETRESUID}, {"setresgid", unix.SYS_SETRESGID}} {
		if hasGid0 && try.nr == unix.SYS_SETRESGID {
			continue
		}
		for _, ids := range [][3]uintptr{{0, keep, keep}, {keep, 0, keep}, {keep, keep, 0}} {
			if _, _, errno := unix.RawSyscall(try.nr, ids[0], ids[1], ids[2]); errno != unix.EPERM {
				return fmt.Errorf("%s to 0 was not refused (%v)", try.what, errno)
			}
		}
	}
	return nil
}
