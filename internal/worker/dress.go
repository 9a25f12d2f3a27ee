package worker

import (
	"slices"
	"strings"

	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/annotation"
	"rookery/internal/mailstore/held"
	"rookery/internal/mailstore/quota"
	"rookery/internal/mailstore/retain"
	"rookery/internal/settings"
	"rookery/internal/vfs"
)

// dress puts what the settings ask for around a driver's store: limits,
// annotations, then the hold of expunged messages around them, so that what is held
// leaves the count, and is hidden from clients who annotate. It also has the store
// tended when the user is quiet.
func (h *Host) dress(inner mailstore.Store, driver string, paths settings.MailPaths, protocol string) mailstore.Store {
	inFS := func(p string) string { return strings.TrimPrefix(p, "/") }
	control := paths.Control
	if control == "" {
		control = paths.Mail
	}
	note := func(text string) { h.Log.Warnf("%s", text) }
	boxes := h.boxes()

	limits := quotaOptions(h.Settings, roots(inner.Namespaces()), boxes)
	limits.FS, limits.Dir, limits.Note, limits.User = h.FS(), inFS(control), note, h.User.User
	limits.LockWait = settings.MailMaxLockTimeout.Get(h.Settings)
	limits.Rewrites = driver == "mbox" // headers of its own are stripped
	for _, n := range h.Settings.Namespaces() {
		limits.Rewrites = limits.Rewrites || n.Name != h.Settings.InboxSpace().Name && h.Settings.SpaceDriver(n) == "mbox"
	}
	if driver == "maildir" && settings.QuotaMaildirsize.Get(h.Settings) {
		limits.SizeFile = inFS(paths.Mail) + "/maildirsize"
	}
	if protocol == "lmtp" || protocol == "lda" {
		limits.Grace = uint64(settings.QuotaStorageGrace.Get(h.Settings))
	}
	counted := quota.Wrap(inner, limits)
	notes := annotationOptions(h.Settings)
	notes.FS, notes.Dir, notes.Note, notes.LockWait = h.FS(), inFS(control), note, limits.LockWait
	noted := annotation.Wrap(counted, notes)
	hold := held.Wrap(noted, held.Options{FS: h.FS(), Dir: inFS(control), Mail: inFS(paths.Mail), Note: note, LockWait: limits.LockWait,
		Hold: settings.MailUndeleteHold.Get(h.Settings), MinFree: uint64(settings.MailUndeleteMinFree.Get(h.Settings))})
	h.tending = &tending{host: h, store: hold, hold: hold, counted: counted, rules: retainRules(boxes)}
	return &tended{hold, h.tending}
}

// annotationOptions are the limits of annotations, and those of the server that the
// administrator has set.
func annotationOptions(set *settings.Set) annotation.Options {
	opt := annotation.Options{Limits: mailstore.AnnotationLimits{
		Value: settings.IMAPMetadataMaxSize.Get(set), Entries: int(settings.IMAPMetadataMaxEntries.Get(set))}}
	add := func(entry, value string) {
		if value != "" {
			opt.Server = append(opt.Server, mailstore.Annotation{Entry: entry, Value: []byte(value)})
		}
	}
	add(annotation.SharedAdmin, settings.IMAPMetadataAdmin.Get(set))
	add(annotation.SharedComment, settings.IMAPMetadataComment.Get(set))
	for _, filter := range set.Value(settings.IMAPFilters.Decl()).(settings.Fields) {
		if keys, err := filter.Value.Expand(nil); err == nil { // there are no variables in it
			add("/shared/filters/values/"+filter.Name, keys)
		}
	}
	return opt
}

// fullName gives the name or pattern of a mailbox of the settings as stores have it.
func fullName(ns mailstore.Namespace, name string) string {
	sep := string(rune(ns.Separator))
	if imapname.Canonical(name) == imapname.Inbox {
		return imapname.Inbox
	}
	return strings.ReplaceAll(ns.Prefix+name, sep, "/")
}

// named is a [[namespace.mailbox]] with its whole name or pattern.
type named struct {
	settings.Mailbox
	full string
}

