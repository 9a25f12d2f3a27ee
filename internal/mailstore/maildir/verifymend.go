package maildir

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/compress"
	"rookery/internal/mailstore/crlf"
	"rookery/internal/vfs"
)

// measure reads a message: the octets of its file, of what is stored in it where
// that is compressed, and in CRLF form.
func (v *verifier) measure(path string) (phys, plain, virt int64, err error) {
	f, err := v.s.fs.OpenFile(path, vfs.Read, 0)
	if err != nil {
		return 0, 0, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, 0, 0, err
	}
	src, plain, err := compress.View(f, info.Size)
	if err != nil {
		return 0, 0, 0, err
	}
	view, err := crlf.Scan(src, plain)
	if err != nil {
		return 0, 0, 0, err
	}
	return info.Size, plain, view.Size(), nil
}

// repair opens the mailbox as a session would, which mends what can be mended, and
// does itself what that does not.
func (v *verifier) repair() error {
	for _, f := range v.list {
		if f.Kind == "folder-incomplete" {
			if err := v.mb.mend(); err != nil {
				return err
			}
		}
	}
	for _, path := range v.left {
		if err := v.s.fs.Remove(path); err != nil && !vfs.NotExist(err) {
			return v.s.fail("remove what was left", err)
		}
	}
	mb, err := v.s.get(v.name)
	if err != nil {
		return err
	}
	defer v.s.put(mb)
	mb.op.Lock()
	defer mb.op.Unlock()
	if err := v.mendFiles(mb); err != nil {
		return err
	}
	for _, base := range v.hurt {
		if err := v.mendSizes(mb, base); err != nil {
			return err
		}
	}
	return nil
}

// mendFiles does what needs the user's lock; op is held.
func (v *verifier) mendFiles(mb *mailbox) error {
	if err := mb.enter(); err != nil {
		return err
	}
	defer mb.leave()
	if err := v.mendKeywords(mb); err != nil {
		return err
	}
	for _, name := range v.alien {
		if err := mb.makeOwn(name); err != nil {
			v.s.opt.Note("verify: " + mb.path(name) + ": " + err.Error())
		}
	}
	if slices.ContainsFunc(v.list, func(f mailstore.Finding) bool { return f.Kind == "index-stale" || f.Kind == "name-twice" }) {
		mb.rebuild = "a check found it different from the disk"
		mb.load(true)
	}
	if err := mb.rewrite(); err != nil {
		return err
	}
	if mb.st.moref.inode != 0 && v.has("keywords-damaged") {
		return mb.s.fail("write keywords", mb.writeMore(nil, true))
	}
	return nil
}

func (v *verifier) has(kind string) bool {
	return slices.ContainsFunc(v.list, func(f mailstore.Finding) bool { return f.Kind == kind })
}

// mendKeywords writes dovecot-keywords anew, with a name for each letter in use.
func (v *verifier) mendKeywords(mb *mailbox) error {
	if !v.has("keywords-damaged") && !v.has("keyword-unnamed") {
		return nil
	}
	path := join(mb.ctl, keywordsFile)
	_, err := mb.s.replaceLocked(path, func() ([]byte, error) {
		data, err := vfs.ReadFile(mb.s.fs, path, maxKeyFile)
		if err != nil && !vfs.NotExist(err) {
			return nil, err
		}
		names := parseLetters(string(data))
		for i := range names {
			if v.used&(1<<i) != 0 && names[i] == "" {
				names[i] = lostKeyword(i)
			}
		}
		out := formatLetters(names)
		for line := range strings.SplitSeq(string(data), "\n") { // what another server has beyond z
			num, name, ok := strings.Cut(strings.TrimSuffix(line, "\r"), " ")
			if ok && number(num) >= letterCount && goodKeyword(name) {
				out = append(append(out, line...), '\n')
			}
		}
		return append([]byte{}, out...), nil
	})
	return mb.s.fail("write keywords", err)
}

