package remote

import (
	"time"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// Bounds of what is in calls and answers.
const (
	maxName     = imapname.MaxName
	maxFolders  = 200_000
	maxKeywords = 1 << 16 // of a mailbox, and in one change
	maxKeyword  = 1 << 12 // octets
	maxField    = 1 << 10 // octets of the name of a derived fact
	maxFields   = 1 << 12 // derived facts that were asked for lately
	maxFact     = 40 << 10
	maxChunk    = 56 << 10 // octets of a message in one answer
	maxItems    = 512      // messages told of at once
)

// none has no fields.
type none struct{}

func (*none) code(*coder) {}

// named is a mailbox's name.
type named struct{ Name mailstore.Name }

func (a *named) code(c *coder) { c.text(&a.Name, maxName) }

// handle names an open mailbox, an open message or an appender: a number of this
// guest's. 0 is none.
type handle struct{ N uint32 }

func (a *handle) code(c *coder) { num(c, &a.N) }

// folders are a list of mailboxes.
type folders struct{ List []mailstore.Folder }

func (a *folders) code(c *coder) {
	n := c.count(len(a.List), maxFolders)
	if c.reading {
		a.List = make([]mailstore.Folder, n)
	}
	for i := range n {
		c.text(&a.List[i].Name, maxName)
		num(c, &a.List[i].Attrs)
	}
}

// names are mailboxes' names.
type names struct{ List []mailstore.Name }

func (a *names) code(c *coder) { c.texts(&a.List, maxFolders, maxName) }

// subscribing is Subscribe.
type subscribing struct {
	Name mailstore.Name
	On   bool
}

func (a *subscribing) code(c *coder) {
	c.text(&a.Name, maxName)
	c.flag(&a.On)
}

// creating is Create.
type creating struct {
	Name mailstore.Name
	Use  mailstore.Attr
}

func (a *creating) code(c *coder) {
	c.text(&a.Name, maxName)
	num(c, &a.Use)
}

// renaming is Rename.
type renaming struct{ From, To mailstore.Name }

func (a *renaming) code(c *coder) {
	c.text(&a.From, maxName)
	c.text(&a.To, maxName)
}

// asking is Status.
type asking struct {
	Name mailstore.Name
	Size bool
}

func (a *asking) code(c *coder) {
	c.text(&a.Name, maxName)
	c.flag(&a.Size)
}

// status is what it gives.
type status struct{ mailstore.Status }

func (a *status) code(c *coder) {
	num(c, &a.Messages)
	num(c, &a.Recent)
	num(c, &a.Unseen)
	num(c, &a.Deleted)
	num(c, &a.UIDNext)
	num(c, &a.UIDValidity)
	num(c, &a.Size)
	modseq(c, &a.HighestModSeq)
	c.fixed(a.GUID[:])
}

// modseq is below 2^63.
func modseq(c *coder, p *mailstore.ModSeq) {
	num(c, p)
	if c.reading && c.err == nil && *p >= 1<<63 {
		c.fail("the mod-sequence %d is too large", *p)
	}
}

// quota is a user's use and limits.
type quota struct {
	mailstore.Quota
	OK bool
}

func (a *quota) code(c *coder) {
	c.flag(&a.OK)
	for _, p := range [...]*uint64{&a.StorageUsed, &a.StorageLimit, &a.MessagesUsed, &a.MessagesLimit, &a.MailboxesUsed, &a.MailboxesLimit} {
		num(c, p)
	}
}

// rights are what somebody may do.
type rights struct{ acl.Rights }

func (a *rights) code(c *coder) { right(c, &a.Rights) }

func right(c *coder, p *acl.Rights) {
	num(c, p)
	if c.reading && c.err == nil && *p&^acl.All != 0 {
		c.fail("the rights %#x are unknown", *p)
	}
}

// granting is SetACL, DeleteACL or Grantable.
type granting struct {
	Name   mailstore.Name
	ID     acl.ID
	Change acl.Change // of SetACL
}

func (a *granting) code(c *coder) {
	c.text(&a.Name, maxName)
	num(c, &a.ID.Kind)
	c.text(&a.ID.Name, acl.MaxName)
	c.flag(&a.ID.Negative)
	num(c, &a.Change.Op)
	right(c, &a.Change.Rights)
	if !c.reading || c.err != nil {
		return
	}
	named := a.ID.Kind == acl.User || a.ID.Kind == acl.Group || a.ID.Kind == acl.GroupOverride
	if a.ID.Kind > acl.GroupOverride || named == (a.ID.Name == "") {
		c.fail("an identifier of kind %d with the name %q", a.ID.Kind, a.ID.Name)
	}
	if op := a.Change.Op; op != 0 && op != '+' && op != '-' {
		c.fail("a change of rights by %q", op)
	}
}

// grantable is what Grantable gives.
type grantable struct{ Always, Can acl.Rights }

func (a *grantable) code(c *coder) {
	right(c, &a.Always)
	right(c, &a.Can)
}

// aclText is a list as its file has it, without the owner's comments.
type aclText struct{ Text []byte }

func (a *aclText) code(c *coder) { c.bytes(&a.Text, acl.MaxFile) }

// info is what Mailbox.Info gives, but for the namespace, which is the guest's own.
type info struct{ mailstore.Info }

func (a *info) code(c *coder) {
	c.text(&a.Name, maxName)
	num(c, &a.UIDValidity)
	c.fixed(a.GUID[:])
	c.flags(&a.PermanentFlags)
	c.flag(&a.NewKeywords)
	c.flag(&a.ReadOnly)
	c.flag(&a.OwnOnly)
}

// picturing asks for a picture, or for more of the one that is under way.
type picturing struct {
	Box  uint32
	Have uint32 // the number of the picture that the guest has; 0: none
	Sync bool   // look for changes by others first
	More bool
}

func (a *picturing) code(c *coder) {
	num(c, &a.Box)
	num(c, &a.Have)
	c.flag(&a.Sync)
	c.flag(&a.More)
}

// picture is the first part of a picture.
type picture struct {
	No      uint32 // its number
	Base    uint32 // the number of the picture that it is told by; 0: none
	Changes uint32 // how many Changed the owner had sent before it was taken
	Len     uint32
	UIDNext mailstore.UID
	High    mailstore.ModSeq
	Tells   bool // Info and Keywords are there: they are others than before
	Info    info
	Words   []string
	Steps   []byte // see steps.go
	More    bool   // there are more steps
}

func (a *picture) code(c *coder) {
	num(c, &a.No)
	num(c, &a.Base)
	num(c, &a.Changes)
	num(c, &a.Len)
	num(c, &a.UIDNext)
	modseq(c, &a.High)
	c.flag(&a.Tells)
	if a.Tells {
		a.Info.code(c)
		c.texts(&a.Words, maxKeywords, maxKeyword)
	}
	c.bytes(&a.Steps, maxBlob)
	c.flag(&a.More)
}

// furtherSteps are a further part.
type furtherSteps struct {
	Steps []byte
	More  bool
}

func (a *furtherSteps) code(c *coder) {
	c.bytes(&a.Steps, maxBlob)
	c.flag(&a.More)
}

// uidSet is a set of UIDs.
type uidSet struct{ Set numset.Set }

func (a *uidSet) code(c *coder) { c.set(&a.Set) }

// claiming is ClaimRecent.
type claiming struct {
	Box  uint32
	Peek bool
}

func (a *claiming) code(c *coder) {
	num(c, &a.Box)
	c.flag(&a.Peek)
}

// since is ExpungedSince.
type since struct {
	Box uint32
	Mod mailstore.ModSeq
}

func (a *since) code(c *coder) {
	num(c, &a.Box)
	modseq(c, &a.Mod)
}

// history is what it gives.
type history struct {
	Set      numset.Set
	Complete bool
}

func (a *history) code(c *coder) {
	c.set(&a.Set)
	c.flag(&a.Complete)
}

// storing is Mailbox.Store.
type storing struct {
	Box uint32
	mailstore.FlagChange
}

func (a *storing) code(c *coder) {
	num(c, &a.Box)
	c.set(&a.UIDs)
	num(c, &a.Op)
	c.flags(&a.Flags)
	c.texts(&a.Keywords, maxKeywords, maxBlob)
	limited := a.UnchangedSince != nil
	c.flag(&limited)
	if limited {
		var m mailstore.ModSeq
		if !c.reading {
			m = *a.UnchangedSince
		}
		modseq(c, &m)
		if c.reading {
			a.UnchangedSince = &m
		}
	}
	if c.reading && c.err == nil && a.Op > mailstore.RemoveFlags {
		c.fail("a change of flags by %d", a.Op)
	}
}

// stored is what it gives.
type stored struct{ mailstore.StoreResult }

func (a *stored) code(c *coder) {
	c.set(&a.Changed)
	c.set(&a.Modified)
}

// transferring is Expunge, Copy or Move.
type transferring struct {
	Box uint32
	Set numset.Set
	To  mailstore.Name
}

func (a *transferring) code(c *coder) {
	num(c, &a.Box)
	c.set(&a.Set)
	c.text(&a.To, maxName)
}

// transferred is what Copy and Move give.
type transferred struct{ mailstore.CopyResult }

func (a *transferred) code(c *coder) {
	num(c, &a.UIDValidity)
	c.uids(&a.From)
	c.uids(&a.To)
	if c.reading && c.err == nil && len(a.From) != len(a.To) {
		c.fail("%d messages became %d", len(a.From), len(a.To))
	}
}

// factWants are FactsWant as bits.
type factWants struct{ mailstore.FactsWant }

func (a *factWants) code(c *coder) {
	for _, p := range [...]*bool{&a.Size, &a.InternalDate, &a.SaveDate, &a.GUID} {
		c.flag(p)
	}
}

// factsOf asks for the facts of a message and of some that follow it, or, with Known,
// for what is known of those from UID on.
type factsOf struct {
	Box   uint32
	UID   mailstore.UID
	Want  factWants
	Ahead uint32
	Known bool
}

func (a *factsOf) code(c *coder) {
	num(c, &a.Box)
	num(c, &a.UID)
	a.Want.code(c)
	num(c, &a.Ahead)
	c.flag(&a.Known)
}

// facts are a message's; what is wanted of them is there.
type facts struct {
	UID          mailstore.UID
	Have         factWants
	Size         int64
	InternalDate time.Time
	SaveDate     time.Time
	GUID         mailstore.GUID
}

func (a *facts) code(c *coder) {
	num(c, &a.UID)
	a.Have.code(c)
	if a.Have.Size {
		octets(c, &a.Size)
	}
	if a.Have.InternalDate {
		c.time(&a.InternalDate)
	}
	if a.Have.SaveDate {
		c.time(&a.SaveDate)
	}
	if a.Have.GUID {
		c.fixed(a.GUID[:])
	}
}

// octets is a size, at least 0.
func octets(c *coder, p *int64) {
	v := uint64(*p)
	num(c, &v)
	if c.reading && c.err == nil {
		if v >= 1<<62 {
			c.fail("%d octets", v)
			return
		}
		*p = int64(v)
	}
}

// factList are facts of messages, ascending by UID.
type factList struct{ List []facts }

func (a *factList) code(c *coder) {
	n := c.count(len(a.List), maxItems)
	if c.reading {
		a.List = make([]facts, n)
	}
	last := mailstore.UID(0)
	for i := 0; i < n && c.err == nil; i++ {
		a.List[i].code(c)
		ascending(c, &last, a.List[i].UID)
	}
}

func ascending(c *coder, last *mailstore.UID, uid mailstore.UID) {
	if c.reading && c.err == nil && uid <= *last {
		c.fail("UID %d comes after %d", uid, *last)
	}
	*last = uid
}

// cachedOf asks for a derived fact of a message and of some that follow it.
type cachedOf struct {
	Box   uint32
	UID   mailstore.UID
	Field string
	Ahead uint32
}

func (a *cachedOf) code(c *coder) {
	num(c, &a.Box)
	num(c, &a.UID)
	c.text(&a.Field, maxField)
	num(c, &a.Ahead)
}

// cached is a derived fact of one message.
type cached struct {
	UID   mailstore.UID
	OK    bool
	Value []byte
}

// cachedList are derived facts, ascending by UID.
type cachedList struct{ List []cached }

func (a *cachedList) code(c *coder) {
	n := c.count(len(a.List), maxItems)
	if c.reading {
		a.List = make([]cached, n)
	}
	last := mailstore.UID(0)
	for i := 0; i < n && c.err == nil; i++ {
		it := &a.List[i]
		num(c, &it.UID)
		c.flag(&it.OK)
		c.bytes(&it.Value, maxFact)
		ascending(c, &last, it.UID)
	}
}

// fieldNames are names of derived facts.
type fieldNames struct{ List []string }

func (a *fieldNames) code(c *coder) { c.texts(&a.List, maxFields, maxField) }

// opening is Mailbox.Message. Whole messages that follow it may come along.
type opening struct {
	Box   uint32
	UID   mailstore.UID
	Ahead uint32
}

func (a *opening) code(c *coder) {
	num(c, &a.Box)
	num(c, &a.UID)
	num(c, &a.Ahead)
}

// messageStart is a message that was opened, with its first octets. If those are all,
// there is no handle.
type messageStart struct {
	Handle uint32
	Size   int64
	Data   []byte
	Ahead  []whole
}

// whole is a message with all its octets.
type whole struct {
	UID  mailstore.UID
	Data []byte
}

func (a *messageStart) code(c *coder) {
	num(c, &a.Handle)
	octets(c, &a.Size)
	c.bytes(&a.Data, maxChunk)
	n := c.count(len(a.Ahead), maxItems)
	if c.reading {
		a.Ahead = make([]whole, n)
	}
	last := mailstore.UID(0)
	for i := 0; i < n && c.err == nil; i++ {
		num(c, &a.Ahead[i].UID)
		c.bytes(&a.Ahead[i].Data, maxChunk)
		ascending(c, &last, a.Ahead[i].UID)
	}
	if c.reading && c.err == nil && (int64(len(a.Data)) > a.Size || (a.Handle == 0) != (int64(len(a.Data)) == a.Size)) {
		c.fail("a message of %d octets began with %d", a.Size, len(a.Data))
	}
}

// readingAt is Message.ReadAt.
type readingAt struct {
	Message uint32
	Off     int64
	N       uint32
}

func (a *readingAt) code(c *coder) {
	num(c, &a.Message)
	octets(c, &a.Off)
	num(c, &a.N)
}

// chunk are octets of a message.
type chunk struct{ Data []byte }

func (a *chunk) code(c *coder) { c.bytes(&a.Data, maxChunk) }

// adding is Appender.Add.
type adding struct {
	Appender uint32
	Meta     mailstore.AppendMeta
	Size     int64 // at least -1
}

func (a *adding) code(c *coder) {
	num(c, &a.Appender)
	c.flags(&a.Meta.Flags)
	c.texts(&a.Meta.Keywords, maxKeywords, maxBlob)
	c.time(&a.Meta.InternalDate)
	c.time(&a.Meta.SaveDate)
	c.fixed(a.Meta.GUID[:])
	num(c, &a.Meta.UID)
	signed(c, &a.Size)
	if c.reading && c.err == nil && a.Size < -1 {
		c.fail("a message of %d octets", a.Size)
	}
}

// writing is octets of the message that was added last.
type writing struct {
	Appender uint32
	Data     []byte
}

func (a *writing) code(c *coder) {
	num(c, &a.Appender)
	c.bytes(&a.Data, maxChunk)
}

// appended is what Commit gives.
type appended struct{ mailstore.AppendResult }

func (a *appended) code(c *coder) {
	num(c, &a.UIDValidity)
	c.uids(&a.UIDs)
}

// unavailable is the error of everything once the channel has ended.
func unavailable(op string) error {
	return errkind.Newf(op, errkind.Unavailable, "the channel to the owner's mail has ended")
}
