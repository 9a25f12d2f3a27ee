package spaces_test

import (
	"errors"
	"fmt"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/spaces"
	"rookery/internal/numset"
)

// A COPY between stores that is broken off leaves nothing; a MOVE has done whole steps,
// tells which, and every message is in one place.
func TestAcrossStops(t *testing.T) {
	s := fresh(t)
	if _, err := s.Create("Old/x", 0); err != nil {
		t.Fatal(err)
	}
	var texts []string
	for i := range 450 {
		texts = append(texts, fmt.Sprintf("Subject: m\r\n\r\nm%d\r\n", i))
	}
	put(t, s, "INBOX", mailstore.AppendMeta{}, texts...)
	inbox := box(t, s, "INBOX")
	stop := errors.New("stop")
	there := box(t, s, "Old/x")
	for _, test := range []struct {
		move  bool
		at    int // stops when it asks for the n-th time; 0: when 200 messages have arrived
		here  int // messages of INBOX afterwards
		there int
	}{{false, 1, 450, 0}, {false, 450, 450, 0}, {true, 200, 450, 0}, {true, 0, 250, 200}, {true, 150, 250, 200}} {
		asked := 0
		res, err := mailstore.Transfer{UIDs: numset.Span(1, 1<<32-1), To: "Old/x", Move: test.move, Stop: func() error {
			if asked++; asked == test.at || test.at == 0 && there.Snapshot().Len() >= 200 {
				return stop
			}
			return nil
		}}.Of(inbox)
		if !errors.Is(err, mailstore.ErrStopped) || !errors.Is(err, stop) {
			t.Fatalf("%+v: %v", test, err)
		}
		here, err := inbox.Sync()
		if err != nil {
			t.Fatal(err)
		}
		now, err := there.Sync()
		if err != nil {
			t.Fatal(err)
		}
		if here.Len() != test.here || now.Len() != test.there {
			t.Errorf("%+v: %d messages here, %d there", test, here.Len(), now.Len())
		}
		if told := len(res.From); len(res.To) != told || told > 0 && (told != test.there || res.From[told-1] != 200 || res.To[told-1] != 200 || res.UIDValidity == 0) {
			t.Errorf("%+v: it tells of %d and %d, UIDVALIDITY %d", test, len(res.From), len(res.To), res.UIDValidity)
		}
		if test.at == 0 && len(res.From) == 0 {
			t.Errorf("%+v: it tells nothing", test)
		}
	}
}

// unread is a mailbox none of whose messages may be opened.
type unread struct {
	mailstore.Mailbox
	t *testing.T
}

func (u unread) Message(uid mailstore.UID) (mailstore.Message, error) {
	u.t.Errorf("message %d was opened", uid)
	return u.Mailbox.Message(uid)
}

// It is asked before each message is read.
func TestAcrossStopsAtOnce(t *testing.T) {
	s := fresh(t)
	if _, err := s.Create("Old/x", 0); err != nil {
		t.Fatal(err)
	}
	put(t, s, "INBOX", mailstore.AppendMeta{}, "Subject: a\r\n\r\na\r\n", "Subject: b\r\n\r\nb\r\n")
	for _, move := range []bool{false, true} {
		_, err := spaces.Across(unread{box(t, s, "INBOX"), t}, mailstore.Transfer{UIDs: numset.Span(1, 2), To: "Old/x", Move: move,
			Stop: func() error { return errors.New("stop") }}, s)
		if !errors.Is(err, mailstore.ErrStopped) {
			t.Errorf("move %v: %v", move, err)
		}
	}
}
