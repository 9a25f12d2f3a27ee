package archtest

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// Every module whose code is in a program has its licence in
// THIRD_PARTY_LICENSES.txt, at its version, and nothing else has.
func TestLicencesAreListed(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if .Version}}{{.Path}} {{.Version}}{{end}}{{end}}", "./cmd/...")
	cmd.Dir = root
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	want := map[string]bool{}
	for _, m := range strings.Fields(strings.ReplaceAll(string(out), " ", "@")) {
		want[m] = true
	}
	data, err := os.ReadFile(root + "/THIRD_PARTY_LICENSES.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^== (\S+) (v\S+)$`).FindAllStringSubmatch(string(data), -1) {
		if !want[m[1]+"@"+m[2]] {
			t.Errorf("%s %s is listed and not used; run scripts/licenses", m[1], m[2])
		}
		delete(want, m[1]+"@"+m[2])
	}
	for m := range want {
		t.Errorf("%s is not listed; run scripts/licenses >THIRD_PARTY_LICENSES.txt", m)
	}
}