// boxes are those of all namespaces.
func (h *Host) boxes() (out []named) {
	inbox := h.Settings.InboxSpace().Name
	for _, n := range h.Settings.Namespaces() {
		for _, m := range n.Mailboxes {
			full := fullName(h.namespace(n), m.Name)
			if full == imapname.Inbox && n.Name != inbox {
				full = strings.ReplaceAll(n.Prefix, n.SeparatorOrDefault(), "/") + imapname.Inbox
			}
			out = append(out, named{m, full})
		}
	}
	return out
}

// roots are the names that held messages are below.
func roots(all []mailstore.Namespace) (out []mailstore.Name) {
	for _, ns := range all {
		out = append(out, held.RootOf(ns))
	}
	return out
}

// quotaOptions are the limits that the settings have for this user.
func quotaOptions(set *settings.Set, roots []mailstore.Name, boxes []named) quota.Options {
	type rule struct {
		name    string
		pattern imapname.Pattern
		rule    quota.Rule
	}
	var rules []rule
	for _, m := range boxes {
		r := rule{name: m.full, rule: quota.Rule{Percent: uint32(m.QuotaStoragePercentage), ExtraOctets: uint64(m.QuotaStorageExtra)}}
		if m.QuotaIgnore {
			r.rule.Class = quota.Ignored
		}
		r.pattern = imapname.NewPattern("", r.name, true)
		rules = append(rules, r)
	}
	number := func(k settings.Key[int64]) uint64 { return uint64(k.Get(set)) }
	return quota.Options{
		Limits: quota.Limits{
			Octets:    quota.Scale(number(settings.QuotaStorageSize), uint32(number(settings.QuotaStoragePercentage)), number(settings.QuotaStorageExtra)),
			Messages:  quota.Scale(number(settings.QuotaMessageCount), uint32(number(settings.QuotaMessagePercentage)), 0),
			MailSize:  number(settings.QuotaMailSize),
			Mailboxes: number(settings.QuotaMailboxCount)},
		Warnings: warnings(set),
		Rule: func(name mailstore.Name) quota.Rule {
			if slices.ContainsFunc(roots, func(root mailstore.Name) bool { return held.Hides(root, name) }) {
				return quota.Rule{Class: quota.Held}
			}
			for i := range rules {
				if rules[i].name == name || rules[i].pattern.Match(imapname.Name(name)) {
					return rules[i].rule
				}
			}
			return quota.Rule{}
		},
	}
}

// warnings are the [[quota_warning]] tables.
func warnings(set *settings.Set) (out []quota.Warning) {
	host := settings.Hostname.Get(set)
	if host == "" {
		host = "localhost"
	}
	for _, row := range set.QuotaWarnings() {
		w := quota.Warning{Messages: row.Resource == "message", Under: row.Threshold == "under", Percent: uint8(row.Percentage), From: row.From,
			Subject: expander(row.Subject), Text: expander(row.Text)}
		if w.From == "" {
			w.From = "postmaster@" + host
		}
		out = append(out, w)
	}
	return out
}

// expander fills in a template; nil for an empty one.
func expander(t settings.Template) func(map[string]string) string {
	if t.Empty() {
		return nil
	}
	return func(vars map[string]string) string {
		text, err := t.Expand(settings.Vars(vars))
		if err != nil {
			return t.String() // a text with its variables in it says more than none
		}
		return text
	}
}

// retainRules are the mailboxes with autoexpunge.
func retainRules(boxes []named) (out []retain.Rule) {
	for _, m := range boxes {
		if m.Autoexpunge > 0 || m.AutoexpungeMaxMails > 0 {
			out = append(out, retain.Rule{Mailbox: m.full, Age: m.Autoexpunge, Most: uint32(m.AutoexpungeMaxMails)})
		}
	}
	return out
}

// Space tells of the disk of the root that path lies below.
func (r *router) Space(path string) (free, total uint64, err error) {
	f, rest, err := r.find("statfs", path)
	if err != nil {
		return 0, 0, err
	}
	return vfs.Space(f, rest)
}
