package confload

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"rookery/internal/settings"
)

// fileParser takes the statements of one file in order.
type fileParser struct {
	*loader
	name     string
	seen     map[string]int // top-level settings, with their line
	rowsSeen map[string]int // "passdb/NAME", with its line

	row     *rowBuilder // the table that statements go into; nil at the top
	sub     *rowBuilder // the sub-table within row; nil for none
	unknown string      // the header of a table that does not exist: its content is skipped
}

// rowBuilder collects one [[table]] until the next header.
type rowBuilder struct {
	table  *settings.Table
	line   int
	values map[string]any
	lines  map[string]int
	bad    bool // a field had an error; the row is not checked as a whole
	subs   []settings.Row
}

func (p *fileParser) at(line int) Source { return Source{p.name, line} }

func (p *fileParser) statement(st statement) {
	switch {
	case st.header != "" || st.broken == "is no table's header":
		p.header(st)
	case st.broken != "":
		p.errorf(p.at(st.line), "%q %s; write NAME = VALUE%s", clip(st.key), st.broken, foreignSyntax(st.key))
		p.markBad()
	default:
		p.assignment(st)
	}
}

// foreignSyntax explains lines in Dovecot's own syntax.
func foreignSyntax(line string) string {
	switch {
	case strings.HasSuffix(line, "{"):
		return " (what Dovecot writes as \"passdb NAME { … }\" is a line [[passdb]] and then name = \"NAME\" here)"
	case line == "}":
		return " (a table ends where the next one begins; take the brace away)"
	case strings.HasPrefix(line, "!include"):
		return " (all files conf.d/*.toml are read; others cannot be included)"
	}
	return ""
}

func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

func (p *fileParser) markBad() {
	if p.row != nil {
		p.row.bad = true
	}
	if p.sub != nil {
		p.sub.bad = true
	}
}

func (p *fileParser) header(st statement) {
	name := st.header
	if parent, _, nested := strings.Cut(name, "."); nested && p.row != nil && parent == p.row.table.Name {
		p.endSub()
		if p.row.table.Sub != nil && p.row.table.Sub.Name == name {
			p.checkBrackets(st)
			p.sub = &rowBuilder{table: p.row.table.Sub, line: st.line, values: map[string]any{}, lines: map[string]int{}}
			p.unknown = ""
			return
		}
	} else {
		p.endRow()
	}
	table := settings.LookupTable(name)
	if table == nil {
		p.unknown = name
		p.errorf(p.at(st.line), "%s", p.unknownTable(name))
		return
	}
	p.checkBrackets(st)
	p.unknown = ""
	p.row = &rowBuilder{table: table, line: st.line, values: map[string]any{}, lines: map[string]int{}}
}

func (p *fileParser) checkBrackets(st statement) {
	if !st.double || st.broken != "" {
		p.errorf(p.at(st.line), "write [[%s]], with two brackets on each side and nothing else on the line", st.header)
	}
}

func (p *fileParser) unknownTable(name string) string {
	var names []string
	for _, t := range settings.Tables() {
		names = append(names, t.Name)
		if t.Sub != nil {
			names = append(names, t.Sub.Name)
		}
	}
	if slices.Contains(names, name) {
		parent, _, _ := strings.Cut(name, ".")
		return fmt.Sprintf("[[%s]] must follow the [[%s]] that it belongs to, in the same file", name, parent)
	}
	if settings.Lookup(name) != nil {
		return fmt.Sprintf("%s is a setting, not a table; write %s = …", name, name)
	}
	if near := settings.Nearest(name, names); near != "" {
		return fmt.Sprintf("there is no table [[%s]]; did you mean [[%s]]?", clip(name), near)
	}
	if feature := later(name); feature != "" {
		return fmt.Sprintf("[[%s]] is not there yet: %s comes with a later release; take the table away", clip(name), feature)
	}
	return fmt.Sprintf("there is no table [[%s]]; known are [[%s]]", clip(name), strings.Join(names, "]], [["))
}

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// assignment handles key = value.
func (p *fileParser) assignment(st statement) {
	if p.unknown != "" {
		return
	}
	key := st.key
	if !bareKey.MatchString(key) {
		p.errorf(p.at(st.line), "%q cannot be a setting's name; names have letters, digits and _ only%s", clip(key), foreignSyntax(strings.TrimSpace(key)))
		p.markBad()
		return
	}
	if b := p.builder(); b != nil {
		p.fieldAssignment(b, st)
		return
	}
	decl := settings.Lookup(key)
	if decl == nil {
		p.errorf(p.at(st.line), "%s", unknownSetting(key))
		return
	}
	if line, twice := p.seen[key]; twice {
		p.errorf(p.at(st.line), "%s is set twice in this file, first in line %d; take one of the lines away", key, line)
		return
	}
	p.seen[key] = st.line
	raw, ok := p.value(st, decl)
	if !ok {
		return
	}
	if err := p.Set.SetRaw(decl, raw); err != nil {
		p.errorf(p.at(st.line), "%s %s", key, err)
		return
	}
	p.Sources[key] = p.at(st.line)
}

