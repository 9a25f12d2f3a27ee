package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rookery/internal/settings"
)

const root = "../../.."

// The files in the tree are what the declarations say.
func TestGeneratedFilesAgree(t *testing.T) {
	files, err := outputs(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		if got, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(got) != want {
			t.Errorf("%s differs from the declarations (%v); run make generate", name, err)
		}
	}
	have, err := filepath.Glob(filepath.Join(root, "conf.d", "*.toml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range have {
		if _, ok := files["conf.d/"+filepath.Base(name)]; !ok {
			t.Errorf("conf.d/%s comes from no declaration", filepath.Base(name))
		}
	}
}

// Each setting stands once in conf.d, in SETTINGS.md and in the manual page.
func TestEverySettingIsDocumented(t *testing.T) {
	files, err := outputs(root)
	if err != nil {
		t.Fatal(err)
	}
	var conf strings.Builder
	for name, text := range files {
		if strings.HasSuffix(name, ".toml") {
			conf.WriteString("\n" + text)
		}
	}
	for _, d := range settings.All() {
		if n := strings.Count(conf.String(), "\n#"+d.Name+" = "); n != 1 {
			t.Errorf("%s stands %d times in the shipped files", d.Name, n)
		}
		if n := strings.Count(files["docs/SETTINGS.md"], "### `"+d.Name+"`\n"); n != 1 {
			t.Errorf("%s stands %d times in SETTINGS.md", d.Name, n)
		}
		if n := strings.Count(files["docs/man/rookery.toml.5"], "\n.B "+d.Name+"\n"); n < 1 {
			t.Errorf("%s is not in the manual page", d.Name)
		}
	}
}

func TestPage(t *testing.T) {
	got := page("rookery-authd", "authd", "Authd answers one\nquestion: who is it? It does no more. Nor less.\n\nPRIVILEGES: uid rookery-auth.\nTALKS TO: login\nonly. NEVER: rests\n\n\tcode -x\n")
	for _, part := range []string{".SH NAME\nrookery\\-authd \\- answers one question: who is it?\n", ".SH DESCRIPTION\nIt does no more. Nor less.\n", ".SH PRIVILEGES\nuid rookery\\-auth.\n", ".SH TALKS TO\nlogin\nonly.\n.SH NEVER\nrests\n", ".nf\n\tcode \\-x\n.fi\n", "rookeryctl(8)"} {
		if !strings.Contains(got, part) {
			t.Errorf("lacks %q:\n%s", part, got)
		}
	}
}
