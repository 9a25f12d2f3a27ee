package vfs

import "math"

// Spacer is an FS that knows how much room its disk has.
type Spacer interface {
	// Space tells of the file system that holds path: the octets that this
	// process may still use, and its size.
	Space(path string) (free, total uint64, err error)
}

// Space asks f how much room there is; one that does not know has room without end.
func Space(f FS, path string) (free, total uint64, err error) {
	if s, ok := f.(Spacer); ok {
		return s.Space(path)
	}
	return math.MaxUint64, math.MaxUint64, nil
}
