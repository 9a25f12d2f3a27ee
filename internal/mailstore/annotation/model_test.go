package annotation_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/annotation"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

// modelBox is a mailbox as a plain model has it.
type modelBox struct{ notes map[string]string }

// model is what a store with annotations should show.
type model struct {
	boxes map[string]*modelBox
	user  map[string]string
	given map[mailstore.Attr]*modelBox // by clients; nil: to nobody, whatever the settings say
	fixed map[mailstore.Attr]string    // by the settings
}

func (m *model) holder(use mailstore.Attr) *modelBox {
	if b, ok := m.given[use]; ok {
		return b
	}
	return m.boxes[m.fixed[use]]
}

func (m *model) assign(name string, want mailstore.Attr) {
	for _, u := range annotation.Uses {
		box := m.boxes[name]
		switch {
		case want&u.Attr != 0:
			m.given[u.Attr] = box
		case m.holder(u.Attr) != box:
		case m.fixed[u.Attr] == name:
			m.given[u.Attr] = nil
		default:
			delete(m.given, u.Attr)
		}
	}
}

func (m *model) remove(name string) {
	for use, b := range m.given {
		if b == m.boxes[name] && b != nil {
			delete(m.given, use)
		}
	}
	delete(m.boxes, name)
}

func text(notes map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(notes)) {
		out = append(out, k+"="+notes[k])
	}
	return strings.Join(out, " ")
}

// show gives what the model expects of all.
func (m *model) show() string {
	out := text(m.user)
	for _, name := range slices.Sorted(maps.Keys(m.boxes)) {
		out += "\n" + name + ": " + text(m.boxes[name].notes)
		for _, u := range annotation.Uses {
			if m.holder(u.Attr) == m.boxes[name] {
				out += u.Name
			}
		}
	}
	return out
}

// real gives the same of a store.
func real(t *testing.T, s *annotation.Store) string {
	out := shown(t, s, "")
	list, err := s.List()
	must(t, err)
	for _, f := range list {
		out += "\n" + f.Name + ": " + shown(t, s, f.Name) + strings.Join(annotation.UseNames(f.Attrs), "")
	}
	return out
}

// step does something at random to both.
func (m *model) step(t *testing.T, s *annotation.Store, r *rand.Rand) string {
	names := slices.Sorted(maps.Keys(m.boxes))
	some, fresh := names[r.IntN(len(names))], []string{"Sent", "b1", "b2", "b3", "b4", "b5"}[r.IntN(6)]
	use := annotation.Uses[[]int{1, 2, 4, 5}[r.IntN(4)]]
	_, there := m.boxes[fresh]
	switch k := r.IntN(20); {
	case k < 4:
		_, err := s.Create(fresh, use.Attr*mailstore.Attr(k%2))
		if there {
			if !errkind.Is(err, errkind.Exists) {
				t.Fatal(err)
			}
			return ""
		}
		must(t, err)
		m.boxes[fresh] = &modelBox{notes: map[string]string{}}
		if k%2 == 1 {
			for _, u := range annotation.Uses {
				if use.Attr == u.Attr {
					m.given[u.Attr] = m.boxes[fresh]
				} else if m.holder(u.Attr) == m.boxes[fresh] { // a use that the settings give, and CREATE did not name
					m.given[u.Attr] = nil
				}
			}
		}
		return "create " + fresh + use.Name
	case k < 6 && some != "INBOX":
		must(t, s.Delete(some))
		m.remove(some)
		return "delete " + some
	case k < 9 && !there:
		must(t, s.Rename(some, fresh))
		m.boxes[fresh] = m.boxes[some]
		if some == "INBOX" {
			m.boxes[fresh] = &modelBox{notes: maps.Clone(m.boxes[some].notes)}
		} else {
			delete(m.boxes, some)
		}
		return "rename " + some + " " + fresh
	case k < 13:
		want := []mailstore.Attr{0, use.Attr, use.Attr | mailstore.UseSent}[r.IntN(3)]
		set(t, s, some, note(annotation.SpecialUse, strings.Join(annotation.UseNames(want), " ")))
		m.assign(some, want)
		return fmt.Sprint("assign ", some, annotation.UseNames(want))
	}
	at := m.boxes[some].notes
	if r.IntN(4) == 0 {
		some, at = "", m.user
	}
	entry, value := fmt.Sprintf("/private/%d", r.IntN(4)), fmt.Sprint(r.IntN(10))
	if r.IntN(3) == 0 {
		set(t, s, some, gone(entry))
		delete(at, entry)
	} else {
		set(t, s, some, note(entry, value))
		at[entry] = value
	}
	return "annotate " + some + entry
}

// Random steps, with the store opened anew now and then, show what a plain model does.
func TestModel(t *testing.T) {
	clock := func() func() time.Time { return memfs.NewClock(time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC)).Now }
	play := func(t *testing.T, seed uint64, fixed map[mailstore.Attr]string, open func(disk vfs.FS) mailstore.Store) {
		r := rand.New(rand.NewPCG(seed, 7))
		disk := memfs.New(memfs.Options{Now: clock()})
		must(t, disk.Mkdir("mail", 0o700))
		begin := func() *annotation.Store {
			return annotation.Wrap(open(disk), annotation.Options{FS: disk, Dir: "mail"})
		}
		s := begin()
		m := &model{boxes: map[string]*modelBox{"INBOX": {notes: map[string]string{}}}, user: map[string]string{}, given: map[mailstore.Attr]*modelBox{}, fixed: fixed}
		var history []string
		for range 150 {
			if r.IntN(10) == 0 {
				must(t, s.Close())
				s = begin()
				history = append(history, "open")
			}
			history = append(history, m.step(t, s, r))
			if got, want := real(t, s), m.show(); got != want {
				t.Fatalf("seed %d, after %s:\n got  %s\n want %s", seed, strings.Join(history, "; "), got, want)
			}
		}
		must(t, s.Close())
	}
	for seed := range uint64(40) {
		inner := memstore.New(memstore.Options{})
		play(t, seed, nil, func(vfs.FS) mailstore.Store { return inner })
	}
	for driver, open := range drivers {
		t.Run(driver, func(t *testing.T) {
			for seed := range uint64(6) {
				play(t, seed, map[mailstore.Attr]string{mailstore.UseSent: "Sent"}, func(disk vfs.FS) mailstore.Store { return open(disk, t) })
			}
		})
	}
}
