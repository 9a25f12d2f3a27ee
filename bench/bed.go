package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"
)

// bed is where one measurement of a row of the mail store takes place: one
// server, for so long or for so many operations.
type bed struct {
	lab   *lab
	rig   *rig
	row   *storeRow
	span  time.Duration // how long operations are repeated
	limit int           // the most operations; 0: as many as the span takes
	trace bool          // count syncs instead of time
	bytes bool          // count what is written: takes a second and a half more
	quick bool
	n     int // size of the row: messages or folders, made smaller by --quick
}

// outcome is what a bed measured: a sample, or how many syncs.
type outcome struct {
	sample
	syncs float64 // for each operation, when traced
}

// timed runs work, which tells how long each operation took in milliseconds,
// and measures around it: time, processor time, what was written to the disk
// (also what is written after the last answer), or instead the syncs.
func (b *bed) timed(ctx context.Context, work func() ([]float64, error)) (outcome, error) {
	var took []float64
	var err error
	if b.trace {
		n, err := countSyncs(ctx, b.rig.group, filepath.Join(b.lab.disk.root, b.rig.key.dir()), func() error {
			took, err = work()
			// Syncs that follow within a second belong to what was done.
			return errors.Join(err, pause(ctx, 1300*time.Millisecond))
		})
		if err == nil && len(took) == 0 {
			err = errors.New("no operation")
		}
		if err != nil {
			return outcome{}, err
		}
		return outcome{syncs: float64(n) / float64(len(took)), sample: sample{Count: len(took)}}, nil
	}
	disk := b.lab.disk
	if b.row.write {
		if err := disk.flush(); err != nil {
			return outcome{}, err
		}
	}
	bytes0, counted := disk.written()
	cpu0, err := b.rig.group.cpu()
	if err != nil {
		return outcome{}, err
	}
	began := time.Now()
	took, err = work()
	elapsed := time.Since(began)
	if err != nil {
		return outcome{}, err
	}
	cpu1, err := b.rig.group.cpu()
	if err != nil {
		return outcome{}, err
	}
	if len(took) == 0 {
		return outcome{}, errors.New("no operation")
	}
	ops := float64(len(took))
	out := sample{Value: micros(elapsed) / ops, CPU: micros(cpu1-cpu0) / ops, P50: quantile(took, 0.5), P99: quantile(took, 0.99), Count: len(took)}
	if b.bytes && counted {
		if err := errors.Join(pause(ctx, 1300*time.Millisecond), disk.flush()); err != nil {
			return outcome{}, err
		}
		bytes1, _ := disk.written()
		out.Bytes = float64(bytes1-bytes0) / ops
	}
	return outcome{sample: out}, nil
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
func millis(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// together runs op over and over in so many goroutines, until the span is over,
// the limit reached, or op says that nothing is left (errDone).
func (b *bed) together(ctx context.Context, clients int, op func(client, i int) error) (outcome, error) {
	return b.timed(ctx, func() ([]float64, error) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		var all []float64
		var failed error
		end := time.Now().Add(b.span)
		for client := range clients {
			wg.Go(func() {
				var took []float64
				var err error
				for i := 0; err == nil && ctx.Err() == nil; i++ {
					began := time.Now()
					if i > 0 && !began.Before(end) || b.limit > 0 && i*clients >= b.limit {
						break
					}
					if err = op(client, i); err == nil {
						took = append(took, millis(time.Since(began)))
					}
				}
				mu.Lock()
				defer mu.Unlock()
				all = append(all, took...)
				if err != nil && !errors.Is(err, errDone) {
					failed = errors.Join(failed, fmt.Errorf("client %d: %w", client, err))
				}
			})
		}
		wg.Wait()
		return all, errors.Join(failed, ctx.Err())
	})
}

// errDone ends a client's operations before the span is over.
var errDone = errors.New("nothing left to do")

// each measures an operation that needs something done before it each time:
// only op counts, in time and in processor time. Sums over all repetitions.
func (b *bed) each(ctx context.Context, before, op func() error) (outcome, error) {
	var out sample
	var took []float64
	var wall, cpu time.Duration
	for end := time.Now().Add(b.span); len(took) < 3 || time.Now().Before(end) && (b.limit == 0 || len(took) < b.limit); {
		if err := before(); err != nil {
			return outcome{}, err
		}
		cpu0, err := b.rig.group.cpu()
		if err != nil {
			return outcome{}, err
		}
		began := time.Now()
		if err := op(); err != nil {
			return outcome{}, err
		}
		d := time.Since(began)
		cpu1, err := b.rig.group.cpu()
		if err != nil {
			return outcome{}, err
		}
		wall, cpu, took = wall+d, cpu+cpu1-cpu0, append(took, millis(d))
		if ctx.Err() != nil {
			return outcome{}, ctx.Err()
		}
	}
	ops := float64(len(took))
	out = sample{Value: micros(wall) / ops, CPU: micros(cpu) / ops, P50: quantile(took, 0.5), P99: quantile(took, 0.99), Count: len(took)}
	return outcome{sample: out}, nil
}

// enter opens a session of a user of the rig.
func (b *bed) enter(ctx context.Context, who int) (*client, error) {
	return enter(ctx, b.rig.server, "imap", b.lab.user(who).name)
}

// sessions opens several sessions of one user and has each do something first.
func (b *bed) sessions(ctx context.Context, n, who int, first func(*client) error) ([]*client, func(), error) {
	var all []*client
	closeAll := func() {
		for _, c := range all {
			c.close()
		}
	}
	for range n {
		c, err := b.enter(ctx, who)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		all = append(all, c)
		if first == nil {
			continue
		}
		if err := first(c); err != nil {
			closeAll()
			return nil, nil, err
		}
	}
	return all, closeAll, nil
}
