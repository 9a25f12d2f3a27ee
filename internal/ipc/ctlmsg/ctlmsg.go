// Package ctlmsg is what rookeryctl and master say on the control socket, a
// Unix SOCK_SEQPACKET socket for root (or for the one uid that everything runs
// under), checked by SO_PEERCRED.
//
// master is the server. Values are text; an answer's body is JSON, which
// rookeryctl shows as it is (--json) or as a table.
package ctlmsg

import (
	"rookery/internal/ipc"
	"rookery/internal/secret"
)

// MaxBody is the size of one piece of an answer.
const MaxBody = 64 << 10

// Protocol is the channel.
var Protocol = ipc.Define(ipc.Protocol{Name: "control", Version: 1, MaxBytes: 128 << 10, Defs: []ipc.Def{
	{New: func() ipc.Message { return new(Request) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Answer) }, From: ipc.FromServer, FD: ipc.FDPacket, OptionalFD: true},
}})

// The verbs. Args of each in order.
const (
	Status     = "status"      // → object: version, build, started, generation, limits and counters, processes
	Who        = "who"         // [user] → list of {user, service, session, pid, remote, local, tls, mechanism, since}; of a guest (service "guest"), owner: whose mail it is
	Kick       = "kick"        // user or session → {kicked: n}
	Reload     = "reload"      // → {generation} or failure with the diagnostics
	Stop       = "stop"        // →
	AuthTest   = "auth-test"   // user, service, remote address; Secret is the password → the record
	Lookup     = "lookup"      // user, service → the record
	LogErrors  = "log-errors"  // → list of {number, time, level, text}
	LogDebug   = "log-debug"   // filter: "user=NAME", "ip=ADDRESS", several separated by spaces; "" ends it
	MailTool   = "mail-tool"   // user → {user}, with rookeryctl's end of the channel to the process that works on his mail (toolmsg)
	MoveTool   = "move-tool"   // user, path, "look" to make nothing → {user, from, to, switched}; as MailTool, for a process that also has the path (or, where his mail is there already, the old place)
	MailMove   = "mail-move"   // "switch" or "switch-keep" while held, "freed", of the MoveTool of this connection → {}
	MailLet    = "mail-let"    // → {}; whom this connection holds may come again
	MailEnd    = "mail-end"    // → {}, once his tool has ended, which must have been told to; then as MailLet
	MailMoves  = "mail-moves"  // → list of {user, from, to, old}
	MailForget = "mail-forget" // user → {}; his move is not kept any more
	MailHold   = "mail-hold"   // user, as MailTool names him → {}; his sessions have ended, and he gets none until the connection is closed
	Users      = "users"       // → {users: list of names, unlisted: list of userdbs that cannot say whom they know}
	Processes  = "processes"   // → list of {role, pid, user, since}
)

// Request asks for one thing; the connection serves one after another.
type Request struct {
	Verb   string
	Args   []string
	Secret secret.Bytes
}

// Type is for ipc.
func (*Request) Type() ipc.Type { return 1 }

// Fields is for ipc.
func (m *Request) Fields(c *ipc.Codec) {
	c.String(&m.Verb, 32)
	c.Strings(&m.Args, 16, 4<<10)
	c.Secret(&m.Secret, 8<<10)
}

// Answer is a piece of the answer; the pieces' bodies are joined. A descriptor
// comes with the first piece of a MailTool's alone.
type Answer struct {
	Exit uint8  // sysexits; 0 is success
	Text string // for a failure: what is wrong and what to do
	Body []byte // JSON
	More bool   // another piece follows
}

// Type is for ipc.
func (*Answer) Type() ipc.Type { return 2 }

// Fields is for ipc.
func (m *Answer) Fields(c *ipc.Codec) {
	c.U8(&m.Exit)
	c.String(&m.Text, 16<<10)
	c.Bytes(&m.Body, MaxBody)
	c.Bool(&m.More)
}
