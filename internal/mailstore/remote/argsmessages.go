package remote

import (
	"cmp"
	"time"

	"rookery/internal/mailstore"
)

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
	ascending(c, &a.List, maxItems, func(it *facts) mailstore.UID { it.code(c); return it.UID })
}

// ascending is a list of items, each coded by one, which gives what they ascend by.
func ascending[T any, K cmp.Ordered](c *coder, p *[]T, limit int, one func(it *T) K) {
	n := c.count(len(*p), limit)
	if c.reading {
		*p = make([]T, n)
	}
	var last K
	for i := 0; i < n && c.err == nil; i++ {
		key := one(&(*p)[i])
		if c.reading && c.err == nil && key <= last {
			c.fail("%v comes after %v", key, last)
		}
		last = key
	}
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
	ascending(c, &a.List, maxItems, func(it *cached) mailstore.UID {
		num(c, &it.UID)
		c.flag(&it.OK)
		c.bytes(&it.Value, maxFact)
		return it.UID
	})
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
	ascending(c, &a.Ahead, maxItems, func(it *whole) mailstore.UID {
		num(c, &it.UID)
		c.bytes(&it.Data, maxChunk)
		return it.UID
	})
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
