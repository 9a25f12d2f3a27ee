// Package redeemmsg is the channel between master and authd: master redeems
// tickets, attaches channels of login processes, and passes files that only
// root may open.
//
// master is the server. It trusts authd for who a user is, but checks uid, gid
// and paths against its own settings.
package redeemmsg

import (
	"net/netip"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/secret"
)

// Limits of fields.
const (
	MaxPath = 4 << 10
	MaxText = 1 << 10
	MaxUser = 512
)

// Protocol is the channel.
var Protocol = ipc.Define(ipc.Protocol{Name: "redeem", Version: 1, MaxBytes: 160 << 10, Defs: []ipc.Def{
	{New: func() ipc.Message { return new(Attach) }, From: ipc.FromServer, FD: ipc.FDPacket},
	{New: func() ipc.Message { return new(File) }, From: ipc.FromServer, FD: ipc.FDFile},
	{New: func() ipc.Message { return new(Redeem) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Lookup) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Test) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Settings) }, From: ipc.FromServer, FD: ipc.FDFile},
	{New: func() ipc.Message { return new(LogDebug) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Redeemed) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Failed) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(PairChecked) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(PairDone) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(SettingsDone) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Ready) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Publish) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(PublishSeen) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(SharesOf) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Shares) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(Visit) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Visited) }, From: ipc.FromClient},
	{New: func() ipc.Message { return new(ListUsers) }, From: ipc.FromServer},
	{New: func() ipc.Message { return new(Users) }, From: ipc.FromClient},
}})

// The messages' numbers.
const (
	typeAttach ipc.Type = 1 + iota
	typeFile
	typeRedeem
	typeLookup
	typeTest
	typeSettings
	typeLogDebug
	typeRedeemed
	typeFailed
	typePairChecked
	typePairDone
	typeSettingsDone
	typeReady
	typePublish
	typePublishSeen
	typeSharesOf
	typeShares
	typeVisit
	typeVisited
	typeListUsers
	typeUsers
)

// Attach gives authd its end of a new login process's auth channel.
type Attach struct {
	Channel uint64 // never reused; tickets are bound to it
	Kind    string // "login"; later "lmtp", "mta"
}

// Type is for ipc.
func (*Attach) Type() ipc.Type { return typeAttach }

// Fields is for ipc.
func (m *Attach) Fields(c *ipc.Codec) {
	c.U64(&m.Channel)
	c.String(&m.Kind, 16)
}

// File passes a file that authd may not open itself. It replaces an older one
// of the same use and name.
type File struct {
	// "passwd-file", "shadow", "passwd", "certificate", "key"; and "shares", of which
	// there are two, named "a" and "b", the only files that authd writes.
	Use  string
	Name string // the passdb's, userdb's or certificate table's name ("" is the default pair)
	Path string // for messages
	Pair uint64 // certificate and key of one pair share a number; 0 otherwise
}

// Type is for ipc.
func (*File) Type() ipc.Type { return typeFile }

// Fields is for ipc.
func (m *File) Fields(c *ipc.Codec) {
	c.String(&m.Use, 32)
	c.String(&m.Name, 255)
	c.String(&m.Path, MaxPath)
	c.U64(&m.Pair)
}

// PairChecked tells what certificate and key of a pair are; Problem is "" if they fit.
type PairChecked struct {
	Pair     uint64
	Problem  string
	SPKI     [32]byte
	KeyType  uint8 // as in handoffmsg.Certificate
	NotAfter time.Time
	Subject  string // for the log
	Chain    [][]byte
}

// Type is for ipc.
func (*PairChecked) Type() ipc.Type { return typePairChecked }

// Fields is for ipc.
func (m *PairChecked) Fields(c *ipc.Codec) {
	c.U64(&m.Pair)
	c.String(&m.Problem, MaxText)
	c.Fixed(m.SPKI[:])
	c.U8(&m.KeyType)
	c.Time(&m.NotAfter)
	c.String(&m.Subject, MaxText)
	c.Chain(&m.Chain)
}

// PairDone says that no login process uses the pair's chain any more: authd
// forgets its key.
type PairDone struct{ Pair uint64 }

// Type is for ipc.
func (*PairDone) Type() ipc.Type { return typePairDone }

// Fields is for ipc.
func (m *PairDone) Fields(c *ipc.Codec) { c.U64(&m.Pair) }

// Redeem shows a ticket that came on a login process's handoff channel.
type Redeem struct {
	ID      uint64
	Channel uint64 // of that login process: the ticket must have been issued on it
	Ticket  [16]byte
	Service string
	Session string
}

