package maildir

import (
	"context"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
	"rookery/internal/vfs"
)

// Verify compares a mailbox's files, control files and index, or looks at what is
// no mailbox's own. docs/mailbox-tools.md lists the kinds that it finds, what they
// mean, and what a repair does.
//
// A record of an expunged message in the uidlist is none of them: it stays until
// the list is written anew, which an expunge alone does not ask for. Where there is
// no index nobody can tell it from one whose file was lost, and neither is told.
//
// A finding counts as repaired if another look does not find it any more.
func (s *Store) Verify(ctx context.Context, name mailstore.Name, repair bool, found func(mailstore.Finding)) error {
	look := s.lookTree
	mend := s.mendTree
	if name != "" {
		inner := s.tree.Inner(name)
		dir, there, err := s.lookDir(inner)
		if err != nil {
			return errkind.Wrap("verify", err)
		}
		if !there {
			return errkind.Newf("verify", errkind.NotFound, "there is no such mailbox")
		}
		var v *verifier
		look = func(ctx context.Context) ([]mailstore.Finding, error) {
			v = s.newVerifier(inner, dir)
			err := v.look(ctx)
			return v.list, err
		}
		mend = func([]mailstore.Finding) error { return v.repair() }
	}
	list, err := look(ctx)
	if err != nil {
		return errkind.Wrap("verify", err)
	}
	if repair && len(list) > 0 {
		if err := mend(list); err != nil {
			return errkind.Wrap("verify", err)
		}
		left, err := look(ctx)
		if err != nil {
			return errkind.Wrap("verify", err)
		}
		for i := range list {
			list[i].Repaired = !slices.ContainsFunc(left, func(f mailstore.Finding) bool { return f.Kind == list[i].Kind && f.Text == list[i].Text })
		}
	}
	for _, f := range list {
		if name != "" {
			f.Mailbox = name
		}
		found(f)
	}
	return nil
}

// verifier looks at one mailbox. It changes nothing, and takes no lock, but to
// repair.
type verifier struct {
	s      *Store
	name   mailstore.Name // without the namespace's prefix
	mb     *mailbox
	list   []mailstore.Finding
	twin   []string // base names that two files have
	hurt   []string // base names that tell wrong sizes
	alien  []string // stored names of files of a wrong mode or owner
	nameOf [letterCount]string
	used   uint32   // keyword letters in use
	left   []string // paths of what a crash or a delivery left
}

func (s *Store) newVerifier(name mailstore.Name, dir string) *verifier {
	return &verifier{s: s, name: name, mb: &mailbox{s: s, name: name, dir: s.mailDir(dir), ctl: s.ctlDir(dir), idx: s.idxDir(dir), kw: newKeywordTable()}}
}

func (v *verifier) add(kind, remedy, text string, args ...any) {
	if len(v.list) < maxFindings {
		v.list = append(v.list, mailstore.Finding{Kind: kind, Text: fmt.Sprintf(text, args...), Remedy: remedy})
	}
}

// maxFindings bounds what is told of one mailbox.
const maxFindings = 10000

// leftAge is how old a temporary or lock file is that nobody works with any more.
const leftAge = 10 * time.Minute

func (v *verifier) look(ctx context.Context) error {
	whole, err := v.parts()
	if err != nil {
		return err
	}
	l, err := v.uidlist()
	if err != nil || !whole {
		return err
	}
	f, err := v.s.scan(v.mb.dir)
	if err != nil {
		return err
	}
	for _, t := range f.twins {
		f.list[t[1]].used = true
		v.twin = append(v.twin, f.list[t[0]].baseName())
		v.add("double-name", "one of them gets another name, unless they are one file", "two files are called %s", f.list[t[0]].baseName())
	}
	v.records(f, l)
	if err := v.files(ctx, f, l); err != nil {
		return err
	}
	if err := v.keywords(); err != nil {
		return err
	}
	if err := v.leavings(); err != nil {
		return err
	}
	return v.index(f, l)
}

// parts looks whether the folder is whole; without new/ or cur/ there is nothing
// to compare.
func (v *verifier) parts() (whole bool, err error) {
	whole = true
	for _, n := range []string{"cur", "new", "tmp"} {
		info, err := v.s.fs.Stat(join(v.mb.dir, n))
		if err != nil && !vfs.NotExist(err) {
			return false, v.s.fail("stat mailbox", err)
		}
		if err != nil || !info.IsDir() {
			v.add("folder-incomplete", "it is made", "the folder has no directory %s", n)
			whole = whole && n == "tmp"
		}
	}
	return whole, nil
}

