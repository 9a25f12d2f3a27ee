package modelclient

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"rookery/internal/numset"
)

// Learn takes the next response. Its error says which rule the server broke.
func (c *Client) Learn(r Response) error {
	err := c.learn(r)
	if err != nil {
		return fmt.Errorf("%w: %s", err, r.Raw)
	}
	return nil
}

func (c *Client) learn(r Response) error {
	switch {
	case r.Tag == "+":
		return nil
	case r.Tag != "*":
		return c.answered(r)
	case r.Condition:
		return c.code(r)
	}
	if !c.underWay() && c.Unasked == Nothing {
		switch r.Name {
		case "EXISTS", "EXPUNGE", "VANISHED", "FETCH", "UIDFETCH", "RECENT", "FLAGS", "LIST", "STATUS", "SEARCH", "ESEARCH":
			return fmt.Errorf("nothing may be told without a command")
		}
	}
	switch r.Name {
	case "EXISTS":
		return c.exists(int(r.Num))
	case "RECENT":
		if c.Rev2 {
			return fmt.Errorf("IMAP4rev2 has no RECENT")
		}
	case "EXPUNGE":
		return c.expunged(int(r.Num))
	case "VANISHED":
		return c.vanished(r)
	case "FETCH":
		return c.fetched(r)
	case "UIDFETCH":
		return c.fetchedByUID(r)
	case "FLAGS":
		return c.flags(r)
	}
	return nil
}

// answered is the end of the command: what it told may be relied on (RFC 7162 §6).
func (c *Client) answered(r Response) error {
	if r.Tag != c.Tag || c.Tagged.Tag != "" {
		return fmt.Errorf("an answer to no command")
	}
	if err := c.code(r); err != nil {
		return err
	}
	if c.selecting() && r.Name != "BAD" {
		if c.next != nil && c.Selected {
			return fmt.Errorf("another mailbox was selected, and no CLOSED came")
		}
		if r.Name == "NO" {
			c.Deselect()
		}
	}
	if (c.Verb == "CLOSE" || c.Verb == "UNSELECT") && r.Name == "OK" {
		c.Commit()
		c.Deselect()
	}
	c.Tagged, c.next = r, nil
	if r.Name == "OK" {
		c.applyQuiet()
	}
	if c.Selected {
		if err := c.place(); err != nil {
			return err
		}
		c.Commit()
	}
	return nil
}

// Commit takes for known what was told up to now.
func (c *Client) Commit() {
	if c.Cache == nil {
		return
	}
	k := c.Cache
	k.Highest = max(k.Highest, c.seen)
	if c.coded > 0 {
		// RFC 7162 §6: "the client MUST use it even if it has seen higher"
		k.Highest = c.coded
	}
	c.seen, c.coded = 0, 0
	k.Validity = c.Validity
	k.Sample = nil
	if !c.UIDOnly {
		k.Sample = slices.Clone(c.Slots)
	}
	whole := !slices.ContainsFunc(c.Slots, func(uid uint32) bool { return uid == 0 || !k.Messages[uid].Known })
	if n := len(c.Slots); n > 0 && whole {
		k.Next = max(k.Next, c.Slots[n-1]+1)
	}
}

// applyQuiet changes flags as the client's own STORE did where nothing else was told.
func (c *Client) applyQuiet() {
	if c.quiet == nil || c.Cache == nil {
		return
	}
	failed := codeSet(c.Tagged.Code, "MODIFIED")
	for _, uid := range c.quiet.UIDs {
		m, ok := c.Cache.Messages[uid]
		told, isTold := c.Told[uid]
		seq := uint32(slices.Index(c.Slots, uid) + 1)
		modified := failed.Contains(uid)
		if !strings.HasPrefix(c.Verb, "UID ") {
			modified = failed.Contains(seq)
		}
		if ok && m.Known && !(isTold && told.Known) && !modified {
			m.Flags = c.quiet.Change(m.Flags)
			c.Cache.Messages[uid] = m
		}
	}
}

// codeSet reads the sequence-set of a response code.
func codeSet(code, name string) (out numset.Set) {
	rest, is := strings.CutPrefix(code, name+" ")
	if !is {
		return out
	}
	if expr, err := numset.Parse([]byte(rest), 1<<16); err == nil {
		out = expr.Resolve(0)
	}
	return out
}

