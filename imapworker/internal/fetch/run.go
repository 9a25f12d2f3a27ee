package fetch

import (
	"fmt"

	"rookery/imapworker/internal/opened"
	"rookery/imapworker/internal/view"
	"rookery/internal/errkind"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/message"
	"rookery/internal/numset"
)

// batch is how many messages are marked as seen at once: few enough that a
// client that goes away in the middle has not marked its whole mailbox.
const batch = 64

// run is a FETCH under way.
type run struct {
	*command
	ctx     *view.Context
	box     mailstore.Mailbox
	parser  message.Parser
	changed numset.Set // of this batch: \Seen was set
	gone    bool       // a message that was named is not there any more
	broken  error      // the first message that could not be read
}

// Run answers the command.
func (c *command) Run(ctx *view.Context) (view.Reply, error) {
	uids, err := ctx.View.Resolve(c.set, ctx.UID)
	if err != nil {
		return view.Bad("Message number beyond the last message."), nil
	}
	r := &run{command: c, ctx: ctx, box: ctx.View.Box()}
	ctx.View.AnnounceKeywords(ctx.Enc)
	type pair struct{ seq, uid uint32 }
	pairs := make([]pair, 0, batch)
	flush := func() error {
		var named numset.Set
		for _, p := range pairs {
			named.Add(p.uid)
		}
		if err := r.seen(named); err != nil {
			return err
		}
		for _, p := range pairs {
			if err := r.message(p.seq, p.uid); err != nil {
				return err
			}
		}
		pairs = pairs[:0]
		return nil
	}
	for seq, uid := range ctx.View.Each(uids) {
		if pairs = append(pairs, pair{seq, uid}); len(pairs) == batch {
			if err := flush(); err != nil {
				return view.Reply{}, err
			}
		}
	}
	if err := flush(); err != nil {
		return view.Reply{}, err
	}
	return r.reply()
}

func (r *run) reply() (view.Reply, error) {
	switch {
	case r.broken != nil && r.cfg.Failure == DisconnectAfter:
		return view.Reply{}, fmt.Errorf("%w: %w", view.ErrDisconnect, r.broken)
	case r.broken != nil:
		return view.Reply{}, r.broken
	case r.gone && !r.ctx.UID:
		return view.No("EXPUNGEISSUED", "Some of the requested messages no longer exist."), nil
	}
	return view.Done("Fetch completed."), nil
}

// seen marks a batch, if the command does (RFC 3501 §6.4.5). A mailbox that
// cannot be changed now is read all the same.
func (r *run) seen(uids numset.Set) error {
	r.changed = numset.Set{}
	if !r.setsSeen() || uids.Empty() {
		return nil
	}
	changed, err := r.ctx.View.MarkSeen(uids)
	if err != nil && r.ctx.Log != nil {
		r.ctx.Log("cannot mark messages as seen: " + err.Error())
	}
	r.changed = changed
	return nil
}

// message writes one FETCH response. Its errors end the session; what is wrong
// with the message itself is noted for the reply.
func (r *run) message(seq, uid uint32) error {
	o := &one{run: r, Message: opened.Message{Box: r.box, UID: uid, Parser: &r.parser, Limits: r.cfg.Limits}}
	defer o.Close()
	facts, err := o.prepare()
	switch {
	case errkind.Is(err, errkind.Expunged):
		r.gone = true
		return nil
	case err != nil:
		return r.failed(uid, err)
	}
	enc := r.ctx.Enc
	enc.Fetch(seq, uid)
	w := itemWriter{enc: enc}
	r.writeFacts(&w, uid, facts)
	for _, text := range o.texts {
		w.name(text.name)
		enc.Append(text.value)
	}
	for i := range o.parts {
		if err := r.writeSection(&w, o, &o.parts[i]); err != nil {
			return err
		}
	}
	enc.Close().CRLF()
	if w.flagged {
		r.ctx.View.MarkTold(uid)
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
	enc     *imapwire.Encoder
	any     bool
	flagged bool
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

// writeFacts writes what needs no look into the message.
func (r *run) writeFacts(w *itemWriter, uid uint32, facts mailstore.Facts) {
	if r.atts&attUID != 0 {
		w.name("UID")
		w.enc.Num(uid)
	}
	if r.atts&attFlags != 0 || r.changed.Contains(uid) {
		w.name("FLAGS")
		w.enc.FlagList(r.ctx.View.Flags(uid))
		w.flagged = true
	}
	if r.atts&attInternalDate != 0 {
		w.name("INTERNALDATE")
		w.enc.DateTime(facts.InternalDate)
	}
	if r.atts&attSize != 0 {
		w.name("RFC822.SIZE")
		w.enc.Num64(uint64(facts.Size))
	}
}

// writeSection writes BODY[…] and its bytes.
func (r *run) writeSection(w *itemWriter, o *one, p *part) error {
	w.space()
	if p.of.name != "" {
		w.enc.Atom(p.of.name)
	} else {
		w.enc.Atom("BODY").Section(p.of.sec)
		if p.of.partial.Length > 0 {
			w.enc.Origin(p.of.partial.Offset)
		}
	}
	w.enc.SP()
	switch {
	case !p.found, p.size() == 0:
		// RFC 3501 leaves open what a part that is not there gives. The empty
		// string is what clients of Dovecot know; NIL trips some.
		w.enc.Quoted("")
		return nil
	case !w.enc.Literal(p.size(), false):
		return nil // our own bug, which the session logs
	}
	r.count(p)
	if p.isMade {
		w.enc.Body(p.made, false)
		return nil
	}
	msg, err := o.Open()
	if err != nil {
		// The head of the literal is out: only the connection's end tells the client.
		return fmt.Errorf("%w: %w", view.ErrDisconnect, err)
	}
	plain := true
	if p.size() > view.SmallBody {
		nul, err := o.HasNUL()
		if err != nil {
			return fmt.Errorf("%w: %w", view.ErrDisconnect, err)
		}
		plain = !nul
	}
	return r.ctx.Body(msg, p.where.Start, p.where.Len(), plain)
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

// partPath makes the path that package message takes.
func partPath(sec imapwire.Section) []int {
	path := make([]int, len(sec.Part))
	for i, n := range sec.Part {
		path[i] = int(min(n, 1<<30))
	}
	return path
}

var specs = map[imapwire.SectionText]message.Spec{imapwire.WholePart: message.SpecNone, imapwire.Header: message.SpecHeader,
	imapwire.HeaderFields: message.SpecHeader, imapwire.HeaderFieldsNot: message.SpecHeader, imapwire.Text: message.SpecText, imapwire.MIME: message.SpecMIME}
