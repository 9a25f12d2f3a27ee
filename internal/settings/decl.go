package settings

import (
	"fmt"
	"slices"
	"strings"
)

// Role names a receiver of settings. Roles are bits, so that a declaration can
// name several.
type Role uint16

// The roles. Master is not among them: it holds the whole Set.
const (
	RoleMaster Role = 1 << iota // read by master only; sent to nobody
	RoleLogin
	RoleAuthd
	RoleLogd
	RoleIMAP
	RolePOP3

	RoleWorkers = RoleIMAP | RolePOP3
)

var roleNames = []struct {
	role Role
	name string
}{
	{RoleMaster, "master"}, {RoleLogin, "login"}, {RoleAuthd, "authd"},
	{RoleLogd, "logd"}, {RoleIMAP, "imapworker"}, {RolePOP3, "pop3worker"},
}

// String lists the role names, separated by ", ".
func (r Role) String() string {
	var names []string
	for _, row := range roleNames {
		if r&row.role != 0 {
			names = append(names, row.name)
		}
	}
	return strings.Join(names, ", ")
}

// Decl is the declaration of one setting, or of one field of a table.
type Decl struct {
	Name    string
	Kind    Kind
	Default any      // a value of Kind's Go type
	Unit    string   // what one unit of a plain number is: "connections"; "" where the kind says it
	Min     int64    // Int, Size (bytes), Duration (nanoseconds), Mode
	Max     int64    // the same
	Words   []string // Enum, WordList: what may be written
	Vars    []string // Template: the variables that are known there
	Since   string   // the release that brought it
	Text    string   // what it does, for the administrator
	Danger  string   // what it gives away or risks; shown as a warning; "" for most
	Roles   Role
	File    string // the conf.d file that ships it, without ".toml"
	Table   string // the table it is a field of; "" for a top-level setting

	Secret    bool // never shown by `rookeryctl config`
	PerUser   bool // a userdb may set it for one user
	Unlimited bool // Int, Size: 0 means no limit
	Required  bool // fields: must be written
	Paths     bool // Template: its value is a file path, so no variable may bring a "/" or ".."

	check func(any) error // further rules; the error says what to write
}

// Key gives typed access to one top-level setting.
type Key[T any] struct{ decl *Decl }

// Get is the setting's value in set, or its default where set does not have it.
func (k Key[T]) Get(set *Set) T {
	v, _ := set.value(k.decl).(T)
	return v
}

// Put sets the value without a check; tests and the demo use it.
func (k Key[T]) Put(set *Set, v T) { set.values[k.decl.Name] = v }

// Decl is the declaration itself.
func (k Key[T]) Decl() *Decl { return k.decl }

// Name is the setting's name.
func (k Key[T]) Name() string { return k.decl.Name }

// catalogue is filled by the initialisers of this package's variables and
// never changes after them.
type catalogue struct {
	decls  []*Decl
	byName map[string]*Decl
}

var declared = &catalogue{byName: map[string]*Decl{}}

func (c *catalogue) add(d *Decl, options []option) *Decl {
	for _, o := range options {
		o(d)
	}
	if d.Since == "" {
		d.Since = "0.1"
	}
	if c.byName[d.Name] != nil {
		panic("settings: declared twice: " + d.Name)
	}
	c.byName[d.Name] = d
	c.decls = append(c.decls, d)
	return d
}

// All lists the top-level settings by file, then in the order of declaration.
// The slice is the caller's.
func All() []*Decl {
	out := slices.Clone(declared.decls)
	slices.SortStableFunc(out, func(a, b *Decl) int { return strings.Compare(a.File, b.File) })
	return out
}

// Lookup finds a top-level setting by its name; nil if there is none.
func Lookup(name string) *Decl { return declared.byName[name] }

// declare makes a Key of the kind whose Go type is T.
func declare[T any](kind Kind, name string, def T, roles Role, file, text string, options ...option) Key[T] {
	return Key[T]{declared.add(&Decl{Name: name, Kind: kind, Default: def, Roles: roles, File: file, Text: text}, options)}
}

type option func(*Decl)

func limits(low, high int64) option { return func(d *Decl) { d.Min, d.Max = low, high } }
func unit(u string) option          { return func(d *Decl) { d.Unit = u } }
func words(w ...string) option      { return func(d *Decl) { d.Words = w } }
func vars(v ...string) option       { return func(d *Decl) { d.Vars = v } }
func danger(text string) option     { return func(d *Decl) { d.Danger = text } }
func perUser() option               { return func(d *Decl) { d.PerUser = true } }
func unlimited() option             { return func(d *Decl) { d.Unlimited = true } }
func required() option              { return func(d *Decl) { d.Required = true } }
func paths() option                 { return func(d *Decl) { d.Paths = true } }
func checked(f func(any) error) option {
	return func(d *Decl) { d.check = f }
}

// validate applies limits, words and the declaration's own rule to a value
// that already has the kind's Go type.
func (d *Decl) validate(v any) error {
	if err := d.Kind.validate(d, v); err != nil {
		return err
	}
	if d.check != nil {
		return d.check(v)
	}
	return nil
}

// FromRaw turns a value as a configuration file holds it (bool, int64, float64,
// string, []any, map[string]any) into the kind's Go type, or says what to
// write instead.
func (d *Decl) FromRaw(raw any) (any, error) {
	v, err := d.Kind.fromRaw(d, raw)
	if err != nil {
		return nil, err
	}
	return v, d.validate(v)
}

// FromText is FromRaw for a value that is known as text only, such as a field
// of a passwd-file: "yes" and "no" are booleans there, lists are separated by
// spaces or commas.
func (d *Decl) FromText(text string) (any, error) {
	raw, err := d.Kind.rawFromText(text)
	if err != nil {
		return nil, err
	}
	return d.FromRaw(raw)
}

// Show writes a value as a configuration file would: true, 17, "2 mins",
// ["a", "b"]. It does not hide secrets: ShowHidden does.
func (d *Decl) Show(v any) string { return d.Kind.show(v) }

// ShowHidden is Show with a secret's content replaced.
func (d *Decl) ShowHidden(v any) string {
	if fields, ok := v.(Fields); ok {
		return d.Kind.show(fields.hidden())
	}
	if d.Secret && d.Kind.show(v) != `""` {
		return `"<hidden>"`
	}
	return d.Show(v)
}

// TypeText describes the type with its limits: "whole number, 1 to 100".
func (d *Decl) TypeText() string { return d.Kind.describe(d) }

func wrongType(want string, raw any) error {
	return fmt.Errorf("is %s, but must be %s", rawName(raw), want)
}

func rawName(raw any) string {
	switch raw.(type) {
	case bool:
		return "true or false"
	case int64:
		return "a number"
	case float64:
		return "a number with a point"
	case string:
		return "a string"
	case []any, []map[string]any:
		return "a list"
	case map[string]any:
		return "a table"
	}
	return "a date or time"
}
