package vfs_test

import (
	"testing"

	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

// Wherever the power is cut the file is the old one or the new one, whole, and the
// new one once Replace has returned.
func TestReplaceIsWholeAndCertain(t *testing.T) {
	for _, fate := range []memfs.Fate{memfs.Lost, memfs.Kept, memfs.Torn} {
		for seed := range uint64(8) {
			for k := 1; ; k++ {
				mem := memfs.New(memfs.Options{})
				if _, err := vfs.Replace(mem, "f", []byte("old"), 0o600); err != nil {
					t.Fatal(err)
				}
				disk := faultfs.New(mem)
				disk.CutAfter(k, fate, seed)
				_, err := vfs.Replace(disk, "f", []byte("new text"), 0o600)
				cut := disk.Dead()
				data, rerr := vfs.ReadFile(disk.Survivor(fate, seed), "f", 100)
				got := string(data)
				if rerr != nil || got != "new text" && (err == nil || got != "old") {
					t.Fatalf("fate %d, seed %d, cut after %d: %q, %v; Replace said %v", fate, seed, k, got, rerr, err)
				}
				if !cut {
					break
				}
			}
		}
	}
}
