package settings

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Kind is the type of a setting. Numbers never change: they are on the wire
// of the settings descriptor.
type Kind uint8

// The kinds, with the Go type of their values.
const (
	KindBool        Kind = iota + 1 // bool
	KindInt                         // int64
	KindSize                        // int64, bytes
	KindDuration                    // time.Duration
	KindString                      // string
	KindEnum                        // string, one of Words
	KindStrings                     // []string
	KindWords                       // []string, each one of Words
	KindNetworks                    // []netip.Prefix
	KindPath                        // string, absolute path or ""
	KindTemplate                    // Template
	KindMode                        // uint32, permission bits
	KindPasswordLog                 // PasswordLog
	KindFields                      // Fields, sorted by name
)

// maxList bounds every list and table of fields.
const maxList = 10_000

// Field is one name and value of a KindFields setting.
type Field struct {
	Name  string
	Value Template
}

// Fields is sorted by name; names are unique.
type Fields []Field

// Get is the template of the field, and whether it is there.
func (f Fields) Get(name string) (Template, bool) {
	for _, field := range f {
		if field.Name == name {
			return field.Value, true
		}
	}
	return Template{}, false
}

// hidden replaces values whose name says that they are secrets.
func (f Fields) hidden() Fields {
	out := slices.Clone(f)
	for i := range out {
		if strings.Contains(out[i].Name, "pass") || strings.Contains(out[i].Name, "secret") {
			out[i].Value = Template{source: "<hidden>"}
		}
	}
	return out
}

func (k Kind) fromRaw(d *Decl, raw any) (any, error) {
	switch k {
	case KindBool:
		return boolFromRaw(raw)
	case KindInt, KindSize, KindDuration:
		return k.numberFromRaw(d, raw)
	case KindStrings, KindWords, KindNetworks:
		return k.listFromRaw(raw)
	case KindFields:
		return fieldsFromRaw(d, raw)
	}
	s, ok := raw.(string)
	if !ok {
		if b, isBool := raw.(bool); isBool && (k == KindEnum || k == KindPasswordLog) {
			return nil, fmt.Errorf("is a word here, not a boolean: write \"%s\"", map[bool]string{true: "yes", false: "no"}[b])
		}
		return nil, wrongType("a string in quotes", raw)
	}
	return k.stringFromRaw(d, s)
}

func (k Kind) stringFromRaw(d *Decl, s string) (any, error) {
	switch k {
	case KindTemplate:
		return ParseTemplate(s, d.Vars)
	case KindMode:
		n, err := strconv.ParseUint(s, 8, 32)
		if err != nil || n > 0o777 {
			return nil, fmt.Errorf("%q is not a file mode; write octal digits such as \"0600\"", s)
		}
		return uint32(n), nil
	case KindPasswordLog:
		return parsePasswordLog(s)
	}
	return s, nil
}

func boolFromRaw(raw any) (any, error) {
	switch v := raw.(type) {
	case bool:
		return v, nil
	case string:
		switch strings.ToLower(v) {
		case "yes", "on", "true", "y":
			return nil, errors.New("must be true or false without quotes: write true")
		case "no", "off", "false", "n":
			return nil, errors.New("must be true or false without quotes: write false")
		}
	}
	return nil, wrongType("true or false (without quotes)", raw)
}

func (k Kind) numberFromRaw(d *Decl, raw any) (any, error) {
	switch v := raw.(type) {
	case int64:
		switch {
		case k != KindDuration:
			return v, nil
		case v == 0:
			return time.Duration(0), nil
		}
		return nil, fmt.Errorf("is a time and needs a unit: write \"%d secs\" if seconds are meant (ms, secs, mins, hours, days, weeks)", v)
	case string:
		if v == "unlimited" && d.Unlimited {
			return int64(0), nil
		}
		switch k {
		case KindDuration:
			return parseDuration(v)
		case KindSize:
			return parseSize(v)
		}
		return nil, wrongType("a whole number (without quotes)", raw)
	}
	return nil, wrongType(k.describe(d), raw)
}

