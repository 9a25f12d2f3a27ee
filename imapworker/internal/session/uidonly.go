package session

import (
	"rookery/imapworker/internal/view"
	"rookery/internal/imapwire"
)

// UIDONLY (RFC 9586): a client that knows messages by their UIDs alone is told
// nothing by sequence numbers and may name nothing by them.

// enableUIDOnly makes FETCH responses UIDFETCH, and EXPUNGE ones VANISHED.
func (s *Session) enableUIDOnly() {
	s.enc.Options.UIDOnly = true
	s.wantVanished()
}

// numbered are the commands that have sequence numbers in their arguments or
// their answers, unless they come with the UID prefix.
var numbered = map[string]bool{"FETCH": true, "STORE": true, "SEARCH": true, "COPY": true, "MOVE": true, "SORT": true, "THREAD": true, "REPLACE": true}

// uidRequired refuses sequence numbers (RFC 9586 §3).
var uidRequired = view.Reply{Cond: imapwire.BAD, Code: imapwire.Code{Name: "UIDREQUIRED"}, Text: "UIDONLY is enabled: name messages by UIDs."}
