package delay

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestDue(t *testing.T) {
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for ms := range 2000 {
		now := base.Add(time.Duration(ms) * time.Millisecond)
		wait := due(now, 2*time.Second).Sub(now)
		if wait < 1500*time.Millisecond || wait > 2*time.Second {
			t.Fatalf("at %d ms: waits %v", ms, wait)
		}
	}
}

// Failures within one grid step are answered at one moment, none later than the delay.
func TestQueueAnswersTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue()
		time.Sleep(100 * time.Millisecond) // off the grid
		start := time.Now()
		times := make(chan time.Time, 10)
		for range 5 {
			q.Hold(time.Now(), 2*time.Second, func() { times <- time.Now() })
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(3 * time.Second)
		first := <-times
		if d := first.Sub(start); d > 2*time.Second || d < 1500*time.Millisecond {
			t.Errorf("the first waited %v", d)
		}
		for range 4 {
			if at := <-times; !at.Equal(first) {
				t.Errorf("answered at %v, the first at %v", at, first)
			}
		}
		if len(q.groups) != 0 || q.held != 0 {
			t.Errorf("left over: %+v", q)
		}
	})
}

func TestQueueAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue()
		ran := 0
		q.Hold(time.Now(), 0, func() { ran++ })
		if ran != 1 {
			t.Error("no delay, and yet it waits")
		}
		q.Hold(time.Now(), time.Hour, func() { ran++ })
		q.Hold(time.Now(), 2*time.Hour, func() { ran++ })
		q.Close()
		q.Hold(time.Now(), time.Hour, func() { ran++ })
		if ran != 4 {
			t.Errorf("closing answered %d of 4", ran)
		}
	})
}

func TestPenalty(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := NewPenalties()
	a, other := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("192.0.2.8")
	for i, want := range []time.Duration{0, 2, 4, 8, 15, 15} {
		if got := p.Wait(now, a); got != want*time.Second {
			t.Errorf("after %d failures: %v, want %d s", i, got, want)
		}
		p.Failed(now, a, uint64(i+1))
	}
	if p.Wait(now, other) != 0 {
		t.Error("another IPv4 address has the penalty")
	}
	for _, c := range []struct {
		after time.Duration
		want  time.Duration
	}{{28, 15}, {29, 8}, {58, 4}, {87, 2}, {116, 0}} {
		if got := p.Wait(now.Add(c.after*time.Second), a); got != c.want*time.Second {
			t.Errorf("%d s later: %v, want %d s", c.after, got, c.want)
		}
	}
	p.Succeeded(now, a)
	if got := p.Wait(now, a); got != 8*time.Second {
		t.Errorf("after a success: %v", got)
	}
}

func TestPenaltyOfPrefix(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := NewPenalties()
	p.Failed(now, netip.MustParseAddr("2001:db8:1:2::3"), 1)
	p.Failed(now, netip.MustParseAddr("::ffff:192.0.2.1"), 1)
	for addr, want := range map[string]time.Duration{"2001:db8:1:ffff::1": 2, "2001:db8:2::1": 0, "192.0.2.1": 2} {
		if got := p.Wait(now, netip.MustParseAddr(addr)); got != want*time.Second {
			t.Errorf("%s: %v, want %d s", addr, got, want)
		}
	}
	if p.Wait(now, netip.Addr{}) != 0 {
		t.Error("no address, and yet a penalty")
	}
}

// A client that repeats one wrong password is not a guesser.
func TestPenaltyRepeated(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := NewPenalties()
	a := netip.MustParseAddr("192.0.2.7")
	for range 20 {
		p.Failed(now, a, 42)
	}
	if got := p.Wait(now, a); got != 2*time.Second {
		t.Errorf("one attempt repeated: %v", got)
	}
	for range 3 { // mechanisms that show no password always count
		p.Failed(now, a, 0)
	}
	if got := p.Wait(now, a); got != 15*time.Second {
		t.Errorf("three unknown attempts more: %v", got)
	}
}

func TestPenaltyBounded(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := NewPenalties()
	for i := range maxPenalties + 1000 {
		p.Failed(now, netip.MustParseAddr(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)), 1)
	}
	if len(p.addrs) > maxPenalties {
		t.Errorf("%d addresses are remembered", len(p.addrs))
	}
}
