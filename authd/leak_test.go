package authd

import (
	"testing"

	"go.uber.org/goleak"
)

// The thread that forks test processes never ends, by its own rule.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
