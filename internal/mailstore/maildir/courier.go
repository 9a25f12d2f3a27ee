package maildir

import (
	"slices"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/vfs"
)

// courierimapkeywords is where Courier keeps a folder's keywords. Its file ":list"
// has the names of keywords, one a line, then an empty line, then a line for each
// message that has some: its base name, ':', and the keywords' places in the list,
// from 0, between spaces. What was changed since that was written is beside it: a
// file with a message's base name, or with ".N." before it where Courier has seen
// the file already, holds all keywords that the message has now, one a line. The
// file without a number counts before those with one, the highest number before
// the others. (README.imapkeywords of courier-imap.)
//
// It is read once, when a mailbox is adopted. Keywords that find a letter go into
// the files' names, so that Dovecot sees them, too; others into rookery-keywords.
const (
	courierKeywords = "courierimapkeywords"
	courierList     = ":list"
	maxCourierFile  = 64 << 10 // of one message's keywords
	maxCourierFiles = 200_000
)

// adoptCourier takes over the keywords of the messages of Courier's UID list. It
// runs before the first uidlist is there: a crash has it run again. The mailbox's
// locks are held.
func (mb *mailbox) adoptCourier(l *uidList) error {
	of, err := mb.readCourier()
	if err != nil || len(of) == 0 {
		return err
	}
	if err := mb.readTable(fileStamp{}, fileStamp{}); err != nil {
		return err
	}
	mb.more = nil // read before the UIDVALIDITY is known
	kw := keywordTable{letters: mb.kw.letters, more: mb.kw.more}
	left := 0
	for _, r := range l.recs { // in UID order, so that each run gives the same letters
		var names []string
		for _, n := range of[r.base] {
			if !goodKeyword(n) || n[0] == '\\' {
				continue
			}
			if _, missing := kw.find([]string{n}); len(missing) > 0 {
				letters, more, err := kw.with(missing)
				if err != nil {
					left++
					continue
				}
				kw.letters, kw.more = letters, more
			}
			names = append(names, n)
		}
		of[r.base] = names
	}
	if left > 0 {
		mb.s.opt.Note(utoa(uint32(left)) + " times a message of " + mb.nameNow() + " had a keyword from Courier for which there is no room")
	}
	if err := mb.keepCourierNames(kw); err != nil {
		return err
	}
	return mb.nameCourier(l, kw, of)
}

// keepCourierNames writes the names of letters before a file has such a letter.
func (mb *mailbox) keepCourierNames(kw keywordTable) error {
	if kw.letters == mb.kw.letters {
		return nil
	}
	stamp, err := mb.s.replaceLocked(join(mb.ctl, keywordsFile), func() ([]byte, error) { return formatLetters(kw.letters), nil })
	if err != nil {
		return err
	}
	mb.setTable(kw.letters, mb.kw.more, stamp, mb.kwOf[1])
	return nil
}

// nameCourier gives the messages their keywords: letters by a rename, the others
// and those of files that are not in cur/ by rookery-keywords.
func (mb *mailbox) nameCourier(l *uidList, kw keywordTable, of map[string][]string) error {
	f, err := mb.s.scan(mb.dir)
	if err != nil {
		return err
	}
	more := moreLine(nil, "V "+utoa(l.hdr.validity))
	for i, n := range kw.more {
		more = moreLine(more, "K "+utoa(uint32(letterCount+i))+" "+n)
	}
	renamed := false
	for _, r := range l.recs {
		d, _ := kw.find(of[r.base])
		if len(d.more) > 0 {
			more = moreUser(more, r.uid, r.base, d.more)
		}
		_, i := f.slot(r.base)
		if i < 0 || d.letters == 0 && !d.forwarded {
			continue
		}
		old := f.list[i].name
		_, info := splitName(old)
		flags := parseInfo(info)
		flags.letters |= d.letters
		flags.forwarded = flags.forwarded || d.forwarded
		to := "c" + r.base + flags.info()
		if to == old {
			continue
		}
		if err := mb.s.fs.Rename(mb.path(old), mb.path(to)); err != nil && !notExist(err) {
			return err
		}
		renamed = true
	}
	if renamed {
		if err := mb.s.fs.SyncDir(join(mb.dir, "cur")); err != nil {
			return err
		}
	}
	if len(kw.more) == 0 {
		return nil
	}
	_, err = mb.s.replace(join(mb.ctl, moreFile), more)
	return err
}

// readCourier gives the keywords of each base name; nil if Courier kept none.
func (mb *mailbox) readCourier() (map[string][]string, error) {
	dir := join(mb.dir, courierKeywords)
	data, err := vfs.ReadFile(mb.s.fs, join(dir, courierList), maxKeyFile)
	if err != nil && !notExist(err) {
		return nil, err
	}
	of := parseCourierList(string(data))
	type update struct {
		file string
		rank uint64 // ^0: without a number
	}
	newest := map[string]update{}
	err = mb.s.fs.ReadDir(dir, func(e vfs.DirEntry) bool {
		base, rank, ok := courierUpdate(e.Name)
		if old, known := newest[base]; ok && (!known || rank > old.rank) {
			newest[base] = update{e.Name, rank}
		}
		return len(newest) < maxCourierFiles
	})
	if err != nil && !notExist(err) {
		return nil, err
	}
	for base, u := range newest {
		data, err := vfs.ReadFile(mb.s.fs, join(dir, u.file), maxCourierFile)
		switch {
		case notExist(err), errkind.Is(err, errkind.TooBig):
			continue
		case err != nil:
			return nil, err
		}
		of[base] = strings.Fields(string(data))
	}
	return of, nil
}

// courierUpdate reads the name of a file beside the list.
func courierUpdate(name string) (base string, rank uint64, ok bool) {
	rest, numbered := strings.CutPrefix(name, ".")
	if !numbered {
		return name, ^uint64(0), goodFile(name)
	}
	digits, base, _ := strings.Cut(rest, ".")
	n := number(digits)
	return base, uint64(n), n > 0 && goodFile(base)
}

// parseCourierList reads ":list". Lines that are wrong are left out.
func parseCourierList(text string) map[string][]string {
	of := map[string][]string{}
	var names []string
	head, body, _ := strings.Cut(text, "\n\n")
	for line := range strings.SplitSeq(head, "\n") {
		if len(names) < maxKeywords {
			names = append(names, line)
		}
	}
	for line := range strings.SplitSeq(body, "\n") {
		base, list, ok := strings.Cut(line, ":")
		if !ok || !goodFile(base) {
			continue
		}
		var has []string
		for s := range strings.FieldsSeq(list) {
			if n := int(number(s)); n < len(names) && (n > 0 || s == "0") && !slices.Contains(has, names[n]) && len(has) < maxKeywords {
				has = append(has, names[n])
			}
		}
		of[base] = has
	}
	return of
}
