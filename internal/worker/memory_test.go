package worker

import (
	"runtime"
	"runtime/debug"
	"testing"
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
	giveBack()
	if now := heldHeap(); now > large-5<<20 {
		t.Errorf("of %d octets %d are still held", large, now)
	}
}
