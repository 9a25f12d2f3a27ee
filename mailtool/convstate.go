package mailtool

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore/annotation"
	"rookery/internal/vfs"
	"rookery/internal/worker"
)

// A conversion that is not over is a control file, rookery-convert, beside
// rookery-place:
//
//	rookery-convert 1
//	from DRIVER BELOW
//	to DRIVER BELOW
//	state copying | switched
//
// BELOW is "-" for the place of the settings. The file is replaced by rename.
// "copying": the mail is where it was; what lies at "to" is a part of a copy.
// "switched": rookery-place names "to"; the old mail still lies at "from", until
// it is discarded.
const (
	convertFile  = "rookery-convert"
	convertLock  = "rookery-convert.lock" // an OFD lock; never removed or replaced
	convertMagic = "rookery-convert 1"
	maxConvert   = 4 << 10

	stateCopying  = "copying"
	stateSwitched = "switched"
)

// conversion is what the file says.
type conversion struct {
	from, to worker.Place
	state    string
}

func (v conversion) encode() []byte {
	below := func(p worker.Place) string {
		if p.Below == "" {
			return "-"
		}
		return p.Below
	}
	return fmt.Appendf(nil, "%s\nfrom %s %s\nto %s %s\nstate %s\n", convertMagic, v.from.Driver, below(v.from), v.to.Driver, below(v.to), v.state)
}

// decodeConversion reads the file: errkind.Corrupt if it is none.
func decodeConversion(data []byte) (v conversion, err error) {
	bad := errkind.Newf("read "+convertFile, errkind.Corrupt, "it is not in the form of this version")
	lines := strings.Split(string(data), "\n")
	if len(lines) != 5 || lines[0] != convertMagic || lines[4] != "" {
		return v, bad
	}
	place := func(line, word string, own bool) (p worker.Place, ok bool) {
		f := strings.Split(line, " ")
		if len(f) != 3 || f[0] != word || f[1] == "" || strings.Contains(f[1], "/") {
			return p, false
		}
		if p.Driver = f[1]; own && f[2] == "-" {
			return p, true
		}
		p.Below = f[2]
		return p, worker.ValidBelow(p.Below)
	}
	var ok1, ok2, ok3 bool
	v.from, ok1 = place(lines[1], "from", true)
	v.to, ok2 = place(lines[2], "to", false)
	v.state, ok3 = strings.CutPrefix(lines[3], "state ")
	if !ok1 || !ok2 || !ok3 || v.from.Below == v.to.Below || !slices.Contains([]string{stateCopying, stateSwitched}, v.state) {
		return conversion{}, bad
	}
	return v, nil
}

// controls are the files of a conversion in the user's trees.
type controls struct {
	fs   vfs.FS
	tops []string // as worker.Host.Tops
}

func (c controls) path(name string) string { return c.tops[0] + "/" + name }

// lockWait is longer than the process of a command that was just cut short needs
// to end.
const lockWait = 3 * time.Second

// lock keeps a second conversion of the same user out until the process ends.
func (c controls) lock() (vfs.File, error) {
	f, err := c.fs.OpenFile(c.path(convertLock), vfs.Read|vfs.Write|vfs.Create, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Lock(true, lockWait); err != nil {
		f.Close()
		return nil, failf(exitTemp, "another conversion of this user's mail is at work")
	}
	return f, nil
}

// load reads the conversion under way; ok is false if there is none.
func (c controls) load() (v conversion, ok bool, err error) {
	data, err := vfs.ReadFile(c.fs, c.path(convertFile), maxConvert)
	if errors.Is(err, fs.ErrNotExist) {
		return v, false, nil
	}
	if err == nil {
		v, err = decodeConversion(data)
	}
	return v, err == nil, err
}

func (c controls) save(v conversion) error { return c.replace(convertFile, v.encode()) }

// replace writes a control file, all of it or nothing: what was there before
// stays until the new content is on disk.
func (c controls) replace(name string, data []byte) error {
	tmp := c.path(name + ".new")
	if err := c.fs.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := c.fs.OpenFile(tmp, vfs.Write|vfs.Create|vfs.Excl, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := c.fs.Rename(tmp, c.path(name)); err != nil {
		return err
	}
	return c.fs.SyncDir(c.tops[0])
}

// carried are control files that belong to no format and say what the mail alone
// cannot: where held messages come from, what clients noted of mailboxes. The count
// of the quota is made anew. What guests have seen (package ownseen) and what the user
// noted of others' mailboxes (ownnotes) lies where the settings have control files, whatever
// the place of the store: it stays, and names mailboxes by what stays as well.
var carried = [...]string{"rookery-held", annotation.File}

const maxCarried = 64 << 20

// carry takes them along. They name mailboxes by GUIDs, which stay.
func (c controls) carry(v conversion) error {
	from := c.tops[0]
	if v.from.Below != "" {
		from += "/" + v.from.Below
	}
	for _, name := range carried {
		data, err := vfs.ReadFile(c.fs, from+"/"+name, maxCarried)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = controls{c.fs, []string{c.tops[0] + "/" + v.to.Below}}.replace(name, data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// forget takes the conversion's file away.
func (c controls) forget() error {
	if err := c.fs.Remove(c.path(convertFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return c.fs.SyncDir(c.tops[0])
}

// unused gives a directory's name that no store has.
func (c controls) unused() (string, error) {
	for n := 1; n < 10000; n++ {
		name := fmt.Sprintf("%s%d", worker.StorePrefix, n)
		free := true
		for _, top := range c.tops {
			_, err := c.fs.Stat(top + "/" + name)
			free = free && errors.Is(err, fs.ErrNotExist)
		}
		if free {
			return name, nil
		}
	}
	return "", failf(exitCreate, "there are %d directories of former conversions; discard them", 10000)
}

// remove takes a moved store's directories away with all that is in them.
func (c controls) remove(below string) error {
	if !worker.ValidBelow(below) {
		return failf(exitSoftware, "%q is no directory of a conversion", below)
	}
	for _, top := range c.tops {
		if err := removeTree(c.fs, top+"/"+below, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := c.fs.SyncDir(top); err != nil {
			return err
		}
	}
	return nil
}

// maxTree is how deep a store's directories may lie.
const maxTree = 128

func removeTree(f vfs.FS, dir string, depth int) error {
	if depth > maxTree {
		return errkind.Newf("remove "+dir, errkind.Limit, "too deep")
	}
	var all []vfs.DirEntry
	if err := f.ReadDir(dir, func(e vfs.DirEntry) bool { all = append(all, e); return true }); err != nil {
		return err
	}
	for _, e := range all {
		path := dir + "/" + e.Name
		info, err := f.Stat(path) // the listing may not say
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return err
		case info.IsDir():
			err = removeTree(f, path, depth+1)
		default:
			err = f.Remove(path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return f.RemoveDir(dir)
}
