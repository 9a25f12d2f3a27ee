package session

import (
	"strings"
	"testing"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// A COPY or MOVE ends in the middle when the session was told to end: with BYE, without
// an answer of its own, and with every message where it was (RFC 9051 §6.4.7, RFC 6851
// §3.3).
func TestKickInCopy(t *testing.T) {
	for _, driver := range []string{"memory", "maildir", "mbox", "pack"} {
		for _, command := range []string{"COPY", "UID COPY", "MOVE", "UID MOVE"} {
			p := openPeer(t, []string{"driver " + driver, "as-memory", "mailbox INBOX 60", "mailbox x 0"}).(*peer)
			asked := 0
			p.kicked = func() string {
				if asked++; asked > 50 {
					return "Server shutting down."
				}
				return ""
			}
			p.Send(1, []byte("s SELECT INBOX\r\n"))
			p.Take(1)
			p.Send(1, []byte("a "+command+" 1:* x\r\nb NOOP\r\n"))
			if got := string(p.Take(1)); got != "* BYE Server shutting down.\r\n" {
				t.Errorf("%s: %s: %q", driver, command, got)
			}
			if end, why := p.Session(1).Ended(); end != Killed || why != "Disconnected: Server shutting down." {
				t.Errorf("%s: %s: ended %v, %q", driver, command, end, why)
			}
			for name, want := range map[string]uint32{"INBOX": 60, "x": 0} {
				if st, err := p.store.Status(name, mailstore.StatusWant{}); err != nil || st.Messages != want {
					t.Errorf("%s: %s: %s has %d messages, %v, want %d", driver, command, name, st.Messages, err, want)
				}
			}
			p.Close()
		}
	}
}

// inSteps is a store that moves two messages and then finds that it must not go on.
type inSteps struct {
	mailstore.Store
	err error // nil: that of who is to be asked
}

type stepBox struct {
	mailstore.Mailbox
	of *inSteps
}

func (s *inSteps) Open(name mailstore.Name) (mailstore.Mailbox, error) {
	box, err := s.Store.Open(name)
	return stepBox{box, s}, err
}

func (b stepBox) Transfer(t mailstore.Transfer) (mailstore.CopyResult, error) {
	goOn := t.GoOn
	t.UIDs, t.Stop = t.UIDs.Intersect(numset.Of(1, 2)), nil
	res, err := t.Of(b.Mailbox)
	if err == nil {
		err = b.of.err
	}
	if err == nil {
		err = goOn()
	}
	return res, errkind.Wrap(t.Name(), err)
}

// Of a MOVE that ends between two steps the client is told what was moved: COPYUID first,
// then the EXPUNGEs (RFC 6851 §4.3), whether a BYE follows or a NO.
func TestPartOfAMove(t *testing.T) {
	for _, test := range []struct {
		command string
		err     error
		want    string
	}{
		{"MOVE 1:4 x", nil, "* OK [COPYUID 1002 1:2 1:2] Moved UIDs.\r\n* 1 EXPUNGE\r\n* 1 EXPUNGE\r\n* 3 RECENT\r\n* BYE Enough.\r\n"},
		{"UID MOVE 1:4 x", nil, "* OK [COPYUID 1002 1:2 1:2] Moved UIDs.\r\n* 1 EXPUNGE\r\n* 1 EXPUNGE\r\n* 3 RECENT\r\n* BYE Enough.\r\n"},
		{"MOVE 1:4 x", errkind.New("move", errkind.OverQuota, nil), "* OK [COPYUID 1002 1:2 1:2] Moved UIDs.\r\n* 1 EXPUNGE\r\n* 1 EXPUNGE\r\n* 3 RECENT\r\na NO [OVERQUOTA] "},
	} {
		p := openPeer(t, []string{"mailbox INBOX 5", "mailbox x 0"}).(*peer)
		p.store = &inSteps{p.store, test.err}
		if test.err == nil {
			p.kicked = func() string { return "Enough." }
		}
		p.Send(1, []byte("s SELECT INBOX\r\n"))
		p.Take(1)
		p.Send(1, []byte("a "+test.command+"\r\n"))
		if got := string(p.Take(1)); !strings.HasPrefix(got, test.want) || test.err == nil && got != test.want {
			t.Errorf("%s: got %q, want %q", test.command, got, test.want)
		}
		if n := p.Session(1).Counts().Expunged; n != 2 {
			t.Errorf("%s: %d messages counted as expunged", test.command, n)
		}
		p.Close()
	}
}
