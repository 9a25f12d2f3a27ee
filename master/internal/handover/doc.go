// Package handover is master's table of logins on their way: which login
// process asked for what, whose worker is starting, running or leaving, and
// who counts against which limit.
//
// It is a pure machine. master's event loop calls one method for each thing
// that happened; the machine answers by calling [Effects]. It reads no clock,
// starts nothing and holds descriptors as numbers only.
//
// The rules it keeps (docs/architecture.md):
//   - A session is never lost or doubled. Until the worker says that it has
//     read GO, the envelope's copy stays here, and when that worker has been
//     reaped, and not before, a second worker is tried, once.
//   - Two first logins of one user start one worker: "starting" queues.
//   - A worker that may exit is off the table before it is told so.
//   - A guest, another user's worker, is brought to an owner's worker only when authd
//     has said that he may come. It keeps that worker as a session does, but counts
//     against limits of its own.
//   - A login process has no more requests in flight than it has credits;
//     one that breaks this is dropped.
//
// It must never know what is in an envelope, and never a password.
package handover
