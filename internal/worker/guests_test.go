package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/ipc/workermsg"
)

// said collects what goes to master.
type said struct {
	mu       sync.Mutex
	messages []ipc.Message
	err      error
	onSend   func(ipc.Message)
}

func (s *said) send(m ipc.Message) error {
	s.mu.Lock()
	s.messages = append(s.messages, m)
	s.mu.Unlock()
	if s.onSend != nil {
		s.onSend(m)
	}
	return s.err
}

func TestReach(t *testing.T) {
	m := &said{}
	s := newSharing(m.send, func(string) {})
	ctx := context.Background()
	m.onSend = func(msg ipc.Message) { go s.reached(&workermsg.Reached{ID: msg.(*workermsg.Reach).ID}, 42) }
	if fd, err := s.reach(ctx, "ann"); fd != 42 || err != nil {
		t.Errorf("%d, %v", fd, err)
	}
	for _, kind := range []errkind.Kind{errkind.NotFound, errkind.Limit, errkind.Unavailable} {
		m.onSend = func(msg ipc.Message) {
			go s.reached(&workermsg.Reached{ID: msg.(*workermsg.Reach).ID, Kind: kind, Text: "why"}, -1)
		}
		if fd, err := s.reach(ctx, "ann"); fd != -1 || !errkind.Is(err, kind) || !strings.HasSuffix(err.Error(), "why") {
			t.Errorf("%d, %v", fd, err)
		}
	}
	m.onSend = nil
	m.messages = nil
	for _, owner := range []string{"", strings.Repeat("x", redeemmsg.MaxUser+1)} {
		if _, err := s.reach(ctx, owner); !errkind.Is(err, errkind.NotFound) || len(m.messages) > 0 {
			t.Errorf("%v, %v", err, m.messages)
		}
	}
	// Whoever has given up leaves no descriptor open.
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.reach(canceled, "ann"); !errkind.Is(err, errkind.Unavailable) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	a, b, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(b)
	s.reached(&workermsg.Reached{ID: s.next}, a)
	if _, err := unix.FcntlInt(uintptr(a), unix.F_GETFD, 0); err == nil {
		t.Error("a late descriptor stays open")
	}
	m.onSend = func(ipc.Message) { go s.end() }
	if _, err := s.reach(ctx, "ann"); !errkind.Is(err, errkind.Unavailable) {
		t.Error(err)
	}
	if _, err := s.shares(ctx); !errkind.Is(err, errkind.Unavailable) {
		t.Error(err)
	}
	if len(s.reaching)+len(s.asking) != 0 {
		t.Error("questions are left")
	}
}

func TestAskShares(t *testing.T) {
	m := &said{}
	s := newSharing(m.send, func(string) {})
	m.onSend = func(msg ipc.Message) {
		id := msg.(*workermsg.AskShares).ID
		go func() {
			s.part(&workermsg.Shares{ID: id + 1, Last: true}) // nobody's
			s.part(&workermsg.Shares{ID: id, Boxes: []workermsg.Shared{{Owner: "a", Name: "x"}}})
			s.part(&workermsg.Shares{ID: id, Boxes: []workermsg.Shared{{Owner: "b", Name: "y"}}, Last: true})
		}()
	}
	got, err := s.shares(context.Background())
	if err != nil || fmt.Sprint(got) != "[{a x} {b y}]" {
		t.Errorf("%v, %v", got, err)
	}
	m.onSend = func(msg ipc.Message) {
		go s.part(&workermsg.Shares{ID: msg.(*workermsg.AskShares).ID, Last: true, Text: "away"})
	}
	if _, err := s.shares(context.Background()); !errkind.Is(err, errkind.Unavailable) || !strings.HasSuffix(err.Error(), "away") {
		t.Error(err)
	}
}

