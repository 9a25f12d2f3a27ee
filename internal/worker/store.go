package worker

import (
	"cmp"
	"errors"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/mailstore/nametree"
	"rookery/internal/mailstore/pack"
	"rookery/internal/mailstore/spaces"
	"rookery/internal/settings"
	"rookery/internal/vfs"
)

// OpenStore opens the user's mail store as the settings have it: that of the
// namespace with INBOX, joined with those of the others. protocol is "imap" or
// "pop3", for paths that differ by it.
func (h *Host) OpenStore(protocol string) (mailstore.Store, error) {
	paths, err := h.paths(protocol)
	if err != nil {
		return nil, err
	}
	place, err := h.place(paths)
	if err != nil {
		return nil, err
	}
	store, err := h.OpenAs(place.Driver, place.at(paths))
	if err != nil {
		return nil, err
	}
	store, err = h.join(store, protocol)
	if err != nil {
		return nil, err
	}
	return h.dress(store, place.Driver, place.at(paths), protocol), nil
}

// join opens the stores of the other namespaces and makes one of all. A user with
// one namespace has its store as it is.
func (h *Host) join(main mailstore.Store, protocol string) (_ mailstore.Store, err error) {
	inbox := h.Settings.InboxSpace()
	members := []spaces.Member{{Store: main, Inbox: true, Subscriptions: inbox.Subscriptions}}
	defer func() {
		if err != nil {
			for _, m := range members {
				err = errors.Join(err, m.Store.Close())
			}
		}
	}()
	places := map[string]string{}
	if first, err := h.paths(protocol); err == nil {
		places[first.Mail] = inbox.Name
	}
	for _, n := range h.Settings.Namespaces() {
		if n.Name == inbox.Name {
			continue
		}
		paths, err := h.Settings.SpacePaths(n, h.User.User, h.User.Home, protocol)
		if err != nil {
			return nil, errkind.New("open namespace "+n.Name, errkind.Invalid, err)
		}
		if other, taken := places[paths.Mail]; taken {
			return nil, errkind.Newf("open namespace "+n.Name, errkind.Invalid, "its mail_path is "+paths.Mail+", where the mail of the namespace "+other+" lies")
		}
		places[paths.Mail] = n.Name
		s, err := h.openSpace(n, h.Settings.SpaceDriver(n), paths)
		if err != nil {
			return nil, errkind.Wrap("open namespace "+n.Name, err)
		}
		members = append(members, spaces.Member{Store: s, Subscriptions: n.Subscriptions})
	}
	if len(members) == 1 {
		return main, nil
	}
	all := members
	members = nil // Join closes them
	return spaces.Join(all)
}

// OpenAs opens the mail of the namespace with INBOX in the format and at the
// places given, which a conversion needs beside those of the settings.
func (h *Host) OpenAs(driver string, paths settings.MailPaths) (mailstore.Store, error) {
	return h.openSpace(h.Settings.InboxSpace(), driver, paths)
}

func (h *Host) openSpace(n settings.Namespace, driver string, paths settings.MailPaths) (mailstore.Store, error) {
	ns := h.namespace(n)
	special := specials(ns, n.Mailboxes)
	switch driver {
	case "maildir":
		return h.openMaildir(paths, ns, special, cmp.Or(n.Layout, settings.MailboxListLayout.Get(h.Settings)))
	case "pack":
		return h.openPack(paths, ns, special)
	case "mbox":
		return h.openMbox(paths, ns, special)
	}
	return nil, errkind.Newf("open store", errkind.Invalid, "mail_driver = "+driver+" is not there yet")
}

func inFS(p string) string { return strings.TrimPrefix(p, "/") }

