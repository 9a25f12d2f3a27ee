package policy

import (
	"path"
	"slices"
	"strings"

	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/settings"
)

// Moved is where a user's mail was moved: From is the mail_path that the settings
// give, To the one in its stead.
type Moved struct{ From, To string }

// MailPath is the mail_path that settings and userdb give a user, own reports
// whether the namespace with INBOX has one of its own, which the userdb cannot
// change.
func (p *Policy) MailPath(service string, r redeemmsg.Record) (dir string, own bool, err error) {
	set, err := p.userSet(r)
	if err != nil {
		return "", false, err
	}
	t := set.SpaceTemplates(set.InboxSpace())[0]
	if dir, err = t.ExpandPath(settings.Vars{"user": r.User, "home": r.Home, "protocol": service}); err != nil {
		return "", false, refuse("%s: %v", t.Name, err)
	}
	return path.Clean(dir), t.Own, nil
}

// Settle gives a record with the places that the user's mail was moved to, as if
// the userdb had named them. The move counts only while the settings lead to where
// it began: what the operator writes afterwards is newer. overtaken reports that
// they lead to its end, so that it is not needed any more.
func (p *Policy) Settle(service string, r redeemmsg.Record, m Moved) (_ redeemmsg.Record, overtaken bool, err error) {
	at, own, err := p.MailPath(service, r)
	if err != nil || own || at != m.From || m.From == m.To {
		return r, err == nil && at == m.To && m.From != m.To, err
	}
	set, err := p.userSet(r)
	if err != nil {
		return r, false, err
	}
	vars := settings.Vars{"user": r.User, "home": r.Home, "protocol": service}
	fields := slices.Clone(r.Fields)
	for _, t := range set.SpaceTemplates(set.InboxSpace()) {
		if t.Own || t.Empty() {
			continue
		}
		dir, err := t.ExpandPath(vars)
		if err != nil {
			return r, false, refuse("%s: %v", t.Name, err)
		}
		if rest, ok := strings.CutPrefix(path.Clean(dir)+"/", m.From+"/"); ok {
			fields = slices.DeleteFunc(fields, func(f string) bool { return strings.HasPrefix(f, t.Name+"=") })
			fields = append(fields, t.Name+"="+strings.ReplaceAll(path.Join(m.To, rest), "%{", "%%{"))
		}
	}
	r.Fields = fields
	return r, false, nil
}

// CheckTarget refuses a place that a user's mail cannot be moved to: it may
// neither hold nor lie in one of his places.
func (p *Policy) CheckTarget(service string, r redeemmsg.Record, to string) error {
	if !path.IsAbs(to) || path.Clean(to) != to || to == "/" || strings.ContainsAny(to, "\x00\n") || len(to) > 4096 {
		return refuse("%q is no place for mail; write an absolute path without \"..\"", to)
	}
	d, err := p.Dirs(service, r)
	if err != nil {
		return err
	}
	if err := p.movable(service, r); err != nil {
		return err
	}
	for _, dir := range append(slices.Clone(d.Make), d.Also...) {
		if below(to, dir) || below(dir, to) {
			return refuse("%s and %s, where mail of %s is, lie one in the other", to, dir, r.User)
		}
	}
	if d.Home != "" && below(d.Home, to) {
		return refuse("the home of %s is %s: name a directory in it or elsewhere", r.User, d.Home)
	}
	if p.Set.SpaceTemplates(p.Set.InboxSpace())[0].Uses("protocol") {
		return refuse("mail_path has %%{protocol} in it: the mail of %s is in several places", r.User)
	}
	return nil
}

// movable refuses mail whose directory holds what a move of it would not lead
// processes to: paths that namespaces have of their own, and rawlog_dir.
func (p *Policy) movable(service string, r redeemmsg.Record) error {
	at, _, err := p.MailPath(service, r)
	if err != nil {
		return err
	}
	set, err := p.userSet(r)
	if err != nil {
		return err
	}
	var own []settings.SpaceTemplate
	for _, n := range set.Namespaces() {
		for _, t := range set.SpaceTemplates(n) {
			if t.Own {
				own = append(own, t)
			}
		}
	}
	own = append(own, settings.SpaceTemplate{Name: settings.RawlogDir.Name(), Template: settings.RawlogDir.Get(set)})
	for _, t := range own {
		dir, err := t.ExpandPath(settings.Vars{"user": r.User, "home": r.Home, "protocol": service})
		if err != nil {
			return refuse("%s: %v", t.Name, err)
		}
		if dir != "" && below(path.Clean(dir), at) {
			return refuse("%s of %s is %s, in the mail_path %s that is to be moved: put it elsewhere first", t.Name, r.User, dir, at)
		}
	}
	return nil
}
