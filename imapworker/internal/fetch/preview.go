package fetch

import (
	"rookery/imapworker/internal/preview"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
)

// previewField names a message's preview in the mailbox's cache: "=" and the text
// in UTF-8. Another way to make it gets another name.
const previewField = "preview.1"

// What PREVIEW (LAZY) costs at most without the cache: so many previews for one
// command, of messages of at most so many octets. That is the first screen of a
// list, in some milliseconds; for the rest the answer is NIL, and the client asks
// again in the background (RFC 8970 §4.2).
const (
	lazyMessages = 50
	lazyOctets   = 128 << 10
)

// shownPreview is the answer to PREVIEW.
type shownPreview struct {
	text string
	none bool // NIL: it would have taken long
}

func (p *shownPreview) write(enc *imapwire.Encoder) {
	if p.none {
		enc.Nil()
		return
	}
	enc.String(p.text)
}

// preparePreview gives a message's preview.
func (o *one) preparePreview() error {
	start := len(o.buf)
	fact, ok := o.Fact(o.buf, previewField)
	if ok && len(fact) > start && fact[start] == '=' {
		o.preview = shownPreview{text: string(fact[start+1:])}
		return nil
	}
	if o.lazy {
		// RFC 8970 §4.1: "MUST return NIL" where it is not to be had without delay.
		o.preview = shownPreview{none: true}
		if o.lazily == lazyMessages {
			return nil
		}
		facts, err := o.box.Facts(o.UID, mailstore.FactsWant{Size: true})
		if err != nil || facts.Size > lazyOctets {
			return err
		}
		o.lazily++
	}
	msg, err := o.Open()
	if err != nil {
		return err
	}
	tree, err := o.Tree()
	if err != nil {
		return err
	}
	text, err := preview.Of(msg, tree)
	if err != nil {
		return err
	}
	o.box.PutCached(o.UID, previewField, append([]byte("="), text...))
	o.preview = shownPreview{text: text}
	return nil
}
