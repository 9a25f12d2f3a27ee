package mailtool

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/message"
	"rookery/mailtool/internal/query"
)

// maxShown is how much of a header or body is shown; export gives all.
const maxShown = 8 << 20

// fields are what fetch can tell of a message, in the order of Fields.
var fields = [...]struct {
	name string
	get  func(*query.Mail) (any, error)
}{
	{"uid", func(m *query.Mail) (any, error) { return m.Entry.UID, nil }},
	{"seq", func(m *query.Mail) (any, error) { return m.Seq, nil }},
	{"flags", func(m *query.Mail) (any, error) { return wordsOf(m.Entry.Flags, m.Keywords), nil }},
	{"modseq", func(m *query.Mail) (any, error) { return m.Entry.ModSeq, nil }},
	{"size", factOf(mailstore.FactsWant{Size: true}, func(f mailstore.Facts) any { return f.Size })},
	{"date", factOf(mailstore.FactsWant{InternalDate: true}, func(f mailstore.Facts) any { return f.InternalDate.Format(time.RFC3339) })},
	{"saved", factOf(mailstore.FactsWant{SaveDate: true}, func(f mailstore.Facts) any { return f.SaveDate.Format(time.RFC3339) })},
	{"guid", factOf(mailstore.FactsWant{GUID: true}, func(f mailstore.Facts) any { return fmt.Sprintf("%x", f.GUID[:]) })},
	{"uidl", factOf(mailstore.FactsWant{UIDL: true}, func(f mailstore.Facts) any { return f.UIDL })},
	{"name", factOf(mailstore.FactsWant{}, func(f mailstore.Facts) any { return f.BaseName })},
	{"from", envelopeOf(func(e *message.Envelope) string { return e.From })},
	{"to", envelopeOf(func(e *message.Envelope) string { return e.To })},
	{"cc", envelopeOf(func(e *message.Envelope) string { return e.Cc })},
	{"subject", envelopeOf(func(e *message.Envelope) string { return e.Subject })},
	{"sent", envelopeOf(func(e *message.Envelope) string { return e.Date })},
	{"messageid", envelopeOf(func(e *message.Envelope) string { return e.MessageID })},
	{"hdr", contentOf(func(p *message.Part, _ int64) (int64, int64) { h := p.Header(); return h.Start, h.End })},
	{"body", contentOf(func(p *message.Part, size int64) (int64, int64) { return p.Header().End, size })},
	{"text", contentOf(func(_ *message.Part, size int64) (int64, int64) { return 0, size })},
}

// defaultFields are told if none are named.
var defaultFields = []string{"uid", "flags", "size", "date", "from", "subject"}

// Fields lists what fetch can tell, for help and completion.
func Fields() []string {
	var out []string
	for _, f := range fields {
		out = append(out, f.name)
	}
	return out
}

func factOf(want mailstore.FactsWant, get func(mailstore.Facts) any) func(*query.Mail) (any, error) {
	return func(m *query.Mail) (any, error) {
		f, err := m.Facts(want)
		return get(f), err
	}
}

func envelopeOf(get func(*message.Envelope) string) func(*query.Mail) (any, error) {
	return func(m *query.Mail) (any, error) {
		head, err := m.Head()
		if err != nil || head.Envelope == nil {
			return "", err
		}
		return string(message.DecodeHeader(nil, []byte(get(head.Envelope)))), nil
	}
}

func contentOf(span func(*message.Part, int64) (from, to int64)) func(*query.Mail) (any, error) {
	return func(m *query.Mail) (any, error) {
		head, err := m.Head()
		if err != nil {
			return "", err
		}
		msg, err := m.Open()
		if err != nil {
			return "", err
		}
		from, to := span(head, msg.Size())
		text, err := io.ReadAll(io.NewSectionReader(msg, from, min(to-from, maxShown)))
		return strings.ReplaceAll(strings.ToValidUTF8(string(text), "\ufffd"), "\r\n", "\n"), err
	}
}

// ordered is an object whose members keep their order.
type ordered []struct {
	name  string
	value any
}

func (o *ordered) add(name string, value any) {
	*o = append(*o, struct {
		name  string
		value any
	}{name, value})
}

// MarshalJSON is for json.
func (o ordered) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			out = append(out, ',')
		}
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		out = append(append(append(out, name...), ':'), value...)
	}
	return append(out, '}'), nil
}

// fetch tells of each message the fields that the option names.
func fetch(c *call) error {
	q, err := c.parse(c.args, false)
	if err != nil {
		return err
	}
	names := defaultFields
	if list := c.options["field"]; len(list) > 0 {
		names = list
	}
	for _, n := range names {
		if !slices.Contains(Fields(), n) {
			return failf(exitUsage, "there is no field %s; there are %s", n, strings.Join(Fields(), ", "))
		}
	}
	return c.visit(q, func(f found, m *query.Mail) error {
		var o ordered
		o.add("mailbox", c.shown(f.name))
		for _, n := range names {
			for _, field := range fields {
				if field.name != n {
					continue
				}
				v, err := field.get(m)
				if err != nil {
					return err
				}
				o.add(n, v)
			}
		}
		return c.line(o)
	}, nil)
}
