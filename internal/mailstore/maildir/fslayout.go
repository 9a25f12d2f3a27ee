package maildir

import (
	"io/fs"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/imapname/mutf7"
	"rookery/internal/mailstore"
	"rookery/internal/vfs"
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

// fsFolders walks the tree.
func (s *Store) fsFolders() ([]folder, error) {
	var out []folder
	type at struct {
		dir   string
		depth int
	}
	todo := []at{{"", 0}}
	for len(todo) > 0 && len(out) < maxListed {
		d := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		err := s.fs.ReadDir(join(s.opt.MailPath, orDot(d.dir)), func(e vfs.DirEntry) bool {
			held := d.dir == "" && e.Name == mailstore.HeldDir
			if !e.Type.IsDir() && e.Type != fs.ModeIrregular || e.Name[0] == '.' && !held || ownFile(e.Name) {
				return true
			}
			if e.Name == "cur" && d.dir != "" {
				if n, ok := fsName(d.dir); ok {
					out = append(out, folder{n, d.dir})
				}
			}
			if e.Name != "new" && e.Name != "cur" && e.Name != "tmp" && d.depth < imapname.MaxDepth {
				todo = append(todo, at{join(orDot(d.dir), e.Name), d.depth + 1})
			}
			return true
		})
		if err != nil && !notExist(err) {
			return nil, s.fail("list folders", err)
		}
	}
	return out, nil
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
