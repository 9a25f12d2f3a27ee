package view

import (
	"slices"

	"rookery/internal/numset"
)

// Live is a search whose client is told what joins its result and what leaves it
// (RFC 5267 §4.3), as long as the mailbox is selected.
type Live interface {
	// Tag is that of the command, which names it.
	Tag() string
	// Sorted reports whether the result has an order of its own, which costs more.
	Sorted() bool
	// Leave tells that messages are gone, by the numbers that the client counts
	// with before it is told of their expunge.
	Leave(ctx *Context, gone numset.Set)
	// Follow tells what else joined and left, by the numbers that the client counts
	// with now.
	Follow(ctx *Context) error
}

// How many live searches a mailbox has at once: each is asked about every change.
// RFC 5267 §4.3.1: at least one per client.
const (
	maxLive   = 16
	maxSorted = 4
)

// Follows reports whether there are live searches.
func (v *View) Follows() bool { return len(v.live) > 0 }

// MayLive reports whether there is room for one more live search.
func (v *View) MayLive(sorted bool) bool {
	n := 0
	for _, l := range v.live {
		if l.Sorted() {
			n++
		}
	}
	return len(v.live) < maxLive && (!sorted || n < maxSorted)
}

// AddLive begins to tell a search's changes. Its tag is no other's: see IsLive.
func (v *View) AddLive(l Live) { v.live = append(v.live, l) }

// IsLive reports whether the search of a command with this tag is live.
func (v *View) IsLive(tag string) bool {
	return slices.ContainsFunc(v.live, func(l Live) bool { return l.Tag() == tag })
}

// DropLive ends the telling for the search of a command, if it is live.
func (v *View) DropLive(tag string) {
	v.live = slices.DeleteFunc(v.live, func(l Live) bool { return l.Tag() == tag })
}

// AnnounceLive is Announce, and tells what it means for the live searches. That
// a message is gone is told before its EXPUNGE, and even where that may not be
// told yet (RFC 5267 §4.3.4, Appendix A.3); what is new is told behind EXISTS and
// FETCH (§4.3.3).
func (v *View) AnnounceLive(ctx *Context, may May) error {
	if len(v.live) == 0 {
		return v.Announce(ctx.Enc, may)
	}
	if !v.unchanged() {
		var gone numset.Set
		for _, pos := range v.diff().expunged {
			gone.Add(v.told.At(pos).UID)
		}
		for _, l := range v.live {
			if !gone.Empty() {
				l.Leave(ctx, gone)
			}
		}
	}
	if err := v.Announce(ctx.Enc, may); err != nil {
		return err
	}
	for _, l := range v.live {
		if err := l.Follow(ctx); err != nil {
			return err
		}
	}
	return nil
}
