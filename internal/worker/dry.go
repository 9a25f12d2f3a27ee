package worker

import (
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/maillog"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
	"rookery/internal/mailstore/journal"
	"rookery/internal/mailstore/mbox"
	"rookery/internal/mailstore/pack"
	"rookery/internal/settings"
	"rookery/internal/vfs"
	"rookery/internal/vfs/overlay"
)

// Dry gives a Host that sees the mail as it is and whose changes stay in its
// memory: opening a store mends what a crash left, and a look must touch nothing.
// What it would have written to the log about that is said by nobody.
func (h *Host) Dry() *Host {
	d := *h
	d.dry = overlay.New(h.FS())
	d.Log = maillog.Discard()
	d.Changed = func() {}
	d.tending = nil
	if h.Inbox != nil {
		d.Inbox = &dryInbox{Spool: h.Inbox}
	}
	return &d
}

// dryInbox is an mbox that rookery-dotlock opens, as a Host of Dry sees it: its
// changes stay in memory, and no lock file is made.
type dryInbox struct {
	mbox.Spool
	tree *overlay.FS // of the one file; nil until it is opened
}

// Open is mbox.Spool's.
func (d *dryInbox) Open(create bool) (vfs.File, bool, error) {
	if d.tree == nil {
		d.tree = overlay.New(overlay.One("INBOX", func() (vfs.File, error) {
			f, _, err := d.Spool.Open(false)
			return f, err
		}))
	}
	flag := vfs.Read | vfs.Write
	if create {
		flag |= vfs.Create
	}
	f, err := d.tree.OpenFile("INBOX", flag, 0o600)
	return f, err == nil, err
}

// Stat is mbox.Spool's.
func (d *dryInbox) Stat() (vfs.Info, error) {
	if d.tree != nil {
		return d.tree.Stat("INBOX")
	}
	return d.Spool.Stat()
}

// Lock is mbox.Spool's.
func (*dryInbox) Lock(bool) error { return nil }

// Unlock is mbox.Spool's.
func (*dryInbox) Unlock() error { return nil }

// Inspect looks at the files that opening the user's mail mends by itself, in all
// namespaces, so that a check can tell of them: indexes and journals. With repair it
// removes what is damaged of the index.
func (h *Host) Inspect(repair bool, found func(mailstore.Finding)) error {
	paths, err := h.paths("imap")
	if err != nil {
		return err
	}
	place, err := h.place(paths)
	if err != nil {
		return err
	}
	if err := InspectStore(h.FS(), place.Driver, place.at(paths), repair, found); err != nil {
		return err
	}
	inbox := h.Settings.InboxSpace()
	for _, n := range h.Settings.Namespaces() {
		if n.Name == inbox.Name {
			continue
		}
		paths, err := h.Settings.SpacePaths(n, h.User.User, h.User.Home, "imap")
		if err != nil {
			return errkind.New("inspect namespace "+n.Name, errkind.Invalid, err)
		}
		if err := InspectStore(h.FS(), h.Settings.SpaceDriver(n), paths, repair, found); err != nil {
			return err
		}
	}
	return nil
}

// InspectStore is Inspect for one store that lies in fs.
func InspectStore(fs vfs.FS, driver string, paths settings.MailPaths, repair bool, found func(mailstore.Finding)) error {
	mail, control, at := inFS(paths.Mail), inFS(paths.Control), inFS(paths.Index)
	or := func(p *string, other string) {
		if *p == "" {
			*p = other
		}
	}
	trees := []string{}
	switch driver {
	case "maildir":
		or(&control, mail)
		or(&at, mail)
		if inbox := inFS(paths.Inbox); at == mail && inbox != "" && !strings.HasPrefix(inbox+"/", mail+"/") {
			trees = append(trees, inbox)
		}
		if err := journal.Check(fs, control, found); err != nil {
			return err
		}
	case "mbox":
		opt := mbox.Options{MailPath: mail}
		opt.FS, opt.ControlPath = fs, control
		if err := mbox.Inspect(opt, found); err != nil {
			return err
		}
		or(&control, vfs.Join(mail, mbox.ControlDir))
		or(&at, control)
	case "pack":
		opt := pack.Options{FS: fs, MailPath: mail, ControlPath: control, AltPath: inFS(paths.Alt)}
		if err := pack.Inspect(opt, found); err != nil {
			return err
		}
		or(&control, mail)
		or(&at, control)
	}
	for _, tree := range append(trees, at) {
		if err := index.Check(fs, at, tree, control, repair, found); err != nil {
			return err
		}
	}
	return nil
}
