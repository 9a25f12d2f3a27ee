// Package dotlockmsg is the channel between a worker and the process
// rookery-dotlock, which opens the user's mbox for it and makes its lock file;
// and the channel on which master tells that process which file it is.
//
// rookery-dotlock is the server of the first and the client of the second. A
// worker names no path: there is one file, master's.
package dotlockmsg

import (
	"time"

	"rookery/internal/ipc"
)

// Protocol is a worker's channel. Each message of the worker is answered by one
// Answer, in order.
var Protocol = ipc.Define(ipc.Protocol{Name: "dotlock", Version: 1, MaxBytes: 1 << 10, Defs: []ipc.Def{
	{New: func() ipc.Message { return new(Open) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Stat) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Lock) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Unlock) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Answer) }, From: ipc.FromServer, FD: ipc.FDFile, OptionalFD: true},
}})

// Control is master's channel.
var Control = ipc.Define(ipc.Protocol{Name: "dotlock-control", Version: 1, MaxBytes: 1 << 10, Defs: []ipc.Def{
	{New: func() ipc.Message { return new(File) }, From: ipc.FromServer},
}})

// The messages' numbers.
const (
	typeOpen ipc.Type = 1 + iota
	typeStat
	typeLock
	typeUnlock
	typeAnswer
)

const typeFile ipc.Type = 1

// MaxName is the longest name of a file.
const MaxName = 255

// Open asks for the file, opened. Create makes it if it is missing.
type Open struct{ Create bool }

// Type is for ipc.
func (*Open) Type() ipc.Type { return typeOpen }

// Fields is for ipc.
func (m *Open) Fields(c *ipc.Codec) { c.Bool(&m.Create) }

// Stat asks what stands under the file's name.
type Stat struct{}

// Type is for ipc.
func (*Stat) Type() ipc.Type { return typeStat }

// Fields is for ipc.
func (*Stat) Fields(*ipc.Codec) {}

// Lock asks for the lock file, once. Own says that no living process of ours can
// have made one that is there.
type Lock struct{ Own bool }

// Type is for ipc.
func (*Lock) Type() ipc.Type { return typeLock }

// Fields is for ipc.
func (m *Lock) Fields(c *ipc.Codec) { c.Bool(&m.Own) }

// Unlock removes the lock file.
type Unlock struct{}

// Type is for ipc.
func (*Unlock) Type() ipc.Type { return typeUnlock }

// Fields is for ipc.
func (*Unlock) Fields(*ipc.Codec) {}

// Answer is what came of it. A descriptor comes with a file that was opened.
type Answer struct {
	Errno    uint32 // of the system; 0: it was done
	Writable bool   // of Open
	// Of Stat: what vfs.Info has.
	Size                int64
	Mode                uint32
	ModTime, ChangeTime time.Time
	Inode, Device       uint64
	Links               uint64
}

// Type is for ipc.
func (*Answer) Type() ipc.Type { return typeAnswer }

// Fields is for ipc.
func (m *Answer) Fields(c *ipc.Codec) {
	c.U32(&m.Errno)
	c.Bool(&m.Writable)
	size := uint64(m.Size)
	c.U64(&size)
	if c.Reading() {
		if m.Size = int64(size); m.Size < 0 {
			c.Fail("a size is %d", m.Size)
		}
	}
	c.U32(&m.Mode)
	c.Time(&m.ModTime)
	c.Time(&m.ChangeTime)
	c.U64(&m.Inode)
	c.U64(&m.Device)
	c.U64(&m.Links)
}

// File says which file of the directory it is that the process was given.
type File struct {
	Name  string
	Stale time.Duration // see mbox_dotlock_change_timeout
}

// Type is for ipc.
func (*File) Type() ipc.Type { return typeFile }

// Fields is for ipc.
func (m *File) Fields(c *ipc.Codec) {
	c.String(&m.Name, MaxName)
	c.Duration(&m.Stale)
}
