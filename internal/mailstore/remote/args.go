package remote

import (
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

// unavailable is the error of everything once the channel has ended.
func unavailable(op string) error {
	return errkind.Newf(op, errkind.Unavailable, "the channel to the owner's mail has ended")
}
