package maildir

import (
	"strconv"
	"strings"

	"rookery/internal/mailstore"
)

// What the index keeps of a message for this driver:
//
//	base name [NUL keys of the uidlist's record [NUL 'i' information]]
//
// The information (":2,S") stands there only if it is not the one that follows
// from the message's flags and keywords, so that a flag change writes no name.
// bitNew says that the file lies in new/.

const (
	bitNew uint8 = 1 << iota
	bitOdd       // the information stands in the index
	// bitUnsynced says that the message came through the journal, and that nobody
	// knows whether its file was synced since: a copy must do it.
	bitUnsynced
)

// maxLoc bounds what the index keeps of one message: a file name is at most 255
// octets, and keys that would not fit are left in the uidlist alone.
const maxLoc = 1000

// joinLoc writes the index's form.
func joinLoc(base, ext, info string, odd bool) string {
	if len(base)+len(ext)+len(info)+3 > maxLoc {
		ext = shortExt(ext, maxLoc-3-len(base)-len(info))
	}
	switch {
	case odd:
		return base + "\x00" + ext + "\x00i" + info
	case ext != "":
		return base + "\x00" + ext
	}
	return base
}

// shortExt keeps the keys that we read, as many as fit.
func shortExt(ext string, room int) string {
	out := ""
	for _, k := range []byte("GTWSPO") {
		if v, ok := extKey(ext, k); ok && len(out)+len(v)+2 <= room {
			if out != "" {
				out += " "
			}
			out += string(k) + v
		}
	}
	return out
}

// splitLoc reads it.
func splitLoc(loc string) (base, ext, info string) {
	base, rest, ok := strings.Cut(loc, "\x00")
	if !ok {
		return base, "", ""
	}
	ext, info, _ = strings.Cut(rest, "\x00")
	return base, ext, strings.TrimPrefix(info, "i")
}

// locBase gives the base name alone.
func locBase(loc string) string {
	if i := strings.IndexByte(loc, 0); i >= 0 {
		return loc[:i]
	}
	return loc
}

// messageGUID is the GUID by the uidlist's record, or else by the name.
func messageGUID(base, ext string) mailstore.GUID {
	if text, ok := extKey(ext, 'G'); ok {
		return guidOf(text)
	}
	return guidOf(base)
}

// toldSize is a message's size in CRLF form as the uidlist or the name tells it,
// -1 if neither does.
func toldSize(base, ext string) int64 {
	if text, ok := extKey(ext, 'W'); ok {
		if v, err := strconv.ParseInt(text, 10, 64); err == nil && v >= 0 {
			return v
		}
	}
	_, v := nameSizes(base)
	return v
}

// toldSaved is SAVEDATE as the uidlist tells it, Unix seconds, 0 if it does not.
func toldSaved(ext string) int64 {
	text, ok := extKey(ext, 'T')
	if !ok {
		return 0
	}
	sec, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return sec
}
