// Login is the process that strangers talk to: IMAP and POP3 before a login,
// TLS, and, for TLS clients, the relay between client and worker afterwards.
//
// # SYNOPSIS
//
// rookery-login is started by rookery(8), not by hand.
//
// # DESCRIPTION
//
// A login process accepts clients on the listeners that it was born with. It
// asks authd whether a client knows a user's secret; with the ticket that authd
// gives it asks master for a worker, and hands the client's stream over. It
// never learns a uid, a home or a private key: authd signs TLS handshakes.
//
// # PRIVILEGES
//
// It runs as rookery-login in an empty chroot, network, pid and IPC namespace,
// with no capability, and can accept, but not connect.
//
// # TALKS TO
//
// Clients (listeners), authd (auth channel), master (control channel), workers
// (one envelope for each session), logd.
//
// # NEVER
//
// Opens a file, holds a key, names a user to master, writes to a client after
// its stream was handed over.
package login
