package message

import (
	"strings"
	"time"
)

// ParseDate reads a Date value (RFC 5322 §3.3, obsolete forms of §4.3), leniently:
// the weekday and the seconds may be missing, years may have two or three
// digits, zones may be names, a broken zone counts as +0000. The time carries
// its zone, so that its Date method gives the day as the sender wrote it, which
// is what SENTBEFORE, SENTON and SENTSINCE compare (RFC 3501 §6.4.4).
func ParseDate(value string) (time.Time, bool) {
	d := dateParser{cursor{s: value}}
	word := d.word()
	if word == "" {
		return time.Time{}, false
	}
	if word[0] < '0' || word[0] > '9' { // weekday, or asctime's order
		d.skipCFWS()
		d.take(',')
		d.take('.')
		if monthNumber(word) == 0 {
			word = d.word()
		}
	}
	if m := monthNumber(word); m > 0 {
		return d.asctime(m)
	}
	day, ok := number(word, 1, 31)
	month := monthNumber(d.afterDash())
	year, ok2 := fullYear(d.afterDash())
	if !ok || !ok2 || month == 0 {
		return time.Time{}, false
	}
	h, m, s := d.clock()
	zone, _ := d.zone()
	return makeDate(year, month, day, h, m, s, zone)
}

type dateParser struct{ cursor }

// word reads letters or digits, whatever comes.
func (d *dateParser) word() string {
	d.skipCFWS()
	start := d.i
	if !d.more() {
		return ""
	}
	class := isDigit(d.s[d.i])
	for d.more() && isAlnum(d.s[d.i]) && isDigit(d.s[d.i]) == class {
		d.i++
	}
	return d.s[start:d.i]
}

// afterDash reads a word that may stand after a dash, a dot or a comma, as in
// 1-Jan-2020.
func (d *dateParser) afterDash() string {
	d.skipCFWS()
	for d.more() && (d.s[d.i] == '-' || d.s[d.i] == '.' || d.s[d.i] == ',') {
		d.i++
	}
	return d.word()
}

// clock reads hh:mm[:ss]; what is missing is 0, and where a number is wrong all are
// (RFC 5256 §2.2: "If the time is also invalid, the time SHOULD be treated as
// 00:00:00"). Dots count as colons.
func (d *dateParser) clock() (h, m, s int) {
	d.skipCFWS()
	start := d.i
	h, ok := number(d.word(), 0, 23)
	if !ok || !d.colon() {
		d.i = start
		return 0, 0, 0
	}
	m, ok = number(d.word(), 0, 59)
	if d.colon() {
		word := d.word()
		var second bool
		s, second = number(word, 0, 60)
		ok = ok && (second || word == "")
		if d.take('.') { // fractions
			d.word()
		}
	}
	if !ok {
		return 0, 0, 0
	}
	d.skipCFWS()
	if start = d.i; d.more() { // 12-hour clocks
		switch lowerString(d.word()) {
		case "pm":
			if h < 12 {
				h += 12
			}
		case "am":
			if h == 12 {
				h = 0
			}
		default:
			d.i = start
		}
	}
	return h, m, s
}

func (d *dateParser) colon() bool {
	d.skipCFWS()
	return d.take(':') || d.take('.')
}

// zone reads an offset or a name and gives seconds east of UTC.
func (d *dateParser) zone() (offset int, ok bool) {
	d.skipCFWS()
	if d.more() && isAlpha(d.s[d.i]) {
		name := d.word()
		if offset, ok = zoneOffset(name); !ok {
			return 0, false
		}
		d.skipCFWS()
		if !d.more() || (d.s[d.i] != '+' && d.s[d.i] != '-') || offset != 0 {
			return offset, true
		} // else GMT+0100
	}
	sign := 1
	switch {
	case d.take('+'):
	case d.take('-'):
		sign = -1
	default:
		return 0, false
	}
	digits := d.word()
	if len(digits) <= 2 {
		if d.take(':') { // +01:00
			digits += d.word()
		} else {
			digits += "00"
		}
	}
	n, ok := number(digits, 0, 9999)
	if !ok || n%100 > 59 || n/100 > 24 {
		return 0, false
	}
	return sign * (n/100*3600 + n%100*60), true
}

