package handover

import (
	"net/netip"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/ipc/redeemmsg"
)

// Key says which worker serves a session: two sessions share a process only if
// all of it is equal.
type Key struct {
	Service string
	User    string
	Hash    [32]byte // of every redeemed field that is not one session's, and of the settings
}

// Request is what a login process asked for.
type Request struct {
	Login    uint64 // the channel's never-reused id
	ID       uint64 // the login process's own number
	Ticket   [16]byte
	Service  string
	Session  string
	Envelope int // descriptor, the machine's from now on
}

// Grant is what a ticket was redeemed for, after master's own checks.
type Grant struct {
	Key     Key
	Record  redeemmsg.Record
	MaxIP   int  // mail_max_userip_connections; 0: no limit
	MaxUser int  // mail_max_user_connections; 0: no limit
	NoIP    bool // the address is in limits_exempt_networks
	// MaxVisits: other users whose mail this one may have open (mail_max_guest_connections);
	// MaxGuests: channels of other users to his (mail_max_guests). 0: no limit.
	MaxVisits, MaxGuests int
}

// Limits are for all users together.
type Limits struct {
	Workers  int // processes
	Requests int // in flight, of all login processes
	Queue    int // sessions that may wait for one worker, and guests
	Guests   int // processes that run for guests alone, beside Workers
}

// Effects is what the machine asks master to do. None may block or call back.
type Effects interface {
	// Redeem shows a ticket to authd; Redeemed or RedeemFailed answers.
	Redeem(id uint64, r Request)
	// Answer ends a login process's request. Not failed: the worker of that pid has taken it.
	Answer(login, request uint64, failed bool, kind errkind.Kind, text string, pid int)
	// StartWorker is answered by WorkerStarted or WorkerFailed.
	StartWorker(worker uint64, k Key, r redeemmsg.Record)
	// Send hands a session to a worker. The envelope stays the machine's.
	Send(worker, id uint64, session string, r redeemmsg.Record, envelope int)
	MayExit(worker uint64)
	// Kill ends a worker at once; WorkerGone follows.
	Kill(worker uint64)
	Kick(worker, id uint64, text string)
	Wake(worker uint64)
	// Visit asks authd whether a user may be let in at an owner's; Visited or VisitFailed answers.
	Visit(id uint64, guest, owner string)
	// Reached refuses a worker's wish to see another's mail.
	Reached(worker, request uint64, kind errkind.Kind, text string)
	// Introduce makes a channel, and gives one end to the worker that wished it, as
	// the answer to its request, and the other to the owner's worker, with the guest.
	Introduce(from, request, owner, id uint64, user string, groups []string)
	// Close closes a descriptor, elsewhere.
	Close(fd int)
	// DropLogin ends a login process that broke the rules; LoginGone follows.
	DropLogin(login uint64, why string)
	// Warn and Info write a line to the log.
	Warn(text string)
	Info(text string)
}

// Session is one that a worker has, for who.
type Session struct {
	ID            uint64
	User, Service string
	Session       string
	Worker        uint64
	PID           int
	Remote, Local netip.AddrPort
	TLS           bool
	Mech          string
	Since         time.Time
	Taken         bool
	Owner         string // of a guest: whose mail it is that he sees; User is the guest
}

// Counters since the start.
type Counters struct {
	Requests       uint64 `json:"requests"`
	HandedOver     uint64 `json:"handed_over"`
	Retried        uint64 `json:"retried"`
	TicketsRefused uint64 `json:"tickets_refused"`
	OverUserIP     uint64 `json:"over_user_ip_limit"`
	OverUser       uint64 `json:"over_user_limit"`
	OverWorkers    uint64 `json:"over_worker_limit"`
	OverRequests   uint64 `json:"over_request_limit"`
	QueueFull      uint64 `json:"queue_full"`
	BackedOff      uint64 `json:"backed_off"`
	Unavailable    uint64 `json:"unavailable"`
	WorkersStarted uint64 `json:"workers_started"`
	WorkersDied    uint64 `json:"workers_died"`
	LoginsDropped  uint64 `json:"logins_dropped"`
	Reaches        uint64 `json:"reaches"`
	Guests         uint64 `json:"guests"`
	OverGuests     uint64 `json:"over_guest_limits"`
}
