package hammer

import "testing"

// The checker itself: each rule is broken once.
func TestViewSeesWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		class class
		wrong bool
	}{
		{"lawful", []string{"* 3 EXISTS", "* 1 FETCH (UID 5)", "* 3 FETCH (UID 9 FLAGS ())", "* 2 EXPUNGE", "* 2 FETCH (UID 9)", "* 2 RECENT", "* 4 EXISTS"}, free, false},
		{"EXISTS falls", []string{"* 3 EXISTS", "* 2 EXISTS"}, free, true},
		{"EXPUNGE in FETCH", []string{"* 3 EXISTS", "* 2 EXPUNGE"}, steady, true},
		{"EXPUNGE unasked", []string{"* 3 EXISTS", "* 2 EXPUNGE"}, idle, true},
		{"EXPUNGE beyond", []string{"* 3 EXISTS", "* 4 EXPUNGE"}, free, true},
		{"FETCH beyond", []string{"* 3 EXISTS", "* 4 FETCH (FLAGS ())"}, free, true},
		{"UID changes", []string{"* 3 EXISTS", "* 2 FETCH (UID 7)", "* 2 FETCH (UID 8)"}, free, true},
		{"UIDs descend", []string{"* 3 EXISTS", "* 1 FETCH (UID 7)", "* 2 FETCH (UID 7)"}, free, true},
		{"UIDs descend before", []string{"* 3 EXISTS", "* 3 FETCH (UID 7)", "* 1 FETCH (UID 8)"}, free, true},
		{"stays after EXPUNGE", []string{"* 2 EXISTS", "* 2 FETCH (UID 7)", "* 1 EXPUNGE", "* 1 FETCH (UID 8)"}, free, true},
		{"more RECENT than there are", []string{"* 2 EXISTS", "* 3 RECENT"}, free, true},
	} {
		v, wrong := &view{}, false
		for _, l := range c.lines {
			wrong = v.take(l, c.class) != nil || wrong
		}
		if wrong != c.wrong {
			t.Errorf("%s: wrong is %v", c.name, wrong)
		}
	}
}
