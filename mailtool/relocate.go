package mailtool

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

// mover is a home whose mail can be moved to another directory.
type mover interface {
	FS() vfs.FS
	OpenMoved(from, to string) (mailstore.Store, error)
}

// relocate moves what lies in the user's mail path to another directory, in steps
// that the option phase names; "from" and "to" are the directories. rookeryctl
// asks for them in this order:
//
//	plan    tells what there is to copy, and the room for it; touches nothing
//	copy    makes or goes on with a copy, while the user's sessions go on
//	finish  with the user kept out: brings the copy up to date, and compares what
//	        both directories show as a store
//	late    after the server switched, the user still kept out: what other programs
//	        brought to the old place meanwhile comes over
//	rescue  the same after an interruption, with the user at work: only messages
//	        delivered to a Maildir
//	free    takes away at the old place what was copied, and nothing else
//	keep    ends a move whose old place stays as it is
//
// The server alone decides which of both directories the user's processes get, and
// changes that between finish and late, in one step.
func relocate(c *call) error {
	home, ok := c.home.(mover)
	if !ok {
		return failf(exitSoftware, "mail is not moved here")
	}
	from, to := c.option("from"), c.option("to")
	if !path.IsAbs(from) || !path.IsAbs(to) || path.Clean(from) != from || path.Clean(to) != to || from == to {
		return failf(exitSoftware, "a move from %q to %q is none", from, to)
	}
	m := &move{call: c, home: home, from: from, to: to}
	m.tree = &tree{call: c, fs: home.FS(), from: strings.TrimPrefix(from, "/"), to: strings.TrimPrefix(to, "/")}
	if c.option("phase") == "plan" {
		return m.plan()
	}
	if c.reloc == nil {
		ctl, err := c.home.Controls()
		if err != nil {
			return err
		}
		if c.reloc, err = ctl.lock(); err != nil {
			return err
		}
	}
	switch c.option("phase") {
	case "copy":
		return m.copy()
	case "finish":
		return m.finish()
	case "late":
		return m.late()
	case "rescue":
		return m.rescue()
	case "free":
		return m.free()
	case "keep":
		return m.forget()
	}
	return failf(exitSoftware, "a move has no phase %q", c.option("phase"))
}

// move is one call of relocate.
type move struct {
	*call
	home     mover
	tree     *tree
	from, to string
}

// exists reports whether the target is there.
func (m *move) exists() (bool, error) {
	_, err := m.tree.fs.Stat(m.tree.to)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) { // without it, the sandbox has no door to it
		return false, nil
	}
	return err == nil, err
}

func (m *move) plan() error {
	there, err := m.exists()
	if err != nil {
		return err
	}
	m.tree.measure = true
	if !there {
		m.tree.to = m.tree.from + "/" + relocFile // nothing lies there
	}
	if err := m.tree.run(); err != nil {
		return err
	}
	var o ordered
	o.add("user", m.user)
	o.add("from", m.from)
	o.add("to", m.to)
	o.add("files", m.tree.files)
	o.add("to_copy", m.tree.copied)
	o.add("octets", m.tree.octets)
	if there {
		free, _, err := vfs.Space(m.tree.fs, m.tree.to)
		if err != nil {
			return err
		}
		o.add("free", free)
		o.add("room", m.tree.octets+margin(free) <= free)
		if err := m.claimed(); err != nil {
			o.add("note", err.Error())
		}
	} else {
		o.add("note", "the directory is not there yet")
	}
	return m.line(o)
}

// margin is what has to be free when everything is copied: deliveries go on.
func margin(free uint64) uint64 { return min(free/50, 64<<20) }

// marker is what the target's file says.
func (m *move) marker() []byte { return fmt.Appendf(nil, "rookery-relocate 1\nfrom %q\n", m.from) }

