package spool_test

import (
	"errors"
	"io/fs"
	"slices"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore/mbox/spool"
	"rookery/internal/vfs"
)

// program notes which locks are asked for, one letter each: f for fcntl and d for
// the lock file, in capitals when it was had, and the small letter after a "-" when it
// was given back. Another has the lock file, and the fcntl lock, for so many tries.
type program struct {
	vfs.File
	did            []string
	dotlock, fcntl int
}

func (p *program) Lock(bool, time.Duration) error {
	if p.fcntl > 0 {
		p.fcntl--
		p.did = append(p.did, "f")
		return errkind.New("lock", errkind.InUse, errors.New("another has it"))
	}
	p.did = append(p.did, "F")
	return nil
}

func (p *program) Unlock() error { p.did = append(p.did, "-f"); return nil }

// box is the spool of the same.
type box struct{ *program }

func (b box) Open(bool) (vfs.File, bool, error) { return b.program, true, nil }
func (b box) Stat() (vfs.Info, error)           { return vfs.Info{}, nil }

func (b box) Lock(bool) error {
	if b.dotlock > 0 {
		b.dotlock--
		b.did = append(b.did, "d")
		return &fs.PathError{Op: "lock", Path: "INBOX", Err: fs.ErrExist}
	}
	b.did = append(b.did, "D")
	return nil
}

func (b box) Unlock() error { b.did = append(b.did, "-d"); return nil }

// TestOrder: the order asked for at first; then the lock that another has is tried
// alone until it can be had, and nothing is held while it is waited for. local(8), with the
// lock file in hand, sleeps a second for each moment of our fcntl lock that it meets.
func TestOrder(t *testing.T) {
	kinds := []spool.Kind{spool.Fcntl, spool.Dotlock}
	for _, c := range []struct {
		name           string
		dotlock, fcntl int
		want           []string
	}{
		{"free", 0, 0, []string{"F", "D", "-d", "-f"}},
		{"another has the lock file", 3, 0, []string{"F", "d", "-f", "d", "d", "D", "F", "-f", "-d"}},
		{"another has the fcntl lock", 0, 2, []string{"f", "f", "F", "D", "-d", "-f"}},
		{"one after the other", 1, 0, []string{"F", "d", "-f", "D", "F", "-f", "-d"}},
	} {
		p := &program{dotlock: c.dotlock, fcntl: c.fcntl}
		h, err := spool.Take(p, box{p}, kinds, true, true, time.Minute)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		h.Release()
		if !slices.Equal(p.did, c.want) {
			t.Errorf("%s: %q, want %q", c.name, p.did, c.want)
		}
	}
	if !slices.Equal(kinds, []spool.Kind{spool.Fcntl, spool.Dotlock}) {
		t.Errorf("the caller's order is changed to %q", kinds)
	}
	p := &program{dotlock: 1 << 30}
	if _, err := spool.Take(p, box{p}, kinds, true, true, 5*time.Millisecond); !errkind.Is(err, errkind.InUse) {
		t.Errorf("after the time is up: %v", err)
	}
	if n := len(p.did); n < 4 || slices.Contains(p.did[3:], "F") {
		t.Errorf("while another has the lock file: %q", p.did)
	}
}
