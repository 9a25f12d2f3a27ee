package worker

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// collections counts garbage collections so far.
func collections() uint32 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.NumGC
}

func TestGiveBack(t *testing.T) {
	debug.FreeOSMemory()
	small := heldHeap()
	if small == 0 {
		t.Fatal("the heap holds nothing")
	}
	if small < keepHeap {
		before := collections()
		giveBack()
		if collections() != before {
			t.Errorf("a heap of %d octets was collected", small)
		}
	}
	garbage := make([]byte, 8<<20)
	for i := range garbage {
		garbage[i] = 1
	}
	large := heldHeap()
	if large < 8<<20 {
		t.Fatalf("8 MB more make a heap of %d octets", large)
	}
	runtime.KeepAlive(garbage)
	// A thread that was interrupted may still have the array in a register: again then.
	for try := 0; ; try++ {
		giveBack()
		now := heldHeap()
		if now <= large-5<<20 {
			return
		}
		if try == 20 {
			t.Fatalf("of %d octets %d are still held", large, now)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// What work has left is given back once clients have been quiet for a while, each
// time anew, and not while they work.
func TestResting(t *testing.T) {
	r := newResting()
	r.stir()
	if r.quiet() {
		t.Error("quiet, but something came")
	}
	if !r.quiet() {
		t.Error("nothing came, and it is not quiet")
	}
	select {
	case <-r.awake:
		t.Error("awake without a reason")
	default:
	}
	r.stir()
	r.stir()
	select {
	case <-r.awake:
	default:
		t.Error("asleep although something came")
	}
	if len(r.awake) > 0 || r.quiet() || !r.quiet() {
		t.Error("what came after it was quiet counts otherwise")
	}
}
