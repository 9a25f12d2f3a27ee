// Package nametree holds what every driver says alike of mailboxes' names: which
// ones the settings promise, what LIST tells of them, which parents are implied,
// and what a RENAME moves. It is pure: the names that are on the disk are handed
// in, in no order, and nothing here locks.
//
// The drivers call it (maildir, and engine for mbox and pack). It must never know
// a driver, a directory, or how a name lies on the disk.
//
// Inside a driver names stand without the namespace's prefix ("inner" names);
// Rules takes it off and puts it on. INBOX has none.
package nametree

import (
	"slices"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
)

// Auto says what happens to a mailbox of the settings that is not there.
type Auto uint8

// The ways: nothing; it is listed and made when it is first used; the same,
// and it is subscribed.
const (
	AutoNo Auto = iota
	AutoCreate
	AutoSubscribe
)

// Special is a mailbox that the settings name.
type Special struct {
	Name mailstore.Name // with the namespace's prefix
	Use  mailstore.Attr // one of the Use* attributes, or 0
	Auto Auto
}

// Rules are what the settings say of one namespace's names. They do not change.
type Rules struct {
	prefix  string    // with '/'
	special []Special // without the prefix
}

// New makes the rules of a namespace.
func New(ns mailstore.Namespace, special []Special) Rules {
	r := Rules{prefix: strings.ReplaceAll(ns.Prefix, string(rune(ns.Separator)), imapname.Separator), special: slices.Clone(special)}
	for i := range r.special {
		r.special[i].Name = r.Inner(r.special[i].Name)
	}
	return r
}

// Inner takes the namespace's prefix off.
func (r *Rules) Inner(name mailstore.Name) mailstore.Name {
	if name == imapname.Inbox || len(name) <= len(r.prefix) {
		return name
	}
	return strings.TrimPrefix(name, r.prefix)
}

// Outer puts the prefix on an inner name.
func (r *Rules) Outer(inner mailstore.Name) mailstore.Name {
	if inner == imapname.Inbox {
		return inner
	}
	return r.prefix + inner
}

// of is what the settings say of an inner name: nothing if it is zero.
func (r *Rules) of(inner mailstore.Name) Special {
	if i := slices.IndexFunc(r.special, func(sp Special) bool { return sp.Name == inner }); i >= 0 {
		return r.special[i]
	}
	return Special{}
}

// Promised reports whether the settings make a mailbox that is not there.
func (r *Rules) Promised(inner mailstore.Name) bool { return r.of(inner).Auto != AutoNo }

// Subscribes reports whether the settings subscribe a mailbox that they make.
func (r *Rules) Subscribes(inner mailstore.Name) bool { return r.of(inner).Auto == AutoSubscribe }

// MayCreate refuses what no CREATE makes, whatever is there. A special use is
// only good where the settings give it. errkind: Exists, Invalid.
func (r *Rules) MayCreate(inner mailstore.Name, use mailstore.Attr) error {
	if inner == imapname.Inbox {
		return errkind.Newf("create", errkind.Exists, "INBOX is always there")
	}
	if use != 0 && r.of(inner).Use != use {
		return errkind.Newf("create", errkind.Invalid, "special uses are given by the settings")
	}
	return nil
}

// Implied reports whether a name is a parent of mailboxes that are there or
// promised.
func (r *Rules) Implied(names []mailstore.Name, inner mailstore.Name) bool {
	below := func(n mailstore.Name) bool { return imapname.Name(n).Below(imapname.Name(inner)) }
	return slices.ContainsFunc(names, below) ||
		slices.ContainsFunc(r.special, func(sp Special) bool { return sp.Auto != AutoNo && below(sp.Name) })
}

// Missing is the error of a name that is no mailbox: Invalid for a mere parent,
// else NotFound.
func (r *Rules) Missing(op string, names []mailstore.Name, inner mailstore.Name) error {
	if r.Implied(names, inner) {
		return errkind.Newf(op, errkind.Invalid, "the name is only a parent of mailboxes")
	}
	return errkind.Newf(op, errkind.NotFound, "there is no such mailbox")
}

// NotDeleted is the error of a DELETE of what is not there: that of Missing, or
// Invalid where the settings promise the mailbox.
func (r *Rules) NotDeleted(names []mailstore.Name, inner mailstore.Name) error {
	if r.Promised(inner) && !r.Implied(names, inner) {
		return errkind.Newf("delete", errkind.Invalid, "the settings make this mailbox")
	}
	return r.Missing("delete", names, inner)
}

// Subscriptions gives the names of a list of subscriptions, with those that the
// settings subscribe as long as they have not been made, as clients see them, in
// order. Of a mailbox that cannot be looked for nothing is said.
func (r *Rules) Subscriptions(subs []mailstore.Name, there func(inner mailstore.Name) (bool, error)) []mailstore.Name {
	out := make([]mailstore.Name, 0, len(subs)+len(r.special))
	for _, n := range subs {
		out = append(out, r.Outer(n))
	}
	for _, sp := range r.special {
		if sp.Auto != AutoSubscribe {
			continue
		}
		if is, err := there(sp.Name); err == nil && !is {
			out = append(out, r.Outer(sp.Name))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