func (p *fileParser) builder() *rowBuilder {
	if p.sub != nil {
		return p.sub
	}
	return p.row
}

// unknownSetting finds out what was meant by a name that is no setting.
func unknownSetting(key string) string {
	if target, ok := renamed()[key]; ok {
		name, note, _ := strings.Cut(target, "|")
		if note != "" {
			note = ", " + note
		}
		return fmt.Sprintf("%s is Dovecot's name; here it is %s%s", key, name, note)
	}
	if why, ok := impossible()[key]; ok {
		return fmt.Sprintf("%s cannot be set: %s", key, why)
	}
	var names []string
	for _, d := range settings.All() {
		names = append(names, d.Name)
	}
	near := settings.Nearest(key, names)
	if feature := later(key); feature != "" && near == "" {
		return fmt.Sprintf("%s is not there yet: %s comes with a later release; take the line away", key, feature)
	}
	if near != "" {
		return fmt.Sprintf("there is no setting %s; did you mean %s?", key, near)
	}
	for _, t := range settings.Tables() {
		if t.Name == key {
			return fmt.Sprintf("%s is a table; write [[%s]] on a line of its own and its settings below", key, key)
		}
		if t.Field(key) != nil {
			return fmt.Sprintf("%s belongs into a [[%s]] table; move it below such a line", key, t.Name)
		}
	}
	return fmt.Sprintf("there is no setting %s; docs/SETTINGS.md lists them all", clip(key))
}

func (p *fileParser) fieldAssignment(b *rowBuilder, st statement) {
	decl := b.table.Field(st.key)
	if decl == nil {
		b.bad = true
		p.errorf(p.at(st.line), "%s", unknownField(b, st.key))
		return
	}
	if line, twice := b.lines[st.key]; twice {
		b.bad = true
		p.errorf(p.at(st.line), "%s is set twice in this table, first in line %d; take one of the lines away", st.key, line)
		return
	}
	b.lines[st.key] = st.line
	raw, ok := p.value(st, decl)
	if !ok {
		b.bad = true
		return
	}
	v, err := decl.FromRaw(raw)
	if err != nil {
		b.bad = true
		p.errorf(p.at(st.line), "%s %s", st.key, err)
		return
	}
	b.values[st.key] = v
}

func unknownField(b *rowBuilder, key string) string {
	if hint := fieldHints(b.table.Name, key); hint != "" {
		return fmt.Sprintf("[[%s]] has no %s; %s", b.table.Name, key, hint)
	}
	if settings.Lookup(key) != nil {
		return fmt.Sprintf("%s stands inside [[%s]] of line %d; move it above", key, b.table.Name, b.line)
	}
	var names []string
	for _, d := range b.table.Fields {
		names = append(names, d.Name)
	}
	if near := settings.Nearest(key, names); near != "" {
		return fmt.Sprintf("[[%s]] has no %s; did you mean %s?", b.table.Name, key, near)
	}
	for _, f := range []string{"passdb_", "userdb_", "namespace_", "mailbox_", "inet_listener_"} {
		if short := strings.TrimPrefix(key, f); short != key && b.table.Field(short) != nil {
			return fmt.Sprintf("[[%s]] has no %s; it is %s here", b.table.Name, key, short)
		}
	}
	if _, old := renamed()[key]; old {
		return fmt.Sprintf("%s; it also stands inside [[%s]] of line %d: move it above", unknownSetting(key), b.table.Name, b.line)
	}
	return fmt.Sprintf("[[%s]] has no %s; it has %s", b.table.Name, clip(key), strings.Join(names, ", "))
}

