package view

import (
	"fmt"
	"strings"
	"testing"

	"rookery/internal/errkind"
	"rookery/internal/imapwire"
	"rookery/internal/numset"
)

func TestSaved(t *testing.T) {
	_, box := mailbox(t, 6)
	if _, err := box.Expunge(numset.Of(2)); err != nil {
		t.Fatal(err)
	}
	v := open(t, box) // UIDs 1, 3, 4, 5, 6
	check := func(set string, seqs, uids string) {
		t.Helper()
		expr, err := numset.Parse([]byte(set), 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, byUID := range []bool{false, true} {
			s, err := v.Seqs(expr, byUID)
			u, err2 := v.Resolve(expr, byUID)
			if set == "$" && (err != nil || err2 != nil || s.String() != seqs || u.String() != uids) {
				t.Errorf("%s, by UIDs %t: %s and %s, %v, %v; want %s and %s", set, byUID, s, u, err, err2, seqs, uids)
			}
			if set != "$" && !byUID && (err != nil || err2 != nil || s.String() != seqs || u.String() != uids) {
				t.Errorf("%s: %s and %s, %v, %v; want %s and %s", set, s, u, err, err2, seqs, uids)
			}
		}
	}
	check("$", "", "")
	v.Save(numset.Of(3, 5, 6))
	check("$", "2,4:5", "3,5:6")
	check("1,$", "1:2,4:5", "1,3,5:6")
	// What is gone is named until its expunge is told.
	if _, err := box.Expunge(numset.Of(1, 5)); err != nil {
		t.Fatal(err)
	}
	announce(t, v, May{})
	check("$", "2,4:5", "3,5:6")
	announce(t, v, May{Expunge: true})
	check("$", "1,3", "3,6")
	if got := v.Saved().String(); got != "3,6" {
		t.Errorf("saved: %s", got)
	}
	if _, err := v.Seqs(numset.Expr{{First: 4, Last: 4}, numset.Saved()[0]}, false); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("4,$ of 3 messages: %v", err)
	}
	if _, err := box.Expunge(numset.Of(3, 4, 6)); err != nil {
		t.Fatal(err)
	}
	announce(t, v, May{Expunge: true})
	check("$", "", "")
	if _, err := v.Seqs(numset.Expr{{First: numset.Star, Last: numset.Star}, numset.Saved()[0]}, false); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("*,$ of no message: %v", err)
	}
}

// livePlain writes what it is told.
type livePlain struct {
	tag    string
	sorted bool
}

func (l livePlain) Tag() string  { return l.tag }
func (l livePlain) Sorted() bool { return l.sorted }
func (l livePlain) Leave(ctx *Context, gone numset.Set) {
	ctx.Enc.Untagged().Atom(l.tag).SP().Set(gone).CRLF()
}
func (l livePlain) Follow(ctx *Context) error {
	ctx.Enc.Untagged().Atom(l.tag).SP().Num(ctx.View.Len()).CRLF()
	return nil
}

func TestAnnounceLive(t *testing.T) {
	s, box := mailbox(t, 4)
	v := open(t, box)
	tell := func(may May) string {
		t.Helper()
		if err := v.Sync(); err != nil {
			t.Fatal(err)
		}
		var e imapwire.Encoder
		if err := v.AnnounceLive(&Context{View: v, Enc: &e}, may); err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(e.Bytes()), "\r\n", "; ")
	}
	v.AddLive(livePlain{"a", false})
	v.AddLive(livePlain{"b", true})
	if !v.IsLive("a") || v.IsLive("c") {
		t.Error("which tags are live is not known")
	}
	if _, err := box.Expunge(numset.Of(2)); err != nil {
		t.Fatal(err)
	}
	deliver(t, s, 1)
	if got, want := tell(May{}), "* a 2; * b 2; * a 4; * b 4; "; got != want {
		t.Errorf("before the expunge may be told: %s", got)
	}
	if got, want := tell(May{Expunge: true, Exists: true}), "* a 2; * b 2; * 2 EXPUNGE; * 4 EXISTS; * 4 RECENT; * a 4; * b 4; "; got != want {
		t.Errorf("all may be told: %s", got)
	}
	v.DropLive("a")
	if got, want := tell(May{}), "* b 4; "; got != want {
		t.Errorf("one was dropped: %s", got)
	}
	for n := 1; v.MayLive(true); n++ {
		v.AddLive(livePlain{fmt.Sprint("s", n), true})
	}
	if len(v.live) != maxSorted || !v.MayLive(false) {
		t.Errorf("%d sorted ones", len(v.live))
	}
	for n := 1; v.MayLive(false); n++ {
		v.AddLive(livePlain{fmt.Sprint("p", n), false})
	}
	if len(v.live) != maxLive {
		t.Errorf("%d live ones", len(v.live))
	}
}
