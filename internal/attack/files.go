package attack

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// onFile makes an attempt of a call on the victim's file of that name.
func onFile(name string, stopped Guard, f func(e *Env, path string) error) Attempt {
	return Attempt{Name: name, Stopped: stopped, Run: func(e *Env) error {
		if e.Other == "" {
			return ErrNoTarget
		}
		return f(e, filepath.Join(e.Other, name))
	}}
}

// onSecret opens a file that no process but authd ever needs.
func onSecret(name string, path func(*Env) string) Attempt {
	return Attempt{Name: name, Stopped: Chroot | LandlockFS | UID, Run: func(e *Env) error {
		if path(e) == "" {
			return ErrNoTarget
		}
		return openClose(unix.AT_FDCWD, path(e), unix.O_RDONLY)
	}}
}

func openClose(dir int, path string, flags int) error {
	fd, err := unix.Openat(dir, path, flags|unix.O_CLOEXEC, 0o600)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// secret is what the victim's files hold.
const secret = "the victim's mail"

func readSecret(dir int, path string) error {
	fd, err := unix.Openat(dir, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	buf := make([]byte, 64)
	n, err := unix.Read(fd, buf)
	if err == nil && string(buf[:n]) != secret {
		return unix.ENOENT // a file of that name that is not the victim's
	}
	return err
}

// fileAttempts open others' files.
func fileAttempts() []Attempt {
	const stopped = Chroot | LandlockFS | UID
	return []Attempt{
		onFile("read", stopped, func(_ *Env, p string) error { return readSecret(unix.AT_FDCWD, p) }),
		onFile("read by openat2", stopped, func(_ *Env, p string) error {
			fd, err := unix.Openat2(unix.AT_FDCWD, p, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC})
			if err == nil {
				unix.Close(fd)
			}
			return err
		}),
		onFile("read by many dots", stopped, func(e *Env, p string) error {
			dir, err := unix.Open(e.Own, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(dir)
			return readSecret(dir, strings.Repeat("../", 20)+p[1:])
		}),
		onFile("write", stopped, func(_ *Env, p string) error { return openClose(unix.AT_FDCWD, p, unix.O_WRONLY|unix.O_APPEND) }),
		onFile("open and truncate", stopped, func(_ *Env, p string) error { return openClose(unix.AT_FDCWD, p, unix.O_WRONLY|unix.O_TRUNC) }),
		onFile("create", stopped, func(_ *Env, p string) error {
			return openClose(unix.AT_FDCWD, p+".new", unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
		}),
		onFile("create without a name", stopped, func(_ *Env, p string) error {
			return openClose(unix.AT_FDCWD, filepath.Dir(p), unix.O_WRONLY|unix.O_TMPFILE)
		}),
		onFile("list", stopped, func(_ *Env, p string) error {
			return openClose(unix.AT_FDCWD, filepath.Dir(p), unix.O_RDONLY|unix.O_DIRECTORY)
		}),
		onFile("make a directory", stopped, func(_ *Env, p string) error { return unix.Mkdirat(unix.AT_FDCWD, p+".dir", 0o700) }),
		onFile("unlink", stopped, func(_ *Env, p string) error { return unix.Unlinkat(unix.AT_FDCWD, p, 0) }),
		onSecret("passwd-file", func(e *Env) string { return e.Passwords }),
		onSecret("TLS key", func(e *Env) string { return e.Key }),
		// Landlock stops neither of these two: only the chroot does, and the
		// victim's own uid.
		onFile("stat", Chroot|UID, func(_ *Env, p string) error {
			var st unix.Stat_t
			return unix.Fstatat(unix.AT_FDCWD, p, &st, unix.AT_SYMLINK_NOFOLLOW)
		}),
		onFile("stat by O_PATH", Chroot|UID, func(_ *Env, p string) error { return openClose(unix.AT_FDCWD, p, unix.O_PATH) }),
	}
}

// metadataAttempts change or read what is about a file; Landlock stops none.
func metadataAttempts() []Attempt {
	const stopped = Chroot | Seccomp | UID
	times := []unix.Timespec{{Sec: 1}, {Sec: 1}}
	return []Attempt{
		onFile("chmod", stopped, func(_ *Env, p string) error { return unix.Fchmodat(unix.AT_FDCWD, p, 0o666, 0) }),
		onFile("chown", stopped, func(_ *Env, p string) error {
			return unix.Fchownat(unix.AT_FDCWD, p, unix.Getuid(), unix.Getgid(), 0)
		}),
		onFile("utimensat", stopped, func(_ *Env, p string) error { return unix.UtimesNanoAt(unix.AT_FDCWD, p, times, 0) }),
		onFile("setxattr", stopped, func(_ *Env, p string) error { return unix.Setxattr(p, "user.mark", []byte("x"), 0) }),
		onFile("listxattr", stopped, func(_ *Env, p string) error { _, err := unix.Listxattr(p, make([]byte, 64)); return err }),
		// ABI 3 knows truncate; at ABI 2 seccomp is what stops it.
		onFile("truncate", stopped|LandlockFull, func(_ *Env, p string) error { return unix.Truncate(p, 0) }),
		onFile("access", stopped, func(_ *Env, p string) error { return unix.Faccessat(unix.AT_FDCWD, p, unix.R_OK, 0) }),
		onFile("statx", stopped, func(_ *Env, p string) error {
			var st unix.Statx_t
			return unix.Statx(unix.AT_FDCWD, p, 0, unix.STATX_BASIC_STATS, &st)
		}),
		onFile("statfs", stopped, func(_ *Env, p string) error { var st unix.Statfs_t; return unix.Statfs(p, &st) }),
		onFile("readlink", stopped, func(e *Env, _ string) error {
			_, err := unix.Readlinkat(unix.AT_FDCWD, e.Link, make([]byte, 256))
			return err
		}),
		onFile("name_to_handle_at", stopped, func(_ *Env, p string) error {
			_, _, err := unix.NameToHandleAt(unix.AT_FDCWD, p, 0)
			return err
		}),
		onFile("inotify", stopped, func(_ *Env, p string) error {
			fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			_, err = unix.InotifyAddWatch(fd, filepath.Dir(p), unix.IN_OPEN)
			return err
		}),
	}
}

// linkAttempts bring others' files and ours together by names.
func linkAttempts() []Attempt {
	const stopped = Chroot | LandlockFS | UID
	own := func(e *Env, name string) string { return filepath.Join(e.Own, "got "+name) }
	return []Attempt{
		onFile("rename out", stopped, func(e *Env, p string) error {
			return unix.Renameat(unix.AT_FDCWD, p, unix.AT_FDCWD, own(e, "rename"))
		}),
		onFile("rename in", stopped, func(e *Env, p string) error {
			fd, err := unix.Open(own(e, "mine"), unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
			if err != nil {
				return err
			}
			unix.Close(fd)
			return unix.Renameat(unix.AT_FDCWD, own(e, "mine"), unix.AT_FDCWD, p)
		}),
		onFile("exchange", stopped, func(e *Env, p string) error {
			fd, err := unix.Open(own(e, "exchange"), unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
			if err != nil {
				return err
			}
			unix.Close(fd)
			return unix.Renameat2(unix.AT_FDCWD, own(e, "exchange"), unix.AT_FDCWD, p, unix.RENAME_EXCHANGE)
		}),
		onFile("hard link", stopped, func(e *Env, p string) error {
			if err := unix.Linkat(unix.AT_FDCWD, p, unix.AT_FDCWD, own(e, "link"), 0); err != nil {
				return err
			}
			return readSecret(unix.AT_FDCWD, own(e, "link"))
		}),
		// A descriptor that Landlock gave for nothing but stat becomes a name in
		// our own directory.
		onFile("hard link by O_PATH", stopped, func(e *Env, p string) error {
			fd, err := unix.Open(p, unix.O_PATH|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := unix.Linkat(fd, "", unix.AT_FDCWD, own(e, "opath"), unix.AT_EMPTY_PATH); err != nil {
				return err
			}
			return readSecret(unix.AT_FDCWD, own(e, "opath"))
		}),
		onFile("symbolic link, made", stopped|Seccomp, func(e *Env, p string) error {
			if err := unix.Symlinkat(p, unix.AT_FDCWD, own(e, "symlink")); err != nil {
				return err
			}
			return readSecret(unix.AT_FDCWD, own(e, "symlink"))
		}),
		// "trap" in our own directory leads to the victim's file; it was there before.
		onFile("symbolic link, found", stopped, func(e *Env, _ string) error {
			return readSecret(unix.AT_FDCWD, filepath.Join(e.Own, "trap"))
		}),
		onFile("times by O_PATH", Chroot|Seccomp|UID, func(_ *Env, p string) error {
			fd, err := unix.Open(p, unix.O_PATH|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return utimesEmptyPath(fd)
		}),
		onFile("mode by O_PATH", Chroot|Seccomp|UID, func(_ *Env, p string) error {
			fd, err := unix.Open(p, unix.O_PATH|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.Fchmodat(fd, "", 0o666, unix.AT_EMPTY_PATH)
		}),
	}
}

func utimesEmptyPath(fd int) error {
	return unix.UtimesNanoAt(fd, "", []unix.Timespec{{Sec: 1}, {Sec: 1}}, unix.AT_EMPTY_PATH)
}
