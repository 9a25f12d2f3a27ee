package worker

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestAnnouncer: a change is told at once, many are told together, and none is left
// untold, at the process's end neither.
func TestAnnouncer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var told []time.Duration
		a := &announcer{tell: func() { told = append(told, time.Since(start)) }}
		want := func(what string, at ...time.Duration) {
			t.Helper()
			synctest.Wait()
			if len(told) != len(at) {
				t.Fatalf("%s: told at %v, not at %v", what, told, at)
			}
			for i := range at {
				if told[i] != at[i] {
					t.Fatalf("%s: told at %v, not at %v", what, told, at)
				}
			}
			told = nil
		}
		a.changed()
		want("the first", 0)
		for range 30 {
			time.Sleep(time.Millisecond)
			a.changed()
		}
		time.Sleep(time.Second)
		want("a row of thirty in 30 ms", announceEvery, 2*announceEvery)
		at := time.Since(start)
		a.changed()
		want("one after a pause", at)
		time.Sleep(announceEvery / 2)
		a.changed()
		synctest.Wait()
		a.end()
		want("one before the end", at+announceEvery/2)
		time.Sleep(time.Second)
		a.end()
		want("nothing left")
	})
}
