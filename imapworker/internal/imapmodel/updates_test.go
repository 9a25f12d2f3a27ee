package imapmodel

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"rookery/internal/modelclient"
)

// update is a search whose client is told what joins its result and what leaves it
// (RFC 5267 §4.3).
type update struct {
	key     key
	uid     bool
	compare func(a, b *header) int // nil for the mailbox's order
	in      map[*message]bool      // the result, as the client was told
	list    []*message             // and its order, where it has one
}

// maxUpdates is how many a client has before it cancels one.
const maxUpdates = 3

// doUpdate is SEARCH RETURN (UPDATE), and CANCELUPDATE.
func doUpdate(w *world, c *conn, n [6]uint32) {
	if tags := slices.Sorted(maps.Keys(c.updates)); len(tags) >= maxUpdates || len(tags) > 0 && n[4]%5 == 0 {
		tag := tags[int(n[1])%len(tags)]
		c.do(fmt.Sprintf("CANCELUPDATE %q", tag), func(a *answer) {
			c.want(a, "OK")
			// What the command itself had to tell may be the last.
			delete(c.updates, tag)
		})
		return
	}
	uid, prefix := c.byUID(n[1])
	u := &update{key: searchKey(n[2]), uid: uid, in: map[*message]bool{}}
	command := prefix + "SEARCH RETURN (UPDATE ALL) " + u.key.text
	if n[3]%3 == 0 { // RFC 5267, CONTEXT=SORT
		var text string
		text, u.compare = pickOrder(n[3] / 3)
		command = fmt.Sprintf("%sSORT RETURN (UPDATE ALL) %s UTF-8 %s", prefix, text, u.key.text)
	}
	c.do(command, func(a *answer) {
		c.want(a, "OK")
		if _, refused := a.code("NOUPDATE"); refused {
			c.fail("NOUPDATE, with %d searches", len(c.updates))
		}
		if u.compare == nil {
			c.checkSearch(a, uid, " RETURN (ALL)", u.key)
		}
		for _, r := range a.all {
			for i, v := range r.Data {
				if c.answers(r) && v.Text == "ALL" {
					u.join(c, 0, c.named(r.Data[i+1].Text, uid))
				}
			}
		}
		if c.updates == nil {
			c.updates = map[string]*update{}
		}
		c.updates[c.client.Tag] = u
	})
}

// join puts messages into the result, from a place on.
func (u *update) join(c *conn, at int, list []*message) {
	for _, m := range list {
		if u.in[m] {
			c.fail("UID %d joins a second time", m.uid)
		}
		u.in[m] = true
	}
	if u.compare == nil {
		return
	}
	if at < 0 || at > len(u.list) {
		c.fail("place %d of a result of %d", at+1, len(u.list))
	}
	u.list = slices.Insert(u.list, at, list...)
}

// leave takes messages out of the result, from a place on.
func (u *update) leave(c *conn, at int, list []*message) {
	for _, m := range list {
		if !u.in[m] {
			c.fail("UID %d leaves, and is not there", m.uid)
		}
		delete(u.in, m)
	}
	if u.compare == nil {
		return
	}
	if at < 0 || at+len(list) > len(u.list) || !slices.Equal(u.list[at:at+len(list)], list) {
		c.fail("UIDs %d leave from place %d of %d", uidsOf(list), at+1, uidsOf(u.list))
	}
	u.list = slices.Delete(u.list, at, at+len(list))
}

// named gives the messages of a set of numbers, in its order, as the client counts now.
func (c *conn) named(set string, uid bool) (out []*message) {
	for _, text := range c.ordered(set) {
		n := c.number(text)
		at := int(n) - 1
		if uid {
			at = slices.IndexFunc(c.shadow, func(m *message) bool { return m.uid == n })
		}
		if at < 0 || at >= len(c.shadow) {
			c.fail("%d is named, and nothing has that number", n)
		}
		out = append(out, c.shadow[at])
	}
	return out
}

// toldUpdate takes in what joined a search's result and what left it.
func (c *conn) toldUpdate(r modelclient.Response) {
	tag, news := eSearchTag(r)
	if !news {
		return
	}
	u := c.updates[tag]
	if u == nil {
		c.fail("news of a search that is over: %s", r.Raw)
	}
	if isUID := slices.ContainsFunc(r.Data, func(v modelclient.Value) bool { return v.Kind == modelclient.Atom && v.Text == "UID" }); isUID != u.uid {
		c.fail("UID or not: %s", r.Raw)
	}
	for i := 1; i+1 < len(r.Data); i++ {
		joins := r.Data[i].Text == "ADDTO"
		if !joins && r.Data[i].Text != "REMOVEFROM" {
			continue
		}
		pairs := r.Data[i+1].List
		if len(pairs) == 0 || len(pairs)%2 != 0 {
			c.fail("%s", r.Raw)
		}
		for j := 0; j < len(pairs); j += 2 {
			place, err := strconv.Atoi(pairs[j].Text)
			if err != nil || (place == 0) != (u.compare == nil) {
				c.fail("%s", r.Raw)
			}
			if list := c.named(pairs[j+1].Text, u.uid); joins {
				u.join(c, place-1, list)
			} else {
				u.leave(c, place-1, list)
			}
		}
	}
}

// leaves checks that each search was told before a message's expunge (RFC 5267 §4.3.4).
func (c *conn) leaves(m *message) {
	for tag, u := range c.updates {
		if u.in[m] {
			c.fail("UID %d is expunged, and the search of %s still has it", m.uid, tag)
		}
		delete(u.in, m)
	}
}

// checkUpdates compares the searches' results with what they look for, once the client
// knows all of the mailbox.
func (c *conn) checkUpdates() {
	for tag, u := range c.updates {
		for _, m := range c.box.messages {
			if is := u.key.is(m, c.now(m)); is != u.in[m] {
				c.fail("the search of %s, %s, has UID %d: %t, should: %t", tag, u.key.text, m.uid, u.in[m], is)
			}
		}
		if u.compare != nil && !slices.Equal(u.list, u.sorted(c.box)) {
			c.fail("the search of %s has the order %d, should have %d", tag, uidsOf(u.list), uidsOf(u.sorted(c.box)))
		}
	}
}

// sorted gives those of a mailbox's messages that are in the result, in its order.
func (u *update) sorted(b *mailbox) (out []*message) {
	var list []header
	for i, m := range b.messages {
		if u.in[m] {
			h := headerOf(m.body)
			h.at = i
			list = append(list, h)
		}
	}
	slices.SortFunc(list, func(a, b header) int { return u.compare(&a, &b) })
	for _, h := range list {
		out = append(out, b.messages[h.at])
	}
	return out
}
