package sandbox

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// newestABI is the newest Landlock ABI whose rights this file knows. A kernel
// with a newer one is used as this one.
const newestABI = 6

// minABI is the oldest ABI that is of use here: ABI 1 refuses every rename
// and link from one directory to another, which a Maildir lives by.
const minABI = 2

// rulesetAttr is the kernel's struct landlock_ruleset_attr. Older ABIs take
// only its beginning.
type rulesetAttr struct {
	fs     uint64
	net    uint64 // ABI 4
	scoped uint64 // ABI 6
}

// pathAttr is the kernel's packed struct landlock_path_beneath_attr: 12 bytes.
type pathAttr struct {
	allowed uint64
	parent  int32
}

const pathAttrSize = 12

// landlockABI asks the kernel; 0 means that there is none, or that it is
// switched off.
func landlockABI() int {
	abi, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(abi)
}

// usableABI is what Landlock may be used as: the kernel's, capped by this
// build's knowledge and by the option.
func usableABI(limit int) int {
	abi := min(landlockABI(), newestABI)
	if limit > 0 {
		abi = min(abi, limit)
	}
	return abi
}

// fsRights are all file rights that an ABI can take away.
func fsRights(abi int) uint64 {
	rights := uint64(unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1) // the 13 of ABI 1
	if abi >= 2 {
		rights |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		rights |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 5 {
		rights |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	return rights
}

// fileRights are those that may stand in a rule for a single file.
const fileRights = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE

// rights gives the bits for a kind of use.
func (a Access) rights() (uint64, error) {
	const read = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	switch a {
	case ReadOnly:
		return read, nil
	case ReadWrite:
		return read | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE |
			unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_DIR |
			unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR |
			unix.LANDLOCK_ACCESS_FS_REFER, nil
	}
	return 0, fmt.Errorf("sandbox: unknown access %d", a)
}

// applyLandlock confines all threads to the rules. It refuses everything that
// the ABI can refuse and no rule permits.
func applyLandlock(abi int, rules []Rule) error {
	attr := rulesetAttr{fs: fsRights(abi)}
	size := unsafe.Sizeof(attr.fs)
	if abi >= 4 {
		attr.net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		size = unsafe.Offsetof(attr.scoped)
	}
	if abi >= 6 {
		attr.scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
		size = unsafe.Sizeof(attr)
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return fmt.Errorf("landlock_create_ruleset (abi %d): %w", abi, errno)
	}
	defer unix.Close(int(fd))
	for _, r := range rules {
		if err := addRule(int(fd), abi, r); err != nil {
			return err
		}
	}
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return fmt.Errorf("landlock_restrict_self: %w", errno)
	}
	return nil
}

func addRule(ruleset, abi int, r Rule) error {
	rights, err := r.Access.rights()
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(r.FD, &st); err != nil {
		return fmt.Errorf("landlock rule on descriptor %d: %w", r.FD, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &= fileRights
	}
	attr := pathAttr{allowed: rights & fsRights(abi), parent: int32(r.FD)}
	if unsafe.Sizeof(attr) < pathAttrSize {
		return fmt.Errorf("landlock rule: structure has %d bytes", unsafe.Sizeof(attr))
	}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&attr)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("landlock_add_rule on descriptor %d: %w", r.FD, errno)
	}
	return nil
}
