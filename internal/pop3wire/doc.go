// Package pop3wire turns POP3's bytes into commands and back (RFC 1939 §3,
// RFC 2449 §3): a bounded line splitter, the split of a line into keyword and
// arguments, single-line and multi-line responses, and dot-stuffing.
//
// Login and the POP3 worker use it, each with a line limit of its own. It is
// pure: no input and output, no clock. It must never know what a command means
// or hold a password longer than its caller does (Splitter.Wipe).
package pop3wire
