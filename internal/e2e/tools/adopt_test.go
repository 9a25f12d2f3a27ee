package tools

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rookery/internal/e2e/harness"
)

// The server's own mail, asked for over IMAPS from itself, comes out the same;
// another user's does not.
func TestAdopt(t *testing.T) {
	d := harness.Start(t, "--users", "2", "--empty")
	fill(t, d, 12)
	seen(t, d, "INBOX", "Lists.Go")
	adopt := func(args ...string) (string, error) {
		cmd := exec.Command(filepath.Join(harness.Bin(t), "rookeryctl"), append([]string{"-c", filepath.Join(d.Dir, "rookery.toml"), "adopt", "-n", "-u", "u1", "--json"}, args...)...)
		cmd.Stdin = strings.NewReader("pass\n")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	url := fmt.Sprintf("imaps://127.0.0.1:%d", d.Port("imaps"))
	if out, err := adopt("--against", url); err == nil || !strings.Contains(out, "certificate") {
		t.Errorf("an unknown certificate was taken: %s", out)
	}
	if out, err := adopt("--against", url, "--insecure"); err != nil || strings.Contains(out, `"same":false`) || strings.Count(out, `"same":true`) < 2 {
		t.Errorf("%v %s", err, out)
	}
	out, err := adopt("--against", url, "--insecure", "--against-user", "u2")
	if err == nil || !strings.Contains(out, "UIDVALIDITY is") || !strings.Contains(out, "subscribed here alone") {
		t.Errorf("%v %s", err, out)
	}
	pop3 := fmt.Sprintf("pop3s://127.0.0.1:%d", d.Port("pop3s"))
	if out, err := adopt("--against", url, "--against-pop3", pop3, "--insecure"); err != nil || !strings.Contains(out, `"pop3_messages":`) || strings.Contains(out, `"same":false`) {
		t.Errorf("%v %s", err, out)
	}
	if out, err := adopt("--against-pop3", pop3, "--insecure", "--against-user", "u2"); err == nil || !strings.Contains(out, "messages here, 0 there") {
		t.Errorf("%v %s", err, out)
	}
	if out, err := adopt(); err != nil || !strings.Contains(out, `"uidnext":7`) {
		t.Errorf("%v %s", err, out)
	}
}
