package vfs

import (
	"errors"
	"io/fs"
	"syscall"

	"rookery/internal/errkind"
)

// Kinded gives an error of the disk its kind and the operation; an error that has
// a kind other than errkind.Other keeps it. Kinded of nil is nil.
func Kinded(op string, err error) error {
	if errkind.Of(err) != errkind.Other {
		return errkind.Wrap(op, err)
	}
	if err == nil {
		return nil
	}
	return errkind.New(op, KindOf(err), err)
}

// KindOf gives the kind of an error of the disk by its number, whatever kinds
// it was given before.
func KindOf(err error) errkind.Kind {
	var no syscall.Errno
	if errors.As(err, &no) {
		switch no {
		case syscall.ENOSPC, syscall.EDQUOT:
			return errkind.NoSpace
		case syscall.EIO:
			return errkind.IO
		case syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM:
			return errkind.TooMany
		case syscall.EROFS:
			return errkind.ReadOnly
		case syscall.ENAMETOOLONG:
			return errkind.Invalid
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errkind.NotFound
	case errors.Is(err, fs.ErrExist):
		return errkind.Exists
	case errors.Is(err, fs.ErrPermission):
		return errkind.NoPermission
	case errors.Is(err, fs.ErrInvalid):
		return errkind.Invalid
	}
	return errkind.Other
}

// NotExist reports whether err says that a path names nothing: the last part of
// it, or one before that is missing or no directory.
func NotExist(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
