package fetch

import (
	"errors"
	"fmt"

	"rookery/imapworker/internal/opened"
	"rookery/imapworker/internal/view"
	"rookery/internal/errkind"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/message"
	"rookery/internal/numset"
)

const (
	// seenBatch is how many messages are marked as seen at once: few enough that a
	// client that goes away in the middle has not marked its whole mailbox.
	seenBatch = 64
	// batch is how many are looked up at once where none is marked.
	batch = 256
	// few responses need no large buffer.
	few = 20
)

// run is a FETCH under way.
type run struct {
	*command
	ctx     *view.Context
	box     mailstore.Mailbox
	parser  message.Parser
	flags   view.FlagTexts
	labels  [][]byte            // of sections: what stands before their bytes
	fields  []*message.FieldSet // of sections, nil for those that are not of header fields
	changed numset.Set          // of this batch: \Seen was set
	gone    bool                // a message that was named is not there any more
	unknown bool                // a transfer encoding that BINARY cannot decode
	sized   bool                // BINARY.SIZE is asked for
	checked opened.Message      // for a look at transfer encodings beforehand
	mailbox []byte              // the item X-MAILBOX
	lazily  int                 // previews that were made although PREVIEW is lazy
	done    uint64              // messages so far
	goal    uint64              // all that were named
	broken  error               // the first message that could not be read
}

// Run answers the command.
func (c *command) Run(ctx *view.Context) (view.Reply, error) {
	seqs, err := ctx.View.Seqs(c.set, ctx.UID)
	if err != nil {
		return view.Bad("Message number beyond the last message."), nil
	}
	if c.vanished && !ctx.QResync {
		// RFC 7162 §3.2.6: "MUST respond with a tagged BAD response"; it enables nothing.
		return view.Bad("VANISHED needs ENABLE QRESYNC."), nil
	}
	if c.window.A > 0 {
		if ctx.Limit > 0 && c.window.Size() > ctx.Limit {
			return ctx.TooMany(), nil // RFC 9738 §3.1: "refuses to do any work in this case"
		}
		// Before CHANGEDSINCE, which chooses among these (RFC 9394 §3.4).
		seqs = within(seqs, c.window)
	}
	seqs = ctx.Within(seqs)
	if c.atts&attModSeq != 0 {
		if refused, ok := ctx.NeedModSeqs(); !ok {
			return refused, nil
		}
	}
	if ctx.View.ModSeqs() && c.atts&attFlags != 0 {
		// Flags never come alone to who keeps mod-sequences (RFC 7162 §3.1: "MUST
		// then include mod-sequence data in all subsequent untagged FETCH responses").
		c.atts |= attModSeq
	}
	r := &run{command: c, ctx: ctx, box: ctx.View.Box(), goal: seqs.Len()}
	if seqs.Len() > few {
		ctx.Enc.Reserve()
	}
	if ctx.Enc.Options.UIDOnly && !c.askedUID {
		c.atts &^= attUID // it stands before UIDFETCH (RFC 9586 §3.5)
	}
	if c.vanished {
		if err := c.tellVanished(ctx); err != nil {
			return view.Reply{}, err
		}
	}
	ctx.View.AnnounceKeywords(ctx.Enc)
	size, before, do := uint64(batch), (func([]view.Item) error)(nil), r.messages()
	if c.setsSeen() {
		size, before = seenBatch, r.seen
	}
	if c.atts&^attsIndex == 0 && len(c.sections) == 0 {
		do = r.flagsOnly
	}
	if err := ctx.View.WalkChanged(seqs, mailstore.ModSeq(c.since), make([]view.Item, min(size, seqs.Len())), before, do); err != nil {
		return view.Reply{}, err
	}
	return r.reply()
}

// progress tells how far the command is, before so many further messages.
func (r *run) progress(more int) error {
	done := r.done
	r.done += uint64(more)
	if r.ctx.Progress == nil {
		return nil
	}
	return r.ctx.Progress(done, r.goal)
}

