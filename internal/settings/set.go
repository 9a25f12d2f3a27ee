package settings

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Set holds the values of one reading of the configuration. It is not changed
// once it is in use, so goroutines may share it.
type Set struct {
	role   Role // RoleMaster: everything
	values map[string]any
	tables map[string][]Row
}

// Row is one table of an array of tables, such as one [[passdb]].
type Row struct {
	Name   string
	Values map[string]any // by field name; fields that are not written are absent
	Sub    []Row          // the rows of the table's sub-table, in order
}

// New is a Set in which every setting has its default and no table has a row.
func New() *Set {
	return &Set{role: RoleMaster, values: map[string]any{}, tables: map[string][]Row{}}
}

// value of a setting; a declaration that this role does not receive is a bug
// of the caller and panics, so that a test finds it.
func (s *Set) value(d *Decl) any {
	if s.role != RoleMaster && d.Roles&s.role == 0 {
		panic("settings: " + d.Name + " is not declared for " + s.role.String())
	}
	if v, ok := s.values[d.Name]; ok {
		return v
	}
	return d.Default
}

// Value is the setting's value, for code that walks All.
func (s *Set) Value(d *Decl) any { return s.value(d) }

// IsDefault reports whether the setting has its default value.
func (s *Set) IsDefault(d *Decl) bool { return d.Show(s.value(d)) == d.Show(d.Default) }

// SetRaw checks raw (see Decl.FromRaw) and stores it.
func (s *Set) SetRaw(d *Decl, raw any) error {
	v, err := d.FromRaw(raw)
	if err != nil {
		return err
	}
	s.values[d.Name] = v
	return nil
}

// Rows lists the rows of a table in the order of their first mention.
func (s *Set) Rows(table string) []Row { return s.tables[table] }

// PutRow adds the row, or replaces the one of the same name in its place.
func (s *Set) PutRow(table string, row Row) {
	rows := slices.Clone(s.tables[table])
	for i := range rows {
		if rows[i].Name == row.Name {
			rows[i] = row
			s.tables[table] = rows
			return
		}
	}
	s.tables[table] = append(rows, row)
}

// RemoveRow takes the row of that name away, if there is one.
func (s *Set) RemoveRow(table, name string) {
	s.tables[table] = slices.DeleteFunc(slices.Clone(s.tables[table]), func(r Row) bool { return r.Name == name })
}

// Clone is a copy that can be changed without touching s.
func (s *Set) Clone() *Set {
	return &Set{role: s.role, values: maps.Clone(s.values), tables: maps.Clone(s.tables)}
}

// ErrNotPerUser says that a userdb named a setting that only the
// configuration may set.
var ErrNotPerUser = errors.New("cannot be set for one user")

// WithUser is s with what a userdb sets for one user: names of settings that
// are declared per user, with text values. Names that are no setting are left
// alone (uid, gid and the like are the caller's).
func (s *Set) WithUser(fields map[string]string) (*Set, error) {
	out := s.Clone()
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		d := Lookup(name)
		if d == nil {
			continue
		}
		if !d.PerUser {
			return nil, fmt.Errorf("%s: %w", name, ErrNotPerUser)
		}
		if s.role != RoleMaster && d.Roles&s.role == 0 {
			continue
		}
		v, err := d.FromText(fields[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out.values[name] = v
	}
	return out, nil
}

// Fingerprint changes when anything changes that the role receives. Master
// starts new processes of a role on a reload only then.
func (s *Set) Fingerprint(role Role) [32]byte { return sha256.Sum256(s.ForRole(role)) }