// What is told fast is told some times at once, then a little later, and only the
// last of it; the end tells it at once.
func TestPublishPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &said{}
		s := newSharing(m.send, func(string) {})
		tell := func(i int) { s.publish([]workermsg.Published{{Name: fmt.Sprint(i), Entries: []string{"anyone l"}}}) }
		last := func() (int, string) {
			m.mu.Lock()
			defer m.mu.Unlock()
			return len(m.messages), m.messages[len(m.messages)-1].(*workermsg.Publish).Boxes[0].Name
		}
		want := func(what string, count int, name string) {
			t.Helper()
			if n, got := last(); n != count || got != name {
				t.Errorf("%s: %d messages, the last of %s; want %d and %s", what, n, got, count, name)
			}
		}
		for i := range 100 {
			tell(i)
		}
		want("at once", publishBurst, "31")
		time.Sleep(2 * publishEvery)
		synctest.Wait()
		want("a little later", publishBurst+1, "99")
		tell(100)
		tell(101)
		tell(102)
		n, _ := last()
		s.end()
		want("at the end", n+1, "102")
		tell(103)
		want("after the end", n+1, "102")
	})
}

func TestPublishParts(t *testing.T) {
	show := func(parts []*workermsg.Publish) (out []string) {
		for _, p := range parts {
			if _, err := workermsg.Protocol.Encode(p); err != nil {
				t.Error(err)
			}
			out = append(out, fmt.Sprintf("%t %t %d", p.First, p.Last, len(p.Boxes)))
		}
		return out
	}
	of := func(n, size int) (out []workermsg.Published) {
		for i := range n {
			out = append(out, workermsg.Published{Name: fmt.Sprintf("%05d", n-i), Entries: []string{strings.Repeat("x", size)}})
		}
		return out
	}
	for _, c := range []struct {
		n, size, left int
		want          []string
	}{
		{0, 0, 0, []string{"true true 0"}},
		{3, 10, 0, []string{"true true 3"}},
		{300, 1000, 0, []string{"true false 96", "false false 96", "false false 96", "false true 12"}},
		{1100, 1000, 69, nil},
		{redeemmsg.MaxOwnerBoxes + 5, 1, 5, nil},
	} {
		boxes := of(c.n, c.size)
		parts, left := publishParts(boxes)
		if got := show(parts); left != c.left || c.want != nil && !slices.Equal(got, c.want) {
			t.Errorf("%d of %d: %q, %d left", c.n, c.size, got, left)
		}
		if len(parts[0].Boxes) > 1 && parts[0].Boxes[0].Name > parts[0].Boxes[1].Name {
			t.Error("not in order")
		}
	}
}

func TestPublishable(t *testing.T) {
	long := "user=" + strings.Repeat("x", redeemmsg.MaxEntry)
	for _, c := range []struct{ file, want string }{
		{"", ""},
		{"owner lr\n", ""},
		{"user=bob\n", ""}, // nothing is given
		{"-user=bob lr\n", ""},
		{"# a comment\nuser=bob lr\nowner lrws\n-group=staff w :odd\n", "user=bob lr|owner lrws|-group=staff w :odd"},
		{"\"user=Jane Doe\" lr\n", "\"user=Jane Doe\" lr"},
		{"user=bob lr\n-what is this\n", ""}, // what it takes away is not known
		{long + " lr\nuser=bob lr\n", "user=bob lr"},
	} {
		list, err := acl.Parse([]byte(c.file))
		if err != nil {
			t.Fatal(err)
		}
		p, ok := Publishable("box", list)
		if got := strings.Join(p.Entries, "|"); got != c.want || ok != (c.want != "") || ok && p.Name != "box" {
			t.Errorf("%.60q: %q, %t", c.file, got, ok)
		}
	}
	list, _ := acl.Parse([]byte("user=bob lr\n"))
	if _, ok := Publishable(strings.Repeat("n", redeemmsg.MaxMailbox+1), list); ok {
		t.Error("a name that no message takes")
	}
}