// makeOwn replaces a file by a copy of its own, of the user and with the mode that
// messages have. The mailbox is entered.
func (mb *mailbox) makeOwn(name string) error {
	path := mb.path(name)
	f, err := mb.s.fs.OpenFile(path, vfs.Read, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	tmp := join(mb.dir, "tmp/"+mb.s.names.next(mb.s.now()))
	to, err := mb.s.fs.OpenFile(tmp, vfs.Write|vfs.Create|vfs.Excl, mb.s.opt.FileMode)
	if err != nil {
		return err
	}
	defer to.Close()
	_, err = io.Copy(to, io.NewSectionReader(f, 0, info.Size))
	if err == nil {
		err = to.SetModTime(info.ModTime) // INTERNALDATE
	}
	if err == nil {
		err = to.Sync()
	}
	if err == nil {
		own := mb.beginOwn()
		if err = mb.s.fs.Rename(tmp, path); err == nil {
			own.end()
		}
	}
	if err != nil {
		mb.s.fs.Remove(tmp)
		return err
	}
	return to.Sync() // which keeps the rename
}

// mendSizes writes the right sizes of the message that has a base name now; op is held.
func (v *verifier) mendSizes(mb *mailbox, base string) error {
	view := mb.known()
	for pos := range view.Len() {
		r := view.Rec(pos)
		if locBase(r.Loc) != base {
			continue
		}
		name := mb.nameAt(view, pos)
		phys, plain, virt, err := v.measure(mb.path(name))
		if vfs.NotExist(err) || errkind.Is(err, errkind.Corrupt) {
			return nil
		}
		if err != nil {
			return v.s.fail("read message", err)
		}
		_, ext, _ := splitLoc(r.Loc)
		if p, _ := nameSizes(base); p >= 0 && p != phys && p != plain || toldSize(base, ext) != virt {
			delete(mb.facts, r.UID)
			mb.mendSizes(r.UID, name, plain, virt)
		}
		return nil
	}
	return nil
}

// lookTree looks at what is no mailbox's own.
func (s *Store) lookTree(ctx context.Context) (list []mailstore.Finding, err error) {
	add := func(kind, remedy, text string, args ...any) {
		list = append(list, mailstore.Finding{Kind: kind, Text: fmt.Sprintf(text, args...), Remedy: remedy})
	}
	names, err := s.namesIn(s.opt.MailPath)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if len(n) > len(comingDir) && strings.HasPrefix(n, comingDir) || len(n) > len(goneDir) && strings.HasPrefix(n, goneDir) {
			add("folder-left", "it is removed", "a crash left %s, a folder that was being made or removed", n)
		}
	}
	heads, err := s.headers(ctx)
	if err != nil {
		return nil, err
	}
	highest, of := uint32(0), mailstore.Name("")
	first := map[string]mailstore.Name{}
	for _, h := range heads {
		if h.hdr.validity > highest {
			highest, of = h.hdr.validity, h.mb.name
		}
		if other, twice := first[h.hdr.guid]; twice {
			add("guid-twice", "the second gets a GUID and a UIDVALIDITY of its own", "the mailboxes %s and %s have one GUID: one is a copy of the other", other, h.mb.name)
			continue
		}
		first[h.hdr.guid] = h.mb.name
	}
	last, err := s.control().LastValidity()
	if err != nil {
		return nil, err
	}
	if last < highest && (last > 0 || int64(highest) > s.now().Unix()) {
		add("uidvalidity-low", "the file gets that number", "dovecot-uidvalidity says that %d is the highest UIDVALIDITY given, and %s has %d: another mailbox could get the same", last, of, highest)
	}
	return list, nil
}

// headed is a mailbox with its uidlist's first line.
type headed struct {
	mb  *mailbox
	hdr uidHeader
}

// headers reads the first line of every uidlist; INBOX comes first, the others by name.
func (s *Store) headers(ctx context.Context) (out []headed, err error) {
	list, err := s.folders()
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b folder) int { return strings.Compare(a.name, b.name) })
	for _, f := range append([]folder{{name: "INBOX"}}, list...) {
		if ctx.Err() != nil {
			return nil, errkind.New("verify", errkind.Unavailable, ctx.Err())
		}
		mb := s.newVerifier(f.name, f.dir).mb
		if hdr, ok, err := mb.readHeader(); err != nil {
			return nil, err
		} else if ok {
			out = append(out, headed{mb, hdr})
		}
	}
	return out, nil
}

// mendTree mends what lookTree found.
func (s *Store) mendTree(list []mailstore.Finding) error {
	lock, err := s.begin() // which removes what a crash left of folders
	if err != nil {
		return err
	}
	s.end(lock)
	heads, err := s.headers(context.Background())
	if err != nil {
		return err
	}
	first := map[string]*mailbox{}
	highest := uint32(0)
	for _, h := range heads {
		highest = max(highest, h.hdr.validity)
		if orig := first[h.hdr.guid]; orig != nil {
			if _, err := h.mb.renewCopy(orig.dir, h.hdr); err != nil {
				return err
			}
			continue
		}
		first[h.hdr.guid] = h.mb
	}
	return s.raiseValidity(highest)
}
