package worker

import (
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/mailstore/pack"
	"rookery/internal/settings"
	"rookery/internal/vfs"
)

// OpenStore opens the user's mail store as the settings have it. protocol is
// "imap" or "pop3", for paths that differ by it.
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
	return h.dress(store, place.Driver, place.at(paths), protocol), nil
}

// OpenAs opens the user's mail in the format and at the places given, which a
// conversion needs beside those of the settings.
func (h *Host) OpenAs(driver string, paths settings.MailPaths) (mailstore.Store, error) {
	ns, special, err := h.namespace()
	if err != nil {
		return nil, err
	}
	switch driver {
	case "maildir":
		return h.openMaildir(paths, ns, special)
	case "pack":
		return h.openPack(paths, ns, special)
	case "mbox":
		return h.openMbox(paths, ns, special)
	}
	return nil, errkind.Newf("open store", errkind.Invalid, "mail_driver = "+driver+" is not there yet")
}

func inFS(p string) string { return strings.TrimPrefix(p, "/") }

func (h *Host) openMaildir(paths settings.MailPaths, ns mailstore.Namespace, special []maildir.Special) (mailstore.Store, error) {
	opt := maildir.Options{FS: h.FS(), MailPath: inFS(paths.Mail), InboxPath: inFS(paths.Inbox), ControlPath: inFS(paths.Control), IndexPath: inFS(paths.Index),
		Namespace: ns, Special: special, Host: settings.Hostname.Get(h.Settings), Probe: true,
		LockWait:    settings.MailMaxLockTimeout.Get(h.Settings),
		SyncChanges: settings.MailFsync.Get(h.Settings) == "always",
		NoSync:      settings.MailFsync.Get(h.Settings) == "never",
		Note:        func(text string) { h.Log.Warnf("%s", text) }}
	if settings.MailboxListLayout.Get(h.Settings) == "fs" {
		opt.Layout = maildir.FSLayout
	}
	return maildir.Open(opt)
}

var fsyncs = map[string]pack.Fsync{"optimized": pack.Optimized, "always": pack.Always, "never": pack.Never}

func (h *Host) openPack(paths settings.MailPaths, ns mailstore.Namespace, special []maildir.Special) (mailstore.Store, error) {
	opt := pack.Options{FS: h.FS(), MailPath: inFS(paths.Mail), AltPath: inFS(paths.Alt), ControlPath: inFS(paths.Control), IndexPath: inFS(paths.Index),
		Namespace: ns, Special: forEngine(special), LockWait: settings.MailMaxLockTimeout.Get(h.Settings),
		Fsync: fsyncs[settings.MailFsync.Get(h.Settings)], Compress: settings.MailCompressWriteMethod.Get(h.Settings) == "zstd",
		Note: func(text string) { h.Log.Warnf("%s", text) }}
	return pack.Open(opt)
}

// forEngine gives the mailboxes of the settings to drivers on package engine.
func forEngine(list []maildir.Special) []engine.Special {
	out := make([]engine.Special, len(list))
	for i, s := range list {
		out[i] = engine.Special{Name: s.Name, Use: s.Use, Auto: engine.Auto(s.Auto)}
	}
	return out
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

var autos = map[string]maildir.Auto{"no": maildir.AutoNo, "create": maildir.AutoCreate, "subscribe": maildir.AutoSubscribe}

// namespace gives the private namespace and the mailboxes that the settings name in it.
func (h *Host) namespace() (mailstore.Namespace, []maildir.Special, error) {
	all := h.Settings.Namespaces()
	if len(all) != 1 || all[0].Type != "private" && all[0].Type != "" {
		return mailstore.Namespace{}, nil, errkind.Newf("open store", errkind.Invalid, "one private namespace is what can be served yet; take the others away")
	}
	n := all[0]
	sep := n.SeparatorOrDefault()
	ns := mailstore.Namespace{Kind: mailstore.Private, Prefix: n.Prefix, Separator: sep[0], Owner: h.User.User, Hidden: n.Hidden, List: n.List != "no", ListPrefix: n.List == "yes"}
	var special []maildir.Special
	for _, m := range n.Mailboxes {
		s := maildir.Special{Name: strings.ReplaceAll(n.Prefix+m.Name, sep, "/"), Auto: autos[m.Auto]}
		for _, u := range m.SpecialUse {
			s.Use |= uses[u]
		}
		special = append(special, s)
	}
	return ns, special, nil
}
