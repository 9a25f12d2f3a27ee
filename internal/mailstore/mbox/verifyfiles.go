package mbox

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/mbox/spool"
	"rookery/internal/vfs"
)

// Inspect looks at the control files of a store that is not open, touches nothing
// and takes no lock. It finds what opening the store mends: redo-left (a change in
// the midst of a file was cut short), rename-left (a RENAME was).
func Inspect(opt Options, found func(mailstore.Finding)) error {
	opt = opt.withDefaults()
	f, err := opt.FS.OpenFile(join(opt.ControlPath, redoFile), vfs.Read, 0)
	if err == nil {
		list, _, _, herr := (&redo{file: f}).heads()
		f.Close()
		if herr != nil {
			return vfs.Kinded("inspect mbox", herr)
		}
		if len(list) > 0 && list[0].state != idle {
			found(mailstore.Finding{Kind: "redo-left", Mailbox: list[0].name, Text: redoFile + " has a change of this mailbox that was cut short",
				Remedy: "it is finished or taken back when the mail is opened"})
		}
	} else if !missing(err) {
		return vfs.Kinded("inspect mbox", err)
	}
	if _, err := opt.FS.Stat(join(opt.ControlPath, renameFile)); err == nil {
		found(mailstore.Finding{Kind: "rename-left", Text: renameFile + ": a RENAME was cut short", Remedy: "it is finished when the mail is opened"})
	}
	return nil
}

// leftAge is how old a lock file is that nobody holds any more.
const leftAge = 10 * time.Minute

// checkFiles looks at the control files, and at what lies beside the mailboxes.
func (f *Format) checkFiles(repair bool, found func(mailstore.Finding)) error {
	if err := f.checkRedo(repair, found); err != nil {
		return err
	}
	if err := f.checkRecords(repair, found); err != nil {
		return err
	}
	return f.checkLocks(repair, found)
}

// checkRedo finds a journal of which nothing can be read; one that was never
// written is all zeroes.
func (f *Format) checkRedo(repair bool, found func(mailstore.Finding)) error {
	flag := vfs.Read
	if repair {
		flag |= vfs.Write
	}
	file, err := f.fs.OpenFile(f.redo.path, flag, 0)
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	list, _, _, err := (&redo{file: file}).heads()
	if err != nil || len(list) > 0 {
		return err
	}
	b := make([]byte, dataAt)
	if _, err := file.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) {
		return nil
	}
	x := mailstore.Finding{Kind: "redo-damaged", Text: redoFile + " cannot be read: a change that was under way when the power went may be half done",
		Remedy: "it begins anew"}
	if repair {
		if _, err := file.WriteAt(make([]byte, dataAt), 0); err != nil {
			return err
		}
		if err := file.DataSync(); err != nil {
			return err
		}
		x.Repaired = true
	}
	found(x)
	return nil
}

// checkRecords looks at rookery-mboxes.
func (f *Format) checkRecords(repair bool, found func(mailstore.Finding)) error {
	data, err := vfs.ReadFile(f.fs, f.recs.path, maxRecords)
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	bad := 0
	for line := range strings.Lines(string(data)) {
		if _, _, ok := parseRecord(line); !ok && strings.TrimSpace(line) != "" {
			bad++
		}
	}
	if bad > 0 {
		x := mailstore.Finding{Kind: "records-damaged", Text: fmt.Sprintf("%d lines of %s cannot be read", bad, recordsFile), Remedy: "the file is written anew without them"}
		if repair {
			if err := f.recs.anew(); err != nil {
				return err
			}
			x.Repaired = true
		}
		found(x)
	}
	names, err := f.recs.names()
	if err != nil {
		return err
	}
	for _, n := range names {
		if _, there, err := f.path(n); err != nil || there || n == imapname.Inbox {
			continue
		}
		x := mailstore.Finding{Kind: "record-stale", Text: fmt.Sprintf("%s has the mailbox %s, whose file is gone", recordsFile, n), Remedy: "the record goes"}
		if repair {
			if err := f.recs.put([]change{{n, record{}}}, nil); err != nil {
				return err
			}
			x.Repaired = true
		}
		found(x)
	}
	return nil
}

// checkLocks finds lock files that nobody holds any more.
func (f *Format) checkLocks(repair bool, found func(mailstore.Finding)) error {
	var paths []string
	if err := f.walk(func(_ mailstore.Name, path string) { paths = append(paths, path+spool.LockExt) }); err != nil {
		return err
	}
	if f.opt.Inbox == nil {
		paths = append(paths, f.opt.InboxPath+spool.LockExt)
	}
	slices.Sort(paths)
	limit := f.fs.Now().Add(-max(f.opt.StaleLock, leftAge))
	for _, p := range paths {
		info, err := f.fs.Stat(p)
		if err != nil || !info.ModTime.Before(limit) || !info.ChangeTime.Before(limit) {
			continue
		}
		x := mailstore.Finding{Kind: "lock-left", Text: p + " was left by a program that is gone", Remedy: "it is removed"}
		if repair {
			if err := f.fs.Remove(p); err != nil && !missing(err) {
				return err
			}
			x.Repaired = true
		}
		found(x)
	}
	return nil
}
