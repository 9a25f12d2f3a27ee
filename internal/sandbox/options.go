package sandbox

import (
	"fmt"
	"strings"
)

// Options says what one process may reach. The zero value gives the strictest
// sandbox that needs no directory.
type Options struct {
	// Root is a descriptor of the directory that becomes "/" (see OpenRoot).
	// 0 or less means no chroot: descriptor 0 is standard input and never a
	// directory of ours. Enter closes it.
	Root int

	// Rules are the only places where files may be opened, for roles that open
	// any. Enter closes their descriptors.
	Rules []Rule

	// KeepDirs are further directory descriptors that may stay open after the
	// chroot. Each is a way out of it as far as stat and readlink go (Landlock
	// still rules reading and writing). Any other open directory is an error.
	KeepDirs []int

	// PrivateUID says that no other user's process runs under this uid. It
	// adds inotify, which shows names that Landlock hides, and whose instances
	// are counted per uid.
	PrivateUID bool

	// LandlockABI caps the ABI that is used, so that a new kernel can be made
	// to behave as an old one; 0 means no cap.
	LandlockABI int

	// Strict makes a protection that cannot be had an error. Without it the
	// process runs on and the Report names what is missing. master sets it
	// where it runs as root.
	Strict bool

	// without is what tests take away. Nothing outside this package can set it
	// in a build that is meant to be used.
	without Protection
}

func (o Options) has(p Protection) bool { return o.without&p == 0 }

// Rule permits one kind of access beneath a directory, or to one file.
type Rule struct {
	FD     int    // of the directory or file; O_PATH is enough
	Access Access // what is permitted beneath it
}

// Access is a kind of use of files.
type Access uint8

// The kinds of use. None of them includes making links of the symbolic kind,
// sockets, fifos or devices, executing, or device ioctls.
const (
	ReadOnly  Access = iota + 1 // open files for reading, list directories
	ReadWrite                   // also make, write, truncate, link, rename and remove files and directories
)

// Report says what holds after Enter.
type Report struct {
	Role        Role
	Held        Protection // the protections that hold
	LeftOut     []LeftOut  // those that do not, with the reason
	LandlockABI int        // as used; 0 without Landlock
	LandlockNet bool       // TCP bind and connect are refused by Landlock too (ABI 4)
	ScopedIPC   bool       // signals and abstract sockets end at this process (ABI 6)
	FilterRows  int        // rows in the seccomp table
	FilterSize  int        // instructions of the seccomp program
	Stage       int        // 1 for a spare that waits, else 2
}

// LeftOut is a protection that does not hold.
type LeftOut struct {
	Protection Protection
	Why        string
	Chosen     bool // by whoever started the process, who gave no directory to chroot into
}

func (r *Report) hold(p Protection) { r.Held |= p }

func (r *Report) leaveOut(p Protection, why string) {
	r.LeftOut = append(r.LeftOut, LeftOut{Protection: p, Why: why})
}

// Holds reports whether all protections of p hold.
func (r Report) Holds(p Protection) bool { return r.Held&p == p }

// String is one line for a log: what holds, then what was left out and why.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v:", r.Role)
	for p := Chroot; p < lastProtection; p <<= 1 {
		if r.Held&p == 0 {
			continue
		}
		fmt.Fprintf(&b, " %v", p)
		switch p {
		case Landlock:
			fmt.Fprintf(&b, "(abi %d)", r.LandlockABI)
		case Seccomp:
			fmt.Fprintf(&b, "(%d rows)", r.FilterRows)
		}
	}
	for _, l := range r.LeftOut {
		fmt.Fprintf(&b, "; without %v: %s", l.Protection, l.Why)
	}
	return b.String()
}