// claimed is nil if the target is empty or a part of this move's copy: what is not
// at the source is taken away there.
func (m *move) claimed() error {
	data, err := vfs.ReadFile(m.tree.fs, vfs.Join(m.tree.to, relocFile), maxConvert)
	if err == nil && string(data) == string(m.marker()) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		return failf(exitCreate, "%s is the target of another move; empty it, or name another directory", m.to)
	}
	have, err := m.tree.entries(m.tree.to)
	if err != nil {
		return err
	}
	for n := range have {
		if !strings.HasPrefix(n, relocFile) && n != "lost+found" {
			return failf(exitCreate, "%s is not empty (%s is in it); name a directory of its own", m.to, n)
		}
	}
	return nil
}

// room is an error if the rest of the copy has no room.
func (m *move) room() error {
	m.tree.measure = true
	defer func() { m.tree.measure = false }()
	if err := m.tree.run(); err != nil {
		return err
	}
	m.tree.total = m.tree.files
	free, _, err := vfs.Space(m.tree.fs, m.tree.to)
	if err == nil && m.tree.octets+margin(free) > free {
		err = failf(exitCreate, "there is no room: %d octets are to be copied to %s, where %d are free", m.tree.octets, m.to, free)
	}
	return err
}

func (m *move) copy() error {
	if err := m.claimed(); err != nil {
		return err
	}
	if _, err := vfs.Replace(m.tree.fs, vfs.Join(m.tree.to, relocFile), m.marker(), 0o600); err != nil {
		return err
	}
	if err := m.room(); err != nil {
		return err
	}
	return m.pass("copied")
}

func (m *move) pass(step string) error {
	if err := m.tree.run(); err != nil {
		return err
	}
	var o ordered
	o.add("step", step)
	o.add("files", m.tree.copied)
	o.add("octets", m.tree.octets)
	return m.line(o)
}

func (m *move) finish() error {
	if err := m.claimed(); err != nil {
		return err
	}
	m.tree.final = true
	// The store at the old place does what it does when it is opened: it finishes
	// what a crash cut, and makes the mailboxes that the settings want.
	if _, err := m.lookAt(m.from); err != nil {
		return err
	}
	var boxes, messages int
	for n := 1; ; n++ {
		err := m.pass("caught up")
		if err == nil {
			boxes, messages, err = m.compare()
		}
		if err == nil {
			break
		}
		var f *failure
		if n == tries || !errors.As(err, &f) || f.exit != exitData { // a delivery in between makes a difference
			return err
		}
	}
	// Looking at the stores may have changed files of either.
	if err := m.manifest(); err != nil {
		return err
	}
	var o ordered
	o.add("step", "checked")
	o.add("mailboxes", boxes)
	o.add("messages", messages)
	return m.line(o)
}

// compare opens both places, one after the other, and compares what clients
// remember.
func (m *move) compare() (boxes, messages int, err error) {
	was, err := m.lookAt(m.from)
	if err != nil {
		return 0, 0, err
	}
	is, err := m.lookAt(m.to)
	if err != nil {
		return 0, 0, err
	}
	for _, n := range slices.Sorted(maps.Keys(was.boxes)) {
		a, b := was.boxes[n], is.boxes[n]
		if a.boxFacts != b.boxFacts || b.modseq < a.modseq {
			return 0, 0, failf(exitData, "the copy of the mailbox %q differs: it shows %s, not %s; nothing was changed", n, b, a)
		}
	}
	if len(is.boxes) != len(was.boxes) || !slices.Equal(is.subscribed, was.subscribed) {
		return 0, 0, failf(exitData, "the copy shows other mailboxes or subscriptions; nothing was changed")
	}
	return len(was.boxes), was.messages, nil
}

