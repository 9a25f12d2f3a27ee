package pack_test

import (
	"strings"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/pack"
	"rookery/internal/mailstore/storetest"
	"rookery/internal/vfs"
)

// options are those of most tests: small files, so that everything that happens
// to large ones happens.
func options(disk vfs.FS) pack.Options {
	return pack.Options{FS: disk, MailPath: "mail", PackSize: 3 << 10, Step: 4 << 10, JournalStep: 4 << 10, JournalSize: 1500, MaxTail: 8, DeadSize: 1 << 40}
}

// dropIndex removes every index file.
func dropIndex(disk vfs.FS) error {
	var walk func(dir string) error
	walk = func(dir string) error {
		var files, dirs []string
		err := disk.ReadDir(dir, func(e vfs.DirEntry) bool {
			switch {
			case e.Type.IsDir():
				dirs = append(dirs, e.Name)
			case strings.HasPrefix(e.Name, "rookery.index"):
				files = append(files, e.Name)
			}
			return true
		})
		if err != nil {
			return err
		}
		for _, f := range files {
			if err := disk.Remove(dir + "/" + f); err != nil {
				return err
			}
		}
		for _, d := range dirs {
			if err := walk(dir + "/" + d); err != nil {
				return err
			}
		}
		return nil
	}
	return walk("mail")
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		notes := &storetest.Notes{}
		return storetest.Harness{DropIndex: dropIndex, Notes: notes, Open: func(disk vfs.FS) (mailstore.Store, error) {
			o := options(disk)
			o.Note = notes.Note
			return pack.Open(o)
		}}
	})
}

// With mail_fsync = "always" nothing that was answered is lost.
func TestStoreAlways(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		return storetest.Harness{ExpungesLast: true, Open: func(disk vfs.FS) (mailstore.Store, error) {
			o := options(disk)
			o.Fsync, o.ControlPath, o.IndexPath = pack.Always, "control", "index"
			return pack.Open(o)
		}}
	})
}
