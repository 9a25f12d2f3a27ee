// Package watch sees that files have changed: by stat of the path, which
// follows links to their targets, and of the link itself. It works for files
// that a tool replaces by rename (certbot turns links), and on every file
// system.
//
// Only master uses it, for files that root must open for others.
package watch

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Watcher remembers how its files looked. Poll is called by one goroutine.
type Watcher struct{ sets []*Set }

// Set is some files that belong together: a change is told once all of them
// have looked the same in two polls, so that a pair is not read in between.
type Set struct {
	Paths    []string
	seen     string // as reported last
	last     string // as of the poll before
	Reported func() // called by Poll
}

// Add watches a set from now on.
func (w *Watcher) Add(s *Set) {
	s.seen = signature(s.Paths)
	s.last = s.seen
	w.sets = append(w.sets, s)
}

// Clear forgets all sets.
func (w *Watcher) Clear() { w.sets = nil }

// Poll looks once and calls Reported of each set that has changed and come to rest.
func (w *Watcher) Poll() {
	for _, s := range w.sets {
		now := signature(s.Paths)
		calm := now == s.last
		s.last = now
		if calm && now != s.seen {
			s.seen = now
			s.Reported()
		}
	}
}

// signature is how files look: a text that is equal only while they are the same.
func signature(paths []string) string {
	text := ""
	for _, p := range paths {
		text += one(p, unix.Lstat) + one(p, unix.Stat)
	}
	return text
}

func one(path string, stat func(string, *unix.Stat_t) error) string {
	var st unix.Stat_t
	if err := stat(path, &st); err != nil {
		return err.Error() + ";"
	}
	return fmt.Sprintf("%d/%d/%d/%d.%d/%d.%d;", st.Dev, st.Ino, st.Size, st.Mtim.Sec, st.Mtim.Nsec, st.Ctim.Sec, st.Ctim.Nsec)
}