func (k Kind) listFromRaw(raw any) (any, error) {
	items, ok := raw.([]any)
	if !ok {
		if s, isString := raw.(string); isString {
			return nil, fmt.Errorf("must be a list: write [%s]", quoteAll(strings.FieldsFunc(s, isListSpace)))
		}
		return nil, wrongType(`a list of strings, such as ["a", "b"]`, raw)
	}
	if len(items) > maxList {
		return nil, fmt.Errorf("has more than %d entries", maxList)
	}
	texts := make([]string, 0, len(items))
	for _, item := range items {
		s, ok := item.(string)
		if !ok {
			return nil, wrongType(`a list of strings, such as ["a", "b"]`, item)
		}
		texts = append(texts, s)
	}
	if k != KindNetworks {
		return texts, nil
	}
	nets := make([]netip.Prefix, 0, len(texts))
	for _, s := range texts {
		p, err := parseNetwork(s)
		if err != nil {
			return nil, err
		}
		nets = append(nets, p)
	}
	return nets, nil
}

func isListSpace(r rune) bool { return r == ' ' || r == ',' || r == '\t' }

func quoteAll(items []string) string {
	quoted := make([]string, len(items))
	for i, s := range items {
		quoted[i] = quote(s)
	}
	return strings.Join(quoted, ", ")
}

func parseNetwork(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is not a network; write an address such as \"192.0.2.7\" or a network such as \"192.0.2.0/24\" or \"2001:db8::/32\"", s)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("%q has bits set beyond its prefix length; write %q", s, p.Masked().String())
	}
	return p, nil
}

func fieldsFromRaw(d *Decl, raw any) (any, error) {
	table, ok := raw.(map[string]any)
	if !ok {
		return nil, wrongType(`a table such as { uid = "vmail", home = "/srv/mail/%{user}" }`, raw)
	}
	if len(table) > maxList {
		return nil, fmt.Errorf("has more than %d entries", maxList)
	}
	out := make(Fields, 0, len(table))
	for name, value := range table {
		text := ""
		switch v := value.(type) {
		case string:
			text = v
		case int64:
			text = strconv.FormatInt(v, 10)
		case bool:
			text = map[bool]string{true: "yes", false: "no"}[v]
		default:
			return nil, fmt.Errorf("%s: %w", name, wrongType("a string in quotes", value))
		}
		t, err := ParseTemplate(text, d.Vars)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, Field{name, t})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out, nil
}

// rawFromText is for values from a userdb.
func (k Kind) rawFromText(text string) (any, error) {
	switch k {
	case KindBool:
		switch strings.ToLower(text) {
		case "yes", "y", "true", "1", "on", "":
			return true, nil
		case "no", "n", "false", "0", "off":
			return false, nil
		}
		return nil, fmt.Errorf("%q is neither yes nor no", text)
	case KindInt:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a whole number", text)
		}
		return n, nil
	case KindStrings, KindWords, KindNetworks:
		raw := []any{}
		for _, s := range strings.FieldsFunc(text, isListSpace) {
			raw = append(raw, s)
		}
		return raw, nil
	case KindFields:
		return nil, errors.New("a table cannot be given as text")
	}
	return text, nil
}

// validate applies the limits of d to a value of the kind's Go type.
func (k Kind) validate(d *Decl, v any) error {
	switch k {
	case KindInt, KindSize, KindDuration:
		n, ok := asInt(v)
		if !ok {
			return fmt.Errorf("settings: %s holds a %T", d.Name, v)
		}
		if (n < d.Min || d.Max != 0 && n > d.Max) && !(n == 0 && d.Unlimited) {
			return fmt.Errorf("%s is out of range; write %s", strings.Trim(k.show(v), `"`), k.describe(d))
		}
	case KindEnum:
		return oneOf(d.Words, v.(string))
	case KindWords:
		for _, w := range v.([]string) {
			if err := oneOf(d.Words, w); err != nil {
				return err
			}
		}
	case KindPath:
		if s := v.(string); s != "" && (!strings.HasPrefix(s, "/") || strings.ContainsRune(s, 0)) {
			return fmt.Errorf("%q is not an absolute path; begin it with /", s)
		}
	}
	return nil
}

