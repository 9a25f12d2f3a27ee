package acl

import (
	"slices"
	"strings"

	"rookery/internal/errkind"
)

// File is the name that a list has on disk.
const File = "dovecot-acl"

// Bounds of a file: MaxFile in octets, maxLines lines.
const (
	MaxFile  = 1 << 20
	maxLines = 10000
)

// fileLetters is the order in which Dovecot writes the letters.
const fileLetters = "lrwstipekxa"

// words are the rights in words.
var words = map[string]Rights{"lookup": Lookup, "read": Read, "write": Write, "write-seen": Seen, "write-deleted": Deleted, "insert": Insert, "post": Post,
	"expunge": Expunge, "create": Create, "delete": Delete, "admin": Admin}

// Parse reads a file. Lines that are not understood are no error, see the package's
// comment. errkind.TooBig: the file or the list is larger than any that is served.
func Parse(data []byte) (List, error) {
	var l List
	if len(data) > MaxFile {
		return l, errkind.Newf("read access control list", errkind.TooBig, "the file is too large")
	}
	places := map[ID]int{}
	text := strings.TrimSuffix(string(data), "\n")
	if text == "" {
		return l, nil
	}
	for line := range strings.SplitSeq(text, "\n") {
		if len(l.items) >= maxLines {
			return List{}, errkind.Newf("read access control list", errkind.TooBig, "the file has too many lines")
		}
		e, ok := parseLine(line)
		if !ok {
			l.doubt = l.doubt || takesAway(line)
			l.items = append(l.items, item{raw: line})
			continue
		}
		if at, twice := places[e.ID]; twice {
			old := &l.items[at]
			named := slices.Concat(old.entry.Named, e.Named)
			slices.Sort(named)
			old.entry.Named = slices.Compact(named)
			old.entry.Rights |= e.Rights
			old.raw = ""
			continue
		}
		if len(places) >= MaxEntries {
			return List{}, errkind.Newf("read access control list", errkind.TooBig, "the access control list has too many entries")
		}
		places[e.ID] = len(l.items)
		l.items = append(l.items, item{raw: line, is: true, entry: e})
	}
	return l, nil
}

// takesAway reports whether a line that is not understood begins as one that takes
// rights away does.
func takesAway(line string) bool {
	line = strings.TrimLeft(line, " \t\"")
	return strings.HasPrefix(line, "-")
}

// parseLine reads one line; ok is false if it is no entry, or not understood.
func parseLine(line string) (e Entry, ok bool) {
	line = strings.TrimRight(line, " \t\r")
	if line == "" || line[0] == '#' {
		return e, false
	}
	id, rest, ok := cutID(line)
	if !ok {
		return e, false
	}
	bare, negative := strings.CutPrefix(id, "-")
	if bare == "anonymous" {
		bare = fileWords[Anyone]
	}
	e.ID = parseBare(bare)
	if e.Kind == User && !strings.HasPrefix(bare, fileWords[User]) {
		return e, false // none of the words
	}
	e.Negative = negative
	if !e.kept() {
		return e, false
	}
	return e, e.parseRights(rest)
}

// kept reports whether a name can be in a file: more than what clients can set.
func (id ID) kept() bool {
	return !id.Kind.named() || id.Name != "" && len(id.Name) <= MaxName && !strings.ContainsAny(id.Name, "\x00\n\r")
}

// cutID takes the identifier off a line.
func cutID(line string) (id, rest string, ok bool) {
	if line[0] != '"' {
		id, rest, _ = strings.Cut(line, " ")
		return id, rest, true
	}
	var out []byte
	for i := 1; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && i+1 < len(line):
			i++
			out = append(out, line[i])
		case c == '"':
			rest = line[i+1:]
			return string(out), strings.TrimPrefix(rest, " "), rest == "" || rest[0] == ' '
		default:
			out = append(out, c)
		}
	}
	return "", "", false
}

// parseRights reads what stands behind the identifier.
func (e *Entry) parseRights(s string) bool {
	short, long, named := strings.Cut(s, ":")
	short = strings.Trim(short, " \t")
	if strings.ContainsAny(short, " \t") {
		return false
	}
	r, err := ParseRights(short)
	if err != nil {
		return false
	}
	e.Rights = r
	if !named {
		return true
	}
	for _, w := range strings.FieldsFunc(long, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' }) {
		if one, ok := words[w]; ok {
			e.Rights |= one
		} else {
			e.Named = append(e.Named, w)
		}
	}
	slices.Sort(e.Named)
	e.Named = slices.Compact(e.Named)
	return true
}

// Format writes the file.
func (l List) Format() []byte {
	out := []byte{}
	for _, it := range l.items {
		switch {
		case it.raw != "" || !it.is:
			out = append(out, it.raw...)
		default:
			out = it.entry.append(out)
		}
		out = append(out, '\n')
	}
	return out
}

// append writes an entry as a line, without its end.
func (e *Entry) append(out []byte) []byte {
	id := e.sign() + fileWords[e.Kind] + e.Name
	if strings.ContainsAny(id, " \"\\\t") {
		id = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(id) + `"`
	}
	out = append(append(out, id...), ' ')
	out = append(out, e.Rights.in(fileLetters)...)
	if len(e.Named) > 0 {
		out = append(append(out, " :"...), strings.Join(e.Named, " ")...)
	}
	return out
}

// Inherited gives what a new mailbox gets of its parent's list: the entries, and what
// takes rights away and is not understood.
func (l List) Inherited() List {
	out := List{doubt: l.doubt}
	for _, it := range l.items {
		if it.is || takesAway(it.raw) {
			out.items = append(out.items, it)
		}
	}
	return out
}
