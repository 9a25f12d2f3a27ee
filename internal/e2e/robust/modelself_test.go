package robust

import (
	"strings"
	"testing"
)

// TestModelSeesFaults: what the kill test must find, its model finds.
func TestModelSeesFaults(t *testing.T) {
	text := func(owner, id string) string { return message(owner, id, 100) }
	ok := func() (*model, map[string]found) {
		m := newModel("ann")
		m.inbox.box["a"] = &placed{id: "a", uid: 1, validity: 7, is: yes, flags: map[string]state{`\Seen`: yes, "Old": no}}
		m.inbox.box["b"] = &placed{id: "b", uid: 2, validity: 7, is: no, flags: map[string]state{}}
		m.inbox.box["c"] = &placed{id: "c", is: maybe, flags: map[string]state{}}
		m.all = append(m.all, &folder{names: []string{"old", "new"}, is: yes, box: map[string]*placed{}}, &folder{names: []string{"gone"}, is: no, box: map[string]*placed{}})
		return m, map[string]found{"INBOX": {7, map[string][]fetched{"a": {{uid: 1, flags: []string{`\Seen`}}}}}, "new": {8, nil}, "Trash": {}}
	}
	for name, c := range map[string]struct {
		spoil func(m *model, have map[string]found)
		want  string
	}{
		"nothing":        {func(*model, map[string]found) {}, ""},
		"maybe there":    {func(_ *model, h map[string]found) { h["INBOX"].box["c"] = []fetched{{uid: 3}} }, ""},
		"lost":           {func(_ *model, h map[string]found) { delete(h["INBOX"].box, "a") }, "is lost"},
		"twice":          {func(_ *model, h map[string]found) { h["INBOX"].box["a"] = make([]fetched, 2) }, "2 times"},
		"undead":         {func(_ *model, h map[string]found) { h["INBOX"].box["b"] = []fetched{{uid: 2}} }, "was removed and is there"},
		"another UID":    {func(_ *model, h map[string]found) { h["INBOX"].box["a"][0].uid = 5 }, "had UID 1 of 7"},
		"flag lost":      {func(_ *model, h map[string]found) { h["INBOX"].box["a"][0].flags = nil }, `flag \Seen should be true`},
		"flag undead":    {func(_ *model, h map[string]found) { h["INBOX"].box["a"][0].flags = []string{`\Seen`, "Old"} }, "flag Old should be false"},
		"flag of nobody": {func(_ *model, h map[string]found) { h["INBOX"].box["a"][0].flags = []string{`\Seen`, "X"} }, "that nobody set"},
		"stranger":       {func(_ *model, h map[string]found) { h["INBOX"].box["z"] = []fetched{{uid: 9}} }, "nobody put"},
		"mailbox lost":   {func(_ *model, h map[string]found) { delete(h, "new") }, "0 of it"},
		"mailbox twice":  {func(_ *model, h map[string]found) { h["old"] = found{} }, "2 of it"},
		"mailbox undead": {func(_ *model, h map[string]found) { h["gone"] = found{} }, "was deleted"},
		"mailbox new":    {func(_ *model, h map[string]found) { h["other"] = found{} }, "nobody made"},
		"UID reused":     {func(m *model, _ map[string]found) { m.saw("INBOX", 7, 1, "a"); m.saw("INBOX", 7, 1, "b") }, "named a and names b"},
		"another's mail": {func(m *model, _ map[string]found) { m.check(text("bob", "x")) }, `of "bob"`},
		"damaged":        {func(m *model, _ map[string]found) { m.check(text("ann", "x") + "y") }, "damaged"},
		"moved away": {func(m *model, h map[string]found) {
			p := m.inbox.box["a"]
			p.is, p.movedTo = maybe, m.all[1]
			delete(h["INBOX"].box, "a")
		}, "lost by a MOVE"},
		"moved into what was deleted": {func(m *model, h map[string]found) {
			p := m.inbox.box["a"]
			p.is, p.movedTo = maybe, m.all[2]
			delete(h["INBOX"].box, "a")
		}, ""},
	} {
		m, have := ok()
		c.spoil(m, have)
		m.compare(have)
		got := strings.Join(m.wrong, "\n")
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	m := newModel("ann")
	if id := m.check(text("ann", "x")); id != "x" || len(m.wrong) > 0 {
		t.Errorf("a good message: %q, %q", id, m.wrong)
	}
	f, isFetch := parseFetch("* 1 FETCH (UID 7 BODY[] {5}\r\nUID 9 FLAGS (\\Seen))")
	if !isFetch || f.uid != 7 || f.body != "UID 9" || strings.Join(f.flags, " ") != `\Seen` {
		t.Errorf("parseFetch: %+v, %v", f, isFetch)
	}
}
