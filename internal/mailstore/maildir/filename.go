package maildir

import (
	"slices"
	"strconv"
	"strings"

	"rookery/internal/mailstore"
)

// A message's file is called BASE in new/ and BASE:2,FLAGS in cur/. The base
// name never changes while the message lives, but for wrong sizes in it. FLAGS
// are ASCII letters in ascending order: DFPRST for the system flags (P is the
// keyword $Forwarded), a to z for keywords that dovecot-keywords names; what
// follows a comma belongs to other programs and is kept.

// splitName parts a file name at its information: base, and ":2,FS" or "".
func splitName(name string) (base, info string) {
	if i := strings.IndexByte(name, ':'); i >= 0 {
		return name[:i], name[i:]
	}
	return name, ""
}

// nameFlags are the flags of a file name.
type nameFlags struct {
	sys       mailstore.Flags
	forwarded bool
	letters   uint32 // bit i: the keyword letter 'a'+i
	other     string // flag letters that mean nothing here, as they stood
	tail      string // from the comma on
}

// sysLetters has the letters of the system flags in ASCII order.
var sysLetters = [...]struct {
	letter byte
	flag   mailstore.Flags
}{{'D', mailstore.Draft}, {'F', mailstore.Flagged}, {'R', mailstore.Answered}, {'S', mailstore.Seen}, {'T', mailstore.Deleted}}

// parseInfo reads ":2,FS"; any other form holds no flags.
func parseInfo(info string) nameFlags {
	var f nameFlags
	if !strings.HasPrefix(info, ":2,") {
		return f
	}
	text := info[3:]
	if i := strings.IndexByte(text, ','); i >= 0 {
		text, f.tail = text[:i], text[i:]
	}
next:
	for i := 0; i < len(text); i++ {
		c := text[i]
		for _, s := range sysLetters {
			if c == s.letter {
				f.sys |= s.flag
				continue next
			}
		}
		switch {
		case c == 'P':
			f.forwarded = true
		case c >= 'a' && c <= 'z':
			f.letters |= 1 << (c - 'a')
		case strings.IndexByte(f.other, c) < 0:
			f.other += text[i : i+1]
		}
	}
	return f
}

// info writes the flags as they stand in a file name of cur/.
func (f nameFlags) info() string {
	letters := []byte(f.other)
	for _, s := range sysLetters {
		if f.sys&s.flag != 0 {
			letters = append(letters, s.letter)
		}
	}
	if f.forwarded {
		letters = append(letters, 'P')
	}
	for i := range 26 {
		if f.letters&(1<<i) != 0 {
			letters = append(letters, byte('a'+i))
		}
	}
	slices.Sort(letters)
	return ":2," + string(letters) + f.tail
}

// nameSizes reads the sizes that a base name carries: ",S=" octets of the file,
// ",W=" octets in CRLF form. -1 is none.
func nameSizes(base string) (phys, virt int64) {
	phys, virt = -1, -1
	_, rest, more := strings.Cut(base, ",")
	for more {
		var field string
		field, rest, more = strings.Cut(rest, ",")
		if len(field) < 3 || field[1] != '=' {
			continue
		}
		n, err := strconv.ParseInt(field[2:], 10, 64)
		if err != nil || n < 0 || field[2] == '+' {
			continue
		}
		switch field[0] {
		case 'S':
			phys = n
		case 'W':
			virt = n
		}
	}
	return phys, virt
}

// withSizes gives base with these sizes and no others.
func withSizes(base string, phys, virt int64) string {
	first, rest, more := strings.Cut(base, ",")
	out := first + ",S=" + strconv.FormatInt(phys, 10) + ",W=" + strconv.FormatInt(virt, 10)
	for more {
		var field string
		field, rest, more = strings.Cut(rest, ",")
		if !strings.HasPrefix(field, "S=") && !strings.HasPrefix(field, "W=") {
			out += "," + field
		}
	}
	return out
}

// goodFile reports whether a name of new/ or cur/ can be a message: not hidden,
// and fit for a line of the uidlist.
func goodFile[T string | []byte](name T) bool {
	if len(name) == 0 || name[0] == '.' || name[0] == ':' || len(name) > 255 {
		return false
	}
	for i := 0; i < len(name); i++ {
		if c := name[i]; c == '\n' || c == '\r' || c == 0 {
			return false
		}
	}
	return true
}

// plainInfo reads information that holds nothing but system flags, written as we
// write it: the usual case, which needs no memory.
func plainInfo(info string) (f mailstore.Flags, ok bool) {
	text, ok := strings.CutPrefix(info, ":2,")
	if !ok {
		return 0, false
	}
	last := byte(0)
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c <= last {
			return 0, false
		}
		last = c
		switch c {
		case 'D':
			f |= mailstore.Draft
		case 'F':
			f |= mailstore.Flagged
		case 'R':
			f |= mailstore.Answered
		case 'S':
			f |= mailstore.Seen
		case 'T':
			f |= mailstore.Deleted
		default:
			return 0, false
		}
	}
	return f, true
}
