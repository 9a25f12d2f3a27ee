package settings

import "fmt"

// Table declares an array of tables, such as [[passdb]]. Every row has a
// unique "name"; a later row of the same name replaces the earlier one, and
// "enabled = false" takes it away.
type Table struct {
	Name   string
	Text   string
	File   string // the conf.d file that ships its rows, without ".toml"
	Fields []*Decl
	Sub    *Table // rows inside a row: [[namespace.mailbox]]; nil for most
	Roles  Role
	check  func(Row) error
}

// Field finds a field by name; nil if the table has none of that name.
func (t *Table) Field(name string) *Decl {
	for _, d := range t.Fields {
		if d.Name == name {
			return d
		}
	}
	return nil
}

// Check applies the rules that span several fields of one row, and demands the
// required ones. Errors are texts for the administrator.
func (t *Table) Check(row Row) error {
	for _, d := range t.Fields {
		if _, ok := row.Values[d.Name]; d.Required && !ok {
			return fmt.Errorf("lacks %q (%s)", d.Name, d.TypeText())
		}
	}
	if t.check != nil {
		return t.check(row)
	}
	return nil
}

// LookupTable finds a table by its name in the file ("passdb"); nil if there is none.
func LookupTable(name string) *Table {
	for _, t := range Tables() {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// field makes a field's declaration; def is what an absent field means.
func field(table string, kind Kind, name string, def any, text string, options ...option) *Decl {
	d := &Decl{Name: name, Kind: kind, Default: def, Text: text, Table: table, Since: "0.1"}
	for _, o := range options {
		o(d)
	}
	return d
}

// get is the row's value of the field, or what its absence means.
func get[T any](t *Table, row Row, name string) T {
	if v, ok := row.Values[name].(T); ok {
		return v
	}
	v, _ := t.Field(name).Default.(T)
	return v
}