func (h *Host) openMaildir(paths settings.MailPaths, ns mailstore.Namespace, special []nametree.Special, layout string) (mailstore.Store, error) {
	opt := maildir.Options{FS: h.FS(), MailPath: inFS(paths.Mail), InboxPath: inFS(paths.Inbox), ControlPath: inFS(paths.Control), IndexPath: inFS(paths.Index),
		Namespace: ns, Special: special, Host: settings.Hostname.Get(h.Settings), Probe: true,
		LockWait:    settings.MailMaxLockTimeout.Get(h.Settings),
		SyncChanges: settings.MailFsync.Get(h.Settings) == "always",
		NoSync:      settings.MailFsync.Get(h.Settings) == "never",
		Compress:    settings.MailCompressWriteMethod.Get(h.Settings) == "zstd",
		Note:        func(text string) { h.Log.Warnf("%s", text) }}
	if layout == "fs" {
		opt.Layout = maildir.FSLayout
	}
	return maildir.Open(opt)
}

var fsyncs = map[string]pack.Fsync{"optimized": pack.Optimized, "always": pack.Always, "never": pack.Never}

func (h *Host) openPack(paths settings.MailPaths, ns mailstore.Namespace, special []nametree.Special) (mailstore.Store, error) {
	opt := pack.Options{FS: h.FS(), MailPath: inFS(paths.Mail), AltPath: inFS(paths.Alt), ControlPath: inFS(paths.Control), IndexPath: inFS(paths.Index),
		Namespace: ns, Special: special, LockWait: settings.MailMaxLockTimeout.Get(h.Settings),
		Fsync: fsyncs[settings.MailFsync.Get(h.Settings)], Compress: settings.MailCompressWriteMethod.Get(h.Settings) == "zstd",
		Note: func(text string) { h.Log.Warnf("%s", text) }}
	return pack.Open(opt)
}

// ControlDir gives the directory of the user's control files.
func (h *Host) ControlDir() (vfs.FS, error) {
	paths, err := h.Settings.MailPaths(h.User.User, h.User.Home, "")
	if err != nil {
		return nil, err
	}
	if paths.Control == "" {
		paths.Control = paths.Mail
	}
	return h.FS().Sub(strings.TrimPrefix(paths.Control, "/"))
}

var uses = map[string]mailstore.Attr{`\All`: mailstore.UseAll, `\Archive`: mailstore.UseArchive, `\Drafts`: mailstore.UseDrafts,
	`\Flagged`: mailstore.UseFlagged, `\Junk`: mailstore.UseJunk, `\Sent`: mailstore.UseSent, `\Trash`: mailstore.UseTrash,
	`\Important`: mailstore.UseImportant}

var autos = map[string]nametree.Auto{"no": nametree.AutoNo, "create": nametree.AutoCreate, "subscribe": nametree.AutoSubscribe}

// namespace is one of the settings' as stores have it.
func (h *Host) namespace(n settings.Namespace) mailstore.Namespace {
	return mailstore.Namespace{Kind: mailstore.Private, Prefix: n.Prefix, Separator: n.SeparatorOrDefault()[0], Owner: h.User.User, Hidden: n.Hidden,
		List: n.List != "no", ListPrefix: n.List == "yes"}
}

// Foreign is a namespace of other users' mail.
type Foreign struct {
	Namespace mailstore.Namespace // Owner is that of a public one
	// SeenPrivate says that each user keeps for himself what he has seen.
	SeenPrivate bool
}

// Foreign gives the namespaces of other users' mail, in the order of the settings.
func (h *Host) Foreign() (out []Foreign) {
	for _, n := range h.Settings.ForeignNamespaces() {
		ns := h.namespace(n)
		if ns.Kind, ns.Owner = mailstore.OtherUsers, n.Owner; n.Owner != "" {
			ns.Kind = mailstore.Shared
		}
		out = append(out, Foreign{ns, n.SeenPrivate})
	}
	return out
}

// specials are the mailboxes that the settings name in a namespace.
func specials(ns mailstore.Namespace, boxes []settings.Mailbox) (out []nametree.Special) {
	for _, m := range boxes {
		s := nametree.Special{Name: strings.ReplaceAll(ns.Prefix+m.Name, string(rune(ns.Separator)), "/"), Auto: autos[m.Auto]}
		for _, u := range m.SpecialUse {
			s.Use |= uses[u]
		}
		out = append(out, s)
	}
	return out
}
