package vfs

import "golang.org/x/sys/unix"

// Space tells how much room there is; see Spacer.
func (o *OS) Space(path string) (free, total uint64, err error) {
	fd, err := o.openDir(path)
	if err != nil {
		return 0, 0, pathErr("statfs", path, err)
	}
	defer unix.Close(fd)
	var st unix.Statfs_t
	if err := retryErr(func() error { return unix.Fstatfs(fd, &st) }); err != nil {
		return 0, 0, pathErr("statfs", path, err)
	}
	unit := uint64(max(st.Frsize, 1))
	return st.Bavail * unit, st.Blocks * unit, nil
}
