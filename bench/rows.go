package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// row is one line of the table of logins and idle sessions.
type row struct {
	name    string
	title   string
	service string
	clients int // of a rate row
	another bool
	further bool // of a memory row: sessions of one user; else one of each
	memory  bool
	// goal is the wanted ratio to Dovecot's high-performance mode, or for memory
	// the most bytes for each session; 0: none.
	goal  float64
	extra bool // measured only when it is named
}

// result is the row without samples.
func (r row) result() rowResult {
	k, g := perSecond, goal{Ratio: r.goal}
	if r.memory {
		k, g = bytesUsed, goal{Most: r.goal}
	}
	out := newRow(r.name, r.title, "login", k, g)
	out.Peers = []string{"dovecot-hp", "dovecot"}
	return out
}

// sessions of a memory row.
const sessions = 100

// settle is what a server gets after the last session was opened, before its
// memory is read: garbage is collected, what is free is given back.
const settle = 2500 * time.Millisecond

// loginRows are measured on servers with many users. Goals: 8 times for a user who comes back, twice for
// another user each time, 2 MB for each idle user, 60 KB and with TLS 120 KB
// for each further session of his.
func loginRows() []row {
	return []row{
		{name: "same-plain-1", title: "logins/s, the same user again, plain, 1 client", service: "imap", clients: 1, goal: 8},
		{name: "same-plain-10", title: "logins/s, the same user again, plain, 10 clients", service: "imap", clients: 10, goal: 8},
		{name: "same-tls-1", title: "logins/s, the same user again, TLS, 1 client", service: "imaps", clients: 1, goal: 8},
		{name: "same-tls-10", title: "logins/s, the same user again, TLS, 10 clients", service: "imaps", clients: 10, goal: 8},
		{name: "another-plain-1", title: "logins/s, another user each time, plain, 1 client", service: "imap", clients: 1, another: true, goal: 2},
		{name: "another-plain-10", title: "logins/s, another user each time, plain, 10 clients", service: "imap", clients: 10, another: true, goal: 2},
		{name: "another-tls-1", title: "logins/s, another user each time, TLS, 1 client", service: "imaps", clients: 1, another: true, goal: 2},
		{name: "another-tls-10", title: "logins/s, another user each time, TLS, 10 clients", service: "imaps", clients: 10, another: true, goal: 2},
		{name: "idle-users-plain", title: "memory, one idle session of each user, plain", service: "imap", memory: true, goal: 2 << 20},
		{name: "idle-users-tls", title: "memory, one idle session of each user, TLS", service: "imaps", memory: true, goal: 2 << 20},
		{name: "idle-further-plain", title: "memory, each further idle session of one user, plain", service: "imap", memory: true, further: true, goal: 60 << 10},
		{name: "idle-further-tls", title: "memory, each further idle session of one user, TLS", service: "imaps", memory: true, further: true, goal: 120 << 10},
		{name: "pop3-same-plain-10", title: "POP3 logins/s, the same user again, plain, 10 clients", service: "pop3", clients: 10, extra: true},
		{name: "pop3-another-plain-10", title: "POP3 logins/s, another user each time, plain, 10 clients", service: "pop3", clients: 10, another: true, extra: true},
		{name: "pop3-same-tls-10", title: "POP3 logins/s, the same user again, TLS, 10 clients", service: "pop3s", clients: 10, extra: true},
	}
}

// turns hands out the users one after the other, over all rows of a server.
type turns struct {
	next  atomic.Int64
	users int
}

func (t *turns) user() string { return name(int(t.next.Add(1))%t.users + 1) }

// rate measures logins per second.
func rate(ctx context.Context, s *server, r row, t *turns, length time.Duration) (sample, error) {
	user := func() string { return name(1) }
	if r.another {
		user = t.user
	}
	// A short run before, so that what is made once is there.
	load(ctx, s, r, user, length/10)
	before, err := s.group.cpu()
	if err != nil {
		return sample{}, err
	}
	began := time.Now()
	took, fails, why := load(ctx, s, r, user, length)
	elapsed := time.Since(began)
	after, err := s.group.cpu()
	if err != nil {
		return sample{}, err
	}
	out := sample{Count: len(took), Fails: fails, Procs: len(s.group.pids())}
	if why != nil {
		out.Why = why.Error()
	}
	if len(took) == 0 || fails > len(took)/100 {
		return out, fmt.Errorf("%s, %s: %d logins, %d failed: %w%s", s.name, r.name, len(took), fails, why, tail(s.logFile))
	}
	out.Value = float64(len(took)) / elapsed.Seconds()
	out.CPU = float64((after - before).Microseconds()) / float64(len(took))
	out.P50, out.P99 = quantile(took, 0.5), quantile(took, 0.99)
	return out, ctx.Err()
}

// load runs cycles until the time is over and gives how long each took, in
// milliseconds.
func load(ctx context.Context, s *server, r row, user func() string, length time.Duration) (took []float64, fails int, why error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	end := time.Now().Add(length)
	for range r.clients {
		wg.Go(func() {
			var mine []float64
			var bad int
			var first error
			for began := time.Now(); began.Before(end) && ctx.Err() == nil; began = time.Now() {
				if err := cycle(ctx, s, r.service, user()); err != nil {
					bad++
					if first == nil {
						first = err
					}
					continue
				}
				mine = append(mine, float64(time.Since(began).Microseconds())/1000)
			}
			mu.Lock()
			defer mu.Unlock()
			took, fails = append(took, mine...), fails+bad
			if why == nil {
				why = first
			}
		})
	}
	wg.Wait()
	return took, fails, why
}

// memory starts the server afresh and measures what idle sessions cost.
func memory(ctx context.Context, s *server, r row) (sample, error) {
	if err := s.start(ctx); err != nil {
		return sample{}, err
	}
	defer s.stop()
	var open []*conn
	defer func() {
		for _, c := range open {
			c.close()
		}
	}()
	add := func(user string) error {
		c, err := idle(ctx, s, r.service, user)
		if err != nil {
			return fmt.Errorf("%s, %s, session %d: %w%s", s.name, r.name, len(open)+1, err, tail(s.logFile))
		}
		open = append(open, c)
		return nil
	}
	if r.further {
		if err := add(name(1)); err != nil {
			return sample{}, err
		}
	}
	base, err := settled(ctx, s)
	if err != nil {
		return sample{}, err
	}
	for n := range sessions {
		user := name(n + 1)
		if r.further {
			user = name(1)
		}
		if err := add(user); err != nil {
			return sample{}, err
		}
	}
	all, err := settled(ctx, s)
	if err != nil {
		return sample{}, err
	}
	return sample{Value: float64(all-base) / sessions, Count: sessions, Procs: len(s.group.pids()), Total: all}, nil
}

// settled waits and reads the server's PSS.
func settled(ctx context.Context, s *server) (int64, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(settle):
	}
	return s.group.pss()
}