// Type is for ipc.
func (*Redeem) Type() ipc.Type { return typeRedeem }

// Fields is for ipc.
func (m *Redeem) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	c.U64(&m.Channel)
	c.Fixed(m.Ticket[:])
	c.String(&m.Service, 16)
	c.String(&m.Session, 64)
}

// Lookup asks userdb for a user without a ticket, for rookeryctl -u.
type Lookup struct {
	ID      uint64
	User    string
	Service string
}

// Type is for ipc.
func (*Lookup) Type() ipc.Type { return typeLookup }

// Fields is for ipc.
func (m *Lookup) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	c.String(&m.User, MaxUser)
	c.String(&m.Service, 16)
}

// Test runs an authentication for rookeryctl auth test; a Redeemed or Failed answers.
type Test struct {
	ID       uint64
	User     string
	Password secret.Bytes
	Service  string
	Remote   netip.AddrPort
}

// Type is for ipc.
func (*Test) Type() ipc.Type { return typeTest }

// Fields is for ipc.
func (m *Test) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	c.String(&m.User, MaxUser)
	c.Secret(&m.Password, 8<<10)
	c.String(&m.Service, 16)
	c.Addr(&m.Remote)
}

// Record is who a user is. master starts the worker by it, and by nothing else.
type Record struct {
	User          string // after auth_username_format
	Master        string // the master user; ""
	UID, GID      uint32
	Groups        []string // names; master takes only those that mail_access_groups names
	Home          string   // "" if none
	Anonymous     bool
	Mech          string
	Remote, Local netip.AddrPort
	TLS           bool
	// Fields are the userdb's other fields (mail_path=…, quota_…=…): settings
	// for this user, "name=value", sorted.
	Fields []string
}

// Codec is for ipc.
func (r *Record) Codec(c *ipc.Codec) {
	c.String(&r.User, MaxUser)
	c.String(&r.Master, MaxUser)
	c.U32(&r.UID)
	c.U32(&r.GID)
	c.Strings(&r.Groups, 64, 64)
	c.String(&r.Home, MaxPath)
	c.Bool(&r.Anonymous)
	c.String(&r.Mech, 32)
	c.Addr(&r.Remote)
	c.Addr(&r.Local)
	c.Bool(&r.TLS)
	c.Strings(&r.Fields, 128, MaxPath)
}

// Redeemed answers Redeem, Lookup and Test.
type Redeemed struct {
	ID     uint64
	Record Record
}

// Type is for ipc.
func (*Redeemed) Type() ipc.Type { return typeRedeemed }

// Fields is for ipc.
func (m *Redeemed) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	m.Record.Codec(c)
}

// Failed answers Redeem, Lookup, Test and Visit. Of a ticket: NotFound (made up, used
// before, long expired, or an earlier authd's), Expired, AuthFailed (it was issued
// for another channel, service or session). Else NotFound (no such user),
// AuthFailed (wrong password), Unavailable.
type Failed struct {
	ID   uint64
	Kind errkind.Kind
	Text string
}

// Type is for ipc.
func (*Failed) Type() ipc.Type { return typeFailed }

// Fields is for ipc.
func (m *Failed) Fields(c *ipc.Codec) {
	c.U64(&m.ID)
	c.Kind(&m.Kind)
	c.String(&m.Text, MaxText)
}

// Settings gives authd new settings in a sealed memfd. SettingsDone answers.
type Settings struct{ Generation uint64 }

// Type is for ipc.
func (*Settings) Type() ipc.Type { return typeSettings }

// Fields is for ipc.
func (m *Settings) Fields(c *ipc.Codec) { c.U64(&m.Generation) }

// SettingsDone says that the settings are in use, or why not.
type SettingsDone struct {
	Generation uint64
	Problem    string
}

// Type is for ipc.
func (*SettingsDone) Type() ipc.Type { return typeSettingsDone }

// Fields is for ipc.
func (m *SettingsDone) Fields(c *ipc.Codec) {
	c.U64(&m.Generation)
	c.String(&m.Problem, MaxText)
}

// LogDebug sets whose debug lines are logged from now on (log_debug at run time).
type LogDebug struct{ Filter string }

// Type is for ipc.
func (*LogDebug) Type() ipc.Type { return typeLogDebug }

// Fields is for ipc.
func (m *LogDebug) Fields(c *ipc.Codec) { c.Filter(&m.Filter) }

// Ready is authd's first message: it is confined. master counts it as started.
type Ready struct{}

// Type is for ipc.
func (*Ready) Type() ipc.Type { return typeReady }

// Fields is for ipc.
func (*Ready) Fields(*ipc.Codec) {}