// uidlist reads the uidlist and says what is wrong with it by itself.
func (v *verifier) uidlist() (l uidList, err error) {
	const renew = "the messages get new UIDs, under a new UIDVALIDITY"
	data, err := vfs.ReadFile(v.s.fs, join(v.mb.ctl, uidlistFile), maxUIDList)
	if vfs.NotExist(err) {
		v.add("uidlist-missing", renew, "there is no uidlist")
		return l, nil
	}
	if err != nil {
		return l, v.s.fail("read uidlist", err)
	}
	f := faultsOf(data)
	switch {
	case f.noHead:
		v.add("uidlist-damaged", renew, "the uidlist has no first line that can be read")
		return l, nil
	case f.noValidity:
		v.add("uidvalidity-missing", renew, "the uidlist has no UIDVALIDITY")
	}
	if f.noNext {
		v.add("uidnext-missing", renew, "the uidlist does not say which UID is the next")
	}
	if f.twice > 0 {
		v.add("uid-twice", "the list is written anew; the later messages get new UIDs", "%d lines of the uidlist give a UID that another line gives", f.twice)
	}
	if f.order > 0 {
		v.add("uid-order", "the list is written anew; the messages of these lines get new UIDs", "%d lines of the uidlist do not ascend", f.order)
	}
	if f.bad > 0 {
		v.add("uidlist-damaged", "the list is written anew without them; their messages get new UIDs", "%d lines of the uidlist cannot be read", f.bad)
	}
	if f.torn {
		v.add("uidlist-torn", "the list is written anew without it", "the last line of the uidlist is cut")
	}
	if l, err = parseUIDList(data); err != nil {
		return uidList{}, nil // as was told
	}
	return l, nil
}

// listFaults is what is wrong with a uidlist by itself.
type listFaults struct {
	noHead, noValidity, noNext, torn bool
	bad, twice, order                int // lines
}

// faultsOf reads a uidlist as parseUIDList does, and says what it leaves out.
func faultsOf(data []byte) (f listFaults) {
	head, rest, ok := strings.Cut(string(data), "\n")
	version, h, known := looseHeader(head)
	if !ok || !known {
		f.noHead = true
		return f
	}
	f.noValidity, f.noNext = h.validity == 0, h.next == 0
	seen := map[uint32]bool{}
	last := uint32(0)
	for rest != "" {
		line, more, whole := strings.Cut(rest, "\n")
		if rest = more; !whole {
			f.torn = true
			break
		}
		r, ok := parseUIDRecord(line, version)
		switch {
		case !ok:
			f.bad++
		case seen[r.uid]:
			f.twice++
		case r.uid <= last:
			f.order++
			seen[r.uid] = true
		default:
			last, seen[r.uid] = r.uid, true
		}
	}
	return f
}

// looseHeader reads a first line in which numbers may lack.
func looseHeader(line string) (version int, h uidHeader, ok bool) {
	w := strings.Split(line, " ")
	switch {
	case w[0] == "1" && len(w) >= 3:
		h.validity, h.next = number(w[1]), number(w[2])
		return 1, h, true
	case w[0] == "3":
		for _, s := range w[1:] {
			switch {
			case strings.HasPrefix(s, "V"):
				h.validity = number(s[1:])
			case strings.HasPrefix(s, "N"):
				h.next = number(s[1:])
			}
		}
		return 3, h, true
	}
	return 0, h, false
}

// records compares the uidlist with the files.
func (v *verifier) records(f *files, l uidList) {
	for _, r := range l.recs {
		if _, i := f.slot(r.base); i >= 0 {
			if f.list[i].used && !slices.Contains(v.twin, r.base) {
				v.add("name-twice", "one of the two UIDs goes", "the uidlist gives the file %s two UIDs, %d is one of them", r.base, r.uid)
			}
			f.list[i].used = true
		}
	}
	for i := range f.list {
		if !f.list[i].used {
			v.add("no-uid", "it gets the next UID", "the file %s has no UID", f.list[i].name[1:])
		}
	}
}

