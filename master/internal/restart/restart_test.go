package restart

import (
	"testing"
	"time"
)

func TestDied(t *testing.T) {
	var g Group
	for i, c := range []struct {
		lived           time.Duration
		ready, siblings bool
		want            time.Duration
	}{
		{time.Hour, true, false, 0},
		{time.Millisecond, true, true, 0}, // a client crashed its own; the siblings serve on
		{time.Millisecond, true, true, 0},
		{time.Millisecond, true, true, 0},
		{time.Millisecond, false, false, 0},
		{time.Second, true, false, 0},
		{time.Millisecond, false, true, 2 * time.Second}, // never ready: a new one cannot live
		{2 * time.Second, true, false, 4 * time.Second},
		{time.Second, false, false, 8 * time.Second},
		{time.Second, false, false, 16 * time.Second},
		{time.Second, false, false, 32 * time.Second},
		{time.Second, false, false, 60 * time.Second},
		{time.Second, false, false, 60 * time.Second},
		{3 * time.Second, true, false, 0}, // it served: all is forgiven
		{time.Second, false, false, 0},
	} {
		if got := g.Died(c.lived, c.ready, c.siblings); got != c.want {
			t.Errorf("death %d: wait %v, want %v", i, got, c.want)
		}
	}
}
