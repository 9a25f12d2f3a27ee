// Package ownnotes keeps what a user notes for himself about other users' mailboxes: the
// annotations below /private (RFC 5464 §3.2) of mailboxes that are not in his own store.
// It is the others.Notes of his sessions.
//
// The IMAP worker opens one Keeper, in its user's own control directory: nothing of it
// lies with the mailboxes' owners, who never know of it. It must never know how an owner
// is reached, or what the user may do there.
//
// # The file
//
// Everything is in rookery-metadata-others, which is replaced whole, by rename, and synced
// before a change returns. Who changes it holds the lock of the empty file
// rookery-metadata-others-lock; readers take none. As long as nothing was noted neither of
// them is there. Lines end in LF:
//
//	rookery-metadata-others 1
//	O 20534 3
//	ann
//	B 0123456789abcdef0123456789abcdef 0
//	E 16 7
//	/private/commentMy note
//	C 1a2b3c4d
//
// O begins what is of an owner: the day when it was last compared with what is there (in
// days since 1970), the octets of his name, and the name on a line of its own. B begins a
// mailbox of his: its GUID, and the day since when it has been missing, or 0. E is an
// entry as in rookery-metadata (package annotation), and C the CRC-32C of all octets
// before its line. A file that is not in this form is damaged: errkind.Corrupt until
// somebody puts it back from a backup or takes it away.
//
// # Mailboxes that come and go
//
// They stand by their GUIDs, so that a RENAME by the owner changes nothing. What the user
// deletes himself is forgotten at once. That an owner deletes a mailbox, or takes it from
// the user, nobody tells: the first change of a day looks at which are there (Tidy), and
// what has been missing for 30 days is forgotten.
package ownnotes

import (
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/annotation"
	"rookery/internal/mailstore/wholefile"
	"rookery/internal/vfs"
)

const (
	// File is the control file.
	File = "rookery-metadata-others"
	// LockFile holds nothing; it is locked.
	LockFile = File + "-lock"

	patience = 30 // days
	lockWait = 30 * time.Second
)

// Keeper keeps one user's notes. Its methods may be called from several goroutines.
type Keeper struct {
	file   wholefile.File[book]
	limits mailstore.AnnotationLimits
}

// New makes the keeper; dir is that of the user's own control files. Limits that are 0 are
// those of package annotation. It reads nothing yet.
func New(fs vfs.FS, dir string, limits mailstore.AnnotationLimits) *Keeper {
	if limits.Value == 0 {
		limits.Value = annotation.DefaultValue
	}
	if limits.Entries == 0 {
		limits.Entries = annotation.DefaultEntries
	}
	return &Keeper{limits: limits, file: wholefile.File[book]{FS: fs, Path: vfs.Join(dir, File), Lock: vfs.Join(dir, LockFile), LockWait: lockWait,
		Op: "read " + File, TooLarge: "all annotations of others' mailboxes are too large together", Empty: func() book { return book{} }, Decode: decode}}
}

// read gives what the file says now.
func (k *Keeper) read() (book, error) {
	b, _, _, err := k.file.Look()
	return b, err
}

// update changes the file, if change says that there is something to change.
func (k *Keeper) update(op string, change func(b book) (bool, error)) error {
	return k.file.Update(op, k.read, change)
}

// today is the day of the disk's clock, in days since 1970.
func (k *Keeper) today() int { return int(k.file.FS.Now().Unix() / (24 * 3600)) }

// Own gives the entries of a mailbox, in the order of their names without case; nobody
// changes them.
func (k *Keeper) Own(owner string, box mailstore.GUID) ([]mailstore.Annotation, error) {
	b, err := k.read()
	if err != nil || b[owner] == nil || b[owner].boxes[box] == nil {
		return nil, err
	}
	return b[owner].boxes[box].list, nil
}

// Change sets entries or, with a nil value, removes them: all or none, durable when it
// returns. errkind: Invalid (what is no entry below /private), TooBig (a value, with a
// mailstore.TooLong), Limit (too many entries, or all together too large).
func (k *Keeper) Change(owner string, box mailstore.GUID, changes []mailstore.Annotation) error {
	const op = "annotate"
	for _, c := range changes {
		switch err := annotation.Check(c.Entry); {
		case err != nil:
			return errkind.New(op, errkind.Invalid, err)
		case !own(c.Entry):
			return errkind.Newf(op, errkind.Invalid, "only private annotations are kept here")
		case int64(len(c.Value)) > k.limits.Value:
			return errkind.New(op, errkind.TooBig, &mailstore.TooLong{Max: k.limits.Value})
		}
	}
	return k.update(op, func(b book) (bool, error) {
		m := b.box(owner, k.today(), box)
		before := len(m.list)
		for _, c := range changes {
			m.list = annotation.Set(m.list, c)
		}
		if n := len(m.list); n > k.limits.Entries && n > before {
			return false, errkind.Newf(op, errkind.Limit, "there are too many entries")
		}
		m.missing = 0
		b.prune(owner)
		return true, nil
	})
}

// own reports whether an entry belongs here. A special use is what a mailbox is for in its
// owner's mail: nobody else gives it.
func own(entry string) bool {
	return annotation.Below(entry, "/private", annotation.DepthInfinity) && annotation.Fold(entry) != annotation.SpecialUse
}

// Forget removes what is noted of a mailbox that is gone for good.
func (k *Keeper) Forget(owner string, box mailstore.GUID) error {
	if b, err := k.read(); err != nil || b[owner] == nil || b[owner].boxes[box] == nil {
		return err
	}
	return k.update("forget annotations", func(b book) (bool, error) {
		if b[owner] == nil {
			return false, nil
		}
		delete(b[owner].boxes, box)
		b.prune(owner)
		return true, nil
	})
}

// Owners gives those of whose mailboxes something is noted and that were not looked at
// today.
func (k *Keeper) Owners() (out []string, err error) {
	b, err := k.read()
	for owner, o := range b {
		if o.looked != k.today() {
			out = append(out, owner)
		}
	}
	return out, err
}

// Tidy compares what is noted of an owner's mailboxes with those that the user can see
// there: what has been missing for long is forgotten.
func (k *Keeper) Tidy(owner string, there []mailstore.GUID) error {
	seen := make(map[mailstore.GUID]bool, len(there))
	for _, g := range there {
		seen[g] = true
	}
	today := k.today()
	return k.update("look through annotations", func(b book) (bool, error) {
		o := b[owner]
		if o == nil || o.looked == today {
			return false, nil
		}
		o.looked = today
		for g, m := range o.boxes {
			switch {
			case seen[g]:
				m.missing = 0
			case m.missing == 0:
				m.missing = today
			case today-m.missing >= patience:
				delete(o.boxes, g)
			}
		}
		b.prune(owner)
		return true, nil
	})
}