// files compares names with what they name.
func (v *verifier) files(ctx context.Context, f *files, l uidList) error {
	ext := make(map[string]string, len(l.recs))
	for _, r := range l.recs {
		ext[r.base] = r.ext
	}
	top, err := v.s.fs.Stat(join(v.mb.dir, "cur"))
	if err != nil {
		return v.s.fail("stat mailbox", err)
	}
	for i := range f.list {
		if i%step == 0 && ctx.Err() != nil {
			return errkind.New("verify", errkind.Unavailable, ctx.Err())
		}
		name := f.list[i].name
		_, info := splitName(name[1:])
		v.used |= parseInfo(info).letters
		if err := v.file(name, ext[f.list[i].baseName()], top.Owner); err != nil {
			return err
		}
	}
	return nil
}

// file looks at one message's file: who may read it, and whether it is as large as
// its name and its record say.
func (v *verifier) file(name, ext string, owner uint32) error {
	path := v.mb.path(name)
	info, err := v.s.fs.Stat(path)
	if vfs.NotExist(err) {
		return nil // renamed or expunged while we look
	}
	if err != nil {
		return v.s.fail("stat message", err)
	}
	switch mode := info.Mode.Perm(); {
	case mode&0o600 != 0o600, mode&0o002 != 0:
		v.alien = append(v.alien, name)
		v.add("mode-wrong", "it is written anew with the mode of other messages, if it can be read; else: chmod 600", "%s has the mode %04o", path, mode)
	case info.Owner != owner:
		v.alien = append(v.alien, name)
		v.add("owner-wrong", "it is written anew as the user's own, if it can be read; else: chown", "%s belongs to the user number %d, the folder to %d", path, info.Owner, owner)
	}
	base, _ := splitName(name[1:])
	told, _ := nameSizes(base)
	tells := toldSize(base, ext)
	if told < 0 && tells < 0 {
		return nil
	}
	phys, plain, virt, err := v.measure(path)
	switch {
	case err == nil:
	case vfs.NotExist(err):
		return nil
	case errkind.Is(err, errkind.Corrupt):
		v.add("message-damaged", "none: restore it from a backup", "%s cannot be read: %v", path, err)
		return nil
	default:
		return nil // nobody's to read, as was told
	}
	if told >= 0 && told != phys && told != plain {
		v.hurt = append(v.hurt, base)
		v.add("size-wrong", "the file gets a name with the right sizes", "%s has %d octets", name[1:], plain)
	} else if tells >= 0 && tells != virt {
		v.hurt = append(v.hurt, base)
		v.add("vsize-wrong", "the right size is written into its name and its record", "%s has %d octets with CRLF, and its name or its record says %d", name[1:], virt, tells)
	}
	return nil
}

// keywords compares the keyword files with the letters in use.
func (v *verifier) keywords() error {
	data, err := vfs.ReadFile(v.s.fs, join(v.mb.ctl, keywordsFile), maxKeyFile)
	if err != nil && !vfs.NotExist(err) {
		return v.s.fail("read keywords", err)
	}
	const anew = "the file is written anew without them"
	v.nameOf = parseLetters(string(data))
	if bad := badLetters(string(data)); bad > 0 {
		v.add("keywords-damaged", anew, "%d lines of %s cannot be read, or name what has a name", bad, keywordsFile)
	}
	for left := v.used; left != 0; left &= left - 1 {
		if i := bits.TrailingZeros32(left); v.nameOf[i] == "" {
			v.add("keyword-unnamed", "the letter gets the name "+lostKeyword(i)+", so that no new keyword is given to these messages",
				"messages have the keyword letter %c, which %s does not name", 'a'+i, keywordsFile)
		}
	}
	data, err = vfs.ReadFile(v.s.fs, join(v.mb.ctl, moreFile), maxKeyFile)
	if err != nil && !vfs.NotExist(err) {
		return v.s.fail("read keywords", err)
	}
	lines := 0
	for line := range strings.SplitSeq(string(data), "\n") {
		if line != "" {
			lines++
		}
	}
	if m := parseMore(string(data)); m.lines < lines {
		v.add("keywords-damaged", anew, "%d lines of %s cannot be read", lines-m.lines, moreFile)
	}
	return nil
}

