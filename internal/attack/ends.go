package attack

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"rookery/internal/sandbox"
)

// ExecArg is what the program is called with when Exec came through.
const ExecArg = "executed"

// Exec confines itself and then runs this very program (it needs no other
// file) with ExecArg: by its path, and from a memfd that was filled before. It
// returns only if both failed.
func Exec(confine func() (sandbox.Report, error)) error {
	path, err := os.Executable()
	if err != nil {
		return err
	}
	image, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	fd, err := unix.MemfdCreate("code", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	if _, err := unix.Write(fd, image); err != nil {
		return err
	}
	if _, err := confine(); err != nil {
		return err
	}
	if err := surviveSIGSYS(); err != nil {
		return err
	}
	return errors.Join(execve(path), execveat(fd))
}

func execve(path string) error {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	args, err := syscall.SlicePtrFromStrings([]string{"attacker", ExecArg})
	if err != nil {
		return err
	}
	env := []*byte{nil}
	err = sys(unix.SYS_EXECVE, uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&args[0])), uintptr(unsafe.Pointer(&env[0])))
	return fmt.Errorf("execve: %w", err)
}

func execveat(fd int) error {
	name, err := unix.BytePtrFromString("")
	if err != nil {
		return err
	}
	args, err := syscall.SlicePtrFromStrings([]string{"attacker", ExecArg})
	if err != nil {
		return err
	}
	env := []*byte{nil}
	err = sys(unix.SYS_EXECVEAT, uintptr(fd), uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&args[0])),
		uintptr(unsafe.Pointer(&env[0])), unix.AT_EMPTY_PATH)
	return fmt.Errorf("execveat: %w", err)
}
