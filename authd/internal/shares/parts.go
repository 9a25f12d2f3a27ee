package shares

import (
	"time"

	"rookery/internal/errkind"
	"rookery/internal/ipc/redeemmsg"
)

// Bounds of what is not whole yet: an owner's list comes in parts, and the process
// that tells it may end in between.
const (
	maxOpen    = 1024             // owners
	maxOpenAll = 64 << 20         // octets of all
	openLimit  = 30 * time.Second // since the first part
)

// Parts joins the parts of owners' lists. One goroutine uses it.
type Parts struct {
	open  map[string]*opened // by owner
	total int
}

type opened struct {
	source uint64
	since  time.Time
	size   int
	boxes  []redeemmsg.Published
}

// NewParts makes one that has nothing.
func NewParts() *Parts { return &Parts{open: map[string]*opened{}} }

// Add takes a part; whole is true when it was the last, and boxes is the list then.
// A first part of another process of the owner takes the place of what had come.
// errkind: Invalid (a part without its first), Limit.
func (p *Parts) Add(m *redeemmsg.Publish, now time.Time) (boxes []redeemmsg.Published, whole bool, err error) {
	if m.First && m.Last {
		p.drop(m.Owner)
		return m.Boxes, true, nil
	}
	o := p.open[m.Owner]
	if m.First {
		p.drop(m.Owner)
		p.expire(now)
		o = &opened{source: m.Source, since: now}
		if len(p.open) >= maxOpen {
			return nil, false, errkind.Newf("list of shares", errkind.Limit, "too many lists of shares are being told at once")
		}
		p.open[m.Owner] = o
	}
	if o == nil || o.source != m.Source {
		return nil, false, invalid("a part of a list whose beginning has not come")
	}
	size := 0
	for _, b := range m.Boxes {
		size += redeemmsg.PublishedSize(b)
	}
	o.size += size
	p.total += size
	if o.size > redeemmsg.MaxOwnerBytes || len(o.boxes)+len(m.Boxes) > redeemmsg.MaxOwnerBoxes || p.total > maxOpenAll {
		p.drop(m.Owner)
		return nil, false, errkind.Newf("list of shares", errkind.Limit, "the list of shares is too large")
	}
	o.boxes = append(o.boxes, m.Boxes...)
	if m.Last {
		p.drop(m.Owner)
		return o.boxes, true, nil
	}
	return nil, false, nil
}

func (p *Parts) drop(owner string) {
	if o := p.open[owner]; o != nil {
		p.total -= o.size
		delete(p.open, owner)
	}
}

func (p *Parts) expire(now time.Time) {
	for owner, o := range p.open {
		if now.Sub(o.since) > openLimit {
			p.drop(owner)
		}
	}
}
