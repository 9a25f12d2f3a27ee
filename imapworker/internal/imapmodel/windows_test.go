package imapmodel

import (
	"fmt"
	"slices"
	"strings"

	"rookery/internal/modelclient"
)

// window is a part of a list (RFC 9394 §3.1): positions from one to another, negative
// ones from the end.
type window struct{ from, to int }

func (v window) String() string { return fmt.Sprintf("%d:%d", v.from, v.to) }

// of gives the part of a list, in the list's order.
func (v window) of(list []*message) []*message {
	a, b := min(v.from, v.to), max(v.from, v.to)
	if a < 0 {
		a, b = len(list)+a+1, len(list)+b+1
	}
	return list[min(max(a-1, 0), len(list)):max(min(b, len(list)), 0)]
}

var windows = []window{{1, 3}, {2, 2}, {4, 2}, {-1, -3}, {-4, -2}, {10, 30}, {-20, -30}}

// doPartial is UID FETCH with PARTIAL (RFC 9394 §3.3), with CHANGEDSINCE too.
func doPartial(w *world, c *conn, n [6]uint32) {
	text, list, _ := c.set(true, n[2]|1, n[3])
	if n[4]%2 == 0 {
		text, list = "1:*", slices.Clone(c.shadow)
	}
	part := windows[int(n[4]/2)%len(windows)]
	c.do(fmt.Sprintf("UID FETCH %s (RFC822.SIZE) (PARTIAL %s)", text, part), func(a *answer) {
		c.wantFetch(a, false)
		want := part.of(list)
		if len(live(list)) < len(list) || a.tagged.Name != "OK" {
			return
		}
		var got []*message
		for _, r := range a.all {
			if _, is := r.Item("RFC822.SIZE"); !is {
				continue // news of flags
			}
			uid := r.Name == "UIDFETCH"
			got = append(got, c.named(fmt.Sprint(r.Num), uid)...)
		}
		if !slices.Equal(uidsOf(got), uidsOf(want)) {
			c.fail("UIDs %d, want %d", uidsOf(got), uidsOf(want))
		}
	})
}

// doBatches is UIDBATCHES (RFC 10022): ranges of UIDs that hold so many messages each,
// the newest first, without gaps.
func doBatches(w *world, c *conn, n [6]uint32) {
	size := []uint32{10, 11, 13, 20, 500, 5, 0}[n[2]%7]
	command := fmt.Sprintf("UIDBATCHES %d", size)
	first, last := uint32(1), ^uint32(0)
	if n[3]%2 == 0 {
		first, last = 1+n[3]/2%3, 1+n[3]/8%3
		command += fmt.Sprintf(" %d:%d", first, last)
	}
	c.do(command, func(a *answer) {
		switch {
		case size == 0 || last < first:
			c.want(a, "BAD CLIENTBUG")
			return
		case size < 10:
			c.want(a, "NO TOOFEW")
			return
		}
		c.want(a, "OK")
		var want []string
		upper := uint32(0)
		if len(c.shadow) > 0 {
			upper = c.shadow[len(c.shadow)-1].uid
		}
		for k, end := uint32(1), len(c.shadow); end > 0; k++ { // end: behind the batch's newest message
			from, lower := max(end-int(size), 0), uint32(1)
			if from > 0 {
				lower = c.shadow[from].uid
			}
			if k >= first && k <= last {
				want = append(want, spanText(upper, lower))
			}
			upper, end = lower-1, from
		}
		c.checkBatches(a, strings.Join(want, ","))
	})
}

func spanText(upper, lower uint32) string {
	if upper == lower {
		return fmt.Sprint(upper)
	}
	return fmt.Sprintf("%d:%d", upper, lower)
}

func (c *conn) checkBatches(a *answer, want string) {
	at := slices.IndexFunc(a.all, func(r modelclient.Response) bool { return r.Name == "UIDBATCHES" })
	if at < 0 {
		c.fail("no UIDBATCHES response")
	}
	r := a.all[at]
	got := ""
	if len(r.Data) == 2 {
		got = r.Data[1].Text
	}
	if tag, _ := eSearchTag(r); tag != c.client.Tag || got != want {
		c.fail("%s, want %s", r.Raw, want)
	}
}
