package mboxfmt

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// MaxFrom is the length of the longest From_ line that is taken for one, in
// octets without its line end. A path is at most 256 octets (RFC 5321 §4.5.3.1.3);
// UUCP's bang paths were longer.
const MaxFrom = 1024

// From is what a From_ line says.
type From struct {
	Sender string // as it stands there, may be ""
	Date   time.Time
}

var prefix = []byte("From ")

const (
	dayNames   = "SunMonTueWedThuFriSat"
	monthNames = "JanFebMarAprMayJunJulAugSepOctNovDec"
)

// index3 gives which three letters of names s is, without case; -1 if none.
func index3(names, s string) int {
	if len(s) != 3 {
		return -1
	}
	for i := 0; i < len(names); i += 3 {
		if strings.EqualFold(names[i:i+3], s) {
			return i / 3
		}
	}
	return -1
}

// ParseFrom reads a From_ line, with or without its line end. A date without a
// zone, or with one that nobody knows, is in loc: RFC 4155 asks for UTC, but
// every mail program and delivery agent writes local time. The sender may have
// spaces; the date is the first thing that can be read as one up to the line's end.
func ParseFrom(line []byte, loc *time.Location) (From, bool) {
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	if len(line) > MaxFrom || !bytes.HasPrefix(line, prefix) {
		return From{}, false
	}
	rest := string(line[len(prefix):])
	for at := 0; at < len(rest); at++ {
		if at > 0 && rest[at-1] != ' ' && rest[at-1] != '\t' || at+3 > len(rest) || index3(dayNames, rest[at:at+3]) < 0 {
			continue
		}
		if t, ok := parseDate(strings.Fields(rest[at:]), loc); ok {
			return From{Sender: strings.TrimRight(rest[:at], " \t"), Date: t}, true
		}
	}
	return From{}, false
}

// parseDate reads "Www Mmm D hh:mm[:ss]" and after it a year and zones in
// either order, or "Www[,] D Mmm YYYY hh:mm[:ss]" and zones, and then perhaps
// "remote from HOST" (UUCP).
func parseDate(w []string, loc *time.Location) (time.Time, bool) {
	if len(w) < 4 || index3(dayNames, strings.TrimSuffix(w[0], ",")) < 0 {
		return time.Time{}, false
	}
	if n := len(w); n >= 3 && w[n-3] == "remote" && w[n-2] == "from" {
		w = w[:n-3]
	}
	if len(w) < 4 {
		return time.Time{}, false
	}
	w = w[1:]
	month, day, year := index3(monthNames, w[0]), 0, 0
	if month >= 0 {
		day, w = number(w[1], 1, 2), w[2:]
	} else if month = index3(monthNames, w[1]); month >= 0 && len(w) >= 4 {
		day, year, w = number(w[0], 1, 2), number(w[2], 4, 4), w[3:]
		if year < 0 {
			return time.Time{}, false
		}
	}
	if month < 0 || day < 1 || day > 31 {
		return time.Time{}, false
	}
	hour, minute, second, ok := clock(w[0])
	if !ok {
		return time.Time{}, false
	}
	year, zone, ok := yearAndZone(w[1:], year, loc)
	if !ok || year < 1900 {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month+1), day, hour, minute, second, 0, zone)
	return t, t.Day() == day || second == 60
}

// yearAndZone reads what follows the time of day: one year, unless it is known
// already, and at most three words of zone (two names, as in "MET DST", and an
// offset) on either side of it.
func yearAndZone(w []string, year int, loc *time.Location) (int, *time.Location, bool) {
	zone, zones := loc, 0
	for _, s := range w {
		if y := number(s, 4, 4); y >= 0 && year == 0 {
			year = y
			continue
		}
		if zones++; zones > 3 {
			return 0, nil, false
		}
		if z, ok := offset(s); ok {
			zone = z
		} else if z, ok := zoneNames[strings.ToUpper(s)]; ok {
			zone = time.FixedZone(s, z*3600)
		} else if !zoneWord(s) {
			return 0, nil, false
		}
	}
	return year, zone, year > 0
}

// zoneNames are the zones whose names are clear (RFC 5322 §4.3, and Europe's), in hours.
var zoneNames = map[string]int{"UT": 0, "UTC": 0, "GMT": 0, "Z": 0, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6,
	"PST": -8, "PDT": -7, "WET": 0, "WEST": 1, "CET": 1, "CEST": 2, "MET": 1, "MEST": 2, "EET": 2, "EEST": 3}

// zoneWord reports whether s can be the name of a zone, perhaps in parentheses.
func zoneWord(s string) bool {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "("), ")")
	if len(s) == 0 || len(s) > 8 {
		return false
	}
	for i := range len(s) {
		if c := s[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}

// offset reads ±hhmm.
func offset(s string) (*time.Location, bool) {
	if len(s) != 5 || s[0] != '+' && s[0] != '-' {
		return nil, false
	}
	h, m := number(s[1:3], 2, 2), number(s[3:], 2, 2)
	if h < 0 || h > 24 || m < 0 || m > 59 {
		return nil, false
	}
	secs := h*3600 + m*60
	if s[0] == '-' {
		secs = -secs
	}
	return time.FixedZone("", secs), true
}

// clock reads hh:mm[:ss].
func clock(s string) (h, m, sec int, ok bool) {
	part := strings.Split(s, ":")
	if len(part) < 2 || len(part) > 3 {
		return 0, 0, 0, false
	}
	h, m = number(part[0], 1, 2), number(part[1], 2, 2)
	if len(part) == 3 {
		sec = number(part[2], 2, 2)
	}
	return h, m, sec, h >= 0 && h < 24 && m >= 0 && m < 60 && sec >= 0 && sec <= 60
}

// number reads lo to hi digits; -1 if s is anything else.
func number(s string, lo, hi int) int {
	if len(s) < lo || len(s) > hi {
		return -1
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return -1
		}
		n = n*10 + int(s[i]-'0')
	}
	return n
}

// AppendFrom adds a From_ line without its line end, in the one form that all
// programs read: asctime's, in loc. What a sender's address may not hold here
// becomes '-'; an empty one is MAILER-DAEMON.
func AppendFrom(dst []byte, sender string, date time.Time, loc *time.Location) []byte {
	dst = append(dst, prefix...)
	if sender == "" || len(sender) > 256 {
		sender = "MAILER-DAEMON"
	}
	for i := range len(sender) {
		if c := sender[i]; c <= ' ' || c >= 0x7f {
			dst = append(dst, '-')
		} else {
			dst = append(dst, c)
		}
	}
	t := date.In(loc)
	if t.Year() < 1970 || t.Year() > 9999 {
		t = time.Unix(0, 0).UTC()
	}
	return t.AppendFormat(append(dst, ' '), "Mon Jan _2 15:04:05 2006")
}

func parseUint(s string, bits int) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, bits)
	return n, err == nil
}
