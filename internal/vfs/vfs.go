// Package vfs is the one door to the disk for mail, control and index files.
//
// Everything that storage does to a disk goes through FS and File, so that
// tests can cut the power after operation k for every k, make each operation
// fail, or coarsen the clock of the file system. Paths are slash-separated and
// relative to the FS's root; a component may not be "..". No operation follows
// a symbolic link in the last component, and none follows one that leads out of
// the root.
//
// Storage drivers and the processes that open a store call it. It must never
// know what the bytes mean.
package vfs

import (
	"io"
	"io/fs"
	"time"
)

// Flag says how OpenFile opens. Combine with |.
type Flag uint16

// The flags of OpenFile.
const (
	Read   Flag = 1 << iota // for reading
	Write                   // for writing
	Create                  // make it if it is not there
	Excl                    // with Create: fail with fs.ErrExist if it is there
	Append                  // every write goes to the end
	Trunc                   // cut to length 0 (only on files made by the caller)
)

// Info is what stat tells. Times are as the file system keeps them.
type Info struct {
	Size                int64
	Mode                fs.FileMode // type and permission bits
	ModTime, ChangeTime time.Time
	Inode               uint64 // unique within Device
	Device              uint64
	Links               uint64
	Owner               uint32 // uid; 0 where a file system has no owners
}

// IsDir reports whether it is a directory.
func (i Info) IsDir() bool { return i.Mode.IsDir() }

// DirEntry is one name of a directory. Type holds type bits only, and may be
// fs.ModeIrregular where the file system does not say.
type DirEntry struct {
	Name  string
	Type  fs.FileMode
	Inode uint64
}

// FS is a tree of files. Errors wrap fs.ErrNotExist, fs.ErrExist,
// fs.ErrPermission, or the syscall.Errno (ENOSPC, EDQUOT, EIO, EMFILE, …).
// Implementations are safe for concurrent use.
type FS interface {
	OpenFile(path string, flag Flag, perm fs.FileMode) (File, error)
	Stat(path string) (Info, error) // does not follow a link in the last component
	// ReadDir calls yield for each entry but "." and "..", in no order, until
	// it returns false. Names may come and go meanwhile, as POSIX has it.
	ReadDir(path string, yield func(DirEntry) bool) error
	Mkdir(path string, perm fs.FileMode) error
	Rename(from, to string) error          // replaces to, atomically
	RenameNoReplace(from, to string) error // fs.ErrExist if to is there
	Link(from, to string) error            // fs.ErrExist if to is there
	Remove(path string) error              // a file
	RemoveDir(path string) error           // an empty directory
	SyncDir(path string) error             // fsync of a directory
	// BootID names this boot of the machine: unsynced data of another boot may be gone.
	BootID() string
	// Now is the wall clock that stamps files (tests set it).
	Now() time.Time
	// Sub gives the tree below path as an FS of its own.
	Sub(path string) (FS, error)
}

// File is an open file.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.WriterAt
	io.Seeker
	io.Closer
	Stat() (Info, error)
	Sync() error                  // fsync
	DataSync() error              // fdatasync
	Truncate(size int64) error    //
	Allocate(size int64) error    // reserve disk blocks up to size
	SetModTime(t time.Time) error // access time is left alone
	// Lock takes an open-file-description lock over the whole file. wait 0
	// tries once. A lock held by another after wait is errkind.InUse.
	Lock(exclusive bool, wait time.Duration) error
	Unlock() error
	// Fd is the descriptor, for sendfile and mmap; ok is false where there is none (memfs).
	Fd() (fd uintptr, ok bool)
}