// tellVanished tells which of the messages that are named are gone: before any
// FETCH response, since its sequence numbers are those after it (RFC 7162 §3.2.6).
func (c *command) tellVanished(ctx *view.Context) error {
	// "*" is the highest number in use, gone or not.
	gone, err := ctx.View.Vanished(mailstore.ModSeq(c.since), c.set.Resolve(ctx.View.Told().UIDNext()-1))
	ctx.Enc.Vanished(true, gone)
	return err
}

func (r *run) reply() (view.Reply, error) {
	switch {
	case r.broken != nil && r.cfg.Failure == DisconnectAfter:
		return view.Reply{}, fmt.Errorf("%w: %w", view.ErrDisconnect, r.broken)
	case r.broken != nil:
		return view.Reply{}, r.broken
	case r.unknown:
		// RFC 3516 §4.3: "it MUST fail the request"; what can be decoded was told.
		return view.No("UNKNOWN-CTE", "Some parts have a transfer encoding that is not known."), nil
	case r.gone && !r.ctx.UID:
		return view.No("EXPUNGEISSUED", "Some of the requested messages no longer exist."), nil
	}
	return view.Done("Fetch completed."), nil
}

// seen marks a batch (RFC 3501 §6.4.5). A mailbox that cannot be changed now is
// read all the same.
func (r *run) seen(items []view.Item) error {
	var uids numset.Set
	for i := range items {
		if r.decodable(items[i].UID) {
			uids.Add(items[i].UID)
		}
	}
	changed, err := r.ctx.View.MarkSeen(uids)
	if err != nil && r.ctx.Log != nil {
		r.ctx.Log("cannot mark messages as seen: " + err.Error())
	}
	r.changed = changed
	if !changed.Empty() {
		// With our own change others' came, perhaps, and keywords with them (RFC 3501 §7.2.6).
		r.ctx.View.AnnounceKeywords(r.ctx.Enc)
	}
	return nil
}

var uidName, closing = []byte("UID "), []byte(")")

// flagsOnly writes the responses of a batch where nothing but the index is
// asked: ready texts, nothing on the heap.
func (r *run) flagsOnly(items []view.Item) error {
	enc := r.ctx.Enc
	if err := r.progress(len(items)); err != nil {
		return err
	}
	for i := range items {
		it := &items[i]
		enc.Fetch(it.Seq, it.UID)
		w := itemWriter{enc: enc}
		if r.atts&attUID != 0 {
			w.space()
			enc.Append(uidName).Num(it.UID)
		}
		if r.atts&attFlags != 0 {
			w.space()
			r.writeFlags(it)
		}
		if r.atts&attModSeq != 0 {
			w.space()
			enc.ModSeq(r.ctx.View.ModSeqOf(it.Entry))
		}
		enc.Append(closing).CRLF()
		if err := r.ctx.Flush(); err != nil {
			return err
		}
	}
	if r.atts&attFlags != 0 {
		r.ctx.View.MarkItemsTold(items)
	}
	return nil
}

// writeFlags writes FLAGS (…).
func (r *run) writeFlags(it *view.Item) {
	text := r.flags.Flags(r.ctx.View, it, func(names []string) []byte {
		e := imapwire.Encoder{Options: r.ctx.Enc.Options}
		e.Atom("FLAGS").SP().FlagList(names)
		if e.Err() != nil {
			r.ctx.Enc.FlagList(names) // which takes the response back
			return nil
		}
		return e.Take()
	})
	r.ctx.Enc.Append(text)
}

