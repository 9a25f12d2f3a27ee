package watch

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	name := func(s string) string { return filepath.Join(dir, s) }
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(name("v1"), "one")
	write(name("v2"), "two!")
	write(name("key"), "k")
	if err := os.Symlink("v1", name("cert")); err != nil {
		t.Fatal(err)
	}
	told := 0
	var w Watcher
	w.Add(&Set{Paths: []string{name("cert"), name("key")}, Reported: func() { told++ }})
	step := func(what string, want int) {
		t.Helper()
		w.Poll()
		if told != want {
			t.Fatalf("%s: told %d times, want %d", what, told, want)
		}
	}
	step("nothing happened", 0)
	os.Remove(name("cert"))
	os.Symlink("v2", name("cert"))
	step("the link was turned a moment ago", 0)
	write(name("key"), "k2")
	step("the key follows", 0)
	step("both at rest", 1)
	step("nothing more", 1)
	write(name("v2"), "two again")
	step("the link's target was written", 1)
	step("at rest", 2)
	os.Remove(name("v2"))
	step("gone", 2)
	step("and stays so", 3)
	write(name("v2"), "back")
	w.Poll()
	step("back", 4)
	w.Clear()
	write(name("v2"), "unseen")
	w.Poll()
	step("nobody watches", 4)
}
