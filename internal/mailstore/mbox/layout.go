package mbox

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"unicode/utf8"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/imapname/mutf7"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/mbox/spool"
	"rookery/internal/vfs"
)

// Folders lie below the mail path as Dovecot and UW's programs have them: the
// mailbox a/b is the file b in the directory a, levels in modified UTF-7. Two things
// are added for a mailbox that has mail and children: where a is a directory, its
// own mail is the file a/mBoX-MeSsAgEs (Dovecot's mailbox_directory_name for
// mbox); where a is a file, its children lie in the directory .sub.a beside it.
//
// A level that begins with '.' or '%' is written with %2E or %25 for it. Names
// of control files, and those that end in .lock, are no mailboxes. What is held
// for undelete lies in the directory .rookery-held.
const (
	ownMail   = "mBoX-MeSsAgEs"
	subPrefix = ".sub."
	maxListed = 100_000
)

func join(dir, name string) string { return vfs.Join(dir, name) }

// levelOf writes a level as a file's name.
func levelOf(part string) (string, error) {
	p := mutf7.Encode(part)
	if p == "" || p == ownMail || strings.HasSuffix(p, spool.LockExt) || len(p) > 255-len(subPrefix)-len(spool.LockExt) || strings.ContainsAny(p, "/\x00\n\t") || control(p) {
		return "", errkind.Newf("name", errkind.Invalid, "a level of the name is one that cannot be kept as a file")
	}
	switch p[0] {
	case '.':
		p = "%2E" + p[1:]
	case '%':
		p = "%25" + p[1:]
	}
	return p, nil
}

// partOf reads a file's name back.
func partOf(level string) (string, bool) {
	if level == "" || level[0] == '.' || level == ownMail || strings.HasSuffix(level, spool.LockExt) || control(level) {
		return "", false
	}
	if rest, ok := strings.CutPrefix(level, "%2E"); ok {
		level = "." + rest
	} else if rest, ok := strings.CutPrefix(level, "%25"); ok {
		level = "%" + rest
	}
	part, err := mutf7.Decode(level)
	if err != nil { // not ours: as it is
		part = level
	}
	return part, utf8.ValidString(part)
}

// control reports whether a name is a control or index file's, which may lie in
// the mail path.
func control(name string) bool {
	return strings.HasPrefix(name, "dovecot") || strings.HasPrefix(name, "rookery") || name == "subscriptions" || strings.HasPrefix(name, "subscriptions.")
}

// path gives where a mailbox's file is, or would be made. there says that it is
// there as a regular file.
func (f *Format) path(name mailstore.Name) (path string, there bool, err error) {
	if name == imapname.Inbox {
		_, err := f.inbox.Stat()
		if missing(err) {
			return f.opt.InboxPath, false, nil
		}
		return f.opt.InboxPath, err == nil, err
	}
	dir := f.opt.MailPath
	parts := imapname.Name(name).Parts()
	for i, part := range parts {
		level, err := levelOf(part)
		if i == 0 && part == mailstore.HeldRoot {
			level, err = mailstore.HeldDir, nil
		}
		if err != nil {
			return "", false, err
		}
		if i < len(parts)-1 {
			if dir, err = f.childDir(dir, level); err != nil {
				return "", false, err
			}
			continue
		}
		path = join(dir, level)
	}
	for _, p := range []string{path, path + "/" + ownMail} {
		info, err := f.fs.Stat(p)
		switch {
		case missing(err):
			if p != path {
				return p, false, nil // below a directory that is there
			}
			return path, false, nil
		case err != nil:
			return "", false, err
		case info.Mode.IsRegular():
			return p, true, nil
		case !info.IsDir():
			return "", false, errkind.Newf("name", errkind.Invalid, "something that is no file stands at "+p)
		}
	}
	return "", false, errkind.Newf("name", errkind.Invalid, "a directory stands at "+path+"/"+ownMail)
}

// childDir gives the directory of a level's children.
func (f *Format) childDir(dir, level string) (string, error) {
	p := join(dir, level)
	info, err := f.fs.Stat(p)
	switch {
	case missing(err):
		sub := join(dir, subPrefix+level) // its mail was deleted, or it has moved
		if info, err := f.fs.Stat(sub); err == nil && info.IsDir() {
			return sub, nil
		}
		return p, nil
	case err != nil:
		return "", err
	case info.IsDir():
		return p, nil
	}
	return join(dir, subPrefix+level), nil
}

func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// walk calls found for every mailbox's file below the mail path.
func (f *Format) walk(found func(name mailstore.Name, path string)) error {
	type at struct {
		dir, prefix string
		depth       int
	}
	todo := []at{{dir: f.opt.MailPath}}
	for n := 0; len(todo) > 0 && n < maxListed; {
		d := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		err := f.fs.ReadDir(d.dir, func(e vfs.DirEntry) bool {
			n++
			path, level := join(d.dir, e.Name), e.Name
			info := vfs.Info{Mode: e.Type}
			if e.Type == fs.ModeIrregular {
				var err error
				if info, err = f.fs.Stat(path); err != nil {
					return true
				}
			}
			sub, isSub := strings.CutPrefix(level, subPrefix)
			if isSub && info.IsDir() {
				level = sub
			}
			if level == ownMail && d.prefix != "" && info.Mode.IsRegular() {
				found(strings.TrimSuffix(d.prefix, "/"), path)
				return true
			}
			part, ok := partOf(level)
			if d.prefix == "" && level == mailstore.HeldDir && info.IsDir() {
				part, ok = mailstore.HeldRoot, true
			}
			if !ok || path == f.opt.InboxPath || path == f.opt.ControlPath || path == f.opt.IndexPath {
				return true
			}
			name := d.prefix + part
			if imapname.Canonical(name) != imapname.Name(name) || imapname.Name(name).Check() != nil && !info.IsDir() {
				return true // no client can ask for it
			}
			switch {
			case info.IsDir() && d.depth < imapname.MaxDepth:
				todo = append(todo, at{path, name + "/", d.depth + 1})
			case info.Mode.IsRegular() && name != imapname.Inbox:
				found(name, path)
			}
			return n < maxListed
		})
		if err != nil && !missing(err) {
			return err
		}
	}
	return nil
}