// messages gives what writes the responses of a batch.
func (r *run) messages() func([]view.Item) error {
	opt := r.ctx.Enc.Options
	for i := range r.sections {
		s := &r.sections[i]
		r.labels = append(r.labels, s.label(opt))
		r.fields = append(r.fields, s.fieldSet())
	}
	r.prepareRun()
	o := &one{run: r, Message: r.opened()}
	since := 0 // the last call of progress
	return func(items []view.Item) error {
		defer o.Close()
		for i := range items {
			// A message whose parts are all known takes less time than a look at the clock.
			if o.IsOpen() || since%progressEvery == 0 {
				r.done += uint64(since)
				since = 0
				if err := r.progress(0); err != nil {
					return err
				}
			}
			if err := r.message(o, &items[i]); err != nil {
				return err
			}
			since++
		}
		return nil
	}
}

// progressEvery is after how many messages, none of which had to be read, progress is told.
const progressEvery = 32

// message writes one FETCH response. Its errors end the session; what is wrong
// with the message itself is noted for the reply.
func (r *run) message(o *one, it *view.Item) error {
	o.next(it)
	facts, err := o.prepare()
	switch {
	case errkind.Is(err, errkind.Expunged):
		r.gone = true
		return nil
	case errors.Is(err, errUnknownCTE):
		r.unknown = true
		return nil
	case err != nil:
		return r.failed(it.UID, err)
	}
	enc := r.ctx.Enc
	enc.Fetch(it.Seq, it.UID)
	w := itemWriter{enc: enc}
	flagged := r.writeFacts(&w, it, facts)
	for _, text := range o.texts {
		w.name(text.name)
		enc.Append(text.value)
	}
	if r.atts&attPreview != 0 {
		w.name("PREVIEW")
		o.preview.write(enc)
	}
	for i := range o.parts {
		w.space()
		if err := r.writePart(o, &o.parts[i]); err != nil {
			return err
		}
	}
	enc.Append(closing).CRLF()
	if flagged {
		r.ctx.View.MarkTold(it.UID)
	}
	return r.ctx.Flush()
}

// failed notes a message that could not be read.
func (r *run) failed(uid uint32, err error) error {
	if r.ctx.Log != nil {
		r.ctx.Log(fmt.Sprintf("message with UID %d cannot be read: %v", uid, err))
	}
	if r.cfg.Failure == DisconnectImmediately {
		return fmt.Errorf("%w: %w", view.ErrDisconnect, err)
	}
	if r.broken == nil {
		r.broken = err
	}
	return nil
}

// itemWriter puts the spaces between items.
type itemWriter struct {
	enc *imapwire.Encoder
	any bool
}

func (w *itemWriter) name(n string) {
	w.space()
	w.enc.Atom(n).SP()
}

func (w *itemWriter) space() {
	if w.any {
		w.enc.SP()
	}
	w.any = true
}

// writeFacts writes what needs no look into the message, and reports whether
// that was the flags, too.
func (r *run) writeFacts(w *itemWriter, it *view.Item, facts mailstore.Facts) (flagged bool) {
	// A FETCH that set \Seen tells it as an unsolicited response would
	// (RFC 7162 §3.2.4): with UID and MODSEQ to who keeps mod-sequences.
	seen := r.changed.Contains(it.UID)
	full := seen && r.ctx.View.ModSeqs()
	if r.atts&attUID != 0 || full {
		w.space()
		w.enc.Append(uidName).Num(it.UID)
	}
	if r.atts&attFlags != 0 || seen {
		w.space()
		r.writeFlags(it)
		flagged = true
	}
	if r.atts&attModSeq != 0 || full {
		w.space()
		w.enc.ModSeq(r.ctx.View.ModSeqOf(it.Entry))
	}
	if r.atts&attInternalDate != 0 {
		w.name("INTERNALDATE")
		w.enc.DateTime(facts.InternalDate)
	}
	if r.atts&attSize != 0 {
		w.name("RFC822.SIZE")
		w.enc.Num64(uint64(facts.Size))
	}
	r.writeMoreFacts(w, facts)
	return flagged
}

