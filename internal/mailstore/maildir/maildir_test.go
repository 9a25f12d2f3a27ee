package maildir_test

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/mailstore/storetest"
	"rookery/internal/vfs"
)

// dirOf is where these tests' other programs find a mailbox (names without
// anything to encode).
func dirOf(name mailstore.Name) string {
	if name == "INBOX" {
		return "Maildir"
	}
	return "Maildir/." + strings.ReplaceAll(name, "/", ".")
}

// findText gives the path of the file in new/ or cur/ that holds text.
func findText(disk vfs.FS, name mailstore.Name, text string) (dir, file string, err error) {
	for _, d := range []string{"/new", "/cur"} {
		path := dirOf(name) + d
		var names []string
		if err := disk.ReadDir(path, func(e vfs.DirEntry) bool { names = append(names, e.Name); return true }); err != nil {
			return "", "", err
		}
		slices.Sort(names)
		for _, n := range names {
			if b, err := vfs.ReadFile(disk, path+"/"+n, 1<<20); err == nil && strings.Contains(string(b), text) {
				return path, n, nil
			}
		}
	}
	return "", "", fs.ErrNotExist
}

var deliveries atomic.Int64

func deliver(disk vfs.FS, name mailstore.Name, body string) error {
	file := fmt.Sprintf("17%08d.V1I%dM1.mta", deliveries.Add(1), deliveries.Load())
	for _, d := range []string{"", "/tmp", "/new", "/cur"} {
		if err := vfs.MkdirAll(disk, dirOf(name)+d, 0o700); err != nil {
			return err
		}
	}
	tmp := dirOf(name) + "/tmp/" + file
	f, err := disk.OpenFile(tmp, vfs.Write|vfs.Create|vfs.Excl, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write([]byte(body)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return disk.Rename(tmp, dirOf(name)+"/new/"+file)
}

// flag is what a mail program does: a rename, whatever else is in the flags.
func flag(disk vfs.FS, name mailstore.Name, text string, flags mailstore.Flags) error {
	path, file, err := findText(disk, name, text)
	if err != nil {
		return err
	}
	base, _, _ := strings.Cut(file, ":")
	info := ":2,"
	for _, l := range []struct {
		f mailstore.Flags
		c string
	}{{mailstore.Draft, "D"}, {mailstore.Flagged, "F"}, {mailstore.Answered, "R"}, {mailstore.Seen, "S"}, {mailstore.Deleted, "T"}} {
		if flags&l.f != 0 {
			info += l.c
		}
	}
	return disk.Rename(path+"/"+file, dirOf(name)+"/cur/"+base+info)
}

func remove(disk vfs.FS, name mailstore.Name, text string) error {
	path, file, err := findText(disk, name, text)
	if err != nil {
		return err
	}
	return disk.Remove(path + "/" + file)
}

// dropIndex removes every index file.
func dropIndex(disk vfs.FS) error {
	paths, err := indexFiles(disk)
	for _, p := range paths {
		if err == nil {
			err = disk.Remove(p)
		}
	}
	return err
}

func indexFiles(disk vfs.FS) (paths []string, err error) {
	dirs := []string{"."}
	for len(dirs) > 0 && err == nil {
		dir := dirs[0]
		dirs = dirs[1:]
		err = disk.ReadDir(dir, func(e vfs.DirEntry) bool {
			path := strings.TrimPrefix(dir+"/"+e.Name, "./")
			if e.Type.IsDir() {
				dirs = append(dirs, path)
			} else if strings.HasPrefix(e.Name, "rookery.index") {
				paths = append(paths, path)
			}
			return true
		})
	}
	slices.Sort(paths)
	return paths, err
}

func harness(layout maildir.Layout, mail, inbox, control string) storetest.Harness {
	notes := &storetest.Notes{}
	h := storetest.Harness{DropIndex: dropIndex, Notes: notes, Open: func(disk vfs.FS) (mailstore.Store, error) {
		return maildir.Open(maildir.Options{FS: disk, MailPath: mail, InboxPath: inbox, ControlPath: control, Layout: layout,
			Host: "test.example", LockWait: 20e9, Note: notes.Note})
	}}
	if layout == maildir.MaildirPP && control == "" && inbox == "" {
		h.Deliver, h.Flag, h.Remove = deliver, flag, remove
	}
	return h
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness { return harness(maildir.MaildirPP, "Maildir", "", "") })
}

// The same rules hold for each layout and split.
func TestStoreSplit(t *testing.T) {
	for _, c := range []struct {
		name                 string
		layout               maildir.Layout
		mail, inbox, control string
	}{
		{"AllApart", maildir.MaildirPP, "mail", "spool/inbox", "var/control"},
		{"FSLayout", maildir.FSLayout, "Maildir", "", ""},
		{"FSLayoutApart", maildir.FSLayout, "Maildir", "inbox", "control"},
	} {
		t.Run(c.name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storetest.Harness {
				h := harness(c.layout, c.mail, c.inbox, c.control)
				h.Deliver, h.Flag, h.Remove = nil, nil, nil
				h.Sampled = true
				return h
			})
		})
	}
}