// code learns from a response code.
func (c *Client) code(r Response) error {
	name, args, _ := strings.Cut(r.Code, " ")
	number := func() (uint64, error) {
		n, err := strconv.ParseUint(args, 10, 63)
		if err != nil || n == 0 {
			return 0, fmt.Errorf("no number in the code")
		}
		return n, nil
	}
	switch strings.ToUpper(name) {
	case "CLOSED":
		if !c.selecting() || !c.Selected || c.next == nil {
			return fmt.Errorf("CLOSED, and no mailbox is left")
		}
		c.Deselect()
		c.open()
	case "UIDVALIDITY", "UIDNEXT", "HIGHESTMODSEQ":
		n, err := number()
		if err != nil {
			return err
		}
		switch name {
		case "UIDVALIDITY":
			c.Validity = uint32(n)
			if c.opening && c.Cache.Validity != 0 && c.Cache.Validity != c.Validity {
				*c.Cache = *NewCache()
			}
		case "UIDNEXT":
			c.UIDNext = uint32(n)
		default:
			c.coded = n
		}
	case "PERMANENTFLAGS":
		return c.permanent(args)
	}
	return nil
}

func (c *Client) permanent(args string) error {
	v, err := (&reader{p: []byte(args + "\r\n")}).value(0)
	if err != nil || v.Kind != List {
		return fmt.Errorf("no list of flags")
	}
	c.Permanent = []string{}
	for _, f := range v.List {
		name := strings.ToLower(f.Text)
		if name != `\*` && !c.Keywords[name] {
			return fmt.Errorf("FLAGS has no %s", f.Text)
		}
		c.Permanent = append(c.Permanent, name)
	}
	return nil
}

// flags learns which keywords there are.
func (c *Client) flags(r Response) error {
	if len(r.Data) != 1 || r.Data[0].Kind != List {
		return fmt.Errorf("no list of flags")
	}
	c.Keywords = map[string]bool{}
	for _, f := range r.Data[0].List {
		c.Keywords[strings.ToLower(f.Text)] = true
	}
	return nil
}

func (c *Client) exists(n int) error {
	switch {
	case !c.Selected:
		return fmt.Errorf("no mailbox is selected")
	case n < len(c.Slots):
		return fmt.Errorf("EXISTS goes down from %d", len(c.Slots)) // RFC 3501 §7.3.1, §5.2
	}
	c.Slots = append(c.Slots, make([]uint32, n-len(c.Slots))...)
	return nil
}

// mayExpunge says whether sequence numbers may change now (RFC 3501 §7.4.1, RFC 7162
// §3.2.10.2, RFC 5465 §6.1.2).
func (c *Client) mayExpunge() error {
	switch {
	case !c.Selected:
		return fmt.Errorf("no mailbox is selected")
	case c.underWay():
		switch c.Verb {
		case "FETCH", "STORE", "SEARCH", "SORT", "THREAD":
			return fmt.Errorf("an expunge is told during %s", c.Verb)
		case "SELECT", "EXAMINE":
			return fmt.Errorf("an expunge is told during %s", c.Verb)
		}
	case c.Unasked != AllMessages:
		return fmt.Errorf("an expunge is told while no command is under way")
	}
	return nil
}

func (c *Client) expunged(n int) error {
	if c.Qresync || c.UIDOnly {
		return fmt.Errorf("EXPUNGE instead of VANISHED")
	}
	if err := c.mayExpunge(); err != nil {
		return err
	}
	if n < 1 || n > len(c.Slots) {
		return fmt.Errorf("EXPUNGE of %d messages", len(c.Slots))
	}
	if uid := c.Slots[n-1]; uid > 0 {
		delete(c.Cache.Messages, uid)
		delete(c.Told, uid)
	}
	c.Slots = slices.Delete(c.Slots, n-1, n)
	return nil
}

