package settings

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Template is a string with variables, parsed when the configuration is read.
//
// The syntax is Dovecot 2.4's: %{name}, %{name | filter | filter(arguments)};
// "%%{" stands for the characters "%{". A percent sign that is not followed by
// "{" is itself. The result of an expansion is never expanded again.
type Template struct {
	source string
	parts  []part
}

// part is either literal text (name "") or a variable with its filters.
type part struct {
	literal string
	name    string
	filters []filterCall
}

// Vars holds the variables' values for one expansion.
type Vars map[string]string

const (
	maxTemplate = 4096 // bytes of source
	maxResult   = 64 << 10
)

// ParseTemplate reads source; known are the names of the variables that have a
// value where the template is used. The error says what to write.
func ParseTemplate(source string, known []string) (Template, error) {
	t := Template{source: source}
	if len(source) > maxTemplate {
		return t, fmt.Errorf("is longer than %d bytes", maxTemplate)
	}
	if strings.ContainsRune(source, 0) {
		return t, errors.New("holds a NUL byte")
	}
	rest := source
	var literal strings.Builder
	for rest != "" {
		i := strings.IndexByte(rest, '%')
		if i < 0 {
			literal.WriteString(rest)
			break
		}
		literal.WriteString(rest[:i])
		rest = rest[i:]
		switch {
		case strings.HasPrefix(rest, "%%{"):
			literal.WriteString("%{")
			rest = rest[3:]
		case strings.HasPrefix(rest, "%{"):
			if literal.Len() > 0 {
				t.parts = append(t.parts, part{literal: literal.String()})
				literal.Reset()
			}
			p, n, err := parseVariable(rest, known)
			if err != nil {
				return t, err
			}
			t.parts = append(t.parts, p)
			rest = rest[n:]
		default:
			if err := oldVariable(rest); err != nil {
				return t, err
			}
			literal.WriteByte('%')
			rest = rest[1:]
		}
	}
	if literal.Len() > 0 {
		t.parts = append(t.parts, part{literal: literal.String()})
	}
	return t, nil
}

// oldVariables are Dovecot 2.3's one-letter variables.
var oldVariables = map[byte]string{
	'u': "user", 'n': "user | username", 'd': "user | domain", 'h': "home", 's': "protocol",
	'r': "remote_ip", 'l': "local_ip", 'a': "local_port", 'b': "remote_port", 'm': "mechanism",
	'c': "secured", 'e': "mail_pid", 'p': "process:pid", 'v': "uidvalidity",
}

// oldNames are Dovecot 2.3's long variables that have another name now.
var oldNames = map[string]string{
	"username": "user | username", "domain": "user | domain", "auth_username": "auth_user | username",
	"auth_domain": "auth_user | domain", "rip": "remote_ip", "lip": "local_ip", "rport": "remote_port",
	"lport": "local_port", "real_rip": "real_remote_ip", "real_lip": "real_local_ip", "service": "protocol",
	"mech": "mechanism", "pid": "process:pid", "orig_user": "original_user",
	"orig_username": "original_user | username", "orig_domain": "original_user | domain",
	"login_username": "login_user | username", "login_domain": "login_user | domain",
}

// oldVariable refuses %u, %Lu and %08Xu, which Dovecot 2.3 expanded and which
// would now be taken as they stand: a path "/srv/%u" shared by all users.
func oldVariable(rest string) error {
	i := 1
	for i < len(rest) && strings.IndexByte("0123456789.-", rest[i]) >= 0 {
		i++
	}
	digits := i > 1
	modifiers := i
	for i < len(rest)-1 && strings.IndexByte("LUEXRNHMDT", rest[i]) >= 0 {
		i++
	}
	if i >= len(rest) {
		return nil
	}
	old := rest[:i+1]
	name, known := oldVariables[rest[i]]
	switch {
	case !known:
		return nil
	case digits:
		return fmt.Errorf("%q is Dovecot 2.3's variable; write %%{%s} with a filter such as | substr(0, 2) or | hex(8)", old, name)
	case i == modifiers:
		return fmt.Errorf("%q is Dovecot 2.3's variable; write %%{%s}", old, name)
	case rest[modifiers:i] == "L":
		return fmt.Errorf("%q is Dovecot 2.3's variable; write %%{%s | lower}", old, name)
	case rest[modifiers:i] == "U":
		return fmt.Errorf("%q is Dovecot 2.3's variable; write %%{%s | upper}", old, name)
	}
	return fmt.Errorf("%q is Dovecot 2.3's variable; write %%{%s} with a filter", old, name)
}

// parseVariable reads "%{…}" at the start of text and gives its length.
func parseVariable(text string, known []string) (part, int, error) {
	end, err := variableEnd(text)
	if err != nil {
		return part{}, 0, err
	}
	pieces := splitOutside(text[2:end], '|')
	p := part{name: strings.TrimSpace(pieces[0])}
	if p.name == "" {
		return p, 0, fmt.Errorf("%q names no variable", text[:end+1])
	}
	if !slices.Contains(known, p.name) {
		return p, 0, unknownVariable(p.name, known)
	}
	for _, piece := range pieces[1:] {
		call, err := parseFilter(strings.TrimSpace(piece))
		if err != nil {
			return p, 0, err
		}
		p.filters = append(p.filters, call)
	}
	return p, end + 1, nil
}

