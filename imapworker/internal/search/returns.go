package search

import (
	"slices"
	"strings"

	"rookery/imapworker/internal/view"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// result says what of a search's outcome is told (RFC 4731 §3.1, RFC 9394 §3.1).
type result uint8

const (
	rMin result = 1 << iota
	rMax
	rAll
	rCount
	rPartial
)

var results = map[string]result{"MIN": rMin, "MAX": rMax, "ALL": rAll, "COUNT": rCount, "PARTIAL": rPartial}

// options are search-return-opts.
type options struct {
	extended bool // RETURN was given: the answer is ESEARCH
	want     result
	window   numset.Window // of rPartial
	save     bool          // "$" becomes what was found (RFC 5182)
	update   bool          // changes of the outcome are told (RFC 5267 §4.3)
	items    []byte        // FETCH items to tell of new messages then (RFC 5465 §7): a list as it came
	context  bool          // a hint that nothing here depends on (RFC 5267 §4.2)
}

// returns reads search-return-opts; "()" is the same as "(ALL)" (RFC 4731 §3.1).
//
//	search-return-opt = "MIN" / "MAX" / "ALL" / "COUNT"     RFC 4731 §4
//	                  / "SAVE"                              RFC 5182 §3
//	                  / "CONTEXT" / "UPDATE"                RFC 5267 §5
//	                  / "PARTIAL" SP partial-range          RFC 9394 §4
//	modifier-update   = "UPDATE" [ "(" fetch-att *(SP fetch-att) ")" ]   RFC 5465 §8
//
// The example in RFC 5465 §7 has a space behind UPDATE, the grammar has none: both
// are taken.
func (c *command) returns(d *imapwire.Decoder) bool {
	o := &c.options
	var word string
	ok := d.WantEmptyList(func() bool {
		if word == "UPDATE" && d.Peek() == '(' {
			return c.wantItems(d)
		}
		if !d.WantWord(&word) {
			return false
		}
		switch word = strings.ToUpper(word); word {
		case "SAVE":
			o.save = true
			return true
		case "UPDATE":
			o.update = true
			return d.Peek() != '(' || c.wantItems(d)
		case "CONTEXT":
			o.context = true
			return true
		}
		r, ok := results[word]
		if !ok {
			return d.Fail("a return option")
		}
		if both := o.want | r; both&rPartial != 0 && both&rAll != 0 || o.want&r&rPartial != 0 {
			// RFC 9394 §3.1: "either one PARTIAL, one ALL, or neither"
			return d.Fail("PARTIAL or ALL, once")
		}
		o.want |= r
		return r != rPartial || d.WantSP() && d.WantWindow(&o.window)
	})
	if o.want == 0 && !o.save && !o.update && !o.context {
		o.want = rAll
	}
	return ok
}

// wantItems reads the FETCH items of UPDATE.
func (c *command) wantItems(d *imapwire.Decoder) bool {
	raw, ok := d.RawList()
	if !ok || c.items != nil || c.cfg.FetchItems == nil || !c.cfg.FetchItems(raw) {
		return d.Fail("FETCH items, once")
	}
	c.items = slices.Clone(raw)
	return true
}

// quiet reports whether nothing is answered: "In absence of any other SEARCH
// result option, the SAVE result option also suppresses any SEARCH response"
// (RFC 5182 §1).
func (o *options) quiet() bool { return o.save && o.want == 0 && !o.update && !o.context }

// enough is how many messages need be found, 0 if all, and whether those that
// stand last in the mailbox.
func (o *options) enough() (n uint64, last bool) {
	if !o.extended || o.update || o.want == 0 || o.want&^(rMin|rMax|rPartial) != 0 {
		return 0, false
	}
	last = o.want&rMax != 0 || o.want&rPartial != 0 && o.window.Back
	if last && (o.want&rMin != 0 || o.want&rPartial != 0 && !o.window.Back) {
		return 0, false
	}
	n = 1
	if o.want&rPartial != 0 {
		n = uint64(max(o.window.A, o.window.B))
	}
	return n, last
}

// named gives those of the messages that were found, in the order of the answer,
// that it is about: where only some are told, these (RFC 4731 §3.2). They are what
// is saved, too (RFC 5182 §2.4, RFC 9394 §3.2).
func (o *options) named(seqs []uint32) []uint32 {
	const some = rMin | rMax | rPartial
	if !o.extended || o.want&some == 0 || o.want&^some != 0 || len(seqs) == 0 {
		return seqs
	}
	var out []uint32
	if o.want&rMin != 0 {
		out = append(out, seqs[0])
	}
	if o.want&rPartial != 0 {
		from, to := o.window.Of(len(seqs))
		out = append(out, seqs[from:to]...)
	}
	if o.want&rMax != 0 {
		out = append(out, seqs[len(seqs)-1])
	}
	return out
}

// begin refuses a command that may not be carried out, before it has any effect.
func (o *options) begin(ctx *view.Context) (refused view.Reply, ok bool) {
	if o.update && ctx.View.IsLive(ctx.Tag) {
		// RFC 5267 §4.3: "SHALL result in the server rejecting the searching
		// command with a BAD response"
		return view.Bad("Tag reuse: a search with this tag tells its changes."), false
	}
	return view.Reply{}, true
}

// end notes how the command ended: one with SAVE whose answer is NO empties what
// was saved, BAD leaves it (RFC 5182 §2.1).
func (o *options) end(ctx *view.Context, reply view.Reply, err error) {
	if o.save && (err != nil || reply.Cond == imapwire.NO) {
		ctx.View.Save(numset.Set{})
	}
}

// keep saves what was found.
func (o *options) keep(ctx *view.Context, seqs []uint32) {
	if o.save {
		ctx.View.Save(uidsOf(ctx.View, o.named(seqs)))
	}
}

// uidsOf gives the UIDs of sequence numbers in any order.
func uidsOf(v *view.View, seqs []uint32) numset.Set {
	if !slices.IsSorted(seqs) {
		seqs = slices.Sorted(slices.Values(seqs))
	}
	var out numset.Set
	for _, seq := range seqs {
		out.Add(v.UID(seq))
	}
	return out
}

// head is how the ESEARCH responses of a command begin: with what tells them from
// others (RFC 4466 §2.6.2, RFC 7377 §2.1).
type head struct {
	tag      string
	uid      bool
	mailbox  string // "" where one is not named
	validity uint32 // its UIDVALIDITY
}

func (h *head) write(enc *imapwire.Encoder) {
	enc.Untagged().Atom("ESEARCH").SP().Open().Atom("TAG").SP().Quoted(h.tag)
	if h.mailbox != "" {
		enc.SP().Atom("MAILBOX").SP().Mailbox(h.mailbox).SP().Atom("UIDVALIDITY").SP().Num(h.validity)
	}
	enc.Close()
	if h.uid {
		enc.SP().Atom("UID")
	}
}

// outcome is what a command has found: sequence numbers in the order of its
// answer, which is the mailbox's unless sorted.
type outcome struct {
	seqs   []uint32
	sorted bool
}

// numbers gives what the client calls messages, in memory that may be changed.
func numbers(v *view.View, seqs []uint32, uid bool) []uint32 {
	if !uid {
		return seqs
	}
	out := make([]uint32, len(seqs))
	for i, seq := range seqs {
		out[i] = v.UID(seq)
	}
	return out
}

// set writes numbers as a sequence-set.
func (o *outcome) set(enc *imapwire.Encoder, numbers []uint32) {
	if o.sorted {
		enc.Append(numset.AppendOrdered(nil, numbers))
		return
	}
	enc.Set(numset.FromSorted(numbers))
}

// writeExtended writes ESEARCH (RFC 4731 §3.1; RFC 5267 §3.1: of a sorted outcome
// MIN is the first, MAX the last).
func (c *command) writeExtended(ctx *view.Context, h head, found outcome) {
	enc, highest := ctx.Enc, c.highestOf(ctx.View, found.seqs)
	nums := numbers(ctx.View, found.seqs, h.uid)
	h.write(enc)
	if len(nums) > 0 {
		if c.want&rMin != 0 {
			enc.SP().Atom("MIN").SP().Num(nums[0])
		}
		if c.want&rMax != 0 {
			enc.SP().Atom("MAX").SP().Num(nums[len(nums)-1])
		}
		if c.want&rAll != 0 {
			found.set(enc.SP().Atom("ALL").SP(), nums)
		}
	}
	if c.want&rPartial != 0 {
		enc.SP().Atom("PARTIAL").SP().Open().Append(c.window.AppendTo(nil)).SP()
		if from, to := c.window.Of(len(nums)); from < to {
			found.set(enc, nums[from:to])
		} else {
			enc.Nil()
		}
		enc.Close()
	}
	if c.want&rCount != 0 {
		enc.SP().Atom("COUNT").SP().Num(uint32(len(nums)))
	}
	if highest > 0 {
		enc.SP().Atom("MODSEQ").SP().Num64(highest)
	}
	enc.CRLF()
}

// writeHighest writes SP search-sort-mod-seq, if there is one (RFC 7162 §7).
func writeHighest(enc *imapwire.Encoder, highest uint64) {
	if highest > 0 {
		enc.SP().Open().Atom("MODSEQ").SP().Num64(highest).Close()
	}
}

// highestOf gives the highest mod-sequence of the messages that the answer names
// (RFC 4731 §3.2). It is 0, and not told, where MODSEQ was no key or nothing was
// found.
func (c *command) highestOf(v *view.View, seqs []uint32) (highest uint64) {
	if !c.modSeq {
		return 0
	}
	for _, seq := range c.named(seqs) {
		e, _, _ := v.Entry(v.UID(seq))
		highest = max(highest, v.ModSeqOf(e))
	}
	return highest
}

// follow makes a live search of one that was answered, where UPDATE asked for it:
// its client is told from now on what joins the outcome and what leaves it. order
// is the command's own, nil for the mailbox's.
func (c *command) follow(ctx *view.Context, h head, found outcome, order Order) {
	if !c.update {
		return
	}
	if !ctx.View.MayLive(found.sorted) {
		refuseUpdate(ctx.Enc, h.tag)
		return
	}
	ctx.View.AddLive(newLive(c, ctx, h, found, order))
}

// refuseUpdate says that no changes will be told (RFC 5267 §4.3.1). A tag with "]"
// cannot stand in a response code.
func refuseUpdate(enc *imapwire.Encoder, tag string) {
	code := imapwire.Code{Name: "NOUPDATE", Args: `"` + tag + `"`}
	if strings.Contains(tag, "]") {
		code = imapwire.Code{}
	}
	enc.Status("", imapwire.NO, code, "Too many searches tell their changes.")
}

// uidNext is where messages begin that a view's client does not know yet.
func uidNext(v *view.View) mailstore.UID { return v.Told().UIDNext() }
