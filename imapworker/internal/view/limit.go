package view

import (
	"strconv"

	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// Most gives the highest limit of some messages and whether it leaves others out;
// a limit of 0 is none. It is what one command may work on: "the server is REQUIRED
// to process messages from highest to lowest UID" (RFC 9738 §3.1).
func Most(set numset.Set, limit uint64) (kept numset.Set, cut bool) {
	n := set.Len()
	if limit == 0 || n <= limit {
		return set, false
	}
	lowest, _ := set.At(n - limit)
	highest, _ := set.At(n - 1)
	return set.Intersect(numset.Span(lowest, highest)), true
}

// Within gives those of some messages, named by sequence numbers, that the command
// may work on. Where that leaves others out the session's answer says so.
func (c *Context) Within(seqs numset.Set) numset.Set {
	kept, cut := Most(seqs, c.Limit)
	if cut {
		first, _ := kept.At(0)
		c.Lowest = c.View.UID(first)
	}
	return kept
}

// TooMany refuses a command that makes no sense for some of its messages alone.
func (c *Context) TooMany() Reply { return TooMany(c.Limit, 0, "Too many messages at once.") }

// TooMany is the NO of a command that would work on more messages than limit;
// lowest is the lowest UID that it could have worked on, 0 for none.
func TooMany(limit uint64, lowest mailstore.UID, text string) Reply {
	return Reply{Cond: imapwire.NO, Code: LimitCode(limit, lowest), Text: text}
}

// LimitCode is the response code.
//
//	"MESSAGELIMIT" SP message-limit [SP uniqueid]           RFC 9738 §5
func LimitCode(limit uint64, lowest mailstore.UID) imapwire.Code {
	args := strconv.FormatUint(limit, 10)
	if lowest > 0 {
		args += " " + strconv.FormatUint(uint64(lowest), 10)
	}
	return imapwire.Code{Name: "MESSAGELIMIT", Args: args}
}

// SeqsOf gives the sequence numbers of those messages of uids that the client
// knows of.
func (v *View) SeqsOf(uids numset.Set) numset.Set { return v.seqsOf(uids) }
