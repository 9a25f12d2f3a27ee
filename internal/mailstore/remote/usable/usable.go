// Package usable says which derived facts about another user's messages may be used
// here: those that cannot do harm, whatever the process that told them wants.
//
// The IMAP worker passes Fact to package remote. A fact that is not usable is made anew
// out of the message, which costs time and nothing else. It must never know where a
// fact came from.
package usable

import (
	"bytes"
	"strconv"
	"strings"
)

// maxDepth bounds how deep the lists of a structure lie in each other.
const maxDepth = 256

// Fact reports whether a fact can be used: it is written to clients as it is and is one
// whole token there, or it is decoded by who does not trust it. Facts that say how
// long something else is are never usable: a wrong one would put a client out of step.
func Fact(field string, value []byte) bool {
	switch field {
	case "imap.envelope", "imap.body", "imap.bodystructure":
		return isList(value)
	case "mime.tree", "imap.sort", "imap.refs": // decoded strictly
		return true
	case "preview.1": // written as a string
		return !bytes.ContainsRune(value, 0)
	case "octets.nul": // one that lies lets a NUL through, which shifts nothing
		return len(value) == 1 && (value[0] == '0' || value[0] == '1')
	case "object.email", "object.thread":
		return isID(value)
	}
	// Lines of a header go out as a literal of their own length.
	return strings.HasPrefix(field, "imap.header ") && bytes.IndexByte(value, 0) < 0
}

// isID reports whether all is of the characters of an object identifier (RFC 8474 §7).
func isID(b []byte) bool {
	for _, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return len(b) > 0
}

// isList reports whether b is one parenthesised list as IMAP writes it: of lists,
// strings, numbers and NIL (RFC 3501 §9).
func isList(b []byte) bool {
	if len(b) == 0 || b[0] != '(' {
		return false
	}
	depth := 0
	for len(b) > 0 {
		n := 1
		switch c := b[0]; {
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				return len(b) == 1
			}
		case c == ' ':
		case c == '"':
			n = quoted(b)
		case c == '{':
			n = literal(b)
		case c >= '0' && c <= '9' || c >= 'A' && c <= 'Z':
			n = word(b)
		default:
			return false
		}
		if n == 0 || depth > maxDepth {
			return false
		}
		b = b[n:]
	}
	return false
}

// quoted gives the length of the quoted string that b begins with, 0 if it is none.
func quoted(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			if i++; i == len(b) || b[i] != '"' && b[i] != '\\' {
				return 0
			}
		case c < ' ' || c >= 0x7f:
			return 0
		}
	}
	return 0
}

// literal gives the length of the literal that b begins with, 0 if it is none.
func literal(b []byte) int {
	end := bytes.Index(b[:min(len(b), 16)], []byte("}\r\n"))
	if end < 2 {
		return 0
	}
	size, err := strconv.ParseUint(string(b[1:end]), 10, 31)
	start := end + 3
	if err != nil || size > uint64(len(b)-start) || bytes.IndexByte(b[start:start+int(size)], 0) >= 0 {
		return 0
	}
	return start + int(size)
}

// word gives the length of the number or NIL that b begins with, 0 if it is none.
func word(b []byte) int {
	n := 0
	for n < len(b) && (b[n] >= '0' && b[n] <= '9' || b[n] >= 'A' && b[n] <= 'Z') {
		n++
	}
	if string(b[:n]) == "NIL" {
		return n
	}
	if _, err := strconv.ParseUint(string(b[:n]), 10, 64); err != nil {
		return 0
	}
	return n
}
