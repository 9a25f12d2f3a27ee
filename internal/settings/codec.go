package settings

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// The form in the settings descriptor:
//
//	"rookery-settings 1\n", role (2 bytes)
//	count (uvarint), then per setting of the role: name, value
//	per table of the role, in order of Tables: count, rows
//	row: name, count of fields, (field name, value)…, count of sub-rows, rows
//
// Strings are a uvarint length and bytes; a value is its kind's byte and
// content. Every setting of the role is there, in the order of All.
const magic = "rookery-settings 1\n"

// maxEncoded bounds what Decode reads.
const maxEncoded = 8 << 20

// ForRole serialises what the role receives, and nothing else.
func (s *Set) ForRole(role Role) []byte {
	b := append([]byte(magic), byte(role>>8), byte(role))
	decls := forRole(role)
	b = binary.AppendUvarint(b, uint64(len(decls)))
	for _, d := range decls {
		b = appendText(b, d.Name)
		b = appendValue(b, d.Kind, s.value(d))
	}
	for _, t := range Tables() {
		if t.Roles&role != 0 {
			b = appendRows(b, t, s.tables[t.Name])
		}
	}
	return b
}

func forRole(role Role) []*Decl {
	return slices.DeleteFunc(All(), func(d *Decl) bool { return d.Roles&role == 0 })
}

func appendRows(b []byte, t *Table, rows []Row) []byte {
	b = binary.AppendUvarint(b, uint64(len(rows)))
	for _, row := range rows {
		b = appendText(b, row.Name)
		var written []*Decl
		for _, d := range t.Fields {
			if _, ok := row.Values[d.Name]; ok {
				written = append(written, d)
			}
		}
		b = binary.AppendUvarint(b, uint64(len(written)))
		for _, d := range written {
			b = appendText(b, d.Name)
			b = appendValue(b, d.Kind, row.Values[d.Name])
		}
		if t.Sub != nil {
			b = appendRows(b, t.Sub, row.Sub)
		}
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendValue(b []byte, k Kind, v any) []byte {
	b = append(b, byte(k))
	switch v := v.(type) {
	case bool:
		if v {
			return append(b, 1)
		}
		return append(b, 0)
	case int64:
		return binary.AppendVarint(b, v)
	case time.Duration:
		return binary.AppendVarint(b, int64(v))
	case uint32:
		return binary.AppendVarint(b, int64(v))
	case string:
		return appendText(b, v)
	case Template:
		return appendText(b, v.source)
	case PasswordLog:
		return appendText(b, v.String())
	case []string:
		b = binary.AppendUvarint(b, uint64(len(v)))
		for _, s := range v {
			b = appendText(b, s)
		}
	case []netip.Prefix:
		b = binary.AppendUvarint(b, uint64(len(v)))
		for _, p := range v {
			b = appendText(b, p.String())
		}
	case Fields:
		b = binary.AppendUvarint(b, uint64(len(v)))
		for _, f := range v {
			b = appendText(appendText(b, f.Name), f.Value.source)
		}
	default:
		panic(fmt.Sprintf("settings: cannot encode a %T", v))
	}
	return b
}

// reader remembers the first error.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("settings: "+format, args...)
	}
	r.b = nil
}

func (r *reader) uvarint() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.fail("cut short")
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) varint() int64 {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.fail("cut short")
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) text() string {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail("cut short")
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) count() int {
	n := r.uvarint()
	if n > maxList || n > uint64(len(r.b)) {
		r.fail("a list of %d entries", n)
		return 0
	}
	return int(n)
}