func asInt(v any) (int64, bool) {
	switch n := v.(type) {
	case int64:
		return n, true
	case time.Duration:
		return int64(n), true
	}
	return 0, false
}

func oneOf(words []string, w string) error {
	if slices.Contains(words, w) {
		return nil
	}
	hint := ""
	if near := Nearest(w, words); near != "" {
		hint = fmt.Sprintf("; did you mean %q?", near)
	}
	return fmt.Errorf("%q is not one of %s%s", w, quoteAll(words), hint)
}

// show writes a value in the form that it has in a configuration file.
func (k Kind) show(v any) string {
	switch v := v.(type) {
	case bool:
		return strconv.FormatBool(v)
	case int64:
		if k == KindSize && v != 0 {
			return quote(formatSize(v))
		}
		return strconv.FormatInt(v, 10)
	case time.Duration:
		if v == 0 {
			return "0"
		}
		return quote(formatDuration(v))
	case string:
		return quote(v)
	case []string:
		return "[" + quoteAll(v) + "]"
	case []netip.Prefix:
		texts := make([]string, len(v))
		for i, p := range v {
			texts[i] = p.String()
		}
		return "[" + quoteAll(texts) + "]"
	case Template:
		return quote(v.source)
	case uint32:
		return quote(fmt.Sprintf("%04o", v))
	case PasswordLog:
		return quote(v.String())
	case Fields:
		parts := make([]string, len(v))
		for i, f := range v {
			parts[i] = quoteKey(f.Name) + " = " + quote(f.Value.source)
		}
		if len(parts) == 0 {
			return "{}"
		}
		return "{ " + strings.Join(parts, ", ") + " }"
	}
	return fmt.Sprintf("%q", fmt.Sprint(v))
}

// describe is the type with its limits, for documents and for errors.
func (k Kind) describe(d *Decl) string {
	between := func(what string) string {
		show := func(n int64) string {
			switch k {
			case KindSize:
				return formatSize(n)
			case KindDuration:
				return formatDuration(time.Duration(n))
			}
			return strconv.FormatInt(n, 10)
		}
		if d.Max != 0 {
			what += ", " + show(d.Min) + " to " + show(d.Max)
		} else if d.Min != 0 {
			what += ", at least " + show(d.Min)
		}
		if d.Unlimited {
			what += "; 0 or \"unlimited\" for no limit"
		}
		return what
	}
	switch k {
	case KindBool:
		return "true or false"
	case KindInt:
		return between("a whole number")
	case KindSize:
		return between(`a size such as "64 KiB"`)
	case KindDuration:
		return between(`a time such as "30 secs"`)
	case KindEnum:
		return "one of " + quoteAll(d.Words)
	case KindStrings:
		return "a list of strings"
	case KindWords:
		return "a list out of " + quoteAll(d.Words)
	case KindNetworks:
		return "a list of networks"
	case KindPath:
		return "an absolute path"
	case KindTemplate:
		return "a string with %{variables}"
	case KindMode:
		return "a file mode in octal digits"
	case KindPasswordLog:
		return `"no", "plain", "sha1", "plain:N" or "sha1:N"`
	case KindFields:
		return "a table of strings with %{variables}"
	}
	return "a string"
}

// quote writes a TOML basic string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func quoteKey(s string) string {
	bare := s != ""
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-') {
			bare = false
		}
	}
	if bare {
		return s
	}
	return quote(s)
}
