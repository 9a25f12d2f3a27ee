// Package zlib shows that a Maildir of compressed messages goes from Dovecot to
// Rookery and back: its tests have Debian's Dovecot with its zlib plugin write
// messages in each form that it knows, read them, add compressed ones, and have
// Dovecot read those. It needs root, since Dovecot's tool wants a user of its own.
package zlib
