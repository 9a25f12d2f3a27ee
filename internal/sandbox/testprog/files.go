package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// files does to dir what a store does: every call of the worker's table.
func files(dir string) error {
	sub := filepath.Join(dir, "cur")
	if err := os.Mkdir(sub, 0o700); err != nil && !os.IsExist(err) {
		return err
	}
	one, two := filepath.Join(dir, "one"), filepath.Join(sub, "two")
	f, err := os.OpenFile(one, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := useFile(f); err != nil {
		return err
	}
	if err := os.Link(one, two); err != nil && !os.IsExist(err) {
		return err
	}
	if err := unix.Renameat2(unix.AT_FDCWD, two, unix.AT_FDCWD, two+":2,S", unix.RENAME_NOREPLACE); err != nil {
		return fmt.Errorf("renameat2: %w", err)
	}
	if err := os.Rename(two+":2,S", two); err != nil {
		return err
	}
	if _, err := os.Lstat(two); err != nil {
		return err
	}
	if names, err := os.ReadDir(sub); err != nil || len(names) == 0 {
		return fmt.Errorf("list: %v, %v", names, err)
	}
	if err := copyFile(f, filepath.Join(sub, "copy")); err != nil {
		return err
	}
	if err := tmpFile(sub); err != nil {
		return err
	}
	return os.RemoveAll(sub)
}

// useFile is everything that is done to a file that is held.
func useFile(f *os.File) error {
	fd := int(f.Fd())
	lock, unlock := unix.Flock_t{Type: unix.F_WRLCK}, unix.Flock_t{Type: unix.F_UNLCK}
	var fsInfo unix.Statfs_t
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"write", func() error { _, err := f.Write(make([]byte, 8192)); return err }},
		{"pwrite", func() error { _, err := f.WriteAt([]byte("text"), 100); return err }},
		{"seek", func() error { _, err := f.Seek(0, io.SeekStart); return err }},
		{"fallocate", func() error { return unix.Fallocate(fd, 0, 0, 65536) }},
		{"truncate", func() error { return f.Truncate(4096) }},
		{"OFD lock", func() error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &lock) }},
		{"OFD unlock", func() error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unlock) }},
		{"POSIX lock", func() error { return unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &lock) }},
		{"flock", func() error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) }},
		{"sync_file_range", func() error { return unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE) }},
		{"fdatasync", func() error { return unix.Fdatasync(fd) }},
		{"fsync", f.Sync},
		{"fadvise", func() error { return unix.Fadvise(fd, 0, 0, unix.FADV_WILLNEED) }},
		{"futimens", func() error { return futimens(fd) }},
		{"fstatfs", func() error { return unix.Fstatfs(fd, &fsInfo) }},
		{"map", func() error { return readMapped(fd) }},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// futimens is utimensat without a path: the C library's futimens.
func futimens(fd int) error {
	at := [2]unix.Timespec{{Sec: 1e9}, {Sec: 1e9}}
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&at[0])), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func readMapped(fd int) error {
	b, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	if string(b[100:104]) != "text" {
		return fmt.Errorf("mapped %q", b[100:104])
	}
	return unix.Munmap(b)
}

// copyFile is copy_file_range, by io.Copy.
func copyFile(f *os.File, to string) error {
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err = io.Copy(out, f)
	return err
}

// tmpFile links a file without a name into place.
func tmpFile(dir string) error {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("O_TMPFILE: %w", err)
	}
	defer unix.Close(fd)
	err = unix.Linkat(fd, "", unix.AT_FDCWD, filepath.Join(dir, "linked"), unix.AT_EMPTY_PATH)
	if err != nil && err != unix.ENOENT { // kernels before 6.10 refuse it without a capability
		return fmt.Errorf("linkat of a file without a name: %w", err)
	}
	return nil
}

// bodies sends a file to the stream (sendfile) and takes the same bytes back
// into a file (splice).
func bodies(dir string, stream net.Conn) error {
	name := filepath.Join(dir, "body")
	if err := os.WriteFile(name, make([]byte, 64<<10), 0o600); err != nil {
		return err
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(stream, f)
		sent <- err
	}()
	back, err := os.Create(filepath.Join(dir, "back"))
	if err != nil {
		return err
	}
	defer back.Close()
	if _, err := io.CopyN(back, stream, 64<<10); err != nil {
		return err
	}
	return <-sent
}

// watch sees a change by inotify.
func watch(dir string) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	sub := filepath.Join(dir, "watched")
	if err := os.MkdirAll(sub, 0o700); err != nil {
		return err
	}
	wd, err := unix.InotifyAddWatch(fd, sub, unix.IN_CREATE)
	if err != nil {
		return err
	}
	name := filepath.Join(sub, "new")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	if n, err := unix.Read(fd, buf); err != nil || n == 0 {
		return fmt.Errorf("no event: %d, %v", n, err)
	}
	if _, err := unix.InotifyRmWatch(fd, uint32(wd)); err != nil {
		return err
	}
	time.Sleep(time.Millisecond)
	return os.Remove(name)
}
