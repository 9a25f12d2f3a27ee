package mbox_test

import (
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/mbox"
	"rookery/internal/mailstore/mbox/mboxfmt"
	"rookery/internal/mailstore/storetest"
	"rookery/internal/vfs"
)

// pathOf is where these tests' other programs find a mailbox.
func pathOf(name mailstore.Name) string {
	if name == "INBOX" {
		return "spool/user"
	}
	return "mail/" + name
}

// with runs a change by another program, with a lock that goes with it when it is killed.
func with(disk vfs.FS, name mailstore.Name, change func(f vfs.File, size int64) error) error {
	path := pathOf(name)
	if err := vfs.MkdirAll(disk, path[:strings.LastIndexByte(path, '/')], 0o700); err != nil {
		return err
	}
	f, err := disk.OpenFile(path, vfs.Read|vfs.Write|vfs.Create, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Lock(true, 20*time.Second); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return change(f, info.Size)
}

func deliver(disk vfs.FS, name mailstore.Name, body string) error {
	return with(disk, name, func(f vfs.File, size int64) error {
		text := "From someone@example.test " + disk.Now().UTC().Format(time.ANSIC) + "\n" + body + "\n"
		if _, err := f.WriteAt([]byte(text), size); err != nil {
			return err
		}
		return f.Sync()
	})
}

// rewrite changes the message that holds text, as mutt does: the whole file is
// written again.
func rewrite(disk vfs.FS, name mailstore.Name, text string, change func(m *mboxfmt.Message, whole string) string) error {
	return with(disk, name, func(f vfs.File, size int64) error {
		b := make([]byte, size)
		if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
			return err
		}
		s := mboxfmt.NewScanner(f, 0, size, time.UTC)
		for {
			m, err := s.Next()
			if err == io.EOF {
				return fs.ErrNotExist
			}
			if err != nil {
				return err
			}
			if whole := string(b[m.From:m.Next]); strings.Contains(whole, text) {
				out := string(b[:m.From]) + change(m, whole) + string(b[m.Next:])
				if err := f.Truncate(0); err != nil {
					return err
				}
				_, err := f.WriteAt([]byte(out), 0)
				return err
			}
		}
	})
}

func flag(disk vfs.FS, name mailstore.Name, text string, flags mailstore.Flags) error {
	return rewrite(disk, name, text, func(m *mboxfmt.Message, whole string) string {
		out, at := whole[:m.Header-m.From], m.Header
		out += "Status: " + mboxfmt.StatusValue(flags, true) + "\nX-Status: " + mboxfmt.XStatusValue(flags) + "\n"
		for _, fd := range m.Meta.Fields {
			if fd.Kind == mboxfmt.FieldStatus || fd.Kind == mboxfmt.FieldXStatus {
				out += whole[at-m.From : fd.Off-m.From]
				at = fd.End
			}
		}
		return out + whole[at-m.From:]
	})
}

func remove(disk vfs.FS, name mailstore.Name, text string) error {
	return rewrite(disk, name, text, func(*mboxfmt.Message, string) string { return "" })
}

func dropIndex(disk vfs.FS) error { return drop(disk, ".") }

// drop removes every file of the index below a directory.
func drop(disk vfs.FS, dir string) error {
	var dirs, files []string
	err := disk.ReadDir(dir, func(e vfs.DirEntry) bool {
		p := strings.TrimPrefix(dir+"/"+e.Name, "./")
		if e.Type.IsDir() {
			dirs = append(dirs, p)
		} else if strings.HasPrefix(e.Name, "rookery.index") {
			files = append(files, p)
		}
		return true
	})
	for _, p := range files {
		if err == nil {
			err = disk.Remove(p)
		}
	}
	for _, p := range dirs {
		if err == nil {
			err = drop(disk, p)
		}
	}
	return err
}

func options(disk vfs.FS) mbox.Options {
	return mbox.Options{Options: engine.Options{FS: disk, ControlPath: "control", LockWait: 20 * time.Second},
		MailPath: "mail", InboxPath: "spool/user", Zone: time.UTC, JournalSize: 24 << 10}
}

func harness() storetest.Harness {
	notes := &storetest.Notes{}
	return storetest.Harness{Deliver: deliver, Flag: flag, Remove: remove, DropIndex: dropIndex, ExpungesLast: true, MovesTwice: true, Notes: notes,
		Open: func(disk vfs.FS) (mailstore.Store, error) {
			o := options(disk)
			o.Note = notes.Note
			return mbox.Open(o)
		}}
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Harness {
		h := harness()
		h.Sampled = os.Getenv("ROOKERY_SOAK") == "" // whole it takes minutes
		return h
	})
}