// Decode reads what ForRole wrote for the role. A missing, unknown, repeated
// or out-of-range setting, another role's part and extra bytes are errors: the
// two programs are not of one build.
func Decode(role Role, b []byte) (*Set, error) {
	if len(b) > maxEncoded {
		return nil, errors.New("settings: too large")
	}
	head := append([]byte(magic), byte(role>>8), byte(role))
	if len(b) < len(head) || !slices.Equal(b[:len(head)], head) {
		return nil, fmt.Errorf("settings: not the settings of %s", role)
	}
	s := New()
	s.role = role
	r := &reader{b: b[len(head):]}
	decls := forRole(role)
	if n := r.count(); n != len(decls) && r.err == nil {
		r.fail("%d settings, but %s has %d", n, role, len(decls))
	}
	for _, d := range decls {
		if name := r.text(); r.err == nil && name != d.Name {
			r.fail("%q stands where %q is expected", name, d.Name)
		}
		s.values[d.Name] = r.value(d)
	}
	for _, t := range Tables() {
		if t.Roles&role != 0 {
			s.tables[t.Name] = r.rows(t)
		}
	}
	if r.err == nil && len(r.b) != 0 {
		r.fail("%d extra bytes", len(r.b))
	}
	if r.err != nil {
		return nil, r.err
	}
	return s, nil
}

func (r *reader) rows(t *Table) []Row {
	n := r.count()
	var rows []Row
	for i := 0; i < n && r.err == nil; i++ {
		row := Row{Name: r.text(), Values: map[string]any{}}
		if slices.ContainsFunc(rows, func(o Row) bool { return o.Name == row.Name }) {
			r.fail("%s %q twice", t.Name, row.Name)
		}
		next := 0
		for range r.count() {
			name := r.text()
			at := slices.IndexFunc(t.Fields[next:], func(d *Decl) bool { return d.Name == name })
			if at < 0 {
				r.fail("%s has no field %q here", t.Name, name)
				break
			}
			d := t.Fields[next+at]
			next += at + 1
			row.Values[name] = r.value(d)
		}
		if t.Sub != nil {
			row.Sub = r.rows(t.Sub)
		}
		rows = append(rows, row)
	}
	return rows
}

// value reads one value and holds it to the declaration's rules.
func (r *reader) value(d *Decl) any {
	if r.err != nil {
		return nil
	}
	if len(r.b) == 0 || Kind(r.b[0]) != d.Kind {
		r.fail("%s has another type", d.Name)
		return nil
	}
	r.b = r.b[1:]
	v, err := r.content(d)
	if r.err == nil && err == nil {
		err = d.validate(v)
	}
	if err != nil {
		r.fail("%s %w", d.Name, err)
	}
	return v
}

func (r *reader) content(d *Decl) (any, error) {
	switch d.Kind {
	case KindBool:
		if len(r.b) == 0 || r.b[0] > 1 {
			return nil, errors.New("is no boolean")
		}
		v := r.b[0] == 1
		r.b = r.b[1:]
		return v, nil
	case KindInt, KindSize:
		return r.varint(), nil
	case KindDuration:
		return time.Duration(r.varint()), nil
	case KindMode:
		n := r.varint()
		if n < 0 || n > 0o777 {
			return nil, errors.New("is no file mode")
		}
		return uint32(n), nil
	case KindStrings, KindWords:
		list := []string{}
		for range r.count() {
			list = append(list, r.text())
		}
		return list, nil
	case KindNetworks:
		list := []netip.Prefix{}
		for range r.count() {
			p, err := parseNetwork(r.text())
			if err != nil {
				return nil, err
			}
			list = append(list, p)
		}
		return list, nil
	case KindFields:
		return r.fields(d)
	}
	text := r.text()
	if r.err != nil {
		return nil, nil
	}
	return d.Kind.stringFromRaw(d, text)
}

func (r *reader) fields(d *Decl) (any, error) {
	list := Fields{}
	for range r.count() {
		name := r.text()
		t, err := ParseTemplate(r.text(), d.Vars)
		if err != nil {
			return nil, err
		}
		if len(list) > 0 && list[len(list)-1].Name >= name {
			return nil, errors.New("is not sorted")
		}
		list = append(list, Field{name, t})
	}
	return list, nil
}
