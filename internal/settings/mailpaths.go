package settings

import (
	"fmt"
	"path"
	"strings"
)

// MailPaths are one user's directories: absolute, clean, variables filled in.
// Inbox, Control and Index are "" where the settings leave them beside the mail;
// Alt is "" where there is no second tier.
type MailPaths struct{ Mail, Inbox, Control, Index, Alt string }

// All lists the directories that are set, without repetition.
func (p MailPaths) All() []string {
	var all []string
	for _, dir := range []string{p.Mail, p.Inbox, p.Control, p.Index, p.Alt} {
		known := dir == ""
		for _, a := range all {
			known = known || a == dir
		}
		if !known {
			all = append(all, dir)
		}
	}
	return all
}

// MailPaths fills in mail_path and its companions for a user: those of the
// namespace that holds INBOX. s holds the user's own settings already (WithUser).
// A name with a slash or of dots alone would lead out of the place that the
// settings mean: an error, as is "~/" for a user without a home.
func (s *Set) MailPaths(user, home, protocol string) (MailPaths, error) {
	return s.SpacePaths(s.InboxSpace(), user, home, protocol)
}

// SpaceTemplate is one path of a namespace, not filled in.
type SpaceTemplate struct {
	Name string // of the setting
	Own  bool   // the namespace has it, not the settings
	Template
}

// SpaceTemplates gives the paths of a namespace: its own, and where it holds
// INBOX, those of the settings for what it has not. They are mail_path,
// mail_inbox_path, mail_control_path, mail_index_path and mail_alt_path, in this
// order.
func (s *Set) SpaceTemplates(n Namespace) [5]SpaceTemplate {
	own := [5]Template{n.MailPath, {}, n.ControlPath, n.IndexPath, n.AltPath}
	var out [5]SpaceTemplate
	for i, key := range [5]Key[Template]{MailPath, MailInboxPath, MailControlPath, MailIndexPath, MailAltPath} {
		out[i] = SpaceTemplate{key.Name(), true, own[i]}
		if own[i].Empty() && n.Inbox {
			out[i].Own, out[i].Template = false, key.Get(s)
		}
	}
	return out
}

// SpacePaths are MailPaths for any namespace.
func (s *Set) SpacePaths(n Namespace, user, home, protocol string) (MailPaths, error) {
	var p MailPaths
	to := [5]*string{&p.Mail, &p.Inbox, &p.Control, &p.Index, &p.Alt}
	for i, t := range s.SpaceTemplates(n) {
		dir, err := ExpandPath(t.Template, user, home, protocol)
		if err != nil {
			return MailPaths{}, fmt.Errorf("%s: %w", t.Name, err)
		}
		*to[i] = dir
	}
	if p.Mail == "" {
		return MailPaths{}, fmt.Errorf("mail_path: is empty")
	}
	return p, nil
}

// ExpandPath fills in one path of a user's; "" stays "".
func ExpandPath(t Template, user, home, protocol string) (string, error) {
	if (t.Uses("user")) && !safeInPath(user) {
		return "", fmt.Errorf("the user name %.64q cannot be part of a path", user)
	}
	text, err := t.Expand(Vars{"user": user, "home": home, "protocol": protocol})
	if err != nil || text == "" {
		return "", err
	}
	if rest, ok := strings.CutPrefix(text, "~/"); ok || text == "~" {
		if home == "" {
			return "", fmt.Errorf("%q needs a home, and the userdb gives none", text)
		}
		text = home + "/" + rest
		if !ok {
			text = home
		}
	}
	if !strings.HasPrefix(text, "/") {
		return "", fmt.Errorf("%q is not absolute", text)
	}
	for _, part := range strings.Split(text, "/") {
		if part == ".." {
			return "", fmt.Errorf("%q leads upwards", text)
		}
	}
	return path.Clean(text), nil
}

// safeInPath reports whether a user's name, its parts before and behind "@"
// too, can be a file's name.
func safeInPath(user string) bool {
	local, domain, _ := strings.Cut(user, "@")
	for _, part := range []string{user, local, domain} {
		if part == "." || part == ".." || strings.ContainsAny(part, "/\x00") {
			return false
		}
	}
	return user != "" && local != ""
}
