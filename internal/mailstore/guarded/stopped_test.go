package guarded_test

import (
	"errors"
	"testing"

	"rookery/internal/acl"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/guarded"
	"rookery/internal/numset"
)

// A COPY or MOVE that strips flags, and one that does not, can be broken off at each
// message: nothing has happened then.
func TestTransferStops(t *testing.T) {
	stop := errors.New("stop")
	for rights, want := range map[string]string{"user=bob lrite": "strips", "user=bob lrswite": "as it is"} {
		store := prepared(t, rights)
		s, _ := guarded.Wrap(store, guarded.Options{Who: acl.Who{User: "bob"}, Owner: "ann"})
		mb, err := s.Open("Box")
		must(t, err)
		before := flagsIn(t, store, "Box")
		for _, move := range []bool{false, true} {
			for at := 1; ; at++ {
				asked := 0
				_, err := mailstore.Transfer{UIDs: numset.Span(1, 1<<32-1), To: "Box", Move: move, Stop: func() error {
					if asked++; asked == at {
						return stop
					}
					return nil
				}}.Of(mb)
				if err == nil {
					if at < 3 {
						t.Errorf("%s: of two messages it asks %d times", want, asked)
					}
					break
				}
				if !errors.Is(err, mailstore.ErrStopped) || !errors.Is(err, stop) {
					t.Errorf("%s: broken off it is %v", want, err)
				}
				if got := flagsIn(t, store, "Box"); got != before {
					t.Errorf("%s: broken off it leaves %q, before there was %q", want, got, before)
				}
			}
			before = flagsIn(t, store, "Box")
		}
		must(t, mb.Close())
	}
}

// Who may not copy is told that, also where it could be broken off.
func TestTransferNeedsRights(t *testing.T) {
	store := prepared(t, "user=bob lr")
	s, _ := guarded.Wrap(store, guarded.Options{Who: acl.Who{User: "bob"}, Owner: "ann"})
	mb, err := s.Open("Box")
	must(t, err)
	defer mb.Close()
	for _, move := range []bool{false, true} {
		asked := 0
		_, err := mailstore.Transfer{UIDs: numset.Of(1), To: "Box", Move: move, Stop: func() error { asked++; return nil }}.Of(mb)
		if err == nil || asked > 0 {
			t.Errorf("%v after %d questions", err, asked)
		}
	}
}
