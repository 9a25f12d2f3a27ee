package authdb

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"rookery/internal/settings"
)

// Env is what databases need of their process.
type Env struct {
	Files  Files
	Now    func() time.Time
	Report func([]Problem) // takes what readings found wrong
	// Shared lets several databases over one file read it once; may be nil.
	Shared *Shared
}

// Shared holds the passwd-files of one generation of settings.
type Shared struct{ passwdFiles *source[*Table] }

func (e Env) passwdFiles() *source[*Table] {
	if e.Shared == nil {
		return newSource(e, ParsePasswdFile)
	}
	if e.Shared.passwdFiles == nil { // databases are made one after another
		e.Shared.passwdFiles = newSource(e, ParsePasswdFile)
	}
	return e.Shared.passwdFiles
}

// Query asks for a user.
type Query struct {
	User string // after auth_username_format
	Mech string
	Vars settings.Vars
}

// PassEntry is what a passdb holds for a user.
type PassEntry struct {
	Found    bool
	Stored   string // scheme prefix and all
	NoRecord bool   // the entry has no password field at all (a list of names)
	State    Result // OK, or why the account may not log in whatever the password
	Fields   Fields
}

// Passdb is one [[passdb]].
type Passdb struct {
	Rules
	Deny, Master   bool
	Mechanisms     []string // empty: all
	UsernameFilter string
	DefaultScheme  string
	UsernameFormat settings.Template // what is looked up; empty: the user's name
	Defaults       []TemplateField   // fields for users that do not have them
	Override       []TemplateField   // fields for all users
	look           func(Query) (PassEntry, error)
}

// TemplateField is an extra field from the configuration.
type TemplateField struct {
	Key   string
	Value settings.Template
}

// Asks reports whether this passdb serves the mechanism and user at all.
func (p *Passdb) Asks(q Query) bool {
	if len(p.Mechanisms) > 0 && !slices.Contains(p.Mechanisms, q.Mech) {
		return false
	}
	return MatchUser(p.UsernameFilter, q.User)
}

// lookupName is the name under which a database has the user.
func lookupName(format settings.Template, q Query) (Query, error) {
	if format.Empty() {
		return q, nil
	}
	name, err := format.Expand(q.Vars)
	if err != nil {
		return q, fmt.Errorf("username_format: %w", err)
	}
	q.User = name
	return q, nil
}

// Look finds the user. An error is an internal failure with its cause.
func (p *Passdb) Look(q Query) (PassEntry, error) {
	q, err := lookupName(p.UsernameFormat, q)
	if err != nil {
		return PassEntry{}, err
	}
	e, err := p.look(q)
	if err != nil || !e.Found {
		return e, err
	}
	defaults, err := expandFields(p.Defaults, q.Vars)
	if err != nil {
		return PassEntry{}, err
	}
	override, err := expandFields(p.Override, q.Vars)
	if err != nil {
		return PassEntry{}, err
	}
	e.Fields = override.Merge(e.Fields).Merge(defaults)
	return e, nil
}

func expandFields(list []TemplateField, vars settings.Vars) (Fields, error) {
	var out Fields
	for _, f := range list {
		v, err := f.Value.Expand(vars)
		if err == nil && isPath(f.Key) {
			err = safeInPath(f.Value, vars)
		}
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", f.Key, err)
		}
		out = append(out, Field{f.Key, v})
	}
	return out, nil
}

// isPath tells whether a field says where a user's mail lies.
func isPath(key string) bool {
	key = strings.TrimPrefix(key, "userdb_")
	return key == "home" || key == "mail" || strings.HasSuffix(key, "_path") || strings.HasSuffix(key, "_dir")
}

// safeInPath refuses values that would lead a path elsewhere: into another
// user's folder, or, by a variable of their own, anywhere.
func safeInPath(t settings.Template, vars settings.Vars) error {
	for name, value := range vars {
		if name != "home" && t.Uses(name) && (strings.Contains(value, "/") || strings.Contains(value, "%{") || value == "." || value == "..") {
			return fmt.Errorf("%%{%s} is %q, which may not stand in a path", name, value)
		}
	}
	return nil
}

// lookIn finds a user's entry by find in a file whose path may have variables;
// nil if it has none. A path with variables that leads nowhere means an unknown
// user (no such domain); a fixed one that does is the operator's fault. A user
// who is not in a file that is being written is no unknown user but an error.
func lookIn[T, E any](s *source[T], path settings.Template, q Query, find func(T, string) *E) (*E, error) {
	name, err := path.ExpandPath(q.Vars)
	if err != nil {
		if u := q.User; path.Uses("user") && (strings.Contains(u, "/") || strings.Contains(u, "..") || strings.HasSuffix(u, ".")) {
			return nil, nil // such a name cannot be a part of a path, so it has no file
		}
		return nil, err
	}
	table, cut, err := s.get(name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && name != path.String() {
			return nil, nil
		}
		return nil, err
	}
	e := find(table, q.User)
	if e == nil && cut {
		return nil, fmt.Errorf("%s: %w", name, errUnsettled)
	}
	return e, nil
}

// PasswdFile makes p a passdb over a passwd-file.
func (p *Passdb) PasswdFile(env Env, path settings.Template) *Passdb {
	src := env.passwdFiles()
	p.look = func(q Query) (PassEntry, error) {
		e, err := lookIn(src, path, q, (*Table).Find)
		if e == nil {
			return PassEntry{}, err
		}
		return PassEntry{Found: true, Stored: e.Password, NoRecord: !e.HasPassword, Fields: e.Extra}, nil
	}
	return p
}

// Shadow makes p a passdb over a shadow file.
func (p *Passdb) Shadow(env Env, path settings.Template) *Passdb {
	src := newSource(env, ParseShadow)
	p.look = func(q Query) (PassEntry, error) {
		e, err := lookIn(src, path, q, (*ShadowTable).Find)
		if e == nil {
			return PassEntry{}, err
		}
		out := PassEntry{Found: true, Stored: e.Hash}
		switch e.State(env.Now()) {
		case ShadowLocked, ShadowNoPasswd:
			out.State, out.Stored = Disabled, ""
		case ShadowExpired, ShadowAged:
			out.State = Expired
		}
		return out, nil
	}
	return p
}

// Static makes p a passdb that knows every user; password "" needs the field nopassword.
func (p *Passdb) Static(password settings.Template) *Passdb {
	p.look = func(q Query) (PassEntry, error) {
		pw, err := password.Expand(q.Vars)
		return PassEntry{Found: err == nil, Stored: pw}, err
	}
	return p
}
