package imapmodel

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/imapworker/internal/view"
)

// steps draws the steps of a seed.
func steps(seed uint64, count int) []step {
	rng := rand.New(rand.NewPCG(seed, 20))
	var weighted []uint16
	for i, a := range actions() {
		for range a.weight {
			weighted = append(weighted, uint16(i))
		}
	}
	out := make([]step, count)
	for i := range out {
		out[i].what = weighted[rng.IntN(len(weighted))]
		for j := range out[i].n {
			out[i].n[j] = rng.Uint32()
		}
	}
	return out
}

// run does steps in a new world. The error is the first thing that is wrong.
func run(driver string, how sharing, list []step) (w *world, err error) {
	defer func() {
		if r := recover(); r != nil {
			if f, ok := r.(failure); ok {
				err = errors.New(string(f))
			} else {
				err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
			}
			if w != nil {
				w.abandon()
			}
		}
	}()
	table := actions()
	w = newWorld(driver, how)
	for i, s := range list {
		w.lines = i
		w.do(table, s)
	}
	for _, c := range w.conns { // at the end everybody is told everything
		if c.s != nil && c.ready([6]uint32{}, awake) && c.box != nil {
			doSync(w, c, [6]uint32{})
		}
	}
	w.close()
	return w, nil
}

// abandon ends what a run that failed has left.
func (w *world) abandon() {
	defer func() { _ = recover() }()
	w.describe()
	for _, p := range []*process{w.worker, w.other} {
		if p != nil && p.fault != nil {
			p.fault.Kill()
		}
		if p != nil && p.store != nil {
			_ = p.store.Close()
		}
	}
}

// describe says what is there: by the model, and as a process sees it that has just
// opened the mail.
func (w *world) describe() {
	fresh := w.worker
	if w.driver != "memory" {
		fresh = w.process()
		defer fresh.fault.Kill()
	}
	for _, name := range w.mail[ann].names() {
		b := w.mail[ann].boxes[name]
		w.say("model: %s UIDNEXT %d %s", name, b.next, setText(uidsOf(b.messages)))
		box, err := fresh.store.Open(name)
		if err != nil {
			w.say("store: %s %v", name, err)
			continue
		}
		snap, err := box.Sync()
		w.must(err)
		text := ""
		for i := range snap.Len() {
			e := snap.At(i)
			text += fmt.Sprintf(" %d:%q", e.UID, append(view.SystemFlags(e.Flags), snap.Keywords(e.Keywords)...))
		}
		w.say("store: %s UIDNEXT %d%s", name, snap.UIDNext(), text)
		_ = box.Close()
	}
}

// shrink leaves out steps as long as the run fails in the same way.
func shrink(driver string, how sharing, list []step, patience time.Duration) []step {
	late := time.Now().Add(patience)
	for size := max(len(list)/2, 1); ; size = max(size/2, 1) {
		smaller := false
		for from := 0; from < len(list) && time.Now().Before(late); {
			rest := slices.Concat(list[:from], list[min(from+size, len(list)):])
			if _, err := run(driver, how, rest); err != nil {
				list, smaller = rest, true
			} else {
				from += size
			}
		}
		if size == 1 && !smaller || !time.Now().Before(late) {
			return list
		}
	}
}

// try runs a seed and reports a failure, made as short as it can be.
func try(t *testing.T, driver string, how sharing, seed uint64, count int) map[string]int {
	t.Helper()
	list := steps(seed, count)
	w, err := run(driver, how, list)
	if err == nil {
		return w.stats
	}
	short := shrink(driver, how, list[:w.lines+1], 20*time.Second)
	again, serr := run(driver, how, short)
	if serr == nil {
		again, serr = w, fmt.Errorf("%w (and not every time)", err)
	}
	t.Errorf("driver %s, sharing %d, seed %d: %v\nmade shorter, %d steps:\n%s\n%v", driver, how, seed, err, len(short),
		strings.Join(again.said[max(0, len(again.said)-120):], "\n"), serr)
	return nil
}

var (
	stepsFlag = flag.Int("steps", 0, "steps for each format")
	eachFlag  = flag.Int("each", 0, "steps of a run")
	seedFlag  = flag.Uint64("seed", 0, "the first seed")
	howFlag   = flag.Int("sharing", -1, "how bob gets to ann's mail; -1: every way")
)

// TestModel compares sessions of two users with the model. ROOKERY_SOAK makes it
// 100,000 steps for each format.
func TestModel(t *testing.T) {
	each := 250
	total := 20_000
	switch {
	case *stepsFlag > 0:
		total = *stepsFlag
	case os.Getenv("ROOKERY_SOAK") != "":
		total = 100_000
	case testing.Short():
		total = 2000
	}
	if *eachFlag > 0 {
		each = *eachFlag
	}
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			did := map[string]int{}
			for seed := range uint64(total / each) {
				how := sharing(seed % uint64(ways))
				if *howFlag >= 0 {
					how = sharing(*howFlag)
				}
				for name, n := range try(t, driver, how, *seedFlag+seed, each) {
					did[name] += n
				}
				if t.Failed() {
					return
				}
			}
			t.Logf("%d steps: %v", total, did)
			for _, a := range actions() {
				if did[a.name] == 0 && total > each*4 {
					t.Errorf("nothing of %q was done", a.name)
				}
			}
		})
	}
}
