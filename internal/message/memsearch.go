package message

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/transform"
)

// InHeaderBytes is InHeader over a header in memory: a whole one, or the text
// that FieldSet.Append gave for this name.
func (k *Key) InHeaderBytes(header []byte, name string, lim Limits) bool {
	if !k.Empty() && len(header) <= shortHeader && k.misses(header) {
		return false
	}
	h := newMemFields(header, lim)
	for h.next() {
		if !h.field.Is(name) {
			continue
		}
		if k.Empty() || k.inField(nil, h.field) {
			return true
		}
	}
	return false
}

// shortHeader is up to how many octets of a header are looked over as a whole first.
const shortHeader = 1 << 10

// misses reports whether no field of a header can have the key, since its bytes
// have it nowhere: they are ASCII without encoded-words, and no line is folded, so
// that each value is a run of them.
func (k *Key) misses(header []byte) bool {
	if !ascii(header) || bytes.Contains(header, wordStart) {
		return false
	}
	for p := header; ; {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			break
		}
		if p = p[i+1:]; len(p) > 0 && (p[0] == ' ' || p[0] == '\t') {
			return false
		}
	}
	return !k.inASCII(header)
}

// InTextBytes is InText over a message in memory.
func (k *Key) InTextBytes(msg []byte, root *Part, lim Limits) (bool, error) {
	if k.Empty() || k.inWholeHeaderBytes(msg[:HeaderEnd(msg)], lim) {
		return true, nil
	}
	return k.inPartsBytes(msg, root, lim, true)
}

// InBodyBytes is InBody over a message in memory. A tree that goes beyond the
// message, since it is another one's, is an error.
func (k *Key) InBodyBytes(msg []byte, root *Part, lim Limits) (bool, error) {
	return k.inPartsBytes(msg, root, lim, false)
}

func (k *Key) inPartsBytes(msg []byte, root *Part, lim Limits, headers bool) (bool, error) {
	if k.Empty() {
		return true, nil
	}
	stack := append(k.stack[:0], root)
	defer func() { k.stack = stack[:0] }()
	for len(stack) > 0 {
		p := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if p.BodyEnd > int64(len(msg)) {
			return false, errShort()
		}
		if headers && p != root && k.inWholeHeaderBytes(msg[p.HeaderStart:p.BodyStart], lim) {
			return true, nil
		}
		for i := len(p.Children) - 1; i >= 0; i-- {
			stack = append(stack, p.Children[i])
		}
		if len(p.Children) == 0 && p.IsText() && k.inPart(msg, p) {
			return true, nil
		}
	}
	return false, nil
}

// inPart looks for the key in a text part.
func (k *Key) inPart(msg []byte, p *Part) bool {
	body := msg[p.BodyStart:p.BodyEnd]
	if kind := kindOf(p.Param("charset")); kind != stateful {
		if t := transferDecoder(p.Encoding); t != nil {
			body = k.decoded(t, body)
		}
		switch {
		case ascii(body):
			return k.inASCII(body)
		case kind == likeUTF8 && utf8.Valid(body):
			return k.inUTF8(body)
		}
	}
	found, _ := k.InReader(p.TextReader(bytes.NewReader(msg)))
	return found
}

// decoded takes a transfer encoding off a body. It is valid until the next call.
func (k *Key) decoded(t transform.Transformer, body []byte) []byte {
	// No encoding here makes a text longer, but for what a decoder wants to be free.
	if need := len(body) + 128; cap(k.body) < need {
		k.body = make([]byte, need)
	}
	n, _, _ := t.Transform(k.body[:cap(k.body)], body, true)
	return k.body[:n]
}

// charsetKind says how much a charset has in common with UTF-8.
type charsetKind uint8

const (
	stateful  charsetKind = iota // ASCII bytes may mean something else
	likeASCII                    // ASCII bytes are ASCII
	likeUTF8                     // valid UTF-8 is UTF-8
)

// kindOf looks at a charset as decoderOr does.
func kindOf(charset string) charsetKind {
	switch charset {
	case "", "utf-8", "UTF-8", "us-ascii", "US-ASCII":
		return likeUTF8
	case "iso-8859-1", "ISO-8859-1", "iso-8859-15", "ISO-8859-15", "windows-1252", "Windows-1252":
		return likeASCII
	}
	key, ok := charsetKey(charset)
	if !ok {
		return likeUTF8 // not known: read leniently
	}
	if _, single := find(key).(*charmap.Charmap); single {
		return likeASCII // the first half of each of these tables is ASCII
	}
	if d, ok := Decoder(charset); ok {
		if _, is := d.(*lenient); !is {
			return stateful
		}
	}
	return likeUTF8
}

// chunkUTF8 is how much of a text is folded at a time.
const chunkUTF8 = 4 << 10

