package maildir

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"rookery/internal/crc32c"
	"rookery/internal/errkind"
)

// Bounds of keywords. maxKeywords bounds the names of one mailbox, letters are
// the first 26 of them.
const (
	letterCount    = 26
	maxKeywords    = 1024
	maxKeywordSize = 255
)

// forwarded is the keyword that the file flag P stands for.
const forwarded = "$Forwarded"

// fold is the form in which keywords are compared: ASCII letters in lower case.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// parseLetters reads dovecot-keywords: "<index> <name>" lines, index 0 is the
// letter a. Lines that are wrong, double or beyond z are left out.
func parseLetters(text string) (names [letterCount]string) {
	seen := map[string]bool{}
	for line := range strings.SplitSeq(text, "\n") {
		num, name, ok := strings.Cut(strings.TrimSuffix(line, "\r"), " ")
		n, err := strconv.ParseUint(num, 10, 8)
		if !ok || err != nil || n >= letterCount || !goodKeyword(name) || names[n] != "" || seen[fold(name)] {
			continue
		}
		names[n], seen[fold(name)] = name, true
	}
	return names
}

// goodKeyword reports whether a name can stand in the keyword files.
func goodKeyword(name string) bool {
	if name == "" || len(name) > maxKeywordSize {
		return false
	}
	for i := 0; i < len(name); i++ {
		if name[i] <= ' ' || name[i] == 0x7F {
			return false
		}
	}
	return true
}

func formatLetters(names [letterCount]string) []byte {
	var out []byte
	for i, n := range names {
		if n != "" {
			out = fmt.Appendf(out, "%d %s\n", i, n)
		}
	}
	return out
}

// rookery-keywords keeps keywords beyond the 26 letters: a line each, and each
// with a CRC-32C of what follows it, so that a line that a power cut tore is
// known, whatever was written behind it.
//
//	<crc> V <uidvalidity>
//	<crc> K <index from 26> <name>
//	<crc> U <uid> <index>,<index>… <sum>   ("-" is none); the last line of a UID counts
//
// sum is the CRC-32C of the message's base name up to its first comma: a line
// that a crash left for a UID which another message then got means nothing.

// moreKeywords is the parsed file.
type moreKeywords struct {
	validity uint32
	names    []string // index 26 and on
	uids     map[uint32]moreSet
	lines    int // lines read: many more than uids means rewrite
}

// moreSet is what a message has beyond the letters.
type moreSet struct {
	list []uint16 // ascending indices, 26 and on
	sum  uint32   // of the message's name
}

// nameMark is the sum that binds a line to a message.
func nameMark(base string) uint32 {
	base, _, _ = strings.Cut(base, ",")
	return crc32c.Checksum([]byte(base))
}

func moreLine(dst []byte, text string) []byte {
	return fmt.Appendf(dst, "%08x %s\n", crc32c.Checksum([]byte(text)), text)
}

// parseMore reads the file; lines that are wrong are left out.
func parseMore(data string) moreKeywords {
	m := moreKeywords{uids: map[uint32]moreSet{}}
	for line := range strings.SplitSeq(data, "\n") {
		if len(line) < 11 || line[8] != ' ' {
			continue
		}
		var sum [4]byte
		if _, err := hex.Decode(sum[:], []byte(line[:8])); err != nil {
			continue
		}
		text := line[9:]
		if crc32c.Checksum([]byte(text)) != uint32(sum[0])<<24|uint32(sum[1])<<16|uint32(sum[2])<<8|uint32(sum[3]) {
			continue
		}
		m.lines++
		m.line(text)
	}
	return m
}

func (m *moreKeywords) line(text string) {
	f := strings.Split(text, " ")
	switch {
	case f[0] == "V" && len(f) == 2:
		m.validity = number(f[1])
	case f[0] == "K" && len(f) == 3:
		// Indices come in order, so that the file cannot make a large table of a small line.
		if n := int(number(f[1])); n == letterCount+len(m.names) && n < maxKeywords && goodKeyword(f[2]) {
			m.names = append(m.names, f[2])
		}
	case f[0] == "U" && len(f) == 4:
		uid := number(f[1])
		sum, err := strconv.ParseUint(f[3], 16, 32)
		if uid == 0 || err != nil {
			return
		}
		delete(m.uids, uid)
		var list []uint16
		for s := range strings.SplitSeq(f[2], ",") {
			if n := int(number(s)); n >= letterCount && n < letterCount+len(m.names) {
				list = append(list, uint16(n))
			}
		}
		if slices.Sort(list); len(list) > 0 {
			m.uids[uid] = moreSet{slices.Compact(list), uint32(sum)}
		}
	}
}

