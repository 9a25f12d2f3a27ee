package spawn

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Program is an executable that was opened when master started.
type Program struct {
	Name string // argv[0]
	file *os.File
}

// Open opens the program of that name in dir. It must be a regular file that
// this process may execute.
func Open(dir, name string) (*Program, error) {
	path := filepath.Join(dir, name)
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("program %s: %w", path, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o111 == 0 {
		unix.Close(fd)
		return nil, fmt.Errorf("program %s: not an executable file", path)
	}
	return &Program{Name: name, file: os.NewFile(uintptr(fd), path)}, nil
}

// above gives a copy of the descriptor, close-on-exec, that stands above all
// numbers which ForkExec may use on its way to the child's files: these are at
// most as many as there are files, above the highest of them.
func (p *Program) above(files []uintptr) (fd int, err error) {
	top := len(files)
	for _, f := range files {
		if f != ^uintptr(0) {
			top = max(top, int(f))
		}
	}
	return unix.FcntlInt(p.file.Fd(), unix.F_DUPFD_CLOEXEC, top+len(files)+8)
}

// Close is for tests; master keeps its programs.
func (p *Program) Close() error { return p.file.Close() }
