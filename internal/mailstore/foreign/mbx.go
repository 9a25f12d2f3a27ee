package foreign

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/mbox/mboxfmt"
	"rookery/internal/message"
)

// mbx, c-client's format for concurrent access. A head of 2048 octets: "*mbx*"
// CRLF, UIDVALIDITY and the last UID in 8 hexadecimal digits each and CRLF, then
// up to 30 lines with keyword names, zeroes after them. Each message follows a
// line
//
//	dd-Mon-yyyy hh:mm:ss +zzzz,SIZE;kkkkkkkkffff-uuuuuuuu CRLF
//
// where SIZE is decimal, k the keywords' bits (bit n is line n), f the flags and
// u the UID, in hexadecimal digits.
const (
	mbxMagic    = "*mbx*\r\n"
	mbxHead     = 2048
	mbxKeywords = 30
	mbxExpunged = 0x8000 // a message that is gone and whose room was not given back

	maxMark = 128 // octets of the line before a message
)

func isMBX(p []byte) bool {
	_, _, ok := mbxNumbers(p)
	return ok
}

func mbxNumbers(p []byte) (validity, last uint64, ok bool) {
	if !bytes.HasPrefix(p, []byte(mbxMagic)) || len(p) < 25 || string(p[23:25]) != "\r\n" {
		return 0, 0, false
	}
	validity, err1 := strconv.ParseUint(string(p[7:15]), 16, 32)
	last, err2 := strconv.ParseUint(string(p[15:23]), 16, 32)
	return validity, last, err1 == nil && err2 == nil
}

// mark is what the line before a message says.
type mark struct {
	date  time.Time
	size  int64
	bits  uint64 // of flags
	words uint64 // bits of keywords
	uid   uint64
}

func readMBX(f *mailFile, yield func(*Message) error) error {
	head := make([]byte, min(mbxHead, f.size))
	if _, err := (mboxfmt.Parts{File: f.src, Ranges: []mboxfmt.Range{{To: f.size}}}).ReadAt(head, 0); err != nil {
		return err
	}
	names := strings.Split(strings.TrimRight(string(head[min(25, len(head)):]), "\x00"), "\r\n")
	names = names[:min(len(names), mbxKeywords)]
	last := uint64(0)
	return f.marked(mbxHead, parseMBX, yield, func(m *Message, k *mark) bool {
		if k.bits&mbxExpunged != 0 {
			return false
		}
		for i, n := range names {
			if k.words&(1<<i) != 0 && validKeyword(n) {
				m.Keywords = append(m.Keywords, n)
			}
		}
		if k.uid > last { // UIDs ascend, or one of them is damaged
			m.UID, last = mailstore.UID(k.uid), k.uid
		}
		return true
	})
}

// parseMBX reads the line before a message.
func parseMBX(line []byte) (k mark, ok bool) {
	s, ok := strings.CutSuffix(string(line), "\r")
	if !ok {
		return k, false
	}
	rest, ok := k.dateAndSize(s)
	if !ok || len(rest) != 21 || rest[12] != '-' || !allIn(rest[:12]+rest[13:], hexDigits) {
		return k, false
	}
	k.words, _ = strconv.ParseUint(rest[:8], 16, 64)
	k.bits, _ = strconv.ParseUint(rest[8:12], 16, 64)
	k.uid, _ = strconv.ParseUint(rest[13:], 16, 64)
	return k, true
}

const hexDigits = "0123456789abcdefABCDEF"

func allIn(s, set string) bool { return strings.Trim(s, set) == "" }

// mtx and tenex, the formats of MM on TOPS-20 and TENEX: no head, and before
// each message a line
//
//	dd-Mon-yyyy hh:mm:ss +zzzz,SIZE;kkkkkkkkkkff
//
// with ten octal digits of keywords and two of flags. Lines end in CRLF in mtx
// and in LF in tenex. The keywords' names are in no file of the mailbox but in the
// owner's settings, .mminit or .imaprc in his home, where a line
//
//	set keywords NAME, NAME, …
//
// names up to 30; the first is the highest of the 30 bits, the second the next one
// below. UIDs are kept nowhere.
func parseMM(line []byte) (k mark, ok bool) {
	rest, ok := k.dateAndSize(string(line))
	if !ok || len(rest) != 12 || !allIn(rest, "01234567") {
		return k, false
	}
	k.words, _ = strconv.ParseUint(rest[:10], 8, 64)
	k.bits, _ = strconv.ParseUint(rest[10:], 8, 64)
	return k, true
}

const mmKeywords = 30

// parseMMNames reads the names of keywords from a settings file.
func parseMMNames(text string) []string {
	for line := range strings.Lines(text) {
		f := strings.Fields(strings.ReplaceAll(line, ",", " "))
		if len(f) > 2 && strings.EqualFold(f[0], "set") && strings.EqualFold(f[1], "keywords") {
			return f[2:min(len(f), 2+mmKeywords)]
		}
	}
	return nil
}