// label is what stands before a section's bytes: its name and a space.
func (s *section) label(opt imapwire.Options) []byte {
	e := imapwire.Encoder{Options: opt}
	e.Atom(s.name)
	if !s.older {
		e.Section(s.sec)
		if s.partial.Length > 0 {
			e.Origin(s.partial.Offset)
		}
	}
	return e.SP().Take()
}

// fieldSet is what HEADER.FIELDS and HEADER.FIELDS.NOT name; nil for the others.
func (s *section) fieldSet() *message.FieldSet {
	if s.sec.Text != imapwire.HeaderFields && s.sec.Text != imapwire.HeaderFieldsNot {
		return nil
	}
	return message.NewFieldSet(s.sec.Fields, s.sec.Text == imapwire.HeaderFieldsNot)
}

// writePart writes a section's name and bytes, or its size.
func (r *run) writePart(o *one, p *part) error {
	switch p.of.kind {
	case decoded:
		return r.writeBinary(o, p)
	case decodedSize:
		r.ctx.Enc.Append(r.labels[p.no]).Num64(uint64(p.size()))
		return nil
	}
	return r.writeSection(o, p)
}

// writeSection writes BODY[…] and its bytes.
func (r *run) writeSection(o *one, p *part) error {
	enc := r.ctx.Enc
	enc.Append(r.labels[p.no])
	switch {
	case !p.Found:
		writeAbsent(enc)
		return nil
	case p.size() == 0:
		enc.Quoted("")
		return nil
	case !enc.Literal(p.size(), false):
		return nil // our own bug, which the session logs
	}
	r.count(p)
	if p.IsMade {
		enc.Body(p.Made, false)
		return nil
	}
	msg, err := o.Open()
	if err != nil {
		// The head of the literal is out: only the connection's end tells the client.
		return fmt.Errorf("%w: %w", view.ErrDisconnect, err)
	}
	if b := mailstore.Bytes(msg); int64(len(b)) >= p.Where.End && b != nil {
		if p.size() > view.SmallBody {
			if err := r.ctx.Out.Flush(enc); err != nil {
				return err
			}
		}
		enc.Body(b[p.Where.Start:p.Where.End], false)
		return nil
	}
	plain := true
	if p.size() > view.SmallBody {
		nul, err := o.HasNUL()
		if err != nil {
			return fmt.Errorf("%w: %w", view.ErrDisconnect, err)
		}
		plain = !nul
	}
	return r.ctx.Body(msg, p.Where.Start, p.Where.Len(), plain)
}

// writeAbsent writes the value of a part that is not there. RFC 3501 leaves it open: the
// empty string is what clients of Dovecot know, and NIL trips some. RFC 9051 §4.5 has NIL,
// which "indicates absence of the body part".
func writeAbsent(enc *imapwire.Encoder) {
	if enc.Options.Rev2 {
		enc.Nil()
		return
	}
	enc.Quoted("")
}

// count counts a section for the session's last line.
func (r *run) count(p *part) {
	n := r.ctx.Fetched
	switch p.of.sec.Text {
	case imapwire.Header, imapwire.HeaderFields, imapwire.HeaderFieldsNot, imapwire.MIME:
		n.HeaderCount++
		n.HeaderBytes += uint64(p.size())
	default:
		n.BodyCount++
		n.BodyBytes += uint64(p.size())
	}
}

// text is an item whose bytes are ready.
type text struct {
	name  string
	value []byte
}

// cacheFields name the ready texts in the mailbox's cache. A new form of one
// gets a new name.
var cacheFields = []struct {
	att   atts
	name  string // of the item
	field string // of the cache
	build func([]byte, *message.Part, message.Limits) []byte
}{
	{attEnvelope, "ENVELOPE", "imap.envelope", func(dst []byte, p *message.Part, lim message.Limits) []byte {
		return message.AppendEnvelope(dst, p.Envelope, lim)
	}},
	{attBody, "BODY", "imap.body", message.AppendBody},
	{attStructure, "BODYSTRUCTURE", "imap.bodystructure", message.AppendBodyStructure},
}
