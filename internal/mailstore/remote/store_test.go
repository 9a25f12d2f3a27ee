//go:build !race

// The suite's disks call back into the test, here in a goroutine of the owner's end. A
// call over a socket is waited for, but the race detector does not know it. What there is
// to find for it TestModel and TestAtOnce do.

package remote

import (
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/mailstore/pack"
	"rookery/internal/mailstore/storetest"
	"rookery/internal/vfs"
)

// The definition of a driver holds for a store over a channel, whatever is behind it.
func TestStore(t *testing.T) {
	for _, d := range []struct {
		name string
		open func(disk vfs.FS, note func(string)) (mailstore.Store, error)
	}{
		{"maildir", func(disk vfs.FS, note func(string)) (mailstore.Store, error) {
			return maildir.Open(maildir.Options{FS: disk, MailPath: "mail", Host: "test.example", LockWait: 20e9, Note: note})
		}},
		{"pack", func(disk vfs.FS, note func(string)) (mailstore.Store, error) {
			return pack.Open(pack.Options{FS: disk, MailPath: "mail", PackSize: 3 << 10, Step: 4 << 10, JournalStep: 4 << 10, JournalSize: 1500,
				MaxTail: 8, DeadSize: 1 << 40, Note: note})
		}},
	} {
		t.Run(d.name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storetest.Harness {
				notes := &storetest.Notes{}
				return storetest.Harness{Sampled: true, StopsLate: true, Notes: notes, Open: func(disk vfs.FS) (mailstore.Store, error) {
					inner, err := d.open(disk, notes.Note)
					if err != nil {
						return nil, err
					}
					s := serve(t, asOwner(t, inner), ServeOptions{}, ClientOptions{Owner: "ann"})
					s.behind = inner
					return s, nil
				}}
			})
		})
	}
}