// named adds the names of the keywords' bits.
func (f *mailFile) named(m *Message, k *mark) bool {
	for i, n := range f.keywords {
		if k.words&(1<<(mmKeywords-1-i)) != 0 && validKeyword(n) {
			m.Keywords = append(m.Keywords, n)
		}
	}
	return true
}

func parseMTX(line []byte) (mark, bool) {
	line, ok := bytes.CutSuffix(line, []byte("\r"))
	if !ok {
		return mark{}, false
	}
	return parseMM(line)
}

func firstLine(p []byte) []byte {
	line, _, ok := bytes.Cut(p[:min(len(p), maxMark)], []byte("\n"))
	if !ok {
		return nil
	}
	return line
}

func isMTX(p []byte) bool   { _, ok := parseMTX(firstLine(p)); return ok }
func isTenex(p []byte) bool { _, ok := parseMM(firstLine(p)); return ok }

func readMTX(f *mailFile, yield func(*Message) error) error {
	return f.marked(0, parseMTX, yield, f.named)
}

func readTenex(f *mailFile, yield func(*Message) error) error {
	return f.marked(0, parseMM, yield, f.named)
}

// dateAndSize reads "date,size;" and gives what follows.
func (k *mark) dateAndSize(s string) (rest string, ok bool) {
	date, s, ok1 := strings.Cut(s, ",")
	size, rest, ok2 := strings.Cut(s, ";")
	if !ok1 || !ok2 || len(size) == 0 || len(size) > 12 || !allIn(size, "0123456789") {
		return "", false
	}
	k.size, _ = strconv.ParseInt(size, 10, 64)
	k.date, ok = parseMarkDate(date)
	return rest, ok
}

// parseMarkDate reads "dd-Mon-yyyy hh:mm:ss +zzzz"; old files have two digits of
// the year and "-PST" after the time.
func parseMarkDate(s string) (time.Time, bool) {
	s = strings.TrimLeft(s, " ")
	if len(s) < 16 || len(s) > 40 {
		return time.Time{}, false
	}
	parts := strings.SplitN(s, "-", 3)
	if len(parts) != 3 || len(parts[0]) == 0 || len(parts[0]) > 2 || !allIn(parts[0], "0123456789") || len(parts[1]) != 3 {
		return time.Time{}, false
	}
	year, clock, ok := strings.Cut(parts[2], " ")
	if !ok || len(clock) < 8 || clock[2] != ':' || clock[5] != ':' || !allIn(year, "0123456789") {
		return time.Time{}, false
	}
	zone := clock[8:]
	if len(zone) > 1 && zone[0] == '-' && !allIn(zone[1:], "0123456789") {
		zone = zone[1:]
	}
	return message.ParseDate(parts[0] + " " + parts[1] + " " + year + " " + clock[:8] + " " + strings.TrimSpace(zone))
}

// marked reads messages that each follow a line with their size. Where such a
// line cannot be read, or a size leads beyond the end, that is told, and the next
// line that can be read is looked for. keep adds what is the format's own, and
// is false for what is no message any more.
func (f *mailFile) marked(at int64, parse func([]byte) (mark, bool), yield func(*Message) error, keep func(*Message, *mark) bool) error {
	for at < f.size {
		k, body, ok, err := f.markAt(at, parse)
		if err != nil {
			return err
		}
		if !ok {
			if err := f.bad(at, "no message begins here, or it is longer than the file", yield); err != nil {
				return err
			}
			if at, err = f.nextMark(at, parse); err != nil {
				return err
			}
			continue
		}
		m := &Message{Flags: ucFlags(k.bits), InternalDate: k.date}
		if keep(m, &k) {
			if err := f.give(m, at, []mboxfmt.Range{{From: body, To: body + k.size}}, yield); err != nil {
				return err
			}
		}
		at = body + k.size
	}
	return nil
}

// markAt reads the mark at an offset, whose message must lie in the file.
func (f *mailFile) markAt(at int64, parse func([]byte) (mark, bool)) (k mark, body int64, ok bool, err error) {
	line, body, ok, err := f.line(at, maxMark)
	if err != nil || !ok {
		return k, 0, false, err
	}
	k, ok = parse(line)
	return k, body, ok && k.size <= f.size-body, nil
}

// nextMark looks for the next line that can be a mark; the end if there is none.
func (f *mailFile) nextMark(at int64, parse func([]byte) (mark, bool)) (int64, error) {
	buf := make([]byte, 64<<10)
	for at < f.size {
		n, err := f.src.ReadAt(buf[:min(int64(len(buf)), f.size-at)], at)
		if n == 0 {
			return 0, err
		}
		for i := 0; i < n; {
			j := bytes.IndexByte(buf[i:n], '\n')
			if j < 0 {
				break
			}
			i += j + 1
			if i < n && buf[i] != ' ' && (buf[i] < '0' || buf[i] > '9') {
				continue // no date begins so
			}
			if _, _, ok, err := f.markAt(at+int64(i), parse); ok || err != nil {
				return at + int64(i), err
			}
		}
		at += int64(n)
	}
	return f.size, nil
}
