// Package show prints JSON for people: a list of objects as a table, an object
// as lines. Members keep the order in which they came.
//
// Text from clients (user names, log lines) may stand in the values, so
// control characters are made visible before they reach a terminal.
package show

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
)

// member is one name and value of an object.
type member struct {
	name  string
	value any // string (as shown), object or list
}

type object []member
type list []any

const maxDepth = 16

// Text writes the JSON value body to w.
func Text(w io.Writer, body []byte) error {
	if text := bytes.TrimSpace(body); len(text) == 0 || string(text) == "null" {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	v, err := decode(dec, 0)
	if err != nil {
		return fmt.Errorf("the answer is not JSON: %w", err)
	}
	switch v := v.(type) {
	case list:
		return table(w, v)
	case object:
		return lines(w, v, "")
	}
	_, err = fmt.Fprintln(w, v)
	return err
}

// JSON writes body indented.
func JSON(w io.Writer, body []byte) error {
	if len(bytes.TrimSpace(body)) == 0 {
		body = []byte("{}")
	}
	var out bytes.Buffer
	if err := json.Indent(&out, body, "", "  "); err != nil {
		return fmt.Errorf("the answer is not JSON: %w", err)
	}
	out.WriteByte('\n')
	_, err := out.WriteTo(w)
	return err
}

// decode keeps the order of members, which a map would lose.
func decode(dec *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errors.New("nested too deeply")
	}
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := tok.(type) {
	case json.Delim:
		if t == '[' {
			out := list{}
			for dec.More() {
				v, err := decode(dec, depth+1)
				if err != nil {
					return nil, err
				}
				out = append(out, v)
			}
			_, err := dec.Token()
			return out, err
		}
		out := object{}
		for dec.More() {
			name, err := dec.Token()
			if err != nil {
				return nil, err
			}
			v, err := decode(dec, depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, member{Clean(fmt.Sprint(name)), v})
		}
		_, err := dec.Token()
		return out, err
	case nil:
		return "-", nil
	case string:
		return Clean(t), nil
	}
	return fmt.Sprint(tok), nil
}

// Clean makes control characters visible, so that a client's name cannot
// drive the operator's terminal.
func Clean(s string) string {
	if !strings.ContainsFunc(s, unsafe) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unsafe(r) {
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// unsafe characters control a terminal or reorder its text.
func unsafe(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == unicode.ReplacementChar
}

func table(w io.Writer, rows list) error {
	var columns []string
	seen := map[string]bool{}
	for _, row := range rows {
		o, ok := row.(object)
		if !ok {
			if _, err := fmt.Fprintln(w, flat(row)); err != nil {
				return err
			}
			continue
		}
		for _, m := range o {
			if !seen[m.name] {
				seen[m.name] = true
				columns = append(columns, m.name)
			}
		}
	}
	if columns == nil {
		return nil
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(columns, "\t"))
	for _, row := range rows {
		o, _ := row.(object)
		cells := make([]string, len(columns))
		for i, c := range columns {
			cells[i] = "-"
			for _, m := range o {
				if m.name == c && flat(m.value) != "" {
					cells[i] = flat(m.value)
				}
			}
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	return tw.Flush()
}

func lines(w io.Writer, o object, indent string) error {
	for _, m := range o {
		var err error
		switch v := m.value.(type) {
		case object:
			if _, err = fmt.Fprintf(w, "%s%s:\n", indent, m.name); err == nil {
				err = lines(w, v, indent+"  ")
			}
		case list:
			if len(v) > 0 {
				if _, isObject := v[0].(object); isObject {
					if _, err = fmt.Fprintf(w, "%s%s:\n", indent, m.name); err == nil {
						err = table(w, v)
					}
					break
				}
			}
			_, err = fmt.Fprintf(w, "%s%s: %s\n", indent, m.name, flat(v))
		default:
			_, err = fmt.Fprintf(w, "%s%s: %v\n", indent, m.name, v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// flat writes any value on one line.
func flat(v any) string {
	switch v := v.(type) {
	case object:
		parts := make([]string, len(v))
		for i, m := range v {
			parts[i] = m.name + "=" + flat(m.value)
		}
		return strings.Join(parts, " ")
	case list:
		parts := make([]string, len(v))
		for i, item := range v {
			parts[i] = flat(item)
		}
		return strings.Join(parts, ", ")
	}
	return fmt.Sprint(v)
}