func unknownVariable(name string, known []string) error {
	if now, old := oldNames[name]; old && slices.Contains(known, strings.TrimSpace(strings.Split(now, "|")[0])) {
		return fmt.Errorf("%%{%s} is Dovecot 2.3's variable; write %%{%s}", name, now)
	}
	if len(known) == 0 {
		return fmt.Errorf("%%{%s}: no variables can be used here", name)
	}
	if near := Nearest(name, known); near != "" {
		return fmt.Errorf("%%{%s} is not known here; did you mean %%{%s}? (known: %s)", name, near, strings.Join(known, ", "))
	}
	return fmt.Errorf("%%{%s} is not known here; known are %s", name, strings.Join(known, ", "))
}

// variableEnd is the offset of the "}" that closes text's "%{".
func variableEnd(text string) (int, error) {
	quoted := byte(0)
	for i := 2; i < len(text); i++ {
		c := text[i]
		switch {
		case quoted != 0 && c == '\\':
			i++
		case quoted != 0:
			if c == quoted {
				quoted = 0
			}
		case c == '\'' || c == '"':
			quoted = c
		case c == '}':
			return i, nil
		}
	}
	return 0, fmt.Errorf("%q lacks its closing }", text)
}

// splitOutside cuts text at every sep that stands outside quotes and parentheses.
func splitOutside(text string, sep byte) []string {
	var out []string
	quoted, depth, start := byte(0), 0, 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quoted != 0 && c == '\\':
			i++
		case quoted != 0:
			if c == quoted {
				quoted = 0
			}
		case c == '\'' || c == '"':
			quoted = c
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == sep && depth == 0:
			out = append(out, text[start:i])
			start = i + 1
		}
	}
	return append(out, text[start:])
}

// String is the template as it was written.
func (t Template) String() string { return t.source }

// Empty reports whether the template is the empty string.
func (t Template) Empty() bool { return t.source == "" }

// Uses reports whether the variable occurs in t.
func (t Template) Uses(name string) bool {
	return slices.ContainsFunc(t.parts, func(p part) bool { return p.name == name }) ||
		name == "home" && strings.HasPrefix(t.source, "~/")
}

// Expand puts the values in. A variable that vars lacks is an error: the
// caller forgot it. Values are never looked at again for variables.
func (t Template) Expand(vars Vars) (string, error) {
	return t.expand(vars, func(string, string) error { return nil })
}

// ExpandPath is Expand for a file path: "~/" at the start is the home, and a
// value that could lead elsewhere (a "/" in it, or "." or "..") is refused,
// but for home, which is a path. The result is clean and absolute; an empty
// template gives "".
func (t Template) ExpandPath(vars Vars) (string, error) {
	if t.Empty() {
		return "", nil
	}
	out, err := t.expand(vars, func(name, value string) error {
		if name != "home" && (strings.ContainsRune(value, '/') || value == "." || value == "..") {
			return fmt.Errorf("%%{%s} is %q, which may not stand in a path", name, value)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(t.source, "~/") {
		home, ok := vars["home"]
		if !ok || home == "" {
			return "", fmt.Errorf("%q needs a home, and the user has none", t.source)
		}
		out = home + out[1:]
	}
	if slices.Contains(strings.Split(out, "/"), "..") {
		return "", fmt.Errorf("the path %q holds \"..\"", out)
	}
	if !strings.HasPrefix(out, "/") {
		return "", fmt.Errorf("the path %q is not absolute", out)
	}
	return path.Clean(out), nil
}

func (t Template) expand(vars Vars, allow func(name, value string) error) (string, error) {
	var b strings.Builder
	for _, p := range t.parts {
		if p.name == "" {
			b.WriteString(p.literal)
			continue
		}
		value, ok := vars[p.name]
		if !ok {
			return "", fmt.Errorf("%%{%s} has no value here", p.name)
		}
		value, err := applyFilters(value, p.filters)
		if err != nil {
			return "", fmt.Errorf("%%{%s}: %w", p.name, err)
		}
		if strings.ContainsRune(value, 0) {
			return "", fmt.Errorf("%%{%s} holds a NUL byte", p.name)
		}
		if err := allow(p.name, value); err != nil {
			return "", err
		}
		if b.Len()+len(value) > maxResult {
			return "", fmt.Errorf("%q expands to more than %d bytes", t.source, maxResult)
		}
		b.WriteString(value)
	}
	return b.String(), nil
}

// Elements cuts t at the spaces of its literal text: the elements of
// login_log_format_elements. A space inside %{…} does not cut.
func (t Template) Elements() []Template {
	var out []Template
	var current Template
	flush := func() {
		if len(current.parts) > 0 {
			out = append(out, current)
		}
		current = Template{}
	}
	for _, p := range t.parts {
		if p.name != "" {
			current.parts = append(current.parts, p)
			current.source += "%{" + p.name + "}"
			continue
		}
		for i, word := range strings.Split(p.literal, " ") {
			if i > 0 {
				flush()
			}
			if word != "" {
				current.parts = append(current.parts, part{literal: word})
				current.source += word
			}
		}
	}
	flush()
	return out
}

// ExpandElement expands one of Elements. keep is false when the element has
// variables and all of them are empty: Dovecot leaves it out then, unless it
// names the user.
func (t Template) ExpandElement(vars Vars) (text string, keep bool, err error) {
	hasVars, filled := false, false
	for _, p := range t.parts {
		if p.name == "" {
			continue
		}
		hasVars = true
		if vars[p.name] != "" || p.name == "user" {
			filled = true
		}
	}
	text, err = t.Expand(vars)
	return text, err == nil && (!hasVars || filled), err
}
