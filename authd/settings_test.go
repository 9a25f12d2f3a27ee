package authd

import (
	"runtime"
	"testing"
	"time"

	"rookery/authd/internal/authdb"
	"rookery/internal/settings"
)

// Settings whose effect hangs on time or load, as the engine and the pool get them.
func TestSettingsReachTheirPlace(t *testing.T) {
	set := settings.New()
	if got := poolLimits(set); got.Workers != runtime.GOMAXPROCS(0) || got.Memory != 256<<20 {
		t.Errorf("pool of the defaults: %d hashes, %d bytes", got.Workers, got.Memory)
	}
	settings.AuthHashLimit.Put(set, 3)
	settings.AuthHashMemoryLimit.Put(set, 64<<20)
	if got := poolLimits(set); got.Workers != 3 || got.Memory != 64<<20 {
		t.Errorf("pool: %d hashes, %d bytes", got.Workers, got.Memory)
	}
	settings.AuthTicketLifetime.Put(set, 7*time.Second)
	settings.AuthInternalFailureDelay.Put(set, 3*time.Second)
	c, err := engineConfig(set, authdb.Env{})
	if err != nil || c.TicketLifetime != 7*time.Second || c.InternalFailureDelay != 3*time.Second {
		t.Errorf("%+v, %v", c, err)
	}
}