// asctime reads what follows the month in "Jan 2 15:04:05 2006" and in
// "January 2, 2006 15:04".
func (d *dateParser) asctime(month time.Month) (time.Time, bool) {
	day, ok := number(d.word(), 1, 31)
	if !ok {
		return time.Time{}, false
	}
	d.skipCFWS()
	d.take(',')
	h, m, s := d.clock()
	zone, zoned := 0, false
	if d.skipCFWS(); d.more() && !isDigit(d.s[d.i]) {
		zone, zoned = d.zone()
	}
	year, ok := fullYear(d.word())
	if !ok {
		return time.Time{}, false
	}
	if h == 0 && m == 0 && s == 0 {
		h, m, s = d.clock()
	}
	if !zoned {
		zone, _ = d.zone()
	}
	return makeDate(year, month, day, h, m, s, zone)
}

func makeDate(year int, month time.Month, day, h, m, s, offset int) (time.Time, bool) {
	loc := time.UTC
	if offset != 0 {
		loc = time.FixedZone("", offset)
	}
	t := time.Date(year, month, day, h, m, s, 0, loc)
	// A day that the month does not have would silently become another date.
	return t, time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Day() == day
}

// fullYear reads a year; RFC 5322 §4.3: 00 to 49 mean 20xx, other two and three
// digit years count from 1900.
func fullYear(s string) (int, bool) {
	n, ok := number(s, 0, 9999)
	if !ok || len(s) == 1 {
		return 0, false
	}
	switch {
	case len(s) == 2 && n < 50:
		n += 2000
	case len(s) <= 3:
		n += 1900
	}
	return n, true
}

// number reads a decimal number of at most four digits within lo and hi.
func number(s string, lo, hi int) (int, bool) {
	if s == "" || len(s) > 4 {
		return 0, false
	}
	n := 0
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, lo <= n && n <= hi
}

// monthNumber knows months by their first three letters; 0 is none.
func monthNumber(s string) time.Month {
	if len(s) < 3 {
		return 0
	}
	i := strings.Index("janfebmaraprmayjunjulaugsepoctnovdec", lowerString(s[:3]))
	if i < 0 || i%3 != 0 {
		return 0
	}
	return time.Month(i/3 + 1)
}

// zoneOffset knows the zone names of RFC 5322 §4.3 and a few more that mail has.
// Military letters were defined the wrong way round and count as +0000 there.
func zoneOffset(name string) (int, bool) {
	const hour = 3600
	if len(name) == 1 {
		return 0, true
	}
	switch lowerString(name) {
	case "ut", "gmt", "utc", "wet":
		return 0, true
	case "edt":
		return -4 * hour, true
	case "est", "cdt":
		return -5 * hour, true
	case "cst", "mdt":
		return -6 * hour, true
	case "mst", "pdt":
		return -7 * hour, true
	case "pst":
		return -8 * hour, true
	case "cet", "met", "bst", "west":
		return hour, true
	case "cest", "mest", "eet":
		return 2 * hour, true
	case "eest", "msk":
		return 3 * hour, true
	case "jst", "kst":
		return 9 * hour, true
	}
	return 0, false
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isAlpha(c byte) bool { return 'a' <= lower(c) && lower(c) <= 'z' }
func isAlnum(c byte) bool { return isDigit(c) || isAlpha(c) }

// MessageIDs gives the message identifiers of a Message-ID, In-Reply-To or
// References value, angle brackets removed, at most limit of them (RFC 5322
// §3.6.4). Words between them are passed over.
func MessageIDs(value string, limit int) []string {
	var ids []string
	c := cursor{s: value}
	for c.more() && len(ids) < limit {
		switch c.s[c.i] {
		case '(':
			c.skipComment()
		case '"':
			c.quoted()
		case '<':
			n := strings.IndexAny(c.s[c.i+1:], "><")
			if n < 0 {
				return ids
			}
			id := c.s[c.i+1 : c.i+1+n]
			c.i += n + 1
			if c.take('>') {
				if id = cleanID(id); id != "" {
					ids = append(ids, id)
				}
			}
		default:
			c.i++
		}
	}
	return ids
}

// cleanID removes the blanks that folding leaves in identifiers.
func cleanID(s string) string {
	if !strings.ContainsAny(s, " \t\r\n") {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' || r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, s)
}
