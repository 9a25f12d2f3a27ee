package ticket

import (
	"errors"
	"testing"
	"time"

	"rookery/internal/ipc/redeemmsg"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestRedeem(t *testing.T) {
	claims := Claims{Channel: 7, Kind: "login", Service: "imap", Session: "s1", Record: redeemmsg.Record{User: "ann"}}
	for _, c := range []struct {
		name             string
		after            time.Duration
		channel          uint64
		service, session string
		want             error
	}{
		{"good", 29 * time.Second, 7, "imap", "s1", nil},
		{"late", 30 * time.Second, 7, "imap", "s1", ErrExpired},
		{"another channel", 0, 8, "imap", "s1", ErrChannel},
		{"another service", 0, 7, "pop3", "s1", ErrService},
		{"another session", 0, 7, "imap", "s2", ErrSession},
	} {
		table := NewTable()
		id, err := table.Issue(start, 30*time.Second, claims)
		if err != nil {
			t.Fatal(err)
		}
		got, err := table.Redeem(start.Add(c.after), id, c.channel, c.service, c.session)
		if !errors.Is(err, c.want) || (err == nil && got.Record.User != "ann") {
			t.Errorf("%s: %+v, %v; want %v", c.name, got, err, c.want)
		}
		// Once only, and a wrong showing spends it too.
		if _, err := table.Redeem(start, id, 7, "imap", "s1"); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: a second time: %v", c.name, err)
		}
		if len(table.entries) != 0 || len(table.ofChannel) != 0 {
			t.Errorf("%s: left over", c.name)
		}
	}
	if _, err := NewTable().Redeem(start, [16]byte{}, 7, "imap", "s1"); !errors.Is(err, ErrUnknown) {
		t.Errorf("made up: %v", err)
	}
}

func TestTicketsDiffer(t *testing.T) {
	table, seen := NewTable(), map[[16]byte]bool{}
	for range 1000 {
		id, err := table.Issue(start, time.Second, Claims{})
		if err != nil || seen[id] || id == [16]byte{} {
			t.Fatal(id, err)
		}
		seen[id] = true
	}
}

func TestBounds(t *testing.T) {
	table := NewTable()
	for i := range MaxOutstanding {
		if _, err := table.Issue(start, time.Second, Claims{Channel: uint64(i / MaxOfChannel)}); err != nil {
			t.Fatal(i, err)
		}
	}
	if _, err := table.Issue(start, time.Second, Claims{Channel: 99}); !errors.Is(err, ErrFull) {
		t.Errorf("over the limit: %v", err)
	}
	if _, err := table.Issue(start.Add(remembered+2*time.Second), time.Second, Claims{Channel: 1}); err != nil {
		t.Errorf("after all have expired: %v", err)
	}
	if len(table.entries) != 1 {
		t.Errorf("%d are kept", len(table.entries))
	}
	one := NewTable()
	for range MaxOfChannel {
		one.Issue(start, time.Second, Claims{Channel: 1})
	}
	if _, err := one.Issue(start, time.Second, Claims{Channel: 1}); !errors.Is(err, ErrFull) {
		t.Errorf("one channel over its limit: %v", err)
	}
	if _, err := one.Issue(start, time.Second, Claims{Channel: 2}); err != nil {
		t.Errorf("another channel: %v", err)
	}
}
