// Pop3worker serves one user's POP3 sessions, after login.
//
// PRIVILEGES: the user's uid, his mail directories alone (chroot, Landlock), no
// socket but the sessions handed to it. TALKS TO: master (which hands over
// sessions), login through envelopes, the client. NEVER: sees a password, opens
// another user's mail, listens, connects, runs a program.
package pop3worker
