// Package thread puts messages into threads, as THREAD answers them (RFC 5256
// §3): by subject, by references, and by references alone (REFS).
//
// The session machine uses it. It is pure: it sees identifiers, subjects and
// dates, never a message or a mailbox. Its memory is some 100 bytes a message
// and what the answer takes; no recursion goes as deep as a thread.
package thread

import (
	"cmp"
	"crypto/sha256"
	"slices"
)

// ID stands for a message identifier: two are the same if their IDs are. The
// zero ID is that of a message without one.
type ID [16]byte

// NewID gives the ID of a message identifier in its normal form, as
// message.MessageIDs gives it.
func NewID(id string) ID {
	sum := sha256.Sum256([]byte(id))
	return ID(sum[:16])
}

// Message is what a thread is made by.
type Message struct {
	Num     uint32 // what the answer calls it: a sequence number or a UID
	Sent    int64  // the sent date of RFC 5256 §2.2, Unix seconds
	Subject string // the base subject, folded by its collation
	Reply   bool   // the subject had marks of a reply or a forward
	ID      ID
	Refs    []ID // its ancestors, the parent last
}

// node is a place in the forest. Numbers of nodes are indices; none is -1. The
// nodes of the messages come first, in their order, then those of the dummies.
type node struct {
	parent, child, last, prev, next int32
	set                             int32 // of the nodes that were ever linked with each other
	dead                            bool
}

const none = -1

// Forest is the answer's threads.
type Forest struct {
	msgs  []Message // in the order of the mailbox
	nodes []node
	roots []int32
}

// OrderedSubject threads by subject alone. msgs are in the mailbox's order.
func OrderedSubject(msgs []Message) *Forest {
	f := newForest(msgs)
	order := make([]int32, len(msgs))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(msgs[a].Subject, msgs[b].Subject), cmp.Compare(msgs[a].Sent, msgs[b].Sent))
	})
	var root int32 = none
	for _, n := range order {
		if root != none && msgs[root].Subject == msgs[n].Subject {
			f.attach(n, root)
			continue
		}
		root = n
		f.roots = append(f.roots, n)
	}
	f.bySent(f.roots)
	return f
}

// References threads by References and In-Reply-To, and then by subject
// (RFC 5256 §3, THREAD=REFERENCES). msgs are in the mailbox's order.
func References(msgs []Message) *Forest {
	f := linked(msgs)
	f.bySent(f.roots) // (4)
	f.gather()        // (5)
	f.sortChildren()  // (6)
	f.bySent(f.roots)
	return f
}

// Refs threads by references alone; threads stand in the order of their newest
// message (THREAD=REFS, as other servers have it).
func Refs(msgs []Message) *Forest {
	f := linked(msgs)
	f.sortChildren()
	newest := make(map[int32]int64, len(f.roots))
	for _, r := range f.roots {
		newest[r] = f.newest(r)
	}
	slices.SortStableFunc(f.roots, func(a, b int32) int {
		return cmp.Or(cmp.Compare(newest[a], newest[b]), cmp.Compare(f.first(a), f.first(b)))
	})
	return f
}

func newForest(msgs []Message) *Forest {
	f := &Forest{msgs: msgs, nodes: make([]node, 0, len(msgs)+len(msgs)/4)}
	for range msgs {
		f.add()
	}
	return f
}

// linked does the steps 1 to 3.
func linked(msgs []Message) *Forest {
	f := newForest(msgs)
	byID := make(map[ID]int32, len(msgs))
	for i, m := range msgs {
		if _, twice := byID[m.ID]; m.ID != (ID{}) && !twice {
			byID[m.ID] = int32(i)
		}
	}
	for i, m := range msgs {
		f.ancestry(int32(i), m.Refs, byID)
	}
	f.prune()
	return f
}

// ancestry links a message's references with each other (1.A) and the message
// with the last of them (1.B).
func (f *Forest) ancestry(n int32, refs []ID, byID map[ID]int32) {
	parent := int32(none)
	for _, id := range refs {
		ref, ok := byID[id]
		if !ok {
			ref = f.add()
			byID[id] = ref
		}
		if parent != none && f.nodes[ref].parent == none && !f.loops(ref, parent) {
			f.attach(ref, parent)
		}
		parent = ref
	}
	f.detach(n)
	if parent != none && !f.loops(n, parent) {
		f.attach(n, parent)
	}
}

// add makes a node of its own.
func (f *Forest) add() int32 {
	n := int32(len(f.nodes))
	f.nodes = append(f.nodes, node{parent: none, child: none, last: none, prev: none, next: none, set: n})
	return n
}

func (f *Forest) dummy(n int32) bool { return int(n) >= len(f.msgs) }

// loops reports whether n, made a child of parent, would be its own ancestor.
// The climb is as long as the thread is deep, and needed only if n has children
// and the two have met before.
func (f *Forest) loops(n, parent int32) bool {
	if n == parent {
		return true
	}
	if f.nodes[n].child == none || f.find(n) != f.find(parent) {
		return false
	}
	for p := parent; p != none; p = f.nodes[p].parent {
		if p == n {
			return true
		}
	}
	return false
}

