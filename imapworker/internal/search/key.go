// Package search implements SEARCH (RFC 3501 §6.4.4) for the session machine, with
// what extensions add to it: result options (RFC 4731, RFC 9394), results that are
// saved (RFC 5182) or followed (RFC 5267), searches of several mailboxes (RFC 7377),
// stored ones (RFC 5466), and the keys of RFC 5032, RFC 7162, RFC 8474 and RFC 8514.
//
// Only the IMAP worker uses it. It reads messages through mailstore, never by
// path; the time is the command's, given by the session.
//
// A command is parsed into a tree of nodes, prepared for a mailbox (sets are
// resolved, cheap keys come first), and asked about each message. What it found
// goes into an answer by its options (returns.go); a live search (live.go) keeps
// its nodes and asks them again about what changes.
package search

import (
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/message"
	"rookery/internal/numset"
	"slices"
)

// kind says what a key looks at.
type kind uint8

const (
	kAll kind = iota
	kAnd
	kOr
	kNot
	kFlag     // flag is set
	kKeyword  // name is set
	kRecent   // \Recent
	kSeqs     // sequence numbers
	kUIDs     // UIDs
	kFixed    // UIDs that do not change any more
	kModSeq   // mod-sequence of at least modSeq
	kInternal // INTERNALDATE compared with date
	kAge      // INTERNALDATE compared with seconds before now
	kSaved    // the save date compared with date
	kSize     // RFC822.SIZE compared with number
	kSent     // Date: compared with date
	kHeader   // text in the field name
	kThread   // the THREADID is name
	kEmail    // the EMAILID is name
	kBody     // text in the body
	kText     // text anywhere
	kGUID     // the message's GUID is name
	kMailbox  // the mailbox is name
	kFilter   // what is stored under name: see filter.go
)

// order says how a date or size is compared.
type order int8

const (
	before order = -1 // BEFORE, SMALLER, OLDER
	on     order = 0
	since  order = 1 // SINCE (the day itself too), LARGER, YOUNGER
)

// node is one search key, with those within it.
type node struct {
	kind   kind
	sub    []*node // of kAnd, kOr, kNot
	flag   mailstore.Flags
	name   string // keyword, header field, identifier, mailbox or filter
	set    numset.Expr
	nums   numset.Set  // set, resolved
	saved  *numset.Set // of a live search: what "$" in set named when the command came
	date   imapwire.Date
	order  order
	number uint64
	modSeq uint64
	text   []byte       // as the client sent it, in the command's charset
	key    *message.Key // made of text

	// Of kHeader and kSent:
	fields *message.FieldSet // the field
	fact   string            // the fact of the cache that holds it; "" if none may
	wider  string            // one that holds it beside others; "" if there is none
}

// field is the header field that a kHeader or kSent looks at.
func (n *node) field() string {
	if n.kind == kSent {
		return "Date"
	}
	return n.name
}

// clone gives a tree that may be changed.
func (n *node) clone() *node {
	out := *n
	out.sub = make([]*node, len(n.sub))
	for i, s := range n.sub {
		out.sub[i] = s.clone()
	}
	return &out
}

// takesAll reports whether every message matches, whatever it is.
func (n *node) takesAll() bool {
	switch n.kind {
	case kAll:
		return true
	case kAnd:
		return !slices.ContainsFunc(n.sub, func(s *node) bool { return !s.takesAll() })
	}
	return false
}

// cost is how much of a message a key must see: cheaper ones are asked first.
func (n *node) cost() int {
	switch n.kind {
	case kAnd, kOr, kNot:
		c := 0
		for _, s := range n.sub {
			c = max(c, s.cost())
		}
		return c
	case kInternal, kAge, kSaved, kGUID:
		return 1
	case kSize:
		return 2
	case kSent, kHeader, kThread:
		return 3
	case kBody, kText, kEmail:
		return 4
	}
	return 0
}

// simple are the keys of one word.
var simple = map[string]func() *node{
	"ALL":        func() *node { return &node{kind: kAll} },
	"ANSWERED":   flagKey(mailstore.Answered),
	"DELETED":    flagKey(mailstore.Deleted),
	"DRAFT":      flagKey(mailstore.Draft),
	"FLAGGED":    flagKey(mailstore.Flagged),
	"SEEN":       flagKey(mailstore.Seen),
	"UNANSWERED": notFlagKey(mailstore.Answered),
	"UNDELETED":  notFlagKey(mailstore.Deleted),
	"UNDRAFT":    notFlagKey(mailstore.Draft),
	"UNFLAGGED":  notFlagKey(mailstore.Flagged),
	"UNSEEN":     notFlagKey(mailstore.Seen),
	"RECENT":     func() *node { return &node{kind: kRecent} },
	"OLD":        func() *node { return not(&node{kind: kRecent}) },
	"NEW":        func() *node { return &node{kind: kAnd, sub: []*node{{kind: kRecent}, notFlagKey(mailstore.Seen)()}} },

	// RFC 8514 §4.3: "Matches all messages in the mailbox when the underlying
	// storage of that mailbox supports the save date attribute", which each does.
	"SAVEDATESUPPORTED": func() *node { return &node{kind: kAll} },
}

func flagKey(f mailstore.Flags) func() *node {
	return func() *node { return &node{kind: kFlag, flag: f} }
}

func notFlagKey(f mailstore.Flags) func() *node {
	return func() *node { return not(&node{kind: kFlag, flag: f}) }
}

func not(n *node) *node { return &node{kind: kNot, sub: []*node{n}} }

// dated are the keys with a date.
var dated = map[string]node{
	"BEFORE":     {kind: kInternal, order: before},
	"ON":         {kind: kInternal, order: on},
	"SINCE":      {kind: kInternal, order: since},
	"SENTBEFORE": {kind: kSent, order: before},
	"SENTON":     {kind: kSent, order: on},
	"SENTSINCE":  {kind: kSent, order: since},

	// RFC 8514 §4.3
	"SAVEDBEFORE": {kind: kSaved, order: before},
	"SAVEDON":     {kind: kSaved, order: on},
	"SAVEDSINCE":  {kind: kSaved, order: since},
}

// numbered are the keys with a number.
var numbered = map[string]node{
	"LARGER":  {kind: kSize, order: since},
	"SMALLER": {kind: kSize, order: before},
	"OLDER":   {kind: kAge, order: before},
	"YOUNGER": {kind: kAge, order: since},
}

// texts are the keys with a string.
var texts = map[string]node{
	"BCC":     {kind: kHeader, name: "Bcc"},
	"CC":      {kind: kHeader, name: "Cc"},
	"FROM":    {kind: kHeader, name: "From"},
	"SUBJECT": {kind: kHeader, name: "Subject"},
	"TO":      {kind: kHeader, name: "To"},
	"BODY":    {kind: kBody},
	"TEXT":    {kind: kText},
}
