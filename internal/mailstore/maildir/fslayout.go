package maildir

import (
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/imapname/mutf7"
	"rookery/internal/mailstore"
)

// In the fs layout the mailbox a/b is the directory a/b, and a directory
// without cur/ is only a parent. Levels are in modified UTF-7. What is held for
// undelete lies below .rookery-held.

// fsDir gives a name's directory.
func (s *Store) fsDir(n imapname.Name) (string, error) {
	if err := n.Check(); err != nil {
		return "", errkind.New("name", errkind.Invalid, err)
	}
	var out []string
	for i, p := range n.Parts() {
		if i == 0 && p == mailstore.HeldRoot {
			out = append(out, mailstore.HeldDir)
			continue
		}
		p = mutf7.Encode(p)
		if p == "new" || p == "cur" || p == "tmp" || p[0] == '.' || ownFile(p) {
			return "", errkind.Newf("name", errkind.Invalid, "a level of the name is one that Maildir itself uses")
		}
		out = append(out, p)
	}
	return strings.Join(out, "/"), nil
}

// ownFile reports whether a name of the tree belongs to control files.
func ownFile(name string) bool {
	return strings.HasPrefix(name, "dovecot") || strings.HasPrefix(name, "rookery-") || name == subsFile ||
		strings.HasPrefix(name, subsFile+".") || name == "maildirfolder" || name == "maildirsize"
}

func orDot(dir string) string {
	if dir == "" {
		return "."
	}
	return dir
}

func fsName(dir string) (mailstore.Name, bool) {
	parts := strings.Split(dir, "/")
	for i, p := range parts {
		if i == 0 && p == mailstore.HeldDir {
			parts[i] = mailstore.HeldRoot
			continue
		}
		text, err := mutf7.Decode(p)
		if err != nil || strings.Contains(text, "/") {
			return "", false
		}
		parts[i] = text
	}
	n := imapname.Canonical(strings.Join(parts, "/"))
	if n.Check() != nil || n == imapname.Inbox {
		return "", false
	}
	return mailstore.Name(n), true
}
