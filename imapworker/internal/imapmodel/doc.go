// Package imapmodel compares the whole of an IMAP worker's sessions with a plain model
// of IMAP, written from the RFCs: up to five sessions of two users, random steps, all
// storage formats. It has tests alone; what it has of a client is in package modelclient.
//
// A run is a list of steps, each a few numbers that mean something in whatever state
// they meet: a run that fails is made shorter by leaving steps out, and printed as what
// was said on the wire. What a client was sent is all that its picture of a mailbox is
// made of; when it asks to be told, picture and model must be equal.
//
// The second user has the first one's mail by access control lists, in one of several
// ways (sharing): under its own names, in a namespace, over a channel between two
// processes, as a public namespace, with the \Seen flag shared or his own.
//
// What is compared, file by file: mailboxes and their lists (truth, rights), the client's
// picture (conn, steps), messages that come and go (messages, elsewhere), FETCH and
// SEARCH (asking), SORT and THREAD (order), PARTIAL and UIDBATCHES (windows), ESEARCH of
// several mailboxes (multi), searches that tell their changes (updates), annotations
// (notes), identifiers (ids), and the same over a compressed line (line).
package imapmodel
