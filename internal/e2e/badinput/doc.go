// Package badinput holds tests of what a whole running server makes of input
// that is broken or hostile: protocol lines, floods before login, mail that is
// built to blow up parsers, full disks, mailboxes that other hands damaged.
// It has no code of its own.
package badinput
