package hashpool

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rookery/authd/internal/passhash"
)

var heavy = passhash.Cost{CPU: time.Second}

func net(s string) netip.Prefix { return Network(netip.MustParseAddr(s)) }

func TestNetwork(t *testing.T) {
	for in, want := range map[string]string{"192.0.2.77": "192.0.2.0/24", "::ffff:192.0.2.77": "192.0.2.0/24", "2001:db8:1:2::3": "2001:db8:1::/48"} {
		if got := net(in).String(); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	if Network(netip.Addr{}).IsValid() {
		t.Error("no address has a network")
	}
}

// order runs jobs that each take a second, one at a time, and tells the order
// in which they ran.
func order(t *testing.T, l Limits, jobs []string, cost func(string) passhash.Cost) string {
	var ran []string
	var mu sync.Mutex
	synctest.Test(t, func(t *testing.T) {
		p := New(l)
		var wg sync.WaitGroup
		for _, j := range jobs {
			addr, _, _ := strings.Cut(j, "#")
			wg.Add(1)
			go func() {
				defer wg.Done()
				err := p.Do(net(addr), cost(j), nil, func() {
					mu.Lock()
					ran = append(ran, j)
					mu.Unlock()
					time.Sleep(time.Second)
				})
				if err != nil {
					mu.Lock()
					ran = append(ran, j+" "+err.Error())
					mu.Unlock()
				}
			}()
			synctest.Wait()
		}
		wg.Wait()
		if p.running != 0 || p.memory != 0 || p.waiting != 0 || len(p.nets) != 0 || p.turn.Len() != 0 {
			t.Errorf("left over: %+v", p)
		}
	})
	return strings.Join(ran, "; ")
}

// One network's flood does not hold up another's single login.
func TestFairness(t *testing.T) {
	jobs := []string{"10.0.0.1#1", "10.0.0.2#2", "10.0.0.3#3", "10.0.0.4#4", "192.0.2.1#a", "192.0.2.1#b", "2001:db8::1#x"}
	got := order(t, Limits{Workers: 1, Queue: 100, QueueOfNet: 100}, jobs, func(string) passhash.Cost { return heavy })
	if want := "10.0.0.1#1; 10.0.0.2#2; 192.0.2.1#a; 2001:db8::1#x; 10.0.0.3#3; 192.0.2.1#b; 10.0.0.4#4"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestQueueLimits(t *testing.T) {
	jobs := []string{"10.0.0.1#1", "10.0.0.1#2", "10.0.0.1#3", "192.0.2.1#a", "198.51.100.1#b"}
	got := order(t, Limits{Workers: 1, Queue: 2, QueueOfNet: 1}, jobs, func(string) passhash.Cost { return heavy })
	want := "10.0.0.1#1; 10.0.0.1#3 " + ErrBusy.Error() + "; 198.51.100.1#b " + ErrBusy.Error() + "; 10.0.0.1#2; 192.0.2.1#a"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Limits{Workers: 8, Memory: 100, Queue: 100, QueueOfNet: 100})
		var mu sync.Mutex
		var now, peak int64
		var wg sync.WaitGroup
		for i := range 20 {
			size := int64(30 + i%3*20)
			wg.Add(1)
			go func() {
				defer wg.Done()
				err := p.Do(net(fmt.Sprintf("10.0.%d.1", i)), passhash.Cost{Memory: size}, nil, func() {
					mu.Lock()
					now += size
					peak = max(peak, now)
					mu.Unlock()
					time.Sleep(time.Second)
					mu.Lock()
					now -= size
					mu.Unlock()
				})
				if err != nil {
					t.Error(err)
				}
			}()
		}
		wg.Wait()
		if peak > 100 || peak < 60 {
			t.Errorf("peak %d, the limit is 100", peak)
		}
		if err := p.Do(net("10.0.0.1"), passhash.Cost{Memory: 101}, nil, func() {}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("too large: %v", err)
		}
	})
}

// A large job is passed by small ones for a while, not for ever.
func TestLargeIsNotStarved(t *testing.T) {
	jobs := []string{"10.0.0.1#s"}
	jobs = append(jobs, "10.9.9.9#LARGE")
	for i := range 60 {
		jobs = append(jobs, fmt.Sprintf("10.1.%d.1#s", i))
	}
	got := order(t, Limits{Workers: 2, Memory: 100, Queue: 100, QueueOfNet: 100}, jobs, func(j string) passhash.Cost {
		if strings.HasSuffix(j, "LARGE") {
			return passhash.Cost{Memory: 90}
		}
		return passhash.Cost{Memory: 20}
	})
	at := slices.Index(strings.Split(got, "; "), "10.9.9.9#LARGE")
	if at < 2 || at > 2*maxSkips+2 {
		t.Errorf("the large job ran as number %d: %s", at, got)
	}
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Limits{Workers: 1, Queue: 10, QueueOfNet: 10})
		release := make(chan struct{})
		go p.Do(net("10.0.0.1"), heavy, nil, func() { <-release })
		synctest.Wait()
		cancel := make(chan struct{})
		result := make(chan error, 1)
		go func() { result <- p.Do(net("10.0.1.1"), heavy, cancel, func() { t.Error("a cancelled job ran") }) }()
		synctest.Wait()
		close(cancel)
		if err := <-result; !errors.Is(err, ErrCancelled) {
			t.Errorf("got %v", err)
		}
		close(release)
		synctest.Wait()
		if p.waiting != 0 || p.turn.Len() != 0 {
			t.Errorf("left over: %+v", p)
		}
	})
}

func TestCheapRunsAtOnce(t *testing.T) {
	ran := false
	p := New(Limits{})
	if err := p.Do(netip.Prefix{}, passhash.Cost{CPU: time.Microsecond}, nil, func() { ran = true }); err != nil || !ran {
		t.Error(err, ran)
	}
}

// Memory is given back once, after a quiet while.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		p := New(Limits{Workers: 2, Memory: 1 << 30, Queue: 9, QueueOfNet: 9, Idle: func() { calls.Add(1) }})
		big := passhash.Cost{Memory: muchMemory}
		for range 3 {
			p.Do(net("10.0.0.1"), big, nil, func() {})
			time.Sleep(idleAfter / 2)
		}
		if calls.Load() != 0 {
			t.Errorf("%d calls while it is busy", calls.Load())
		}
		time.Sleep(2 * idleAfter)
		p.Do(net("10.0.0.1"), heavy, nil, func() {}) // takes no memory
		time.Sleep(2 * idleAfter)
		if calls.Load() != 1 {
			t.Errorf("%d calls, want 1", calls.Load())
		}
	})
}
