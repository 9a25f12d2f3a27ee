package mailtool

import (
	"fmt"
	"slices"
	"testing"

	"rookery/internal/acl"
	"rookery/internal/ipc/toolmsg"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/memstore"
)

func TestShareVerbs(t *testing.T) {
	c := dial(t, newHome(t))
	c.must(toolmsg.Create, []string{"A/B", "A/C/D", "AB", "E"})
	lines := func(verb string, args []string, options ...string) (out []string) {
		for _, l := range c.must(verb, args, options...) {
			if id, ok := l["identifier"]; ok {
				out = append(out, fmt.Sprintf("%s %s %s", l["mailbox"], id, l["rights"]))
			} else {
				out = append(out, fmt.Sprintf("%s -%s", l["mailbox"], l["unshared"]))
			}
		}
		return out
	}
	same := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	same("nothing is shared", lines(toolmsg.Shares, nil))
	// A tree whose top is no mailbox itself.
	same("a tree", lines(toolmsg.Share, []string{"A/*"}, "with=bob", "with=$staff", "rights=dl"), "A/B bob lte", "A/B $staff lte", "A/C/D bob lte", "A/C/D $staff lte")
	same("one mailbox", lines(toolmsg.Share, []string{"inbox", "E", "E/*"}, "with=anyone", "rights=lr"), "INBOX anyone lr", "E anyone lr")
	same("more", lines(toolmsg.Share, []string{"A/B"}, "with=bob", "rights=+r"), "A/B bob lrte")
	same("less", lines(toolmsg.Share, []string{"A/B"}, "with=$staff", "with=nobody", "rights=-te"), "A/B $staff l")
	same("the owner", lines(toolmsg.Share, []string{"E"}, "with=owner", "rights=-x"), "E owner lrswipktea")
	same("shares", lines(toolmsg.Shares, nil), "A/B bob lrte", "A/B $staff l", "A/C/D bob lte", "A/C/D $staff lte", "E owner lrswipktea", "E anyone lr", "INBOX anyone lr")
	same("shares of some", lines(toolmsg.Shares, []string{"A/%"}), "A/B bob lrte", "A/B $staff l")
	// What is made below inherits.
	c.must(toolmsg.Create, []string{"A/B/New"})
	same("inherited", lines(toolmsg.Shares, []string{"A/B/New"}), "A/B/New bob lrte", "A/B/New $staff l")

	c.refused(64, "with whom", toolmsg.Share, []string{"E"}, "with=bob")
	c.refused(64, "with whom", toolmsg.Share, []string{"E"}, "rights=lr")
	c.refused(64, "the right q is not supported", toolmsg.Share, []string{"E"}, "with=bob", "rights=lq")
	c.refused(64, "the identifier is empty", toolmsg.Share, []string{"E"}, "with=$", "rights=l")
	c.refused(65, "has characters that no name has", toolmsg.Share, []string{"E"}, "with=a b", "rights=l")
	c.refused(66, "no mailbox F", toolmsg.Share, []string{"E", "F/*"}, "with=tim", "rights=l")
	c.refused(66, "no mailbox A", toolmsg.Share, []string{"A"}, "with=tim", "rights=l")
	c.refused(66, "nothing was shared", toolmsg.Unshare, []string{"E"}, "with=tim")
	same("nothing was done", lines(toolmsg.Shares, []string{"E"}), "E owner lrswipktea", "E anyone lr")

	same("unshare one", lines(toolmsg.Unshare, []string{"A/*", "INBOX"}, "with=bob"), "A/B -bob", "A/B/New -bob", "A/C/D -bob")
	same("unshare all", lines(toolmsg.Unshare, []string{"A/B", "E"}), "A/B -$staff", "E -anyone")
	same("what is left", lines(toolmsg.Shares, nil), "A/B/New $staff l", "A/C/D $staff lte", "E owner lrswipktea", "INBOX anyone lr")
}

// After each change of names and lists the list of shares is told all anew.
func TestPublish(t *testing.T) {
	h := newHome(t)
	c := dial(t, h)
	c.must(toolmsg.Create, []string{"A", "A/B", "C"})
	h.wantTold(t, "")
	c.must(toolmsg.Share, []string{"A/*"}, "with=bob", "rights=lr")
	h.wantTold(t, "A [user=bob lr]} {A/B [user=bob lr")
	c.must(toolmsg.Share, []string{"A"}, "with=-$staff", "rights=l")
	h.wantTold(t, "A [user=bob lr -group=staff l]} {A/B [user=bob lr")
	c.must(toolmsg.Share, []string{"C"}, "with=owner", "rights=-x")
	h.wantTold(t, "A [user=bob lr -group=staff l]} {A/B [user=bob lr") // it gives nobody else anything
	c.must(toolmsg.Rename, []string{"A/B", "D"})
	h.wantTold(t, "A [user=bob lr -group=staff l]} {D [user=bob lr")
	c.must(toolmsg.Create, []string{"D/New"})
	h.wantTold(t, "A [user=bob lr -group=staff l]} {D [user=bob lr]} {D/New [user=bob lr")
	c.must(toolmsg.Delete, []string{"D/New"})
	h.wantTold(t, "A [user=bob lr -group=staff l]} {D [user=bob lr")
	c.must(toolmsg.Shares, nil)
	c.refused(66, "nothing was shared", toolmsg.Unshare, []string{"C"}, "with=tim")
	h.wantTold(t)
	if got := fmt.Sprint(c.must(toolmsg.Publish, nil)); got != "[map[shared:2 user:ann]]" {
		t.Error(got)
	}
	h.wantTold(t, "A [user=bob lr -group=staff l]} {D [user=bob lr")
	c.must(toolmsg.Unshare, []string{"A", "D"})
	h.wantTold(t, "")
}

// dotted is a home whose names have dots between their levels.
type dotted struct{ *fakeHome }

func (d dotted) Open() (mailstore.Store, error) {
	s := memstore.New(memstore.Options{Separator: '.'})
	for _, n := range []string{"A", "A/B", "AB"} {
		if _, err := s.Create(n, 0); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func TestShareDotted(t *testing.T) {
	for _, tree := range []string{"A.*", "A/*"} {
		c := dialHome(t, dotted{newHome(t)})
		var got []string
		for _, l := range c.must(toolmsg.Share, []string{tree}, "with=bob", "rights=l") {
			got = append(got, l["mailbox"].(string))
		}
		if !slices.Equal(got, []string{"A", "A.B"}) {
			t.Errorf("%s: %q", tree, got)
		}
		c.refused(65, "separator", toolmsg.Share, []string{"A/B"}, "with=bob", "rights=l")
	}
}

// A conversion takes lists along.
func TestConvertedLists(t *testing.T) {
	h := newHome(t)
	s := h.current(t)
	for _, n := range []string{"A", "B"} {
		if _, err := s.Create(n, 0); err != nil {
			t.Fatal(err)
		}
	}
	list, err := acl.Parse([]byte("# why\nuser=bob lr\n"))
	if err == nil {
		err = s.EditACL("A", func(acl.List) (acl.List, error) { return list, nil })
	}
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, h)
	c.must(toolmsg.Convert, []string{"new"}, "phase=copy")
	c.must(toolmsg.Convert, []string{"new"}, "phase=finish")
	to := h.current(t)
	if to == s {
		t.Fatal("nothing was converted")
	}
	for name, want := range map[mailstore.Name]string{"A": "# why\nuser=bob lr\n", "B": "", "INBOX": ""} {
		if got, err := to.ACL(name); err != nil || string(got.Format()) != want {
			t.Errorf("the list of %s is %q, %v", name, got.Format(), err)
		}
	}
}
