package shares

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/ipc/redeemmsg"
)

func pub(name string, entries ...string) redeemmsg.Published {
	return redeemmsg.Published{Name: name, Entries: entries}
}

func set(t *testing.T, l *List, owner string, boxes ...redeemmsg.Published) Change {
	t.Helper()
	c, err := l.Set(owner, boxes)
	if err != nil {
		t.Fatalf("%s: %v", owner, err)
	}
	return c
}

// sees is what a guest is told of, as "owner:mailbox".
func sees(l *List, who acl.Who) []string {
	boxes, _ := l.With(who, 1000)
	out := []string{}
	for _, b := range boxes {
		out = append(out, b.Owner+":"+b.Name)
	}
	return out
}

func TestWhoSeesWhat(t *testing.T) {
	l := NewList()
	set(t, l, "carl", pub("Team/Plan", "group=staff lr"), pub("Jobs", "user=bob lr", "-group=staff l"), pub("Post", "user=bob p"))
	set(t, l, "ann", pub("INBOX", "user=bob lrs"), pub("All", "authenticated l"), pub("World", "anyone lr"), pub("Boss", "group-override=staff", "user=bob lr"), pub("Mine", "owner l", "user=dora lr"))
	for _, c := range []struct {
		who  acl.Who
		want []string
		lets string // owners who share something with him
	}{
		{acl.Who{User: "bob"}, []string{"ann:All", "ann:Boss", "ann:INBOX", "ann:World", "carl:Jobs"}, "ann carl"},
		{acl.Who{User: "bob", Groups: []string{"staff"}}, []string{"ann:All", "ann:INBOX", "ann:World", "carl:Team/Plan"}, "ann carl"},
		{acl.Who{User: "dora"}, []string{"ann:All", "ann:Mine", "ann:World"}, "ann"},
		{acl.Who{User: "eve", Groups: []string{"other"}}, []string{"ann:All", "ann:World"}, "ann"},
		{acl.Who{User: "eve", Groups: []string{"staff"}}, []string{"ann:All", "ann:World", "carl:Team/Plan"}, "ann carl"},
		{acl.Who{User: "guest", Anonymous: true}, []string{"ann:World"}, "ann"},
		{acl.Who{User: "carl"}, []string{"ann:All", "ann:World"}, "ann"},
		{acl.Who{User: "ann", Groups: []string{"staff"}}, []string{"carl:Team/Plan"}, "carl"}, // his own are left out
		{acl.Who{User: "ann", Owner: true}, []string{}, ""},                                   // who he is to whom is reckoned here
	} {
		if got := sees(l, c.who); !slices.Equal(got, c.want) {
			t.Errorf("%+v sees %q, want %q", c.who, got, c.want)
		}
		var lets []string
		for _, owner := range []string{"ann", "bob", "carl", "nobody", ""} {
			if l.Lets(owner, c.who) {
				lets = append(lets, owner)
			}
		}
		if strings.Join(lets, " ") != c.lets {
			t.Errorf("%+v is let in by %q, want %q", c.who, lets, c.lets)
		}
	}
	if _, more := l.With(acl.Who{User: "bob"}, 2); !more {
		t.Error("the answer is cut, and it does not say so")
	}
	set(t, l, "ann")
	if got := sees(l, acl.Who{User: "bob"}); !slices.Equal(got, []string{"carl:Jobs"}) {
		t.Errorf("after all was taken back: %q", got)
	}
	set(t, l, "carl")
	if o, b := l.Size(); o+b != 0 || l.total != 0 || len(l.byID) != 0 {
		t.Errorf("left: %d owners, %d mailboxes, %d octets, %v", o, b, l.total, l.byID)
	}
}

func TestChange(t *testing.T) {
	l := NewList()
	for i, c := range []struct {
		boxes []redeemmsg.Published
		want  string
	}{
		{nil, "false [] false"},
		{[]redeemmsg.Published{pub("A", "user=bob lr"), pub("B", "user=carl lr", "owner lr")}, "true [bob carl] false"},
		{[]redeemmsg.Published{pub("B", "user=carl lr", "owner lr"), pub("A", "user=bob lr")}, "false [] false"},
		{[]redeemmsg.Published{pub("A", "user=bob l"), pub("B", "user=carl lr", "owner lr")}, "true [bob] false"},
		{[]redeemmsg.Published{pub("A", "user=bob l"), pub("C", "-group=x l", "user=dora l")}, "true [] true"},
		{[]redeemmsg.Published{pub("C", "-group=x l", "user=dora l")}, "true [bob] false"},
		{nil, "true [] true"},
	} {
		got := set(t, l, "ann", c.boxes...)
		if s := fmt.Sprintf("%t %v %t", got.Changed, got.Users, got.All); s != c.want {
			t.Errorf("step %d: %s, want %s", i, s, c.want)
		}
	}
	var many []redeemmsg.Published
	for i := range redeemmsg.MaxAffected + 1 {
		many = append(many, pub(fmt.Sprint(i), fmt.Sprintf("user=u%d l", i)))
	}
	if c := set(t, l, "ann", many...); !c.All || c.Users != nil {
		t.Errorf("%d users are named one by one", len(c.Users))
	}
}

