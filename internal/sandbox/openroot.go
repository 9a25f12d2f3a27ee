package sandbox

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links one path may go through; the kernel's
// own number.
const maxLinks = 40

// OpenRoot opens the directory at an absolute path for use in Options.Root or
// a Rule. It follows no symbolic link but those that lie in directories which
// only root can write (such as /var/mail on many systems): a link that
// someone else could have put there would move the sandbox to a place of his
// choice. Run by another user than root, it trusts that user's own directories
// too.
//
// The descriptor is O_PATH and close-on-exec. real is the path without links.
func OpenRoot(name string) (fd int, real string, err error) {
	fd, real, err = openRoot(name)
	if err != nil {
		return -1, "", fmt.Errorf("sandbox: open root %s: %w", name, err)
	}
	return fd, real, nil
}

func openRoot(name string) (int, string, error) {
	if !path.IsAbs(name) {
		return -1, "", errors.New("the path is not absolute")
	}
	at, err := openSlash()
	if err != nil {
		return -1, "", err
	}
	real, links := "/", 0
	todo := parts(name)
	for len(todo) > 0 {
		part := todo[0]
		todo = todo[1:]
		next, target, err := step(at, part)
		if err != nil {
			unix.Close(at)
			return -1, "", fmt.Errorf("%s: %w", path.Join(real, part), err)
		}
		if target == "" {
			unix.Close(at)
			at, real = next, path.Join(real, part)
			continue
		}
		if links++; links > maxLinks {
			unix.Close(at)
			return -1, "", unix.ELOOP
		}
		todo = append(parts(target), todo...)
		if path.IsAbs(target) {
			unix.Close(at)
			if at, err = openSlash(); err != nil {
				return -1, "", err
			}
			real = "/"
		}
	}
	return at, real, nil
}

func openSlash() (int, error) {
	return unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// parts splits a path, keeping "..", whose meaning only the walk knows.
func parts(name string) []string {
	var out []string
	for _, p := range strings.Split(name, "/") {
		if p != "" && p != "." {
			out = append(out, p)
		}
	}
	return out
}

// step opens one name in dir, or gives a link's target if it may be followed.
func step(dir int, name string) (fd int, target string, err error) {
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	fd, err = unix.Openat2(dir, name, how)
	if err != nil {
		return -1, "", err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, "", err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return fd, "", nil
	case unix.S_IFLNK:
		defer unix.Close(fd)
		if err := trusted(dir); err != nil {
			return -1, "", err
		}
		target, err = readLink(fd)
		return -1, target, err
	}
	unix.Close(fd)
	return -1, "", unix.ENOTDIR
}

// trusted reports an error if others than root could have put a link into dir.
func trusted(dir int) error {
	var st unix.Stat_t
	if err := unix.Fstat(dir, &st); err != nil {
		return err
	}
	if st.Uid != 0 && int(st.Uid) != unix.Geteuid() {
		return fmt.Errorf("a link in a directory of uid %d is not followed", st.Uid)
	}
	if st.Mode&0o022 != 0 {
		return errors.New("a link in a directory that others can write is not followed")
	}
	return nil
}

// readLink reads the very link that fd is, whatever its name is by now.
func readLink(fd int) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", err
	}
	if n == 0 || n == len(buf) {
		return "", unix.ENAMETOOLONG
	}
	return string(buf[:n]), nil
}
