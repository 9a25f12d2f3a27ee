package demo

import (
	"io"
	"os"
	"path/filepath"

	"rookery/rookeryctl/internal/control"
)

// programNames are the files of bin/ that the server needs; rookeryctl itself
// writes the sample messages under each user's uid.
var programNames = [...]string{"rookery", "rookery-login", "rookery-authd", "rookery-logd", "rookery-imapworker", "rookery-pop3worker", "rookery-mailtool", "rookeryctl"}

// scratchParent is where copies go that every uid must reach.
const scratchParent = "/var/tmp"

// reachable reports whether every uid can get to path, by the permission bits
// of all folders above it; what is not there yet counts as reachable.
func reachable(path string) bool {
	for {
		info, err := os.Stat(path)
		if err == nil && info.Mode().Perm()&0o001 == 0 {
			return false
		}
		parent := filepath.Dir(path)
		if parent == path {
			return true
		}
		path = parent
	}
}

// checkPrograms names what a build should have left.
func checkPrograms(dir string) error {
	for _, name := range programNames {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm()&0o100 == 0 {
			return control.Errorf(control.ExitUnavailable, "%s has no program %s; run make build first", dir, name)
		}
	}
	return nil
}

// programsReachable is reachable for each program.
func programsReachable(dir string) bool {
	for _, name := range programNames {
		if !reachable(filepath.Join(dir, name)) {
			return false
		}
	}
	return true
}

// scratch makes a folder that every uid can enter and only we can change.
func scratch() (string, error) {
	dir, err := os.MkdirTemp(scratchParent, "rookery-demo-")
	if err != nil {
		return "", control.Errorf(control.ExitCantCreate, "%v", err)
	}
	return dir, os.Chmod(dir, 0o755)
}

func copyPrograms(from, to string) error {
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	for _, name := range programNames {
		if err := copyFile(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	if err := out.Chmod(0o755); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
