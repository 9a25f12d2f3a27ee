package render

import (
	"strings"
	"testing"

	"rookery/internal/settings"
)

func TestCustomValuesAndTables(t *testing.T) {
	c := Custom{Values: map[string]string{"auth_verbose": "true"}, Tables: map[string]string{"10-master": "[[listener]]\nname = \"x\"\n"}}
	if got := File("10-logging", c); !strings.Contains(got, "\n#auth_verbose = false\nauth_verbose = true\n") {
		t.Error(got)
	}
	if got := File("10-master", c); !strings.HasSuffix(got, "\n[[listener]]\nname = \"x\"\n") || strings.Contains(got, "\nport = 143") {
		t.Error(got)
	}
	if got := File("10-master", Custom{}); !strings.Contains(got, "\nport = 143\n") {
		t.Error(got)
	}
}

// Settings and tables stand in different files, so that a line appended to a
// file with settings does not fall into a table.
func TestSettingsAndTablesApart(t *testing.T) {
	scalars, tables := map[string]bool{}, map[string]bool{}
	for _, d := range settings.All() {
		scalars[d.File] = true
	}
	for _, tb := range settings.Tables() {
		tables[tb.File] = true
	}
	known := map[string]bool{MainFile: true}
	for _, name := range Names() {
		known[name] = true
		if scalars[name] && tables[name] {
			t.Errorf("%s has both", name)
		}
		if !scalars[name] && !tables[name] {
			t.Errorf("%s has nothing", name)
		}
	}
	for name := range scalars {
		if !known[name] {
			t.Errorf("%s has settings, but is not written", name)
		}
	}
	for name := range tables {
		if !known[name] {
			t.Errorf("%s has tables, but is not written", name)
		}
	}
}

func TestCommentLinesAreShort(t *testing.T) {
	for _, name := range append(Names(), MainFile) {
		for _, line := range strings.Split(File(name, Custom{}), "\n") {
			if strings.HasPrefix(line, "# ") && len([]rune(line)) > 100 {
				t.Errorf("%s: %s", name, line)
			}
		}
	}
}

func TestRoff(t *testing.T) {
	for in, want := range map[string]string{"a-b": `a\-b`, `x\n`: `x\en`, ".dot": `\&.dot`, "a\n'q": "a\n\\&'q"} {
		if got := Roff(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