// find gives the set of a node, and makes the way there half as long.
func (f *Forest) find(n int32) int32 {
	for f.nodes[n].set != n {
		f.nodes[n].set = f.nodes[f.nodes[n].set].set
		n = f.nodes[n].set
	}
	return n
}

// attach makes n, which has no parent, the last child of parent.
func (f *Forest) attach(n, parent int32) {
	last := f.nodes[parent].last
	if last != none {
		f.nodes[last].next = n
	} else {
		f.nodes[parent].child = n
	}
	f.nodes[parent].last = n
	f.nodes[n].parent, f.nodes[n].prev, f.nodes[n].next = parent, last, none
	f.nodes[f.find(n)].set = f.find(parent)
}

// detach takes n from its parent, if it has one.
func (f *Forest) detach(n int32) {
	gone := f.nodes[n]
	if gone.parent == none {
		return
	}
	if gone.prev != none {
		f.nodes[gone.prev].next = gone.next
	} else {
		f.nodes[gone.parent].child = gone.next
	}
	if gone.next != none {
		f.nodes[gone.next].prev = gone.prev
	} else {
		f.nodes[gone.parent].last = gone.prev
	}
	f.nodes[n].parent, f.nodes[n].prev, f.nodes[n].next = none, none, none
}

// children gives the children of n, in order.
func (f *Forest) children(n int32) []int32 {
	var list []int32
	for c := f.nodes[n].child; c != none; c = f.nodes[c].next {
		list = append(list, c)
	}
	return list
}

// adopt makes list the children of n, in this order.
func (f *Forest) adopt(n int32, list []int32) {
	f.nodes[n].child, f.nodes[n].last = none, none
	for _, c := range list {
		f.attach(c, n)
	}
}

// deepFirst gives all nodes of a thread, children before their parents.
func (f *Forest) deepFirst(root int32) []int32 {
	list := []int32{root}
	for i := 0; i < len(list); i++ {
		list = append(list, f.children(list[i])...)
	}
	slices.Reverse(list)
	return list
}

// prune removes the dummies but for those at the top that hold several children
// together, and gathers the roots (steps 2 and 3).
func (f *Forest) prune() {
	for n := range int32(len(f.nodes)) {
		if f.nodes[n].parent != none {
			continue
		}
		for _, d := range f.deepFirst(n) {
			f.pruneNode(d)
		}
		switch kids := f.children(n); {
		case !f.dummy(n):
			f.roots = append(f.roots, n)
		case len(kids) == 0:
			f.nodes[n].dead = true
		case len(kids) == 1:
			f.detach(kids[0])
			f.nodes[n].dead = true
			f.roots = append(f.roots, kids[0])
		default:
			f.roots = append(f.roots, n)
		}
	}
}

// pruneNode puts the children of n's dummies in the dummies' places. What lies
// deeper has been pruned.
func (f *Forest) pruneNode(n int32) {
	kids := f.children(n)
	if !slices.ContainsFunc(kids, f.dummy) {
		return
	}
	var kept []int32
	for _, c := range kids {
		if f.dummy(c) {
			f.nodes[c].dead = true
			kept = append(kept, f.children(c)...)
			continue
		}
		kept = append(kept, c)
	}
	f.adopt(n, kept)
}

// first gives the message that a node is sorted by, and that its thread has its
// subject from: itself, or a dummy's first child.
func (f *Forest) first(n int32) int32 {
	for f.dummy(n) {
		n = f.nodes[n].child
	}
	return n
}

// bySent sorts nodes by sent date, and by the mailbox's order where it is the
// same (RFC 5256 §2.2). The children of dummies are sorted first.
func (f *Forest) bySent(list []int32) {
	for _, n := range list {
		if f.dummy(n) {
			kids := f.children(n)
			f.bySent(kids) // which are no dummies
			f.adopt(n, kids)
		}
	}
	slices.SortFunc(list, func(a, b int32) int {
		a, b = f.first(a), f.first(b)
		return cmp.Or(cmp.Compare(f.msgs[a].Sent, f.msgs[b].Sent), cmp.Compare(a, b))
	})
}

// sortChildren sorts every set of siblings below the roots.
func (f *Forest) sortChildren() {
	for n := range int32(len(f.nodes)) {
		if f.nodes[n].dead || f.nodes[n].child == f.nodes[n].last {
			continue
		}
		kids := f.children(n)
		f.bySent(kids)
		f.adopt(n, kids)
	}
}

// newest gives the sent date of a thread's newest message.
func (f *Forest) newest(root int32) int64 {
	newest := f.msgs[f.first(root)].Sent
	for _, n := range f.deepFirst(root) {
		if !f.dummy(n) {
			newest = max(newest, f.msgs[n].Sent)
		}
	}
	return newest
}