func TestRefusals(t *testing.T) {
	l := NewList()
	set(t, l, "ann", pub("A", "user=bob lr"))
	long := strings.Repeat("n", redeemmsg.MaxMailbox+1)
	for _, c := range []struct {
		owner string
		boxes []redeemmsg.Published
		kind  errkind.Kind
	}{
		{"", nil, errkind.Invalid},
		{"ann", []redeemmsg.Published{pub("", "user=x l")}, errkind.Invalid},
		{"ann", []redeemmsg.Published{pub("A\nB", "user=x l")}, errkind.Invalid},
		{"ann", []redeemmsg.Published{pub("A\xff", "user=x l")}, errkind.Invalid},
		{"ann", []redeemmsg.Published{pub(long, "user=x l")}, errkind.Invalid},
		{"ann", []redeemmsg.Published{pub("A")}, errkind.Invalid},
		{"ann", []redeemmsg.Published{pub("A", "# a comment")}, errkind.Invalid},
		{"ann", []redeemmsg.Published{pub("A", "user=x l", "-nonsense lr")}, errkind.Invalid},
		{"ann", []redeemmsg.Published{pub("A", "user=x l\nuser=y l")}, errkind.Invalid},
		{"ann", []redeemmsg.Published{pub("A", "user=x l"), pub("A", "user=y l")}, errkind.Invalid},
		{"ann", make([]redeemmsg.Published, redeemmsg.MaxOwnerBoxes+1), errkind.Limit},
		{"ann", []redeemmsg.Published{pub("A", slices.Repeat([]string{"user=" + strings.Repeat("x", 1000) + " l"}, 1100)...)}, errkind.Limit},
	} {
		if _, err := l.Set(c.owner, c.boxes); !errkind.Is(err, c.kind) {
			t.Errorf("%.60q: %v, want %v", c.boxes, err, c.kind)
		}
	}
	if got := sees(l, acl.Who{User: "bob"}); !slices.Equal(got, []string{"ann:A"}) {
		t.Errorf("what was refused has changed something: %q", got)
	}
	l.limit = l.total + 10
	if _, err := l.Set("carl", []redeemmsg.Published{pub("A", "user=bob lr")}); !errkind.Is(err, errkind.Limit) {
		t.Errorf("beyond the bound of all: %v", err)
	}
	set(t, l, "ann", pub("B", "user=bob l")) // what takes less is always taken
}

func TestParts(t *testing.T) {
	p, now := NewParts(), time.Unix(1e9, 0)
	add := func(source uint64, first, last bool, names ...string) string {
		m := &redeemmsg.Publish{Owner: "ann", Source: source, First: first, Last: last}
		for _, n := range names {
			m.Boxes = append(m.Boxes, pub(n))
		}
		boxes, whole, err := p.Add(m, now)
		out := fmt.Sprint(whole)
		for _, b := range boxes {
			out += " " + b.Name
		}
		if err != nil {
			out += " " + errkind.Of(err).String()
		}
		return out
	}
	for i, c := range []struct{ got, want string }{
		{add(1, true, true, "a"), "true a"},
		{add(1, false, true, "b"), "false invalid"},
		{add(1, true, false, "a"), "false"},
		{add(1, false, false, "b"), "false"},
		{add(2, false, true, "x"), "false invalid"}, // another process cannot end it
		{add(1, false, true, "c"), "true a b c"},
		{add(1, false, true, "c"), "false invalid"}, // nor can it be ended twice
		{add(1, true, false, "a"), "false"},
		{add(2, true, false, "x"), "false"}, // the later takes the place
		{add(1, false, true, "b"), "false invalid"},
		{add(2, false, true, "y"), "true x y"},
		{add(3, true, false, "a"), "false"},
		{add(3, true, true, "b"), "true b"}, // whole ones too
		{add(3, false, true, "c"), "false invalid"},
	} {
		if c.got != c.want {
			t.Errorf("step %d: %s, want %s", i, c.got, c.want)
		}
	}
	big := &redeemmsg.Publish{Owner: "ann", Source: 1, First: true, Boxes: []redeemmsg.Published{pub("a", slices.Repeat([]string{strings.Repeat("x", 1000)}, 700)...)}}
	if _, _, err := p.Add(big, now); err != nil {
		t.Fatal(err)
	}
	big.First = false
	if _, _, err := p.Add(big, now); !errkind.Is(err, errkind.Limit) {
		t.Errorf("more than one owner may have: %v", err)
	}
	for i := range maxOpen {
		if _, _, err := p.Add(&redeemmsg.Publish{Owner: fmt.Sprint(i), First: true}, now); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := p.Add(&redeemmsg.Publish{Owner: "late", First: true}, now); !errkind.Is(err, errkind.Limit) {
		t.Errorf("too many at once: %v", err)
	}
	if _, _, err := p.Add(&redeemmsg.Publish{Owner: "late", First: true}, now.Add(openLimit+1)); err != nil {
		t.Errorf("those that were never ended are still in the way: %v", err)
	}
	if p.total != 0 || len(p.open) != 1 {
		t.Errorf("%d octets, %d open", p.total, len(p.open))
	}
}
