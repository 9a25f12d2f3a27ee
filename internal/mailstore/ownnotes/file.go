package ownnotes

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"rookery/internal/crc32c"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/annotation"
	"rookery/internal/mailstore/wholefile"
)

const (
	magic = File + " 1\n"

	maxOwner = 1 << 10 // octets of a name
	maxDay   = 1 << 24
)

// book is what the file says, by owner.
type book map[string]*owned

// owned is what is noted of one owner's mailboxes.
type owned struct {
	looked int // the day of the last Tidy
	boxes  map[mailstore.GUID]*mailbox
}

// mailbox is what is noted of one mailbox.
type mailbox struct {
	missing int                    // since this day; 0: it was there
	list    []mailstore.Annotation // sorted by annotation.Fold
}

// Clone makes a copy that can be changed.
func (b book) Clone() book {
	out := make(book, len(b))
	for owner, o := range b {
		boxes := make(map[mailstore.GUID]*mailbox, len(o.boxes))
		for g, m := range o.boxes {
			boxes[g] = &mailbox{m.missing, slices.Clone(m.list)}
		}
		out[owner] = &owned{o.looked, boxes}
	}
	return out
}

// box gives a mailbox, made if nothing is noted of it. A new owner counts as looked at.
func (b book) box(owner string, today int, guid mailstore.GUID) *mailbox {
	if b[owner] == nil {
		b[owner] = &owned{today, map[mailstore.GUID]*mailbox{}}
	}
	if b[owner].boxes[guid] == nil {
		b[owner].boxes[guid] = &mailbox{}
	}
	return b[owner].boxes[guid]
}

// prune takes away what has become empty.
func (b book) prune(owner string) {
	maps.DeleteFunc(b[owner].boxes, func(_ mailstore.GUID, m *mailbox) bool { return len(m.list) == 0 })
	if len(b[owner].boxes) == 0 {
		delete(b, owner)
	}
}

// Encode writes the file.
func (b book) Encode() []byte {
	out := []byte(magic)
	for _, owner := range slices.Sorted(maps.Keys(b)) {
		out = fmt.Appendf(out, "O %d %d\n%s\n", b[owner].looked, len(owner), owner)
		boxes := b[owner].boxes
		for _, guid := range slices.SortedFunc(maps.Keys(boxes), func(x, y mailstore.GUID) int { return bytes.Compare(x[:], y[:]) }) {
			out = fmt.Appendf(out, "B %s %d\n", hex.EncodeToString(guid[:]), boxes[guid].missing)
			out = annotation.AppendList(out, boxes[guid].list)
		}
	}
	return fmt.Appendf(out, "C %08x\n", crc32c.Checksum(out))
}

// decode reads the file: errkind.Corrupt if it is none.
func decode(data []byte) (book, error) {
	bad := func(what string) (book, error) { return nil, errkind.Newf("read "+File, errkind.Corrupt, what) }
	const tail = len("C 00000000\n")
	if len(data) < len(magic)+tail || !bytes.HasPrefix(data, []byte(magic)) {
		return bad("it does not begin as this version's do, or is cut short")
	}
	body := data[:len(data)-tail]
	if string(data[len(body):]) != fmt.Sprintf("C %08x\n", crc32c.Checksum(body)) {
		return bad("its checksum is wrong")
	}
	r := reader{rest: body[len(magic):], book: book{}}
	for len(r.rest) > 0 {
		if !r.line() {
			return bad("a line of it makes no sense")
		}
	}
	if !r.full() {
		return bad("it names an owner or a mailbox of which nothing is noted")
	}
	return r.book, nil
}

// reader reads the lines between magic and checksum.
type reader struct {
	rest []byte
	book book
	last string   // the owner that the lines are about
	in   *owned   // the same
	at   *mailbox // whose entries follow
	guid mailstore.GUID
}

// line reads one. All has the order in which encode writes it.
func (r *reader) line() bool {
	text, rest, ok := bytes.Cut(r.rest, []byte("\n"))
	if !ok {
		return false
	}
	r.rest = rest
	words := strings.Split(string(text), " ")
	if len(words) != 3 {
		return false
	}
	switch words[0] {
	case "O":
		return r.owner(words[1], words[2])
	case "B":
		return r.in != nil && r.mailbox(words[1], words[2])
	case "E":
		return r.at != nil && r.entry(words[1], words[2])
	}
	return false
}

// count reads a number that is written as encode does.
func count(word string, limit uint64) (int, bool) {
	n, err := strconv.ParseUint(word, 10, 32)
	return int(n), err == nil && n <= limit && strconv.FormatUint(n, 10) == word
}

// full reports whether what was begun has something in it.
func (r *reader) full() bool {
	return r.in == nil || r.at != nil && len(r.at.list) > 0
}

func (r *reader) owner(day, size string) bool {
	looked, ok1 := count(day, maxDay)
	n, ok2 := count(size, maxOwner)
	if !ok1 || !ok2 || n == 0 || n >= len(r.rest) || r.rest[n] != '\n' || !r.full() {
		return false
	}
	name := string(r.rest[:n])
	if r.in != nil && name <= r.last {
		return false
	}
	r.rest = r.rest[n+1:]
	r.last, r.in, r.at = name, &owned{looked, map[mailstore.GUID]*mailbox{}}, nil
	r.book[name] = r.in
	return true
}

func (r *reader) mailbox(text, day string) bool {
	missing, ok := count(day, maxDay)
	guid, err := hex.DecodeString(text)
	if !ok || err != nil || len(guid) != len(r.guid) || hex.EncodeToString(guid) != text {
		return false
	}
	if r.at != nil && (len(r.at.list) == 0 || bytes.Compare(guid, r.guid[:]) <= 0) {
		return false
	}
	r.at = &mailbox{missing: missing}
	copy(r.guid[:], guid)
	r.in.boxes[r.guid] = r.at
	return true
}

func (r *reader) entry(nameLen, valueLen string) bool {
	n, ok1 := count(nameLen, annotation.MaxEntry)
	v, ok2 := count(valueLen, wholefile.MaxRead)
	if !ok1 || !ok2 || n+v >= len(r.rest) || r.rest[n+v] != '\n' {
		return false
	}
	name, value := string(r.rest[:n]), append([]byte{}, r.rest[n:n+v]...)
	r.rest = r.rest[n+v+1:]
	list := r.at.list
	if annotation.Check(name) != nil || !own(name) || len(list) > 0 && annotation.Fold(list[len(list)-1].Entry) >= annotation.Fold(name) {
		return false
	}
	r.at.list = append(list, mailstore.Annotation{Entry: name, Value: value})
	return true
}
