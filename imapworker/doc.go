// Imapworker serves one user's IMAP sessions, all of them, after login.
//
// PRIVILEGES: the user's uid, his mail directories alone (chroot, Landlock), no
// socket but the sessions handed to it. TALKS TO: master (which hands over
// sessions), login through envelopes, the client, IMAP workers of users with whom
// its user shares mail, or who share theirs with him. NEVER: sees a password, opens
// another user's mail, listens, connects, runs a program.
//
// Sessions share one open store, so that each sees what another does at once.
// Package session (below) is the protocol; this one moves bytes and keeps time.
package imapworker
