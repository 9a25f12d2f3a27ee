// Package authdb holds the password and user databases: passwd-files in
// Dovecot's format, the system's passwd and shadow files, static ones, and the
// chains in which they are asked.
//
// Only authd uses it. Parsing is pure; files are read through Files. It hashes
// nothing and logs nothing: what an operator must know comes back as Problems
// or errors with file and line, and what a lookup found as a value.
package authdb

import (
	"fmt"
	"slices"
	"strings"
)

// Limits of what files may hold. They guard against a wrong path (a log, a
// disk image), not against the operator.
const (
	MaxFile   = 256 << 20 // bytes of one file
	MaxLine   = 32 << 10  // bytes of one line
	MaxFields = 128       // extra fields of one user
	MaxName   = 255       // bytes of a user name
)

// Field is one extra field. A field without "=" has the value "yes".
type Field struct{ Key, Value string }

// Fields are one user's extra fields, in order; of two with one key the first counts.
type Fields []Field

// Get gives a field's value.
func (f Fields) Get(key string) (string, bool) {
	for _, x := range f {
		if x.Key == key {
			return x.Value, true
		}
	}
	return "", false
}

// Has reports whether the field is there, whatever its value: as in Dovecot,
// "nologin=no" still means nologin (a Problem tells so).
func (f Fields) Has(key string) bool {
	_, ok := f.Get(key)
	return ok
}

// WithPrefix gives the fields whose key begins with prefix, without it.
func (f Fields) WithPrefix(prefix string) Fields {
	var out Fields
	for _, x := range f {
		if key, ok := strings.CutPrefix(x.Key, prefix); ok && key != "" {
			out = append(out, Field{key, x.Value})
		}
	}
	return out
}

// Merge gives f with the fields of more that f does not have.
func (f Fields) Merge(more Fields) Fields {
	out := slices.Clone(f)
	for _, x := range more {
		if !f.Has(x.Key) {
			out = append(out, x)
		}
	}
	return out
}

// flags are the fields that are true by being there.
var flags = []string{"nologin", "nopassword", "nodelay", "proxy", "proxy_maybe"}

// parseFields reads space-separated key=value. The text is what stands after
// the seventh colon, colons and all, so that values may hold them.
func parseFields(text string) (Fields, []string, error) {
	var out Fields
	var notes []string
	for word := range strings.FieldsSeq(text) {
		key, value, has := strings.Cut(word, "=")
		if key == "" {
			return nil, nil, fmt.Errorf("extra field %q has no name", word)
		}
		if !has {
			value = "yes"
		}
		if out.Has(key) {
			notes = append(notes, fmt.Sprintf("extra field %s is there twice, the first counts", key))
			continue
		}
		if len(out) == MaxFields {
			return nil, nil, fmt.Errorf("more than %d extra fields", MaxFields)
		}
		if slices.Contains(flags, key) && (value == "no" || value == "false" || value == "n" || value == "0") {
			notes = append(notes, fmt.Sprintf("%s=%s still means %s, as a field's presence decides; remove it", key, value, key))
		}
		out = append(out, Field{key, value})
	}
	return out, notes, nil
}

// Problem is something wrong in a file that its reading survived.
type Problem struct {
	Path string
	Line int // 1-based
	Text string
	// Skipped says that the line counts for nothing.
	Skipped bool
}

func (p Problem) String() string {
	if p.Skipped {
		return fmt.Sprintf("%s:%d: %s (line skipped)", p.Path, p.Line, p.Text)
	}
	return fmt.Sprintf("%s:%d: %s", p.Path, p.Line, p.Text)
}

// maxProblems bounds what one reading reports.
const maxProblems = 50
