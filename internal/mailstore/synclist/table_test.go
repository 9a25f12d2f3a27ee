package synclist

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// tableFile is the list for people; the rows are read from it, too.
const tableFile = "../../../docs/syncs.md"

// row is what the table says of one call.
type row struct {
	id, text string
	keeps    string // what would be lost without it
	test     string // "package Test/Case": the one that fails without it; "": it needs none, and keeps says why
}

var rowLine = regexp.MustCompile("^\\| `([^`]+)` \\| `([^`]*)` \\| (.*) \\| (?:`([^`]+)`)? ?\\|$")

// readTable gives the rows, and the text before them.
func readTable() (head string, rows []row, err error) {
	b, err := os.ReadFile(tableFile)
	if err != nil {
		return "", nil, err
	}
	for line := range strings.Lines(string(b)) {
		if m := rowLine.FindStringSubmatch(strings.TrimSuffix(line, "\n")); m != nil {
			rows = append(rows, row{id: m[1], text: m[2], keeps: m[3], test: m[4]})
		} else if len(rows) == 0 {
			head += line
		} else {
			return "", nil, fmt.Errorf("%s: no row: %s", tableFile, line)
		}
	}
	return head, rows, nil
}

func writeTable(head string, rows []row) error {
	var b strings.Builder
	b.WriteString(head)
	for _, r := range rows {
		test := ""
		if r.test != "" {
			test = "`" + r.test + "` "
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s|\n", r.id, r.text, r.keeps, test)
	}
	return os.WriteFile(tableFile, []byte(b.String()), 0o644)
}

// oneLine is a call's text as it can stand in a table.
func (c call) oneLine() string {
	return strings.ReplaceAll(strings.Join(strings.Fields(c.text), " "), "|", "¦")
}

// method is what a call calls: the rest of its text may change without a new row.
func method(text string) string {
	name, _, _ := strings.Cut(text, "(")
	return name[strings.LastIndexByte(name, '.')+1:]
}

// TestTable: every call has its row, every row its call, and each says what it
// keeps and which test misses it.
func TestTable(t *testing.T) {
	calls, err := allCalls()
	if err != nil {
		t.Fatal(err)
	}
	_, rows, err := readTable()
	if err != nil {
		t.Fatal(err)
	}
	if len(calls) < 50 {
		t.Fatalf("only %d calls were found", len(calls))
	}
	at := map[string]row{}
	for _, r := range rows {
		if _, twice := at[r.id]; twice {
			t.Errorf("docs/syncs.md has two rows for %s", r.id)
		}
		at[r.id] = r
	}
	for _, c := range calls {
		r, ok := at[c.id()]
		delete(at, c.id())
		switch {
		case !ok:
			t.Errorf("%s (%s) has no row in docs/syncs.md: say what it keeps and which test fails without it (ROOKERY_SYNCS=find looks for one)", c.id(), c.oneLine())
		case method(r.text) != method(c.oneLine()):
			t.Errorf("docs/syncs.md has %s as %s, it is %s", r.id, r.text, c.oneLine())
		case strings.TrimSpace(r.keeps) == "" || r.test == "" && !strings.Contains(r.keeps, "Needs none: "):
			t.Errorf("docs/syncs.md: the row of %s is not complete: what the call keeps, and a test or \"Needs none: \" and why", r.id)
		}
	}
	for id := range at {
		t.Errorf("docs/syncs.md has a row for %s, which is not in the code any more", id)
	}
}

// TestCallsIn: what counts as a call, and that the switched source is Go.
func TestCallsIn(t *testing.T) {
	src := `package x
func a(f file) error {
	if err := f.Sync(); err != nil {
		return err
	}
	snap, err := mb.Sync()
	wg.Wait()
	go func() { errs <- f.DataSync() }()
	f.DataSync()
	_ = d.fs.SyncDir(join(dir,
		"x"))
	box.Sync(edit)
	return t.Wait()
}
func (s *store[T]) b() { defer s.f.DataSync() }
func (s *store) c() error { return s.f.Sync() }
`
	calls, err := callsIn("p/x.go", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range calls {
		got = append(got, c.id()+": "+c.oneLine())
	}
	want := []string{"p/x.go a 1: f.Sync()", "p/x.go a 2: f.DataSync()", "p/x.go a 3: f.DataSync()", `p/x.go a 4: d.fs.SyncDir(join(dir, "x"))`,
		"p/x.go a 5: t.Wait()", "p/x.go b 1: s.f.DataSync()", "p/x.go store.c 1: s.f.Sync()"}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	after := switched([]byte(src), calls)
	if n := strings.Count(string(after), "syncOut("); n != len(calls) {
		t.Errorf("%d calls are behind a switch, want %d", n, len(calls))
	}
	if _, err := callsIn("p/x.go", after); err != nil {
		t.Error(err)
	}
}
