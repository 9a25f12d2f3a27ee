package child

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// MakeDirsFlag begins the command line of a worker program that only makes its
// user's missing directories: --make-dirs PATH…
const MakeDirsFlag = "--make-dirs"

// MakeDirsMode does that if the command line args (without the program's name)
// asks for it. done says that it did; the program then ends with the code
// exit, having said on standard error what went wrong.
//
// master starts it with the user's uid and gid: root never makes a directory
// for a user, since a path below a user's hands leads where the user wants.
func MakeDirsMode(args []string) (done bool, exit int) {
	if len(args) == 0 || args[0] != MakeDirsFlag {
		return false, 0
	}
	for _, path := range args[1:] {
		if err := MakeDirs(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return true, 73 // EX_CANTCREAT
		}
	}
	return true, 0
}

// MakeDirs makes path and its missing parents, mode 0700. It refuses to run as
// root. An existing directory is left as it is.
func MakeDirs(path string) error {
	if unix.Geteuid() == 0 {
		return errors.New("root makes no user's directory")
	}
	if !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return fmt.Errorf("%q is not a clean absolute path", path)
	}
	unix.Umask(0o077)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("cannot make the directory as uid %d: %w", unix.Geteuid(), err)
	}
	return nil
}
