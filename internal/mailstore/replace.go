package mailstore

// Replacer is an Appender that can be told that what it adds stands in for
// something that goes.
type Replacer interface {
	// Replaces says, before the first Add, that a message of so many octets in CRLF
	// form will be expunged from a mailbox as soon as Commit has returned: limits are
	// held against the difference (RFC 8508 §3.4).
	Replaces(from Name, octets int64)
}

// Replaces tells an appender, or one that it stands before, what Replacer says. An
// appender that stands before another one says so by a method Unwrap.
func Replaces(a Appender, from Name, octets int64) {
	for a != nil {
		if r, ok := a.(Replacer); ok {
			r.Replaces(from, octets)
			return
		}
		u, ok := a.(interface{ Unwrap() Appender })
		if !ok {
			return
		}
		a = u.Unwrap()
	}
}
