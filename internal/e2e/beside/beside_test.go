package beside

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestDelays: the k-th delivery's end is compared with the first "k EXISTS" or more.
func TestDelays(t *testing.T) {
	at := func(ms ...int) (all []time.Duration) {
		for _, n := range ms {
			all = append(all, time.Duration(n)*time.Millisecond)
		}
		return all
	}
	for _, c := range []struct {
		name  string
		told  []tidings
		ends  []time.Duration
		late  int
		worst time.Duration
	}{
		{"each at once", []tidings{{1, 1e9}, {2, 2e9}}, at(900, 1900), 0, 100 * time.Millisecond},
		{"before its program has exited", []tidings{{2, 1e9}}, at(1100, 1200), 0, 0},
		{"two together, the first of them late", []tidings{{2, 4e9}}, at(1999, 2000), 1, 2001 * time.Millisecond},
		{"the last never", []tidings{{1, 1e9}}, at(500, 600), 1, 500 * time.Millisecond},
		{"nothing", nil, at(1, 2), 2, 0},
	} {
		l := &listener{told: c.told}
		if late, worst := l.delays(c.ends); late != c.late || worst != c.worst {
			t.Errorf("%s: %d late, the worst after %v, want %d and %v", c.name, late, worst, c.late, c.worst)
		}
	}
}

// TestClock: the clock stands still while one program keeps the lock file, from a
// twentieth of a second on, but not for a lock file of ours.
func TestClock(t *testing.T) {
	lock := filepath.Join(t.TempDir(), "box.lock")
	begin := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, text string
		want       []bool // after 0, 49, 50, 900 ms
	}{
		{"another's", "4711\n", []bool{false, false, true, true}},
		{"local(8)'s", "", []bool{false, false, true, true}},
		{"ours", "0\nrookery\n", []bool{false, false, false, false}},
	} {
		if err := os.WriteFile(lock, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		clock := &clock{lock: lock}
		for i, ms := range []int{0, 49, 50, 900} {
			if got := clock.isLocked(begin.Add(time.Duration(ms) * time.Millisecond)); got != c.want[i] {
				t.Errorf("%s after %d ms: %v", c.name, ms, got)
			}
		}
		if err := os.Chtimes(lock, begin, begin); err != nil { // another lock file of that name
			t.Fatal(err)
		}
		if clock.isLocked(begin.Add(time.Second)) {
			t.Errorf("%s: a new lock file counts as the old one", c.name)
		}
		os.Remove(lock)
		if clock.isLocked(begin.Add(time.Second)) || clock.holder != nil {
			t.Errorf("%s: no lock file, and locked", c.name)
		}
	}
}
