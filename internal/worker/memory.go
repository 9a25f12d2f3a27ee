package worker

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// keepHeap is what a worker may hold of the system's memory for its heap, in
// use or not, without giving any back. A worker that has served some logins
// stays below it. A collection is no gain there: it costs a millisecond or two
// of processor time and 150 KB for the collector's own structures.
const keepHeap = 2 << 20

// heapClasses are the parts of the heap that the system has not got back.
var heapClasses = [...]string{"/memory/classes/heap/objects:bytes", "/memory/classes/heap/unused:bytes", "/memory/classes/heap/free:bytes"}

// heldHeap is how much memory the heap holds, in bytes.
func heldHeap() uint64 {
	samples := make([]metrics.Sample, len(heapClasses))
	for i := range samples {
		samples[i].Name = heapClasses[i]
	}
	metrics.Read(samples)
	var total uint64
	for _, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 {
			total += s.Value.Uint64()
		}
	}
	return total
}

// resting tells whether clients have been quiet: what their work has left in
// memory is given back then, and not while they work.
type resting struct {
	came   atomic.Uint64 // how often something came from a client
	asleep atomic.Bool   // they are quiet: the next to come sends to awake
	awake  chan struct{}
	seen   uint64 // came, when it was looked at last
}

func newResting() *resting { return &resting{awake: make(chan struct{}, 1)} }

// stir is called when something comes from a client.
func (r *resting) stir() {
	r.came.Add(1)
	if r.asleep.Load() && r.asleep.CompareAndSwap(true, false) {
		select {
		case r.awake <- struct{}{}:
		default:
		}
	}
}

// quiet gives memory back if nothing has come since it was called last, and
// reports whether that was so. If not it is to be called again.
func (r *resting) quiet() bool {
	if came := r.came.Load(); came != r.seen {
		r.seen = came
		return false
	}
	giveBack()
	r.asleep.Store(true)
	return r.came.Load() == r.seen || !r.asleep.CompareAndSwap(true, false)
}

// giveBack gives memory back to the system where that is worth it.
func giveBack() {
	if heldHeap() > keepHeap {
		runtime.GC() // pools give up what they keep at the second collection only
		debug.FreeOSMemory()
	}
}
