// Package imapwire turns IMAP's bytes into tokens and back (RFC 3501 §9).
//
// A Framer assembles one command, its literals included, out of bytes that
// come in any portions; a Decoder reads tokens out of an assembled command; an
// Encoder writes responses and refuses to write a token that the grammar does
// not allow. Login and the IMAP worker use it, with limits of their own.
//
// It must never know what a command means, hold a mailbox or a password
// longer than its caller does, read a clock, or do input and output.
package imapwire

// Limits bound what a peer can make the Framer and the Decoder hold. Every
// field must be set; zero allows nothing.
type Limits struct {
	Line          int   // bytes of all lines of one command together, literals aside
	Literal       int64 // bytes of one buffered literal
	LiteralsTotal int64 // bytes of all buffered literals of one command
	LiteralCount  int   // literals in one command, streamed ones included
	Depth         int   // nesting of parentheses
	Items         int   // elements of one list, ranges of one sequence set
}
