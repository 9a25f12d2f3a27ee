// Package synclist proves that every sync of the mail store is needed. It is
// tests only; nothing imports it.
//
// docs/syncs.md has a row for each call that makes something certain on the
// disk: a file's Sync or DataSync, a SyncDir, a wait for a group's sync. The row
// says what the call keeps, and names the test that fails without it. TestTable
// compares the rows with the calls in the code, so that a new call needs a row.
// TestTakenOut builds each package with every call behind a switch, takes one out
// at a time and runs the test that its row names: a test that passes then proves
// nothing, and fails TestTakenOut.
//
// It reads the sources of the mail store and runs the go command; it must never
// be part of a program.
package synclist
