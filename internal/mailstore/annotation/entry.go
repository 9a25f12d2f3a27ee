package annotation

import (
	"errors"
	"strings"
)

// MaxEntry bounds an entry's name, in octets.
const MaxEntry = 512

// SpecialUse is the entry that tells, and sets, a mailbox's special uses
// (RFC 6154 §4).
const SpecialUse = "/private/specialuse"

// The server entries that the administrator alone sets (RFC 5464 §3.2.1.1).
const (
	SharedAdmin   = "/shared/admin"
	SharedComment = "/shared/comment"
)

// Fold makes entries comparable: their names are without case (RFC 5464 §3.2).
func Fold(entry string) string {
	for i := range len(entry) {
		if c := entry[i]; c >= 'A' && c <= 'Z' {
			out := []byte(entry)
			for ; i < len(out); i++ {
				if c := out[i]; c >= 'A' && c <= 'Z' {
					out[i] = c + 'a' - 'A'
				}
			}
			return string(out)
		}
	}
	return entry
}

// Check refuses what is no entry's name (RFC 5464 §3.2): it begins with /private or
// /shared and has at least one more part, in a vendor's branch two more than its
// root; no part is empty, nothing is outside US-ASCII, a control character, "*" or
// "%". The text gives octets 0x00 to 0x19 as those that cannot be; that the other
// control characters are no better is our reading.
func Check(entry string) error {
	if err := CheckPrefix(entry); err != nil {
		return err
	}
	parts := strings.Split(Fold(entry), "/")
	switch {
	case len(parts) < 3:
		return errors.New("an entry has a part below /private or /shared")
	case parts[2] == "vendor" && len(parts) < 5:
		return errors.New("a vendor's entry is /private/vendor/VENDOR/NAME or /shared/vendor/VENDOR/NAME")
	}
	return nil
}

// CheckPrefix is Check for a name that entries may lie below: GETMETADATA with DEPTH
// asks for those of /private, or of a vendor.
func CheckPrefix(entry string) error {
	if len(entry) > MaxEntry {
		return errors.New("the entry's name is too long")
	}
	for i := range len(entry) {
		if c := entry[i]; c < ' ' || c > '~' || c == '*' || c == '%' {
			return errors.New("an entry's name has a character that it cannot have")
		}
	}
	folded := Fold(entry)
	for _, root := range [...]string{"/private", "/shared"} {
		rest, ok := strings.CutPrefix(folded, root)
		if !ok || rest != "" && rest[0] != '/' {
			continue
		}
		if strings.Contains(folded, "//") || strings.HasSuffix(folded, "/") {
			return errors.New("an entry's name has an empty part")
		}
		return nil
	}
	return errors.New("an entry's name begins with /private or /shared")
}

// Depths of GETMETADATA (RFC 5464 §4.2.2).
const (
	Depth0        = 0
	Depth1        = 1
	DepthInfinity = -1
)

// Below reports whether an entry is the named one or lies below it within a depth.
func Below(entry, named string, depth int) bool {
	entry, named = Fold(entry), Fold(named)
	rest, ok := strings.CutPrefix(entry, named)
	switch {
	case !ok:
		return false
	case rest == "":
		return true
	case rest[0] != '/' || depth == Depth0:
		return false
	}
	return depth == DepthInfinity || strings.IndexByte(rest[1:], '/') < 0
}
