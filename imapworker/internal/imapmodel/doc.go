// Package imapmodel compares the whole of an IMAP worker's sessions with a plain model
// of IMAP, written from the RFCs: up to five sessions of two users, random steps, all
// storage formats. It has tests alone; what it has of a client is in package modelclient.
//
// A run is a list of steps, each a few numbers that mean something in whatever state
// they meet: a run that fails is made shorter by leaving steps out, and printed as what
// was said on the wire. What a client was sent is all that its picture of a mailbox is
// made of; when it asks to be told, picture and model must be equal.
package imapmodel
