package annotation

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"rookery/internal/crc32c"
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/imapname/mutf7"
	"rookery/internal/mailstore"
)

const (
	// File is the control file.
	File = "rookery-metadata"
	// LockFile holds nothing; it is locked.
	LockFile = "rookery-metadata-lock"

	magic = "rookery-metadata 1\n"
	// maxLists bounds how many mailboxes have entries.
	maxLists = 100_000
)

// sum is the file's checksum.
func sum(p []byte) uint32 { return crc32c.Checksum(p) }

// book is what the file says.
type book struct {
	uses  map[mailstore.Attr]holder
	lists map[mailstore.GUID][]mailstore.Annotation // sorted by Fold; the zero GUID has the user's own
}

// holder is the mailbox that has a special use; a zero GUID is none.
type holder struct {
	guid mailstore.GUID
	name mailstore.Name // that it had last
}

func newBook() *book {
	return &book{uses: map[mailstore.Attr]holder{}, lists: map[mailstore.GUID][]mailstore.Annotation{}}
}

// find gives the place of an entry in a list, or where it would stand.
func find(list []mailstore.Annotation, entry string) (int, bool) {
	return slices.BinarySearchFunc(list, Fold(entry), func(a mailstore.Annotation, want string) int {
		return strings.Compare(Fold(a.Entry), want)
	})
}

// Clone makes a copy that can be changed.
func (b *book) Clone() *book {
	out := newBook()
	for use, h := range b.uses {
		out.uses[use] = h
	}
	for guid, list := range b.lists {
		out.lists[guid] = slices.Clone(list)
	}
	return out
}

// Set changes one entry of a list that is sorted by Fold; a nil value removes it.
func Set(list []mailstore.Annotation, a mailstore.Annotation) []mailstore.Annotation {
	at, there := find(list, a.Entry)
	switch {
	case a.Value == nil && !there:
		return list
	case a.Value == nil:
		return slices.Delete(list, at, at+1)
	case there:
		list[at] = a
		return list
	}
	return slices.Insert(list, at, a)
}

// set changes one entry; nil removes it.
func (b *book) set(guid mailstore.GUID, entry string, value []byte) {
	b.lists[guid] = Set(b.lists[guid], mailstore.Annotation{Entry: entry, Value: value})
	if len(b.lists[guid]) == 0 {
		delete(b.lists, guid)
	}
}

// AppendList writes the entries of a list, as all files of annotations have them.
func AppendList(out []byte, list []mailstore.Annotation) []byte {
	for _, a := range list {
		out = fmt.Appendf(out, "E %d %d\n%s", len(a.Entry), len(a.Value), a.Entry)
		out = append(append(out, a.Value...), '\n')
	}
	return out
}

// Encode writes the file.
func (b *book) Encode() []byte {
	out := []byte(magic)
	for _, use := range Uses {
		switch h, ok := b.uses[use.Attr]; {
		case !ok:
		case h.guid == mailstore.GUID{}:
			out = fmt.Appendf(out, "S %s -\n", use.Name)
		default:
			out = fmt.Appendf(out, "S %s %s %s\n", use.Name, hex.EncodeToString(h.guid[:]), mutf7.Encode(h.name))
		}
	}
	guids := make([]mailstore.GUID, 0, len(b.lists))
	for guid := range b.lists {
		guids = append(guids, guid)
	}
	slices.SortFunc(guids, func(x, y mailstore.GUID) int { return bytes.Compare(x[:], y[:]) })
	for _, guid := range guids {
		if guid == (mailstore.GUID{}) {
			out = append(out, "U\n"...)
		} else {
			out = fmt.Appendf(out, "B %s\n", hex.EncodeToString(guid[:]))
		}
		out = AppendList(out, b.lists[guid])
	}
	return fmt.Appendf(out, "C %08x\n", sum(out))
}

// decode reads the file: errkind.Corrupt if it is none.
func decode(data []byte) (*book, error) {
	bad := func(what string) (*book, error) {
		return nil, errkind.Newf("read "+File, errkind.Corrupt, what)
	}
	const tail = len("C 00000000\n")
	if len(data) < len(magic)+tail || !bytes.HasPrefix(data, []byte(magic)) {
		return bad("it does not begin as this version's do, or is cut short")
	}
	body := data[:len(data)-tail]
	if string(data[len(body):]) != fmt.Sprintf("C %08x\n", sum(body)) {
		return bad("its checksum is wrong")
	}
	r := reader{rest: body[len(magic):], book: newBook()}
	for len(r.rest) > 0 {
		if !r.line() {
			return bad("a line of it makes no sense")
		}
	}
	return r.book, nil
}

// reader reads the lines between magic and checksum.
type reader struct {
	rest []byte
	book *book
	at   mailstore.GUID // whose entries follow
	in   bool           // a U or B line was there
}

func (r *reader) line() bool {
	text, rest, ok := bytes.Cut(r.rest, []byte("\n"))
	if !ok || len(text) == 0 {
		return false
	}
	r.rest = rest
	words := strings.Split(string(text), " ")
	switch {
	case words[0] == "S" && !r.in:
		return r.use(words[1:])
	case len(words) == 1 && words[0] == "U":
		return r.list(mailstore.GUID{})
	case len(words) == 2 && words[0] == "B":
		guid, ok := parseGUID(words[1])
		return ok && r.list(guid)
	case len(words) == 3 && words[0] == "E" && r.in:
		return r.entry(words[1], words[2])
	}
	return false
}

func parseGUID(text string) (g mailstore.GUID, ok bool) {
	if len(text) != 2*len(g) || strings.ToLower(text) != text {
		return g, false
	}
	_, err := hex.Decode(g[:], []byte(text))
	return g, err == nil && g != mailstore.GUID{}
}

func (r *reader) use(words []string) bool {
	if len(words) < 2 {
		return false
	}
	use, known := UseByName(words[0])
	if _, twice := r.book.uses[use]; !known || twice {
		return false
	}
	if words[1] == "-" && len(words) == 2 {
		r.book.uses[use] = holder{}
		return true
	}
	guid, ok := parseGUID(words[1])
	name, err := mutf7.Decode(strings.Join(words[2:], " "))
	if !ok || err != nil || imapname.Name(name).Check() != nil {
		return false
	}
	r.book.uses[use] = holder{guid, name}
	return true
}

func (r *reader) list(guid mailstore.GUID) bool {
	if _, twice := r.book.lists[guid]; twice || len(r.book.lists) == maxLists {
		return false
	}
	r.at, r.in = guid, true
	r.book.lists[guid] = nil
	return true
}

func (r *reader) entry(nameLen, valueLen string) bool {
	n, err1 := strconv.ParseUint(nameLen, 10, 32)
	v, err2 := strconv.ParseUint(valueLen, 10, 32)
	if err1 != nil || err2 != nil || n+v+1 > uint64(len(r.rest)) || r.rest[n+v] != '\n' {
		return false
	}
	name, value := string(r.rest[:n]), bytes.Clone(r.rest[n:n+v])
	r.rest = r.rest[n+v+1:]
	list := r.book.lists[r.at]
	if Check(name) != nil || len(list) > 0 && Fold(list[len(list)-1].Entry) >= Fold(name) {
		return false
	}
	if value == nil { // an empty value is one all the same
		value = []byte{}
	}
	r.book.lists[r.at] = append(list, mailstore.Annotation{Entry: name, Value: value})
	return true
}
