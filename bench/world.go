package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// world is all servers of a run.
type world struct {
	servers []*server
	turns   map[*server]*turns
}

// newWorld writes the configurations of all servers, or of the one named only,
// below dir.
func newWorld(dir, bin string, users int, only string) (*world, error) {
	w := &world{turns: map[*server]*turns{}}
	add := func(s *server) {
		if only == "" || s.name == only {
			w.servers = append(w.servers, s)
			w.turns[s] = &turns{users: users}
		}
	}
	all := inventUsers(users)
	if only == "" || only == "rookery" {
		s, err := prepareRookery(dir, bin, users)
		if err != nil {
			return nil, err
		}
		if all, err = readUsers(filepath.Join(dir, "rookery", "users")); err != nil {
			return nil, err
		}
		add(s)
	}
	share := filepath.Join(dir, "dovecot-users")
	mail := filepath.Join(share, "mail")
	if err := shareUsers(share, mail, all); err != nil {
		return nil, err
	}
	for _, u := range all {
		u.home = filepath.Join(mail, u.name)
		if err := makeMaildir(u); err != nil {
			return nil, err
		}
	}
	for i, d := range []struct{ name, title, mode string }{
		{"dovecot", "Dovecot as shipped", ""},
		{"dovecot-hp", "Dovecot, high-performance mode", highPerformance},
	} {
		base, err := freeBase(24000 + 3000*i)
		if err != nil {
			return nil, err
		}
		s, err := prepareDovecot(dovecotRun{name: d.name, title: d.title, mode: d.mode, dir: filepath.Join(dir, d.name), share: share, base: base, location: "maildir:~/Maildir"})
		if err != nil {
			return nil, err
		}
		add(s)
	}
	if len(w.servers) == 0 {
		return nil, fmt.Errorf("no server is named %q", only)
	}
	return w, nil
}

// stop ends every server that runs.
func (w *world) stop() {
	for _, s := range w.servers {
		s.stop()
	}
}

// measure takes every row: first those of memory, each on a server started for
// it, then the rates, on all servers side by side.
func (w *world) measure(ctx context.Context, rows []row, o options) ([]rowResult, error) {
	var out []rowResult
	ordered := append(filter(rows, true), filter(rows, false)...)
	running := false
	for i, r := range ordered {
		if !r.memory && !running {
			running = true
			if err := w.startAll(ctx, ordered[i:]); err != nil {
				return nil, err
			}
		}
		line := r.result()
		for n := range o.repeats {
			for _, s := range w.servers {
				var one sample
				var err error
				if r.memory {
					one, err = memory(ctx, s, r)
				} else {
					one, err = rate(ctx, s, r, w.turns[s], o.seconds)
				}
				if err != nil {
					return nil, err
				}
				line.Samples[s.name] = append(line.Samples[s.name], one)
				progress("%2d/%d %-20s %d/%d %-10s %s", i+1, len(ordered), r.name, n+1, o.repeats, s.name, line.progressText(one))
			}
		}
		out = append(out, line)
	}
	return out, nil
}

func filter(rows []row, memory bool) []row {
	var some []row
	for _, r := range rows {
		if r.memory == memory {
			some = append(some, r)
		}
	}
	return some
}

// startAll starts every server, and where users take turns logs each in once,
// so that nobody pays for his first login ever.
func (w *world) startAll(ctx context.Context, rows []row) error {
	another := false
	for _, r := range rows {
		another = another || r.another
	}
	for _, s := range w.servers {
		if err := s.start(ctx); err != nil {
			return err
		}
		if !another {
			continue
		}
		began := time.Now()
		if err := everybody(ctx, s, w.turns[s].users); err != nil {
			return fmt.Errorf("%s: %w%s", s.name, err, tail(s.logFile))
		}
		progress("%s: %d users logged in once, %v", s.name, w.turns[s].users, time.Since(began).Round(time.Millisecond))
	}
	return ctx.Err()
}

// everybody logs each user in once, ten at a time.
func everybody(ctx context.Context, s *server, users int) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	failed := make(chan error, 10)
	for range cap(failed) {
		wg.Go(func() {
			for n := int(next.Add(1)); n <= users && ctx.Err() == nil; n = int(next.Add(1)) {
				if err := cycle(ctx, s, "imap", name(n)); err != nil {
					failed <- fmt.Errorf("first login of %s: %w", name(n), err)
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// busy is the part of the processors' time that goes to other work, measured
// over a moment in which the benchmark does nothing.
func busy() float64 {
	work0, all0 := processorTime()
	time.Sleep(300 * time.Millisecond)
	work1, all1 := processorTime()
	if all1 <= all0 {
		return 0
	}
	return float64(work1-work0) / float64(all1-all0)
}

// processorTime reads /proc/stat: ticks of work, and with the idle ones.
func processorTime() (work, all int64) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return parseProcessorTime(line)
}

// parseProcessorTime reads "cpu  user nice system idle iowait irq softirq …".
func parseProcessorTime(line string) (work, all int64) {
	for i, f := range strings.Fields(line) {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil || i > 8 { // the name; guests are counted in user and nice
			continue
		}
		all += n
		if i != 4 && i != 5 {
			work += n
		}
	}
	return work, all
}
