package tools

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"rookery/internal/e2e/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// ctl runs rookeryctl, which must end with that exit code.
func ctl(t *testing.T, d *harness.Demo, want int, args ...string) string {
	t.Helper()
	out, err := d.Ctl(args...)
	exit := 0
	var ee *exec.ExitError
	if errors.As(err, &ee) {
		exit = ee.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if exit != want {
		t.Errorf("rookeryctl %q: exit code %d, want %d\n%s", args, exit, want, out)
	}
	return out
}

// rows runs rookeryctl --json, which must succeed, and reads its list.
func rows(t *testing.T, d *harness.Demo, args ...string) []map[string]any {
	t.Helper()
	return rowsOf(t, d, 0, args...)
}

// rowsOf is rows of a command that ends with an exit code.
func rowsOf(t *testing.T, d *harness.Demo, exit int, args ...string) []map[string]any {
	t.Helper()
	out := ctl(t, d, exit, append(args, "--json")...)
	if i := strings.Index(out, "\nrookeryctl: "); i >= 0 {
		out = out[:i]
	}
	var list []map[string]any
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("rookeryctl %q: %v\n%s", args, err, out)
	}
	return list
}

// column gives one member of each row.
func column(list []map[string]any, name string) []any {
	var out []any
	for _, r := range list {
		out = append(out, r[name])
	}
	return out
}

func writeFile(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) }