// inUTF8 looks for the key in valid UTF-8.
func (k *Key) inUTF8(text []byte) bool {
	keep := len(k.folded) - 1
	k.hay = k.hay[:0]
	for len(text) > 0 {
		n := min(len(text), max(chunkUTF8, len(k.folded)))
		for n < len(text) && !utf8.RuneStart(text[n]) {
			n++
		}
		k.hay = appendFold(k.hay, text[:n])
		if bytes.Contains(k.hay, k.folded) {
			return true
		}
		if len(k.hay) > keep {
			k.hay = k.hay[:copy(k.hay, k.hay[len(k.hay)-keep:])]
		}
		text = text[n:]
	}
	return false
}

// inField looks for the key in a field's value, its name before it if prefix is
// not nil.
func (k *Key) inField(prefix []byte, f Field) bool {
	v := trimBlank(f.Value)
	if prefix == nil && bytes.IndexByte(v, '\n') < 0 {
		return k.inUnfolded(v)
	}
	k.value = append(k.value[:0], prefix...)
	k.value = f.Unfolded(k.value)
	return k.inUnfolded(k.value)
}

// inUnfolded is inValue with a short way for ASCII.
func (k *Key) inUnfolded(v []byte) bool {
	if ascii(v) && !bytes.Contains(v, wordStart) {
		return k.inASCII(v)
	}
	return k.inValue(v)
}

var wordStart = []byte("=?") // of an encoded-word

// inWholeHeaderBytes looks for the key in each field, name included.
func (k *Key) inWholeHeaderBytes(header []byte, lim Limits) bool {
	h := newMemFields(header, lim)
	for h.next() {
		f := &h.field
		prefix := k.text[:0]
		prefix = append(prefix, f.Name...)
		if f.Name != nil {
			prefix = append(prefix, ": "...)
		}
		k.value = f.Unfolded(append(k.value[:0], prefix...))
		k.text = prefix
		if k.inUnfolded(k.value) {
			return true
		}
	}
	return false
}

// ascii reports whether no byte is above 0x7f.
func ascii(p []byte) bool {
	const high = 0x8080808080808080
	for len(p) >= 32 {
		if (binary.LittleEndian.Uint64(p)|binary.LittleEndian.Uint64(p[8:])|
			binary.LittleEndian.Uint64(p[16:])|binary.LittleEndian.Uint64(p[24:]))&high != 0 {
			return false
		}
		p = p[32:]
	}
	for len(p) >= 8 {
		if binary.LittleEndian.Uint64(p)&high != 0 {
			return false
		}
		p = p[8:]
	}
	return isASCII(p)
}

// shortText is up to how many bytes are folded whole: for so few no better way pays.
const shortText = 96

// inASCII looks for the key, which is folded to upper case, in a text of ASCII,
// without a copy of it in upper case: it looks for the key's rarest character.
func (k *Key) inASCII(text []byte) bool {
	if k.wide || len(text) < len(k.folded) {
		return false
	}
	if len(text) <= shortText {
		var buf [shortText]byte
		upper := buf[:copy(buf[:], text)]
		upperASCII(upper)
		return bytes.Contains(upper, k.folded)
	}
	up := k.folded[k.rare]
	low := lower(up)
	// A text made for it could have the key's beginning everywhere: then fold.
	budget := 4*len(text) + 64
	next := [2]int{-1, -1} // of the letter in lower and in upper case, from at on
	last := len(text) - (len(k.folded) - k.rare)
	for at := k.rare; at <= last; at++ {
		for i, c := range [2]byte{low, up} {
			if next[i] < at {
				next[i] = indexFrom(text, at, c)
			}
			if low == up {
				next[1] = len(text)
				break
			}
		}
		if at = min(next[0], next[1]); at > last {
			return false
		}
		same := k.sameAs(text[at-k.rare:])
		if same == len(k.folded) {
			return true
		}
		if budget -= same + 8; budget < 0 {
			k.hay = append(k.hay[:0], text...)
			upperASCII(k.hay)
			return bytes.Contains(k.hay, k.folded)
		}
	}
	return false
}

// indexFrom gives the place of c in text from at on, len(text) if there is none.
func indexFrom(text []byte, at int, c byte) int {
	if i := bytes.IndexByte(text[at:], c); i >= 0 {
		return at + i
	}
	return len(text)
}

// sameAs counts how many characters of the key a text of ASCII begins with. The
// text is at least as long as the key.
func (k *Key) sameAs(text []byte) int {
	for i, c := range k.folded {
		d := text[i]
		if d-'a' < 26 {
			d -= 'a' - 'A'
		}
		if c != d {
			return i
		}
	}
	return len(k.folded)
}

// commonness ranks characters by how often they stand in mail: the letters of
// English, most common last.
const commonness = "QJZX0987654321VKBPGFWYMUCLDRHSNIOATE.-/ "

// rarest gives the place of the character of a folded key that a text has least.
func rarest(folded []byte) int {
	best, rank := 0, len(commonness)
	for i, c := range folded {
		if r := strings.IndexByte(commonness, c); r < rank {
			best, rank = i, r
		}
	}
	return best
}
