package control

import "rookery/internal/vfs"

// LastValidity gives the highest UIDVALIDITY that the control file knows of, 0 if
// there is no such file. It touches nothing.
func (d Dir) LastValidity() (uint32, error) {
	last, _, err := d.lastValidity()
	return last, vfs.Kinded("read UIDVALIDITY", err)
}
