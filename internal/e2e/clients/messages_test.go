package clients

import (
	"testing"

	"rookery/internal/e2e/harness"
)

// Megabytes of any octets, through login and the worker to a Maildir and back:
// literal8, BINARY, CATENATE and REPLACE, in each mode of TLS.
func TestPythonMessages(t *testing.T) {
	harness.Need(t, "python3", "python3")
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			d := harness.StartWith(t, quick, "--users", "1", "--empty")
			python(t, "messages.py", m, d, m.imap)
		})
	}
}
