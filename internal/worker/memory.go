package worker

import (
	"runtime/debug"
	"runtime/metrics"
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

// giveBack gives memory back to the system where that is worth it.
func giveBack() {
	if heldHeap() > keepHeap {
		debug.FreeOSMemory()
	}
}
