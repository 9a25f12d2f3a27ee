// Package remote lets one user's worker use another's mail: a mailstore.Sharer over a
// channel. Serve is the owner's end, Client the guest's.
//
// The workers of two users call it, on the two ends of a channel that master made.
// Whoever calls Serve puts package guarded before the store: this package asks nobody
// what the guest may do, and only carries calls to a store that checks each of them.
// It must never know a process, a user's name, a protocol for mail programs, or a
// file.
//
// # Trust
//
// Neither end trusts the other: a message that breaks a rule ends the channel, with an
// error that names it. The owner's end takes a bounded number of calls, open mailboxes,
// messages and appenders, and of bytes that wait for a guest; who does not read is
// dropped, and nobody else waits for him. The guest's end believes no length, position
// or order that it has not checked, and holds what it was told within bounds, too.
//
// What crosses is mail, flags, names of mailboxes that the guest may know, annotations of
// them that are everybody's, lists of rights that he may see, GUIDs, and of an error its
// kind. The text of an error stays with the owner (ServeOptions.Failed): it may have
// paths in it. So do base names, UIDLs, POP3 orders and private annotations.
//
// A guest who has gone is heard of by every call that can be broken off (a copy, a move),
// and he may ask for that himself.
//
// # Pictures
//
// The owner's end remembers the picture of a mailbox that it sent last and sends what
// is different in the next. The guest keeps pictures in blocks that the newer shares
// with the older. When something changes it is told so, in a few bytes; he asks for
// what it is when he wants to know.
//
// # MODSEQ
//
// A mailbox's numbers are those that its owner's clients see. They come from one counter
// for all his mailboxes (see package index), so a guest who makes two changes of his own
// can tell from their distance how much went on meanwhile in mailboxes that he may not
// read: how much, never what or where. To hide that, numbers would have to be counted for
// each mailbox apart, and the count kept as safely as UIDs are: what QRESYNC clients hold
// must stay true over restarts, rebuilt indexes and power cuts. No function of the
// owner's number alone does it: one that keeps their order strictly keeps their
// distances, and one that joins neighbours hides a change from a client that knows the
// earlier of the two. The place for such a count is the index, not this channel.
package remote
