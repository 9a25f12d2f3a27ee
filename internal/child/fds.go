package child

import "rookery/internal/ipc"

// The descriptors that a child is born with. 0 and 1 are /dev/null; 2 is a
// pipe that master passes on to the log (for logd it is master's own standard
// error). A role that lacks one of those below has that number free.
const (
	FDControl  = 3 // the channel to master: handoffmsg, redeemmsg, logmsg.Control or workermsg
	FDSettings = 4 // sealed memfd, see Info
	FDLog      = 5 // the log channel (logmsg.Protocol); not logd
	FDRoot     = 6 // an empty directory owned by root, to chroot into; not workers
	FDAuth     = 7 // login: the auth channel (authmsg)
	FDTool     = 7 // mailtool: the channel of the command that it serves (toolmsg); dotlock: of its worker (dotlockmsg)
	FDListen   = 8 // login: the listeners, one after another, as Info.Listeners names them
)

// MaxListeners is how many listeners a login process can be given.
const MaxListeners = 64

// Role is a program that master starts.
type Role string

// The roles.
const (
	Login      Role = "login"
	Authd      Role = "authd"
	Logd       Role = "logd"
	IMAPWorker Role = "imapworker"
	POP3Worker Role = "pop3worker"
	MailTool   Role = "mailtool"
	Dotlock    Role = "dotlock"
)

// slot is one inherited descriptor.
type slot struct {
	fd   int
	name string
	kind ipc.FDKind
}

var (
	slotControl  = slot{FDControl, "control channel", ipc.FDPacket}
	slotSettings = slot{FDSettings, "settings", ipc.FDFile}
	slotLog      = slot{FDLog, "log channel", ipc.FDPacket}
	slotRoot     = slot{FDRoot, "empty directory", ipc.FDDir}
	slotAuth     = slot{FDAuth, "auth channel", ipc.FDPacket}
	slotTool     = slot{FDTool, "tool channel", ipc.FDPacket}
	slotSpool    = slot{FDRoot, "directory of the mbox", ipc.FDDir}
)

// slots lists what a role inherits, listeners aside. nil for an unknown role.
func slots(r Role) []slot {
	switch r {
	case Login:
		return []slot{slotControl, slotSettings, slotLog, slotRoot, slotAuth}
	case Authd:
		return []slot{slotControl, slotSettings, slotLog, slotRoot}
	case Logd:
		return []slot{slotControl, slotSettings, slotRoot}
	case IMAPWorker, POP3Worker:
		return []slot{slotControl, slotSettings, slotLog}
	case MailTool:
		return []slot{slotControl, slotSettings, slotLog, slotTool}
	case Dotlock:
		return []slot{slotControl, slotSettings, slotLog, slotSpool, slotTool}
	}
	return nil
}

// Program is the name of the role's program, in the folder of master's own.
func (r Role) Program() string { return "rookery-" + string(r) }

// Worker reports whether the role serves one user's mail under his uid.
func (r Role) Worker() bool { return r == IMAPWorker || r == POP3Worker || r == MailTool }