// of gives what the message uid, whose base name is base, has beyond the letters.
func (m *moreKeywords) of(uid uint32, base string) []uint16 {
	if m == nil {
		return nil
	}
	if x, ok := m.uids[uid]; ok && x.sum == nameMark(base) {
		return x.list
	}
	return nil
}

func moreUser(dst []byte, uid uint32, base string, list []uint16) []byte {
	text := "-"
	for i, n := range list {
		if i == 0 {
			text = strconv.Itoa(int(n))
		} else {
			text += "," + strconv.Itoa(int(n))
		}
	}
	return moreLine(dst, "U "+strconv.FormatUint(uint64(uid), 10)+" "+text+fmt.Sprintf(" %08x", nameMark(base)))
}

// keywordTable is what one mailbox knows of keywords.
type keywordTable struct {
	letters [letterCount]string
	more    []string
}

func newKeywordTable() *keywordTable { return &keywordTable{} }

// names gives every keyword in stable order.
func (k *keywordTable) names() []string {
	out := []string{forwarded}
	for _, n := range k.letters {
		if n != "" && fold(n) != fold(forwarded) {
			out = append(out, n)
		}
	}
	return append(out, k.more...)
}

// setNames changes the names of the letters or the others.
func (k *keywordTable) setNames(letters [letterCount]string, more []string) (changed bool) {
	if letters == k.letters && slices.Equal(more, k.more) {
		return false
	}
	k.letters, k.more = letters, more
	return true
}

// list gives the names of what a file has, sorted.
func (k *keywordTable) list(f nameFlags, more []uint16) []string {
	var list []string
	fwd := f.forwarded
	for i, n := range k.letters {
		if f.letters&(1<<i) == 0 || n == "" {
			continue
		}
		if fold(n) == fold(forwarded) {
			fwd = true
			continue
		}
		list = append(list, n)
	}
	if fwd {
		list = append(list, forwarded)
	}
	for _, n := range more {
		if int(n)-letterCount < len(k.more) {
			list = append(list, k.more[int(n)-letterCount])
		}
	}
	slices.SortFunc(list, func(a, b string) int { return strings.Compare(fold(a), fold(b)) })
	return list
}

// diskSet is where some keywords are kept.
type diskSet struct {
	letters   uint32
	forwarded bool
	more      []uint16 // ascending
}

// find says where names are kept; missing are those that have no place yet.
func (k *keywordTable) find(names []string) (d diskSet, missing []string) {
next:
	for _, name := range names {
		key := fold(name)
		isForwarded := key == fold(forwarded)
		d.forwarded = d.forwarded || isForwarded
		for i, n := range k.letters {
			if n != "" && fold(n) == key {
				d.letters |= 1 << i
				continue next
			}
		}
		if isForwarded {
			continue
		}
		for i, n := range k.more {
			if fold(n) == key {
				d.more = append(d.more, uint16(letterCount+i))
				continue next
			}
		}
		if !slices.ContainsFunc(missing, func(m string) bool { return fold(m) == key }) {
			missing = append(missing, name)
		}
	}
	slices.Sort(d.more)
	d.more = slices.Compact(d.more)
	return d, missing
}

// with gives the names with some more in free places.
func (k *keywordTable) with(missing []string) (letters [letterCount]string, more []string, err error) {
	letters, more = k.letters, slices.Clone(k.more)
next:
	for _, name := range missing {
		if !goodKeyword(name) {
			return letters, more, errkind.Newf("keyword", errkind.Limit, "a keyword is too long or no atom")
		}
		for i, n := range letters {
			if n == "" {
				letters[i] = name
				continue next
			}
		}
		if letterCount+len(more) >= maxKeywords {
			return letters, more, errkind.Newf("keyword", errkind.Limit,
				"the mailbox has "+strconv.Itoa(maxKeywords)+" keywords, no more can be made")
		}
		more = append(more, name)
	}
	return letters, more, nil
}