// lookAt opens a place and looks.
func (m *move) lookAt(dir string) (*look, error) {
	s, err := m.home.OpenMoved(m.from, dir)
	if err != nil {
		return nil, err
	}
	out, err := m.look(s)
	if err := errors.Join(err, s.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return out, nil
}

// look is what a store shows.
type look struct {
	boxes      map[mailstore.Name]boxLook
	subscribed []mailstore.Name
	messages   int
}

type boxLook struct {
	boxFacts
	modseq mailstore.ModSeq
}

func (b boxLook) String() string {
	return fmt.Sprintf("%d messages (%x), UIDVALIDITY %d, UIDNEXT %d, GUID %x, HIGHESTMODSEQ %d", b.messages, b.sum[:4], b.validity, b.next, b.guid, b.modseq)
}

type boxFacts struct {
	validity, next uint32
	guid           mailstore.GUID
	messages       int
	sum            [sha256.Size]byte // of UIDs, flags and keywords
}

func (m *move) look(s mailstore.Store) (*look, error) {
	all, err := s.List()
	if err != nil {
		return nil, err
	}
	out := &look{boxes: map[mailstore.Name]boxLook{}}
	list := openable(all)
	for i, f := range list {
		if err := m.progress("comparing", i, len(list)); err != nil {
			return nil, err
		}
		b, err := lookInto(s, f.Name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		out.boxes[f.Name] = b
		out.messages += b.messages
	}
	out.subscribed, err = s.Subscriptions()
	return out, err
}

func lookInto(s mailstore.Store, n mailstore.Name) (b boxLook, err error) {
	box, snap, err := mailstore.Look(s, n)
	if err != nil {
		return b, err
	}
	defer box.Close()
	info := box.Info()
	b.boxFacts = boxFacts{validity: info.UIDValidity, next: snap.UIDNext(), guid: info.GUID, messages: snap.Len()}
	b.modseq = snap.HighestModSeq()
	h := sha256.New()
	var line []byte
	for i := range snap.Len() {
		e := snap.At(i)
		line = append(binary.BigEndian.AppendUint32(line[:0], e.UID), byte(e.Flags))
		words := slices.Clone(snap.Keywords(e.Keywords))
		slices.Sort(words)
		h.Write(append(append(line, strings.Join(words, " ")...), '\n'))
	}
	h.Sum(b.sum[:0])
	return b, nil
}

// late brings over what came to the old place between the comparison and the
// switch. Nobody has worked at the new place yet.
func (m *move) late() error {
	m.tree.final = true
	if err := m.tree.run(); err != nil {
		return err
	}
	n := m.tree.copied
	if err := m.manifest(); err != nil {
		return err
	}
	return m.line(map[string]any{"step": "late", "files": n})
}

// forget takes the move's own files away.
func (m *move) forget() error {
	for _, name := range []string{relocPart, relocList, relocFile} {
		if err := m.tree.fs.Remove(vfs.Join(m.tree.to, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return m.tree.fs.SyncDir(m.tree.to)
}

// rescue brings over messages that were delivered to a Maildir at the old place
// after the copy: those files that are not in the list.
func (m *move) rescue() error {
	known, err := m.readManifest()
	if err != nil {
		return err
	}
	t := m.tree
	n := 0
	err = m.walk("", 0, func(rel string, info vfs.Info) error {
		dir := path.Dir(rel)
		if _, ok := known[rel]; ok || leftOut(rel, info) || path.Base(dir) != "new" && path.Base(dir) != "cur" {
			return nil
		}
		base, _, _ := strings.Cut(path.Base(rel), ":")
		folder := path.Dir(dir)
		if folder == "." {
			folder = ""
		}
		if _, err := t.fs.Stat(t.dst(vfs.Join(folder, "new"))); errors.Is(err, fs.ErrNotExist) {
			folder = "" // renamed or deleted by the user since
		}
		for _, sub := range []string{"new", "cur"} {
			have, err := t.entries(t.dst(vfs.Join(folder, sub)))
			if err != nil {
				return err
			}
			for name := range have {
				if b, _, _ := strings.Cut(name, ":"); b == base {
					return nil // it stays where it is, and is told
				}
			}
		}
		n++
		return m.carry(rel, vfs.Join(folder, "new/"+base))
	})
	if err != nil {
		return err
	}
	return m.line(map[string]any{"step": "late", "files": n})
}

// carry copies one file to another name at the target, then removes it.
func (m *move) carry(rel, as string) error {
	one := *m.tree
	one.final = true
	tmp := path.Dir(path.Dir(as)) + "/tmp/" + path.Base(as)
	one.from, one.to = vfs.Join(m.tree.from, path.Dir(rel)), vfs.Join(m.tree.to, strings.TrimPrefix(path.Dir(tmp), "./"))
	at := vfs.Join(one.to, path.Base(as))
	src, dst, info, err := m.tree.begin(rel, at)
	if err != nil {
		return err
	}
	defer src.Close()
	defer dst.Close()
	sum, err := one.pour(dst, src)
	if err == nil {
		err = one.readBack(rel, dst, sum)
	}
	if err == nil {
		err = dst.SetModTime(info.ModTime)
	}
	if err == nil {
		err = dst.Sync()
	}
	if err == nil {
		err = one.fs.Rename(at, m.tree.dst(as))
	}
	if err == nil {
		err = one.fs.SyncDir(path.Dir(m.tree.dst(as)))
	}
	if err != nil {
		return err
	}
	m.touched = true
	return one.fs.Remove(m.tree.src(rel))
}

// walk calls f for every file at the old place.
func (m *move) walk(rel string, depth int, f func(rel string, info vfs.Info) error) error {
	if depth > maxTree {
		return errkind.Newf("look at "+rel, errkind.Limit, "too deep")
	}
	all, err := m.tree.entries(m.tree.src(rel))
	if err != nil {
		return err
	}
	for _, n := range slices.Sorted(maps.Keys(all)) {
		at := vfs.Join(rel, n)
		if all[n].IsDir() {
			err = m.walk(at, depth+1, f)
		} else {
			err = f(at, all[n])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// free takes away what the list names, as long as it is as it was then, and what
// can be made again. Directories go when they are empty; the top stays, since it
// is another's.
func (m *move) free() error {
	known, err := m.readManifest()
	if err != nil {
		return err
	}
	t := m.tree
	var freed uint64
	var kept []string
	done := 0
	err = m.walk("", 0, func(rel string, info vfs.Info) error {
		done++
		if err := m.progress("freeing", done, max(len(known), done+1)); err != nil {
			return err
		}
		if k, ok := known[rel]; (!ok || !k.still(info)) && !leftOut(rel, info) {
			kept = append(kept, rel)
			return nil
		}
		if info.Links <= 1 {
			freed += uint64(info.Size)
		}
		return t.fs.Remove(t.src(rel))
	})
	if err != nil {
		return err
	}
	if err := m.prune("", 0); err != nil {
		return err
	}
	if len(kept) == 0 {
		if err := m.forget(); err != nil {
			return err
		}
	}
	var o ordered
	o.add("step", "freed")
	o.add("files", done-len(kept))
	o.add("octets", freed)
	if len(kept) > 0 {
		o.add("left", len(kept))
		o.add("note", fmt.Sprintf("%d files in %s came or were changed after the copy, and are left: %s", len(kept), m.from, strings.Join(kept[:min(len(kept), 5)], ", ")))
	}
	return m.line(o)
}

// prune removes empty directories below the old place. What is gone is gone on disk
// when it returns: the list may be forgotten then.
func (m *move) prune(rel string, depth int) error {
	if depth > maxTree {
		return nil
	}
	all, err := m.tree.entries(m.tree.src(rel))
	if err != nil {
		return err
	}
	for n, info := range all {
		if !info.IsDir() {
			continue
		}
		if err := m.prune(vfs.Join(rel, n), depth+1); err != nil {
			return err
		}
		_ = m.tree.fs.RemoveDir(m.tree.src(vfs.Join(rel, n))) // what is not empty stays
	}
	return m.tree.fs.SyncDir(m.tree.src(rel))
}
