// Authd answers one question: does this client know a user's secret?
//
// Login processes send it what clients say in SASL; it asks the password
// databases, compares, delays what fails, and gives a ticket for what
// succeeds. master shows the ticket and learns who the user is. authd also
// holds the TLS private keys and signs handshakes for the login processes, and
// the list of which mailboxes users share with whom: it says who may come to
// whose mail, and who is in which group.
//
// PRIVILEGES: uid rookery-auth, an empty chroot; reads the folders of the
// configured passwd-files and the files that master passes; writes two of these,
// the list of shares, and no other.
// TALKS TO: login (which asks), master (which redeems and passes files), logd.
// NEVER: opens mail, listens or connects, runs another program, decrypts with
// a TLS key, tells a login process a uid, a home or a stored secret.
package authd
