package vfs

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// StartSyncer is a File whose writing to the disk can be started without
// waiting. It promises nothing; it makes the Sync that follows short.
type StartSyncer interface {
	StartSync() error
}

// StartSync starts writing f where that can be had.
func StartSync(f File) error {
	if s, ok := f.(StartSyncer); ok {
		return s.StartSync()
	}
	return nil
}

// StartSync is sync_file_range(2) over the whole file. Where it is not known
// nothing is lost.
func (f *osFile) StartSync() error {
	err := retryErr(func() error { return unix.SyncFileRange(f.fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE) })
	runtime.KeepAlive(f.f)
	if err == unix.ENOSYS || err == unix.EOPNOTSUPP || err == unix.EPERM {
		return nil
	}
	return pathErr("sync_file_range", f.f.Name(), err)
}