func (c *Client) vanished(r Response) error {
	if !c.Qresync && !c.UIDOnly {
		return fmt.Errorf("VANISHED was not enabled")
	}
	data, earlier := r.Data, false
	if len(data) == 2 && data[0].Kind == List && len(data[0].List) == 1 && strings.EqualFold(data[0].List[0].Text, "EARLIER") {
		data, earlier = data[1:], true
	}
	if len(data) != 1 {
		return fmt.Errorf("no set of UIDs")
	}
	expr, err := numset.Parse([]byte(data[0].Text), 1<<16)
	if err != nil || expr.HasStar() || expr.HasSaved() {
		return fmt.Errorf("no set of UIDs")
	}
	if earlier {
		return c.vanishedEarlier(expr.Resolve(0))
	}
	if err := c.mayExpunge(); err != nil {
		return err
	}
	for uid := range expr.Resolve(0).All() {
		at := c.slotOf(uid)
		if at < 0 {
			return fmt.Errorf("there is no place for UID %d", uid)
		}
		c.Slots = slices.Delete(c.Slots, at, at+1)
		delete(c.Cache.Messages, uid)
		delete(c.Told, uid)
	}
	return nil
}

// vanishedEarlier drops what went before the connection, which has no number.
func (c *Client) vanishedEarlier(uids numset.Set) error {
	switch {
	case !c.Selected:
		return fmt.Errorf("no mailbox is selected")
	case c.Verb != "UID FETCH" && !(c.selecting() && c.quick):
		return fmt.Errorf("VANISHED (EARLIER) was not asked for")
	case c.selecting() && !c.opening:
		return fmt.Errorf("VANISHED (EARLIER) comes behind FETCH") // RFC 7162 §3.2.5.1
	}
	for _, uid := range c.Slots {
		if uid > 0 && uids.Contains(uid) {
			return fmt.Errorf("VANISHED (EARLIER) of UID %d, which has a number", uid) // RFC 7162 §3.2.10.1
		}
	}
	for uid := range c.Cache.Messages {
		if uids.Contains(uid) {
			delete(c.Cache.Messages, uid)
		}
	}
	return nil
}

// slotOf gives the place of a UID: its own, or an unknown one between its neighbours;
// -1 where there is none.
func (c *Client) slotOf(uid uint32) int {
	if at := slices.Index(c.Slots, uid); at >= 0 {
		return at
	}
	if c.UIDOnly { // unknown ones stand at the end
		return slices.Index(c.Slots, 0)
	}
	unknown := -1
	for at, other := range c.Slots {
		switch {
		case other == 0 && unknown < 0:
			unknown = at
		case other > uid:
			return unknown
		case other > 0:
			unknown = -1
		}
	}
	return unknown
}

// place gives the cache's messages their numbers in a mailbox that was just selected:
// what is left of them stands first.
func (c *Client) place() error {
	if !c.opening {
		return nil
	}
	c.opening = false
	if !c.quick {
		return nil
	}
	known := slices.Sorted(maps.Keys(c.Cache.Messages))
	if len(known) > len(c.Slots) {
		return fmt.Errorf("the client knows of %d messages, the mailbox has %d", len(known), len(c.Slots))
	}
	copy(c.Slots, known)
	return nil
}

func (c *Client) fetched(r Response) error {
	if err := c.place(); err != nil {
		return err
	}
	at := int(r.Num) - 1
	switch {
	case c.UIDOnly:
		return fmt.Errorf("FETCH instead of UIDFETCH")
	case !c.Selected || at < 0 || at >= len(c.Slots):
		return fmt.Errorf("FETCH of %d messages", len(c.Slots))
	}
	items, err := itemsOf(r)
	if err != nil {
		return err
	}
	text, has := items["UID"]
	if !has {
		switch {
		case strings.HasPrefix(c.Verb, "UID ") && c.underWay():
			return fmt.Errorf("no UID in the answer to %s", c.Verb) // RFC 3501 §6.4.8
		case c.underWay() && c.Verb == "FETCH": // it may be what was asked for
		case c.Rev2:
			return fmt.Errorf("no UID in IMAP4rev2's FETCH") // RFC 9051 §7.5.2
		case !c.underWay() && c.Verb != "IDLE":
			return fmt.Errorf("no UID in NOTIFY's FETCH") // RFC 5465 §5.1
		case c.Qresync:
			return fmt.Errorf("no UID in QRESYNC's FETCH") // RFC 7162 §3.2.4
		}
		return c.items(c.Slots[at], items)
	}
	n, err := strconv.ParseUint(text.Text, 10, 32)
	uid := uint32(n)
	if err != nil || uid == 0 {
		return fmt.Errorf("UID %q", text.Text)
	}
	if old := c.Slots[at]; old != 0 && old != uid {
		return fmt.Errorf("message %d was UID %d", at+1, old)
	}
	for i, other := range c.Slots {
		if other > 0 && (i < at && other >= uid || i > at && other <= uid) {
			return fmt.Errorf("UIDs do not ascend: message %d is %d", i+1, other)
		}
	}
	c.Slots[at] = uid
	return c.items(uid, items)
}

