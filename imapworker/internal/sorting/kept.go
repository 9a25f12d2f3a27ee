package sorting

import (
	"slices"
	"strings"
	"sync"

	"rookery/imapworker/internal/view"
	"rookery/internal/mailstore"
)

// Messages never change, and so an order of all messages of a mailbox holds until
// one is added; it is the same for whoever asks. Clients that show a sorted list
// ask for it again and again, and mostly nothing has come in between.

// maxKept bounds the messages of all orders that a process keeps, 8 bytes for each.
const maxKept = 1 << 19

// maxThreads bounds the bytes of all answers to THREAD that it keeps.
const maxThreads = 4 << 20

// moment names the messages that a client counts. UIDs only ascend: as long as the
// next one is the same none has come, and if there are as many none has gone.
type moment struct {
	mailbox  mailstore.GUID
	validity uint32
	n        int
	next     mailstore.UID
}

func momentOf(v *view.View) moment {
	info, told := v.Box().Info(), v.Told()
	return moment{mailbox: info.GUID, validity: info.UIDValidity, n: told.Len(), next: told.UIDNext()}
}

// keptOrder is the order of all messages of a mailbox by some criteria. It is never
// changed.
type keptOrder struct {
	moment
	by   string          // the criteria
	seqs []uint32        // as they were numbered then
	uids []mailstore.UID // the same messages
}

// keptThread is the answer to a THREAD of all messages.
type keptThread struct {
	moment
	by   string // the algorithm
	uid  bool   // its numbers are UIDs
	text []byte
}

// kept is what a process keeps, for all its sessions; what was used last stands
// last.
type kept struct {
	mu      sync.Mutex
	orders  []*keptOrder
	threads []*keptThread
}

// order gives the order of a mailbox at some moment, maybe an earlier one; nil if
// there is none.
func (k *kept) order(m moment, by string) *keptOrder {
	k.mu.Lock()
	defer k.mu.Unlock()
	at := slices.IndexFunc(k.orders, func(o *keptOrder) bool {
		return o.by == by && o.mailbox == m.mailbox && o.validity == m.validity
	})
	if at < 0 {
		return nil
	}
	o := k.orders[at]
	k.orders = append(slices.Delete(k.orders, at, at+1), o)
	return o
}

// keep puts an order in the place of the one of the same mailbox and criteria,
// unless that is newer: its session was told more.
func (k *kept) keep(o *keptOrder) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(o.seqs) > maxKept {
		return
	}
	if slices.ContainsFunc(k.orders, func(old *keptOrder) bool {
		return old.by == o.by && old.mailbox == o.mailbox && old.validity == o.validity && old.next > o.next
	}) {
		return
	}
	k.orders = slices.DeleteFunc(k.orders, func(old *keptOrder) bool {
		return old.by == o.by && old.mailbox == o.mailbox
	})
	k.orders = newest(append(k.orders, o), maxKept, func(o *keptOrder) int { return len(o.seqs) })
}

// newest leaves what stands last of a list, as much as has room.
func newest[T any](list []T, room int, size func(T) int) []T {
	for i := len(list) - 1; i >= 0; i-- {
		if room -= size(list[i]); room < 0 {
			return slices.Delete(list, 0, i+1)
		}
	}
	return list
}

// thread gives the answer of a moment, nil if there is none.
func (k *kept) thread(m moment, by string, uid bool) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range k.threads {
		if t.moment == m && t.by == by && t.uid == uid {
			return t.text
		}
	}
	return nil
}

func (k *kept) keepThread(t *keptThread) {
	if len(t.text) > maxThreads {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.threads = slices.DeleteFunc(k.threads, func(old *keptThread) bool {
		return old.mailbox == t.mailbox && old.by == t.by && old.uid == t.uid
	})
	k.threads = newest(append(k.threads, t), maxThreads, func(t *keptThread) int { return len(t.text) })
}

// by writes the criteria as a key.
func (c *sortCommand) by() string {
	var b strings.Builder
	for _, one := range c.criteria {
		b.WriteByte(byte(one.key.kind))
		b.WriteByte(byte(one.key.text))
		if one.reverse {
			b.WriteByte('-')
		}
		b.WriteByte(' ')
	}
	return b.String()
}

// sorted gives the sequence numbers in order: those of an order that is kept, if
// there is one.
func (c *sortCommand) sorted(l *looker, seqs []uint32) []uint32 {
	now, by := momentOf(l.ctx.View), c.by()
	all := len(seqs) == now.n
	old := c.kept.order(now, by)
	if old != nil && old.moment != now {
		old = c.renewed(l, old, now)
	}
	switch {
	case old != nil && all:
		return slices.Clone(old.seqs) // the caller's to change
	case old != nil:
		return old.only(seqs)
	}
	order := c.order(l, seqs)
	if all && l.complete() {
		c.kept.keep(newOrder(l.ctx.View, now, by, order))
	}
	return order
}

func newOrder(v *view.View, now moment, by string, seqs []uint32) *keptOrder {
	o := &keptOrder{moment: now, by: by, seqs: slices.Clone(seqs), uids: make([]mailstore.UID, len(seqs))}
	for i, seq := range seqs {
		o.uids[i] = v.UID(seq)
	}
	return o
}

// only gives some of the messages, in order. seqs ascend.
func (o *keptOrder) only(seqs []uint32) []uint32 {
	wanted := make([]bool, o.n+1)
	for _, seq := range seqs {
		wanted[seq] = true
	}
	out := make([]uint32, 0, len(seqs))
	for _, seq := range o.seqs {
		if wanted[seq] {
			out = append(out, seq)
		}
	}
	return out
}

// renewed makes an order of an earlier moment one of now: what has gone is left
// out, what has come is put in at its place. Where much has come it gives nil: to
// sort all is then less work.
func (c *sortCommand) renewed(l *looker, old *keptOrder, now moment) *keptOrder {
	v := l.ctx.View
	first, _ := v.Told().Find(old.next)
	if old.next > now.next || now.n-first > 16+now.n/256 {
		// An earlier one may be newer than what this client was told.
		return nil
	}
	order := make([]uint32, 0, now.n)
	for _, uid := range old.uids {
		if seq, ok := v.Seq(uid); ok {
			order = append(order, seq)
		}
	}
	columns := c.columns()
	rows := map[uint32]int32{}
	row := func(seq uint32) int32 {
		r, ok := rows[seq]
		if !ok {
			r = int32(len(rows))
			rows[seq] = r
			c.fill(columns, l, seq)
		}
		return r
	}
	for seq := uint32(first) + 1; int(seq) <= now.n; seq++ {
		fresh := row(seq)
		// What is alike stays in the mailbox's order: a new one stands behind all.
		at, _ := slices.BinarySearchFunc(order, fresh, func(other uint32, fresh int32) int {
			if compare(columns, row(other), fresh) <= 0 {
				return -1
			}
			return 1
		})
		order = slices.Insert(order, at, seq)
	}
	l.msg.Close()
	if len(order) != now.n || !l.complete() {
		return nil
	}
	o := newOrder(v, now, old.by, order)
	c.kept.keep(o)
	return o
}
