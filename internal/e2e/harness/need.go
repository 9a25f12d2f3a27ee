package harness

import (
	"os"
	"os/exec"
	"testing"
)

// Need gives the path of a program that a test drives. Where it is missing the test
// is skipped, and fails where everything should be there (CI=true); the Debian
// package that has it is named.
func Need(t testing.TB, program, debianPackage string) string {
	t.Helper()
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} { // not in everybody's PATH
		if _, err := os.Stat(dir + program); err == nil {
			return dir + program
		}
	}
	text := program + " is missing: install the Debian package " + debianPackage + " (scripts/install-test-tools does)"
	if os.Getenv("CI") == "true" {
		t.Fatal(text)
	}
	t.Skip(text)
	return ""
}
