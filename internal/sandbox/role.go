package sandbox

// Role says which process enters, and so which rows of the tables hold.
type Role uint8

// The roles. Lmtpd and Deliver have their place and no table yet: entering as
// one of them is an error.
const (
	Login Role = iota + 1
	Authd
	Logd
	IMAPWorker
	POP3Worker
	Lmtpd
	Deliver
	MailTool
	Dotlock
)

var roleNames = [...]string{"none", "login", "authd", "logd", "imapworker", "pop3worker", "lmtpd", "deliver", "mailtool", "dotlock"}

// String gives the role's name as its program has it.
func (r Role) String() string {
	if int(r) >= len(roleNames) {
		return "unknown"
	}
	return roleNames[r]
}

// worker reports whether the role holds one user's mail.
func (r Role) worker() bool { return r == IMAPWorker || r == POP3Worker || r == MailTool }

// Protection is one of the things that this package or the parent puts
// around a process. Reports name them, and tests take them away one by one.
type Protection uint16

// The protections, a bit each.
const (
	Chroot     Protection = 1 << iota // only the directory given can be named
	DropCaps                          // no capability in any thread
	NoNewPrivs                        // exec gives no privilege; also what Landlock and seccomp ask for
	Undumpable                        // no ptrace and no /proc/PID/mem by others of the same uid, no core
	NoCore                            // RLIMIT_CORE 0
	Landlock                          // files only beneath the rules
	Seccomp                           // calls only from the table
	lastProtection
)

var protectionNames = [...]string{"chroot", "capabilities", "no_new_privs", "dumpable", "core limit", "landlock", "seccomp"}

// String gives the protection's name for reports.
func (p Protection) String() string {
	for i, name := range protectionNames {
		if p == 1<<i {
			return name
		}
	}
	return "unknown"
}
