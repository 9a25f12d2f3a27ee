package settings

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
	"rookery/internal/settings"
)

// row shows that a setting, or a table's field ("passdb.deny"), changes what
// happens: probe's answer matches without before, and with after lines are set
// and the server is reloaded. unit names another test that shows it:
// "folder.TestName" below the module's root.
type row struct {
	name          string
	instead       []string // lines for the state without the setting; nil for none
	lines         []string
	probe         func(r *rig) string
	without, with string // regular expressions for the whole answer
	unit          string
}

// one makes the line of a row that has just one.
func one(line string) []string { return []string{line} }

func allRows() []row {
	var all []row
	for _, rows := range [][]row{processRows(), authRows(), databaseRows(), loggingRows(), loginRows(), tlsRows(), mailRows(), quotaRows(), imapRows(), pop3Rows(), listenerRows()} {
		all = append(all, rows...)
	}
	return all
}

// declaredNames lists every setting and every field of every table.
func declaredNames() []string {
	var names []string
	for _, d := range settings.All() {
		names = append(names, d.Name)
	}
	for _, t := range settings.Tables() {
		for ; t != nil; t = t.Sub {
			for _, f := range t.Fields {
				names = append(names, t.Name+"."+f.Name)
			}
		}
	}
	return names
}

// Every declared setting has a row, and every row a setting.
func TestEverySettingHasARow(t *testing.T) {
	rows := map[string]bool{}
	for _, r := range allRows() {
		rows[r.name] = true
		if (r.unit == "") == (r.probe == nil) {
			t.Errorf("%s: a row has either a probe or another test", r.name)
		}
		if r.unit != "" && !testExists(t, r.unit) {
			t.Errorf("%s: there is no test %s", r.name, r.unit)
		}
	}
	for _, name := range declaredNames() {
		if !rows[name] {
			t.Errorf("%s has no row", name)
		}
		delete(rows, name)
	}
	for name := range rows {
		t.Errorf("there is no setting %s", name)
	}
}

// testExists looks for a test function in a folder's files.
func testExists(t *testing.T, name string) bool {
	t.Helper()
	dot := strings.LastIndexByte(name, '.')
	files, _ := filepath.Glob(filepath.Join(harness.Root(t), name[:dot], "*_test.go"))
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == name[dot+1:] {
				return true
			}
		}
	}
	return false
}

// Every setting that a reload can change does what it says.
func TestEverySettingHasItsEffect(t *testing.T) {
	r := newRig(t)
	match := func(t *testing.T, want string, probe func(*rig) string) {
		t.Helper()
		re := regexp.MustCompile(`^(?s:` + want + `)$`)
		got := ""
		// A login process of before the reload may still take a connection.
		for end := time.Now().Add(4 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			if got = probe(r); re.MatchString(got) {
				return
			}
			if time.Now().After(end) {
				t.Errorf("%q, want %q", got, want)
				return
			}
		}
	}
	var live []row
	for _, x := range allRows() {
		if x.probe != nil {
			live = append(live, x)
		}
	}
	for _, x := range live {
		if x.instead == nil {
			t.Run(x.name+" not set", func(t *testing.T) { match(t, x.without, x.probe) })
		}
	}
	set := func(t *testing.T, lines []string) {
		t.Helper()
		r.configure(lines)
		if out, err := r.Ctl("reload"); err != nil {
			t.Fatalf("reload: %v\n%s", err, out)
		}
	}
	for _, x := range live {
		t.Run(x.name+" set", func(t *testing.T) {
			if x.instead != nil {
				set(t, x.instead)
				match(t, x.without, x.probe)
			}
			set(t, x.lines)
			match(t, x.with, x.probe)
		})
	}
	if os.Getenv("SHOW") != "" {
		t.Log(r.Log())
	}
}
