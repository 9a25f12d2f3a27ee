package vfs

import (
	"errors"
	"io/fs"
	"syscall"

	"rookery/internal/errkind"
)

// Kinded gives an error of the disk its kind and the operation; an error that has
// a kind keeps it. Kinded of nil is nil.
func Kinded(op string, err error) error {
	var e *errkind.Error
	if err == nil || errors.As(err, &e) {
		return errkind.Wrap(op, err)
	}
	kind := errkind.Other
	var no syscall.Errno
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind = errkind.NotFound
	case errors.Is(err, fs.ErrPermission):
		kind = errkind.NoPermission
	case errors.As(err, &no):
		kind = numberKind(no)
	}
	return errkind.New(op, kind, err)
}

func numberKind(no syscall.Errno) errkind.Kind {
	switch no {
	case syscall.ENOSPC, syscall.EDQUOT:
		return errkind.NoSpace
	case syscall.EIO:
		return errkind.IO
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM:
		return errkind.TooMany
	case syscall.EROFS:
		return errkind.ReadOnly
	}
	return errkind.Other
}
