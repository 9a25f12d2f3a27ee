package fetch

import (
	"encoding/hex"

	"rookery/imapworker/internal/opened"
	"rookery/internal/imapname"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// What stands here are the items of extensions that are short texts, and PARTIAL.

// opened gives a message of this run, not named yet.
func (r *run) opened() opened.Message {
	return opened.Message{Box: r.box, Parser: &r.parser, Limits: r.cfg.Limits}
}

// prepareRun makes what is the same for all messages.
func (r *run) prepareRun() {
	for i := range r.sections {
		r.sized = r.sized || r.sections[i].kind == decodedSize
	}
	if r.atts&attMailbox == 0 {
		return
	}
	e := imapwire.Encoder{Options: r.ctx.Enc.Options}
	info := r.box.Info()
	if shown, ok := (imapname.Dialect{Separator: info.Namespace.Separator}).Show(imapname.Name(info.Name)); ok {
		e.Mailbox(shown)
	} else {
		e.Nil() // this client cannot be told of the name
	}
	r.mailbox = e.Take()
}

// prepareMore makes the items of a message that are ready texts and are not kept
// as such, and its preview.
func (o *one) prepareMore() error {
	if o.atts&attEmailID != 0 {
		start := len(o.buf)
		var err error
		if o.buf, err = o.AppendEmailID(append(o.buf, '(')); err != nil {
			return err
		}
		o.buf = append(o.buf, ')')
		o.texts = append(o.texts, text{"EMAILID", o.buf[start:]})
	}
	if o.atts&attThreadID != 0 {
		start := len(o.buf)
		id, ok, err := o.AppendThreadID(append(o.buf, '('))
		switch o.buf = append(id, ')'); {
		case err != nil:
			return err
		case ok:
			o.texts = append(o.texts, text{"THREADID", o.buf[start:]})
		default:
			// RFC 8474 §5.2: NIL where there is none.
			o.texts = append(o.texts, text{"THREADID", nilText})
		}
	}
	if o.atts&attMailbox != 0 {
		o.texts = append(o.texts, text{"X-MAILBOX", o.mailbox})
	}
	if o.atts&attPreview != 0 {
		return o.preparePreview()
	}
	return nil
}

var nilText = []byte("NIL")

// writeMoreFacts writes SAVEDATE and X-GUID.
func (r *run) writeMoreFacts(w *itemWriter, facts mailstore.Facts) {
	if r.atts&attSaveDate != 0 {
		// RFC 8514 §4.2: never NIL, every store of ours keeps it.
		w.name("SAVEDATE")
		w.enc.DateTime(facts.SaveDate)
	}
	if r.atts&attGUID != 0 {
		var text [2 * len(facts.GUID)]byte
		hex.Encode(text[:], facts.GUID[:])
		w.space()
		w.enc.Append(guidName).Append(text[:])
	}
}

var guidName = []byte("X-GUID ")

// within gives the sequence numbers that a window names among seqs.
func within(seqs numset.Set, w numset.Window) numset.Set {
	var out numset.Set
	from, to := w.Of(int(seqs.Len()))
	at := 0 // the place of a range's first number
	for _, r := range seqs.Ranges() {
		n := int(r.Last-r.First) + 1
		if first, last := max(from, at), min(to, at+n); first < last {
			out.AddRange(r.First+uint32(first-at), r.First+uint32(last-1-at))
		}
		if at += n; at >= to {
			break
		}
	}
	return out
}
