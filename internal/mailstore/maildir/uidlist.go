package maildir

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// The uidlist gives each file its UID. Dovecot's version 3:
//
//	3 V<uidvalidity> N<next uid> G<mailbox guid> …
//	<uid> [W<size>] [S<size>] [G<guid>] [P<uidl>] [O<pop3 order>] … :<file name>
//
// One line ends with LF; UIDs ascend. Keys that are not known here are kept.
// Ours in a record: T<Unix seconds> is SAVEDATE where it is not the file's
// time. Version 1 ("1 <uidvalidity> <next uid>", "<uid> <file name>") is read,
// too; it is what Courier wrote.

// uidHeader is the first line.
type uidHeader struct {
	validity, next uint32
	guid           string // as it stands: hex digits of Dovecot and of ours
	rest           string // other keys, with a space before each
}

// uidRecord is one line. Its strings may point into what was parsed.
type uidRecord struct {
	uid  uint32
	ext  string // keys between uid and name, separated by spaces
	base string // without ":2,…"
}

// errUIDList says that a uidlist has no header that can be used: the mailbox
// needs a new UIDVALIDITY.
var errUIDList = errors.New("the uidlist has no valid first line")

// uidList is a parsed file.
type uidList struct {
	hdr     uidHeader
	version int
	recs    []uidRecord // UIDs ascending
	damaged int         // lines that could not be read, to be left out when it is written anew
	size    int64       // octets up to the last complete line
}

// parseUIDList reads a whole uidlist. A last line without its LF is being
// written by somebody, or was cut by a crash: it does not count.
func parseUIDList(data []byte) (uidList, error) {
	var l uidList
	line, rest, ok := bytes.Cut(data, []byte("\n"))
	if !ok {
		return l, errUIDList
	}
	var err error
	if l.version, l.hdr, err = parseUIDHeader(string(line)); err != nil {
		return l, err
	}
	l.size = int64(len(line) + 1)
	l.addRecords(string(rest))
	return l, nil
}

// parseUIDHeader reads the first line of either version.
func parseUIDHeader(line string) (version int, h uidHeader, err error) {
	f := strings.Split(line, " ")
	switch f[0] {
	case "1":
		if len(f) < 3 {
			return 0, h, errUIDList
		}
		h.validity, h.next = number(f[1]), number(f[2])
		version = 1
	case "3":
		version = 3
		for _, s := range f[1:] {
			switch {
			case s == "":
			case s[0] == 'V':
				h.validity = number(s[1:])
			case s[0] == 'N':
				h.next = number(s[1:])
			case s[0] == 'G':
				h.guid = s[1:]
			default:
				h.rest += " " + s
			}
		}
	default:
		return 0, h, errUIDList
	}
	if h.validity == 0 || h.next == 0 {
		return 0, h, errUIDList
	}
	return version, h, nil
}

// number is a decimal number of 32 bits, 0 if s is none.
func number(s string) uint32 {
	if s == "" || s[0] == '+' {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// addRecords reads the complete lines of text, which follow what was read before.
func (l *uidList) addRecords(text string) {
	last := uint32(0)
	if n := len(l.recs); n > 0 {
		last = l.recs[n-1].uid
	}
	l.recs = slices.Grow(l.recs, strings.Count(text, "\n"))
	for {
		i := strings.IndexByte(text, '\n')
		if i < 0 {
			return
		}
		line := text[:i]
		text = text[i+1:]
		l.size += int64(i + 1)
		r, ok := parseUIDRecord(line, l.version)
		if !ok || r.uid <= last {
			l.damaged++
			continue
		}
		last = r.uid
		l.recs = append(l.recs, r)
		if last >= l.hdr.next {
			l.hdr.next = last + 1 // 0 once the numbers are used up: see nextUID
		}
	}
}

func parseUIDRecord(line string, version int) (r uidRecord, ok bool) {
	uid, rest, ok := strings.Cut(line, " ")
	if !ok {
		return r, false
	}
	if r.uid = number(uid); r.uid == 0 {
		return r, false
	}
	name := rest
	if version == 3 {
		i := 0
		if rest != "" && rest[0] != ':' {
			if i = strings.Index(rest, " :"); i < 0 {
				return r, false
			}
			r.ext, i = rest[:i], i+1
		}
		if i >= len(rest) {
			return r, false
		}
		name = rest[i+1:]
	}
	r.base, _ = splitName(name)
	if !goodFile(r.base) || strings.IndexByte(r.ext, 0) >= 0 || strings.Contains(r.base, "/") {
		return r, false
	}
	return r, true
}

func (h uidHeader) append(dst []byte) []byte {
	dst = append(dst, "3 V"...)
	dst = strconv.AppendUint(dst, uint64(h.validity), 10)
	dst = append(dst, " N"...)
	dst = strconv.AppendUint(dst, uint64(h.next), 10)
	if h.guid != "" {
		dst = append(append(dst, " G"...), h.guid...)
	}
	dst = append(dst, h.rest...)
	return append(dst, '\n')
}

func (r uidRecord) append(dst []byte) []byte {
	dst = strconv.AppendUint(dst, uint64(r.uid), 10)
	dst = append(dst, ' ')
	if r.ext != "" {
		dst = append(append(dst, r.ext...), ' ')
	}
	dst = append(append(dst, ':'), r.base...)
	return append(dst, '\n')
}

// extKey gives the value of one key of a record.
func extKey(ext string, key byte) (string, bool) {
	for more := ext != ""; more; {
		var f string
		f, ext, more = strings.Cut(ext, " ")
		if f != "" && f[0] == key {
			return f[1:], true
		}
	}
	return "", false
}

// extSet gives ext with key set to value.
func extSet(ext string, key byte, value string) string {
	var out []string
	for f := range strings.SplitSeq(ext, " ") {
		if f != "" && f[0] != key {
			out = append(out, f)
		}
	}
	return strings.Join(append(out, string(key)+value), " ")
}
