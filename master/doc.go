// Master is the parent of all of Rookery's processes, and the only one that
// stays root.
//
// It reads the settings, opens listeners, log files, certificates and keys,
// and starts logd, authd and the login processes; it has tickets redeemed by
// authd, starts each user's worker under his uid and passes envelopes to it. It
// makes the channels between workers of users who share mail, once authd has
// said who may come to whom.
//
// PRIVILEGES: root (or, started by another user, that user for everything).
// TALKS TO: its children, over channels that it made; rookeryctl, on the
// control socket. NEVER: reads a byte that a client sent, sees a password
// (but rookeryctl's in "auth test"), looks into an envelope, parses mail.
//
// One goroutine, the loop, owns all state. Others only turn what they read
// into events for it, or do for it what could wait: start a process, open a
// file, close a descriptor.
package master
