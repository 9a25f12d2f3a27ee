package annotation

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"rookery/internal/mailstore"
)

// maxFed bounds the changes that a Feed remembers; the older half of more goes.
const maxFed = 20_000

// Feed remembers what was changed in this process, for sessions that tell their
// clients. Its zero value is ready. It is for several goroutines.
type Feed struct {
	mu       sync.Mutex
	last     uint64
	changed  map[fed]uint64
	watchers map[chan<- struct{}]int
}

type fed struct {
	mailbox mailstore.Name
	entry   string // folded
}

// Add notes a change and wakes who watches. It gives the change's number.
func (f *Feed) Add(mailbox mailstore.Name, entries ...string) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(entries) == 0 {
		return f.last
	}
	if f.changed == nil {
		f.changed = map[fed]uint64{}
	}
	f.last++
	for _, e := range entries {
		f.changed[fed{mailbox, Fold(e)}] = f.last
	}
	f.shrink()
	f.wake()
	return f.last
}

// Wake has who watches look, as after a change.
func (f *Feed) Wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wake()
}

func (f *Feed) wake() {
	for c := range f.watchers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// shrink keeps the newer half once there are too many.
func (f *Feed) shrink() {
	if len(f.changed) <= maxFed {
		return
	}
	numbers := make([]uint64, 0, len(f.changed))
	for _, n := range f.changed {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	middle := numbers[len(numbers)/2]
	for k, n := range f.changed {
		if n < middle {
			delete(f.changed, k)
		}
	}
}

// Since is for mailstore.Annotator.
func (f *Feed) Since(number uint64) (changes []mailstore.Annotated, last uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if number >= f.last {
		return nil, f.last
	}
	for k, n := range f.changed {
		if n > number {
			changes = append(changes, mailstore.Annotated{Mailbox: k.mailbox, Entry: k.entry, Number: n})
		}
	}
	slices.SortFunc(changes, func(a, b mailstore.Annotated) int {
		return cmp.Or(strings.Compare(a.Mailbox, b.Mailbox), strings.Compare(a.Entry, b.Entry))
	})
	return changes, f.last
}

// Watched reports whether anybody watches.
func (f *Feed) Watched() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.watchers) > 0
}

// Watch is for mailstore.Annotator.
func (f *Feed) Watch(c chan<- struct{}) (stop func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watchers == nil {
		f.watchers = map[chan<- struct{}]int{}
	}
	f.watchers[c]++
	return sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.watchers[c]--; f.watchers[c] == 0 {
			delete(f.watchers, c)
		}
	})
}
