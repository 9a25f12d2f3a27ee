package imapname

import (
	"errors"
	"strings"
	"unicode/utf8"

	"rookery/internal/imapname/mutf7"
)

// ErrFolder says that a directory's name is no folder's.
var ErrFolder = errors.New("not a Maildir++ folder name")

// maxFolder is NAME_MAX of the usual file systems.
const maxFolder = 255

// Folder gives the name of n's directory in a Maildir++ tree: a dot before
// each level, each level in modified UTF-7. INBOX itself is the tree's root
// and has no directory of its own: ErrFolder.
//
// Dots inside a level, which Maildir++ cannot tell from its separator, are
// written %2e, and slashes %2f. A "%" that would then read as such an escape
// is written %25. All other names are as every Maildir++ program writes them.
// A leading "~" and the names new, cur and tmp need no escape here, since a
// folder's directory always begins with a dot.
func (n Name) Folder() (string, error) {
	if err := n.Check(); err != nil {
		return "", err
	}
	if n == Inbox {
		return "", ErrFolder
	}
	var out strings.Builder
	for _, part := range n.Parts() {
		out.WriteByte('.')
		escape(&out, mutf7.Encode(part))
	}
	if out.Len() > maxFolder {
		return "", ErrLong
	}
	return out.String(), nil
}

// escape writes one level. "%" (25)* (2e | 2f) is what the escapes look like:
// where that stands in the name one more "25" goes in, and unescape takes one
// out. So each directory name has one name, and each name one directory.
func escape(out *strings.Builder, part string) {
	for i := 0; i < len(part); i++ {
		switch c := part[i]; {
		case c == '.':
			out.WriteString("%2e")
		case c == '%' && escapeAt(part[i+1:]) >= 0:
			out.WriteString("%25")
		default:
			out.WriteByte(c)
		}
	}
}

// escapeAt gives the number of "25" at the front of s if "2e" or "2f" follows
// them, else -1.
func escapeAt(s string) int {
	n := 0
	for strings.HasPrefix(s, "25") {
		s = s[2:]
		n++
	}
	if strings.HasPrefix(s, "2e") || strings.HasPrefix(s, "2f") {
		return n
	}
	return -1
}

func unescape(part string) string {
	var out strings.Builder
	for i := 0; i < len(part); i++ {
		if part[i] != '%' {
			out.WriteByte(part[i])
			continue
		}
		switch depth := escapeAt(part[i+1:]); {
		case depth < 0:
			out.WriteByte('%')
		case depth == 0:
			out.WriteByte("./"[part[i+2]-'e'])
			i += 2
		default:
			out.WriteByte('%')
			i += 2
		}
	}
	return out.String()
}

// FromFolder gives the name of a Maildir++ directory. exact says that Folder
// gives this directory back; where it does not (another program wrote the name
// in NFD, in raw UTF-8 or in wrong modified UTF-7) the caller has to remember
// the directory beside the name. ErrFolder and the errors of Check say that it
// can be no mailbox's.
func FromFolder(dir string) (name Name, exact bool, err error) {
	if len(dir) < 2 || dir[0] != '.' || dir == ".." {
		return "", false, ErrFolder
	}
	parts := strings.Split(dir[1:], ".")
	for i, part := range parts {
		part = unescape(part)
		// A slash cannot come from a name of ours, and would be a level of its own.
		if strings.Contains(part, Separator) {
			return "", false, ErrFolder
		}
		decoded, err := mutf7.Decode(part)
		if err != nil {
			// Programs that write raw UTF-8, or names that merely hold "&"
			if decoded = part; !utf8.ValidString(part) {
				return "", false, ErrUTF8
			}
		}
		parts[i] = decoded
	}
	name = Canonical(strings.Join(parts, Separator))
	if name == Inbox {
		return "", false, ErrFolder
	}
	back, err := name.Folder()
	if err != nil {
		return "", false, err
	}
	return name, back == dir, nil
}
