package shares

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/vfs"
)

// Keeper keeps a List in two files. What is told counts at once and is written a
// moment later, by a goroutine of its own, so that no login waits for the disk. What
// a power cut or a kill takes of the last moment is told again: each process of an
// owner tells his shares when it opens his mail.
type Keeper struct {
	List *List

	note    func(error)
	mu      sync.Mutex
	files   *files // nil: there is no place to keep it
	dirty   map[string]struct{}
	closed  bool
	wake    chan struct{}
	closing chan struct{} // closed by Close
	done    chan struct{} // closed when run has ended
}

// How long what is told waits for more before it is written, and how long after a
// failure.
const (
	gather = 50 * time.Millisecond
	again  = 10 * time.Second
)

// NewKeeper makes one that keeps its list in memory until it is given files. note is
// told why something could not be written.
func NewKeeper(note func(error)) *Keeper {
	return &Keeper{List: NewList(), note: note, dirty: map[string]struct{}{}, wake: make(chan struct{}, 1), closing: make(chan struct{})}
}

var errTwice = errors.New("the files of the list of shares came twice")

// Open reads the list from its files, which are the Keeper's from now on, and keeps
// it there.
func (k *Keeper) Open(a, b vfs.File) (Found, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.files != nil {
		a.Close()
		b.Close()
		return Found{}, errTwice
	}
	f := &files{pair: [2]vfs.File{a, b}}
	found, err := f.load(k.List)
	if err != nil {
		a.Close()
		b.Close()
		return found, err
	}
	if f.generation == 0 { // so that the next start knows that there is a list
		if err := f.rewrite(k.List); err != nil {
			k.note(err)
		}
	}
	k.files, k.done = f, make(chan struct{})
	go k.run()
	return found, nil
}

// Set replaces what an owner has told, see List.Set.
func (k *Keeper) Set(owner string, told []redeemmsg.Published) (Change, error) {
	c, err := k.List.Set(owner, told)
	if err != nil || !c.Changed {
		return c, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dirty[owner] = struct{}{}
	k.poke()
	return c, nil
}

func (k *Keeper) poke() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// run writes what was told until Close.
func (k *Keeper) run() {
	defer close(k.done)
	for range k.wake {
		closed, err := k.flush()
		if err != nil {
			k.note(err)
		}
		if closed {
			return
		}
		wait := gather
		if err != nil {
			wait = again
		}
		select {
		case <-time.After(wait):
		case <-k.closing:
		}
	}
}

// flush writes what has been told since the last time.
func (k *Keeper) flush() (closed bool, err error) {
	k.mu.Lock()
	owners := slices.Sorted(maps.Keys(k.dirty))
	clear(k.dirty)
	closed = k.closed
	k.mu.Unlock()
	if len(owners) == 0 {
		return closed, nil
	}
	if err = k.files.save(k.List, owners); err == nil {
		return closed, nil
	}
	k.mu.Lock()
	for _, o := range owners {
		k.dirty[o] = struct{}{}
	}
	k.poke()
	k.mu.Unlock()
	return closed, err
}

// Close writes what is not written yet and closes the files.
func (k *Keeper) Close() {
	k.mu.Lock()
	started := k.files != nil && !k.closed
	if !k.closed {
		k.closed = true
		close(k.closing)
		k.poke()
	}
	k.mu.Unlock()
	if !started {
		return
	}
	<-k.done
	for _, f := range k.files.pair {
		f.Close()
	}
}
