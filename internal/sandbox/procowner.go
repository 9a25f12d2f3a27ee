package sandbox

import "golang.org/x/sys/unix"

// ownerIs tells whether a file in /proc belongs to uid. Files of a process
// that is not dumpable belong to root.
func ownerIs(path string, uid int) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil && int(st.Uid) == uid
}
