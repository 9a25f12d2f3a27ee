package remote

import (
	"bytes"
	"sync"

	"rookery/internal/mailstore"
)

// ahead guesses how many messages beyond one that is asked for will be asked for, too:
// none at first, and more and more while they are asked for in their order.
type ahead struct {
	last mailstore.UID // the last one that was told
	n    uint32
}

// slack is how many messages may be left out in what still is an order.
const slack = 8

// of gives the guess for a message.
func (a *ahead) of(snap *snapshot, uid mailstore.UID, limit uint32) uint32 {
	if snap == nil {
		return 0
	}
	at, _ := snap.Find(uid)
	before, _ := snap.Find(a.last)
	if a.last != 0 && uid > a.last && at-before <= int(a.n)+slack {
		a.n = min(a.n*4+slack, limit)
	} else {
		a.n = 0
	}
	a.last = uid
	return a.n
}

// Facts is mailstore.Mailbox's.
func (b *clientBox) Facts(uid mailstore.UID, want mailstore.FactsWant) (mailstore.Facts, error) {
	want.UIDL = false
	b.mu.Lock()
	if f, ok := b.known[uid]; ok && covers(f.Have, want) {
		b.mu.Unlock()
		return f.facts(), nil
	}
	n := b.ask.of(b.shown, uid, maxItems-1)
	b.mu.Unlock()
	var out factList
	if err := b.asks(opFacts, "look", &factsOf{Box: b.n, UID: uid, Want: factWants{want}, Ahead: n}, &out); err != nil {
		return mailstore.Facts{}, err
	}
	if len(out.List) == 0 || out.List[0].UID != uid || !covers(out.List[0].Have, want) {
		b.c.end(broken("the answer to a question about UID %d is of others", uid))
		return mailstore.Facts{}, unavailable("look")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known = map[mailstore.UID]facts{}
	for _, f := range out.List {
		b.known[f.UID] = f
		b.ask.last = f.UID
	}
	return out.List[0].facts(), nil
}

func (f *facts) facts() mailstore.Facts {
	return mailstore.Facts{Size: f.Size, InternalDate: f.InternalDate, SaveDate: f.SaveDate, GUID: f.GUID}
}

// covers reports whether all that is wanted is there.
func covers(have factWants, want mailstore.FactsWant) bool {
	return (have.Size || !want.Size) && (have.InternalDate || !want.InternalDate) && (have.SaveDate || !want.SaveDate) && (have.GUID || !want.GUID)
}

// KnownFacts is mailstore.FactsReader's.
func (b *clientBox) KnownFacts(want mailstore.FactsWant, yield func(mailstore.UID, mailstore.Facts, mailstore.FactsWant) bool) {
	want.UIDL = false
	for from := mailstore.UID(1); ; {
		var out factList
		err := b.asks(opFacts, "look", &factsOf{Box: b.n, UID: from, Want: factWants{want}, Known: true}, &out)
		if err != nil || len(out.List) == 0 {
			return
		}
		if out.List[0].UID < from {
			b.c.end(broken("facts of UID %d where those from %d on were asked for", out.List[0].UID, from))
			return
		}
		for i := range out.List {
			f := &out.List[i]
			if !yield(f.UID, f.facts(), f.Have.FactsWant) {
				return
			}
		}
		if from = out.List[len(out.List)-1].UID + 1; from == 0 {
			return
		}
	}
}

// factCache keeps derived facts of all open mailboxes: those that were told
// beforehand, and those that were made here. When it is full it begins anew.
type factCache struct {
	limit int

	mu    sync.Mutex
	size  int
	list  map[factKey]fact
	order map[fieldKey]*ahead
}

type fieldKey struct {
	box   uint32
	field string
}

type factKey struct {
	box   uint32
	uid   mailstore.UID
	field string
}

// fact is a derived fact; without ok the owner has none.
type fact struct {
	value []byte
	ok    bool
}

// maxOrders bounds the fields whose order is looked at.
const maxOrders = 64

// factCost is what a fact costs beyond its octets.
const factCost = 64

func (f *factCache) get(k factKey) (fact, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, ok := f.list[k]
	return v, ok
}

func (f *factCache) put(k factKey, v fact) {
	f.mu.Lock()
	defer f.mu.Unlock()
	cost := len(v.value) + factCost
	if cost > f.limit/4 {
		return
	}
	if old, ok := f.list[k]; ok {
		f.size -= len(old.value) + factCost
	}
	if f.list == nil || f.size+cost > f.limit {
		f.list, f.size = map[factKey]fact{}, 0
	}
	f.list[k] = v
	f.size += cost
}

// guess gives how many facts of a field to ask for beyond one.
func (f *factCache) guess(k factKey, snap *snapshot) uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.order == nil || len(f.order) >= maxOrders {
		f.order = map[fieldKey]*ahead{}
	}
	of := fieldKey{k.box, k.field}
	if f.order[of] == nil {
		f.order[of] = &ahead{}
	}
	return f.order[of].of(snap, k.uid, maxItems-1)
}

// asked notes the last message that was told of.
func (f *factCache) asked(k factKey, last mailstore.UID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a := f.order[fieldKey{k.box, k.field}]; a != nil {
		a.last = last
	}
}

// forget drops a mailbox's.
func (f *factCache) forget(box uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, v := range f.list {
		if k.box == box {
			f.size -= len(v.value) + factCost
			delete(f.list, k)
		}
	}
	for k := range f.order {
		if k.box == box {
			delete(f.order, k)
		}
	}
}

// Cached is mailstore.Mailbox's.
func (b *clientBox) Cached(uid mailstore.UID, field string) ([]byte, bool) {
	return b.AppendCached(nil, uid, field)
}

// AppendCached is mailstore.CacheAppender's. The owner's end is asked for the same fact
// of several messages at once.
func (b *clientBox) AppendCached(dst []byte, uid mailstore.UID, field string) ([]byte, bool) {
	k := factKey{b.n, uid, field}
	v, known := b.c.facts.get(k)
	if !known {
		v = b.askCached(k)
	}
	if !v.ok {
		return dst, false
	}
	return append(dst, v.value...), true
}

func (b *clientBox) askCached(k factKey) (v fact) {
	if b.c.opt.Usable == nil || len(k.field) > maxField {
		return v
	}
	n := b.c.facts.guess(k, b.picture())
	var out cachedList
	if b.asks(opCached, "look", &cachedOf{b.n, k.uid, k.field, n}, &out) != nil {
		return v
	}
	for i := range out.List {
		it := &out.List[i]
		if it.OK && !b.c.opt.Usable(k.field, it.Value) {
			it.OK, it.Value = false, nil
		}
		f := fact{bytes.Clone(it.Value), it.OK}
		b.c.facts.put(factKey{b.n, it.UID, k.field}, f)
		if it.UID == k.uid {
			v = f
		}
	}
	if len(out.List) > 0 {
		b.c.facts.asked(k, out.List[len(out.List)-1].UID)
	}
	return v
}

// PutCached keeps a fact here: the owner's cache is not the guest's to fill.
func (b *clientBox) PutCached(uid mailstore.UID, field string, value []byte) {
	b.mu.Lock()
	closed := b.closed
	b.mu.Unlock()
	if !closed && len(field) <= maxField {
		b.c.facts.put(factKey{b.n, uid, field}, fact{bytes.Clone(value), true})
	}
}

// CachedFields is mailstore.FieldLister's.
func (b *clientBox) CachedFields() []string {
	var out fieldNames
	if b.c.opt.Usable == nil || b.asks(opCachedFields, "look", &handle{b.n}, &out) != nil {
		return nil
	}
	return out.List
}