// lostKeyword names a letter whose name is lost.
func lostKeyword(i int) string { return "unknown-" + utoa(uint32(i)) }

// badLetters counts the lines of dovecot-keywords that parseLetters leaves out, but
// for those of letters beyond z.
func badLetters(text string) (bad int) {
	good := 0
	for _, n := range parseLetters(text) {
		if n != "" {
			good++
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		num, name, ok := strings.Cut(strings.TrimSuffix(line, "\r"), " ")
		if line != "" && !(ok && number(num) >= letterCount && goodKeyword(name)) {
			bad++
		}
	}
	return bad - good
}

// leavings finds what deliveries and crashes left.
func (v *verifier) leavings() error {
	limit := v.s.now().Add(-staleTmp)
	old := func(path string, limit time.Time) bool {
		i, err := v.s.fs.Stat(path)
		return err == nil && i.Mode.IsRegular() && i.ModTime.Before(limit) && i.ChangeTime.Before(limit)
	}
	names, err := v.s.namesIn(join(v.mb.dir, "tmp"))
	if err != nil {
		return err
	}
	for _, n := range names {
		if path := join(v.mb.dir, "tmp/"+n); old(path, limit) {
			v.left = append(v.left, path)
			v.add("tmp-old", "it is removed", "a delivery left %s behind", path)
		}
	}
	if names, err = v.s.namesIn(v.mb.ctl); err != nil {
		return err
	}
	for _, n := range names {
		mine := strings.HasPrefix(n, "dovecot-") || strings.HasPrefix(n, "rookery-")
		path := join(v.mb.ctl, n)
		if mine && (strings.HasSuffix(n, ".tmp") || strings.HasSuffix(n, ".lock")) && old(path, v.s.now().Add(-leftAge)) {
			v.left = append(v.left, path)
			v.add("left-over", "it is removed", "a program that was stopped left %s behind", path)
		}
	}
	return nil
}

// namesIn lists a directory, sorted; nothing if it is not there.
func (s *Store) namesIn(dir string) (out []string, err error) {
	err = s.fs.ReadDir(dir, func(e vfs.DirEntry) bool {
		out = append(out, e.Name)
		return len(out) < maxListed
	})
	if vfs.NotExist(err) {
		err = nil
	}
	slices.Sort(out)
	return out, s.fail("read "+dir, err)
}

// index compares the index with the files and the uidlist.
func (v *verifier) index(f *files, l uidList) error {
	if l.hdr.guid == "" {
		return nil
	}
	box, err := v.s.user.Box(guidOf(l.hdr.guid), v.mb.idx)
	if err != nil {
		return err
	}
	defer box.Close()
	view, err := box.Follow()
	if err != nil || !view.Built() {
		return v.s.fail("read index", err) // one that is not there is no damage
	}
	v.mb.hdr, v.mb.seen = l.hdr, view
	v.mb.st, _ = parseState([]byte(view.State()))
	if view.UIDValidity() != l.hdr.validity {
		v.add("index-stale", "it is built anew", "the index has the UIDVALIDITY %d, the uidlist %d", view.UIDValidity(), l.hdr.validity)
		return nil
	}
	if next := view.UIDNext(); next > l.hdr.next && l.hdr.next > 0 {
		v.add("uidnext-low", "the uidlist is written anew with the right number", "the uidlist would give the UID %d next, and the index knows of UIDs up to %d", l.hdr.next, next-1)
	}
	byUID := map[uint32]string{}
	for _, r := range l.recs {
		byUID[r.uid] = r.base
	}
	view.Each(0, func(_ int, r index.Record) bool {
		base := locBase(r.Loc)
		_, i := f.slot(base)
		switch {
		case byUID[r.UID] != base:
			v.add("index-stale", "it is built anew", "the index and the uidlist name different files for UID %d", r.UID)
		case i < 0:
			v.add("uidlist-stale", "the record goes when the list is written anew", "the file of UID %d is gone: %s", r.UID, base)
			v.add("index-stale", "it is taken out", "the file of UID %d is gone", r.UID)
		case f.list[i].name != v.mb.fileOf(view, r) && !slices.Contains(v.twin, base):
			v.add("index-stale", "the file's flags count", "the index has other flags for UID %d than its file", r.UID)
		}
		return true
	})
	return nil
}