// value has the TOML library read the value, and explains what people write
// who are used to Dovecot's files.
func (p *fileParser) value(st statement, decl *settings.Decl) (any, bool) {
	var holder map[string]any
	err := toml.Unmarshal([]byte("v = "+st.value), &holder)
	if v, ok := holder["v"]; err == nil && ok && len(holder) == 1 {
		return v, true
	}
	line, text := st.line, "cannot be read"
	if err != nil {
		n, message := tomlError(err)
		line += n - 1
		text = message
	}
	switch word := strings.ToLower(st.value); {
	case st.value == "":
		text = "has no value"
	case slices.Contains([]string{"yes", "on", "y"}, word) && decl.Kind == settings.KindBool:
		text = "must be true or false: write true"
	case slices.Contains([]string{"no", "off", "n"}, word) && decl.Kind == settings.KindBool:
		text = "must be true or false: write false"
	case !strings.ContainsAny(st.value, "\"'[]{}\n"):
		if decl.Kind == settings.KindInt {
			text = "must be " + decl.TypeText()
			break
		}
		if decl.Kind == settings.KindStrings || decl.Kind == settings.KindWords || decl.Kind == settings.KindNetworks {
			_, hint := decl.FromRaw(st.value)
			text = hint.Error()
			break
		}
		text = fmt.Sprintf("needs quotes: write %s = \"%s\"", st.key, strings.TrimPrefix(st.value, "<"))
	case strings.Count(st.value, "[") > strings.Count(st.value, "]"):
		text = "lacks the closing ] of its list"
	default:
		text = "cannot be read: " + text
	}
	p.errorf(p.at(line), "%s %s", st.key, text)
	return nil, false
}

// endSub finishes the sub-table.
func (p *fileParser) endSub() {
	b := p.sub
	if p.sub = nil; b == nil {
		return
	}
	row, ok := p.finish(b)
	if !ok {
		p.row.bad = true
		return
	}
	if slices.ContainsFunc(p.row.subs, func(o settings.Row) bool { return o.Name == row.Name }) {
		p.errorf(p.at(b.line), "[[%s]] %q stands twice in this [[%s]]; take one away", b.table.Name, row.Name, p.row.table.Name)
		p.row.bad = true
		return
	}
	if enabled, set := row.Values["enabled"].(bool); set && !enabled {
		return
	}
	p.row.subs = append(p.row.subs, row)
}

// endRow finishes the table and puts it into the Set.
func (p *fileParser) endRow() {
	p.endSub()
	b := p.row
	if p.row = nil; b == nil {
		return
	}
	row, ok := p.finish(b)
	if !ok {
		return
	}
	id := b.table.Name + "/" + row.Name
	if line, twice := p.rowsSeen[id]; twice {
		p.errorf(p.at(b.line), "[[%s]] %q stands twice in this file, first in line %d; give one another name", b.table.Name, row.Name, line)
		return
	}
	p.rowsSeen[id] = b.line
	if enabled, set := row.Values["enabled"].(bool); set && !enabled {
		p.disable(b, row, id)
		return
	}
	p.Set.PutRow(b.table.Name, row)
	p.Sources[id] = p.at(b.line)
}

func (p *fileParser) disable(b *rowBuilder, row settings.Row, id string) {
	var names []string
	for _, r := range p.Set.Rows(b.table.Name) {
		names = append(names, r.Name)
	}
	if !slices.Contains(names, row.Name) {
		hint := ""
		if len(names) > 0 {
			hint = fmt.Sprintf(" (there are \"%s\")", strings.Join(names, "\", \""))
		}
		p.errorf(p.at(b.line), "takes away [[%s]] %q, but no earlier file has it%s", b.table.Name, row.Name, hint)
		return
	}
	p.Set.RemoveRow(b.table.Name, row.Name)
	delete(p.Sources, id)
}

// finish makes a Row of what was collected; false if there were errors.
func (p *fileParser) finish(b *rowBuilder) (settings.Row, bool) {
	name, _ := b.values["name"].(string)
	row := settings.Row{Name: name, Values: b.values, Sub: b.subs}
	if b.bad {
		return row, false
	}
	if name == "" {
		p.errorf(p.at(b.line), "[[%s]] lacks its name; write name = \"…\" below it", b.table.Name)
		return row, false
	}
	if enabled, set := b.values["enabled"].(bool); set && !enabled {
		return row, true
	}
	if err := b.table.Check(row); err != nil {
		p.errorf(p.at(b.line), "[[%s]] %q %s", b.table.Name, name, err)
		return row, false
	}
	return row, true
}
