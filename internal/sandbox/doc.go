// Package sandbox takes away what a process of ours never needs, from inside
// that process, before it reads a byte that a stranger could have written.
//
// Each child calls [Enter] among its first acts, after its channels are open
// and before anything from below arrives. Enter chroots, drops every
// capability in all threads, sets no_new_privs, forbids core files and
// ptrace, and applies Landlock and seccomp. A spare worker, which waits
// already started for a user, calls [EnterStage1] at once and [EnterStage2]
// when master has named the user. master calls [Probe] at start to learn what
// this kernel offers, and [OpenRoot] for the directories that Landlock and
// chroot begin at; rookeryctl calls [ReadProc] to show what holds.
//
// What the seccomp filter lets through is a table, rows_*.go, with a reason on
// each row. A call that is on no row ends the process: SIGSYS in Go prints the
// traceback and the number (rax), and the kernel logs it too. A process that
// was taken over may catch SIGSYS; the call is refused all the same.
//
// Namespaces (network, pid, IPC), uid, gid and groups are the parent's part,
// set in exec itself; this package checks them but cannot give them.
//
// Only master, the children's start-up code, rookeryctl and tests may use it.
// It must never know a protocol, a user's name or a setting's name.
package sandbox
