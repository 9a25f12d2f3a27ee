package mbox

import (
	"errors"
	"io/fs"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/vfs"
)

// rookery-mbox-rename is a control file that is there only while a RENAME is
// under way: pairs of mailboxes' names, each followed by LF, old before new,
// and at last a line with the CRC-32C of them in eight hexadecimal digits. Whoever
// opens the store next, or goes by a name in it, finishes it.
const renameFile = "rookery-mbox-rename"

// Rename renames mailboxes, all or none.
func (f *Format) Rename(moves []engine.Rename) error {
	if err := f.mend(); err != nil {
		return err
	}
	text := ""
	for _, m := range moves {
		if _, _, err := f.path(m.To); err != nil {
			return err
		}
		text += m.From.Name + "\n" + m.To + "\n"
	}
	path := join(f.opt.ControlPath, renameFile)
	if _, err := vfs.Replace(f.fs, path, []byte(text+crcText(text)+"\n"), f.opt.FileMode); err != nil {
		return err
	}
	var list [][2]mailstore.Name
	for _, m := range moves {
		list = append(list, [2]mailstore.Name{m.From.Name, m.To})
	}
	if err := f.finishRename(list); err != nil {
		if back := f.undoRename(list); back == nil {
			_ = f.fs.Remove(path)
		}
		return err
	}
	f.relocate(moves)
	return f.endRename()
}

func (f *Format) endRename() error {
	if err := f.fs.Remove(join(f.opt.ControlPath, renameFile)); err != nil && !missing(err) {
		return err
	}
	// Unsynced: done twice it does nothing.
	return nil
}

func crcText(s string) string {
	const digits = "0123456789abcdef"
	n, out := sum([]byte(s)), ""
	for i := 28; i >= 0; i -= 4 {
		out += string(digits[n>>i&15])
	}
	return out
}

// Unfinished reports whether a RENAME is under way, or was cut short.
func (f *Format) Unfinished() bool {
	_, err := f.fs.Stat(join(f.opt.ControlPath, renameFile))
	return err == nil
}

// Finish finishes a RENAME that a crash cut short.
func (f *Format) Finish() error {
	data, err := vfs.ReadFile(f.fs, join(f.opt.ControlPath, renameFile), 64<<20)
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	text := strings.Join(lines[:len(lines)-1], "\n") + "\n"
	if len(lines)%2 == 1 && len(lines) > 1 && lines[len(lines)-1] == crcText(text) {
		var list [][2]mailstore.Name
		for i := 0; i+1 < len(lines); i += 2 {
			list = append(list, [2]mailstore.Name{lines[i], lines[i+1]})
		}
		err := f.finishRename(list)
		if errkind.Is(err, errkind.Exists) { // another program has taken a new name meanwhile
			f.opt.Note("mbox " + lines[0] + ": a RENAME to " + lines[1] + " was cut short and is taken back: " + err.Error())
			err = f.undoRename(list)
		}
		if err != nil {
			return err
		}
	}
	return f.endRename()
}

// finishRename renames what is still there under its old name.
func (f *Format) finishRename(list [][2]mailstore.Name) error {
	for _, m := range list {
		rec, known, err := f.recs.get(m[0])
		if err != nil {
			return err
		}
		if !known {
			continue // done before the crash
		}
		from, there, err := f.path(m[0])
		if err != nil {
			return err
		}
		to, _, err := f.path(m[1])
		if err != nil {
			return err
		}
		if err := f.recs.put([]change{{m[1], rec}}, nil); err != nil {
			return err
		}
		if there {
			if err := engine.MakeDirs(f.fs, vfs.Parent(to), f.opt.FolderMode); err != nil {
				return err
			}
			if err := f.fs.RenameNoReplace(from, to); errors.Is(err, fs.ErrExist) {
				return errkind.New("rename", errkind.Exists, err)
			} else if err != nil {
				return err
			}
		}
		for _, d := range []string{vfs.Parent(to), vfs.Parent(from)} {
			if err := f.fs.SyncDir(d); err != nil && !missing(err) {
				return err
			}
		}
		if err := f.recs.put([]change{{m[0], record{}}}, nil); err != nil {
			return err
		}
		if m[0] != imapname.Inbox {
			f.prune(vfs.Parent(from))
		}
	}
	return nil
}

// undoRename puts back what was renamed.
func (f *Format) undoRename(list [][2]mailstore.Name) error {
	var back [][2]mailstore.Name
	for i := len(list) - 1; i >= 0; i-- {
		old, now := list[i][0], list[i][1]
		_, oldThere, err := f.path(old)
		if err != nil {
			return err
		}
		_, nowThere, err := f.path(now)
		if err != nil {
			return err
		}
		switch {
		case oldThere && !nowThere:
			rec, known, err := f.recs.get(now)
			if err == nil && known {
				err = f.recs.put([]change{{old, rec}, {now, record{}}}, nil)
			}
			if err != nil {
				return err
			}
		case oldThere && nowThere: // the new one is another program's
			rec, known, err := f.recs.get(old)
			if err == nil && known {
				var taken record
				if taken, known, err = f.recs.get(now); known && taken.guid == rec.guid {
					err = f.recs.put([]change{{now, record{}}}, nil)
				}
			}
			if err != nil {
				return err
			}
		case nowThere && !oldThere:
			back = append(back, [2]mailstore.Name{now, old})
		}
	}
	return f.finishRename(back)
}
