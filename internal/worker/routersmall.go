package worker

import "rookery/internal/vfs"

var _ vfs.SmallReader = (*router)(nil)

// ReadSmall reads a small file of the root that the path lies below.
func (r *router) ReadSmall(path string, buf []byte) (n int, info vfs.Info, rest vfs.File, err error) {
	f, below, err := r.find("open", path)
	if err != nil {
		return 0, vfs.Info{}, nil, err
	}
	return vfs.ReadSmall(f, below, buf)
}
