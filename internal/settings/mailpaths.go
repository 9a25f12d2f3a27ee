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

// MailPaths fills in mail_path and its companions for a user. s holds the
// user's own settings already (WithUser). A name with a slash or of dots alone
// would lead out of the place that the settings mean: an error, as is "~/" for
// a user without a home.
func (s *Set) MailPaths(user, home, protocol string) (MailPaths, error) {
	var p MailPaths
	for _, one := range []struct {
		name string
		key  Key[Template]
		to   *string
	}{{"mail_path", MailPath, &p.Mail}, {"mail_inbox_path", MailInboxPath, &p.Inbox}, {"mail_control_path", MailControlPath, &p.Control},
		{"mail_index_path", MailIndexPath, &p.Index}, {"mail_alt_path", MailAltPath, &p.Alt}} {
		t := one.key.Get(s)
		if all := s.Namespaces(); one.to == &p.Mail && len(all) == 1 && !all[0].MailPath.Empty() {
			t = all[0].MailPath // the namespace's own goes before
		}
		dir, err := ExpandPath(t, user, home, protocol)
		if err != nil {
			return MailPaths{}, fmt.Errorf("%s: %w", one.name, err)
		}
		*one.to = dir
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
