// Logd writes the log.
//
// Every process sends its events on a channel of its own; logd puts before each
// whose channel it came on, so that nobody writes in another's name, and root
// parses no log line. Lines go to the files, the system's logger or the
// standard error that master has opened.
//
// PRIVILEGES: uid rookery-log, an empty chroot, no file but the open ones.
// TALKS TO: master (which attaches channels and passes sinks), every process
// (which sends events). NEVER: opens a file, listens, connects, runs a program.
package logd