func (c *Client) fetchedByUID(r Response) error {
	if err := c.place(); err != nil {
		return err
	}
	if !c.UIDOnly || !c.Selected || r.Num == 0 {
		return fmt.Errorf("UIDFETCH, and UIDONLY was not enabled")
	}
	items, err := itemsOf(r)
	if err != nil {
		return err
	}
	if !slices.Contains(c.Slots, r.Num) {
		at := slices.Index(c.Slots, 0)
		if at < 0 {
			return fmt.Errorf("the client counts no such message")
		}
		c.Slots = slices.Delete(c.Slots, at, at+1)
		at = slices.IndexFunc(c.Slots, func(uid uint32) bool { return uid == 0 || uid > r.Num })
		if at < 0 {
			at = len(c.Slots)
		}
		c.Slots = slices.Insert(c.Slots, at, r.Num)
	}
	return c.items(r.Num, items)
}

// itemsOf reads the list of a FETCH response.
func itemsOf(r Response) (map[string]Value, error) {
	if len(r.Data) != 1 || r.Data[0].Kind != List || len(r.Data[0].List)%2 != 0 {
		return nil, fmt.Errorf("no list of items")
	}
	out := map[string]Value{}
	for i := 0; i < len(r.Data[0].List); i += 2 {
		name := strings.ToUpper(r.Data[0].List[i].Text)
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("%s comes twice", name)
		}
		out[name] = r.Data[0].List[i+1]
	}
	return out, nil
}

// Item gives an item of a FETCH or UIDFETCH response.
func (r Response) Item(name string) (v Value, ok bool) {
	items, err := itemsOf(r)
	if err != nil {
		return v, false
	}
	v, ok = items[name]
	return v, ok
}

// items learns flags and the mod-sequence of a message; uid is 0 where it is not known.
func (c *Client) items(uid uint32, items map[string]Value) error {
	flags, hasFlags := items["FLAGS"]
	modSeq, hasModSeq := items["MODSEQ"]
	switch {
	case hasModSeq && !c.Condstore && !c.MayModSeq:
		return fmt.Errorf("MODSEQ was not asked for")
	case hasFlags && !hasModSeq && c.Condstore:
		return fmt.Errorf("FLAGS without MODSEQ") // RFC 7162 §3.2.4
	}
	var n uint64
	if hasModSeq {
		var err error
		if modSeq.Kind != List || len(modSeq.List) != 1 {
			return fmt.Errorf("no mod-sequence")
		}
		if n, err = strconv.ParseUint(modSeq.List[0].Text, 10, 63); err != nil || n == 0 {
			return fmt.Errorf("no mod-sequence")
		}
	}
	var names []string
	for _, f := range flags.List {
		name := strings.ToLower(f.Text)
		if name == `\recent` && c.Rev2 {
			return fmt.Errorf(`IMAP4rev2 has no \Recent`)
		}
		if name != `\recent` && !c.Keywords[name] {
			return fmt.Errorf("FLAGS has not told of %s", f.Text) // RFC 3501 §7.2.6
		}
		names = append(names, name)
	}
	c.seen = max(c.seen, n)
	if uid == 0 {
		return nil
	}
	m, told := c.Cache.Messages[uid], c.Told[uid]
	if hasModSeq {
		if n < m.ModSeq {
			return fmt.Errorf("MODSEQ of UID %d goes down from %d", uid, m.ModSeq)
		}
		m.ModSeq, told.ModSeq = n, n
	}
	if hasFlags {
		m.Known, m.Flags = true, FlagText(names)
		told.Known, told.Flags = true, m.Flags
		if !hasModSeq {
			m.ModSeq = 0 // of the flags of before
		}
	}
	c.Cache.Messages[uid], c.Told[uid] = m, told
	return nil
}

// Lost says that the connection is gone: of an answer that did not end nothing may be
// taken for a point in time.
func (c *Client) Lost() { c.seen, c.coded, c.Selected = 0, 0, false }
