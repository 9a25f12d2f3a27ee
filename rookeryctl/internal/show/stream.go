package show

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Stream prints objects as they come: as a JSON list, or as a table whose
// columns are measured anew every flushRows rows. Nothing that can drive a
// terminal passes, whoever made the objects.
type Stream struct {
	w      io.Writer
	json   bool
	rows   list
	head   string // the columns that the last header named
	count  int
	closed bool
}

// flushRows is how many rows wait for the widths of their columns.
const flushRows = 500

// NewStream prints to w.
func NewStream(w io.Writer, asJSON bool) *Stream { return &Stream{w: w, json: asJSON} }

// Row takes one object. One that is not JSON is an error, and not shown.
func (s *Stream) Row(body []byte) error {
	if s.json {
		return s.jsonRow(body)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	v, err := decode(dec, 0)
	if err != nil {
		return fmt.Errorf("the answer is not JSON: %w", err)
	}
	o, ok := v.(object)
	if !ok {
		return errors.New("the answer is no object")
	}
	s.rows = append(s.rows, o)
	s.count++
	if len(s.rows) >= flushRows {
		return s.flush()
	}
	return nil
}

func (s *Stream) jsonRow(body []byte) error {
	var out bytes.Buffer
	if err := json.Compact(&out, body); err != nil {
		return fmt.Errorf("the answer is not JSON: %w", err)
	}
	open := ",\n  "
	if s.count == 0 {
		open = "[\n  "
	}
	s.count++
	_, err := io.WriteString(s.w, open+SafeJSON(out.String()))
	return err
}

// SafeJSON writes what can drive a terminal as JSON's own escapes, which mean
// the same. text is valid JSON without newlines: such characters stand in
// strings alone.
func SafeJSON(text string) string {
	if !strings.ContainsFunc(text, unsafe) && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case !unsafe(r):
			b.WriteRune(r)
		case r >= 1<<16:
			b.WriteString(`\ufffd`)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// flush prints the rows that wait. The header comes again where the columns
// differ from those before.
func (s *Stream) flush() error {
	if len(s.rows) == 0 {
		return nil
	}
	var b bytes.Buffer
	if err := table(&b, s.rows); err != nil {
		return err
	}
	s.rows = s.rows[:0]
	head, rest, _ := strings.Cut(b.String(), "\n")
	fields := strings.Join(strings.Fields(head), " ")
	text := b.String()
	if fields == s.head {
		text = rest
	}
	s.head = fields
	_, err := io.WriteString(s.w, text)
	return err
}

// Count is how many rows came.
func (s *Stream) Count() int { return s.count }

// Close prints what is left.
func (s *Stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	if !s.json {
		return s.flush()
	}
	end := "\n]\n"
	if s.count == 0 {
		end = "[]\n"
	}
	_, err := io.WriteString(s.w, end)
	return err
}
