package workermsg

import (
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/ipctest"
	"rookery/internal/ipc/redeemmsg"
)

func samples() []ipc.Message {
	rec := redeemmsg.Record{User: "u", UID: 1, GID: 2, Home: "/h"}
	return []ipc.Message{&Root{Path: "/p", Chroot: true}, &User{Record: rec, PrivateUID: true}, &Session{ID: 1, Session: "s", Record: rec},
		&MayExit{}, &Kick{ID: 1, Text: "t"}, &Wake{}, &Shutdown{Within: time.Second}, &LogDebug{Filter: "f"}, &Ready{Spare: true},
		&Taken{ID: 1}, &Ended{ID: 1, In: 2, Out: 3}, &AskExit{}, &Changed{}, &Inbox{},
		&Reach{ID: 1, Owner: "o"}, &Reached{ID: 1, Kind: errkind.NotFound, Text: "t"}, &AskShares{ID: 1},
		&Shares{ID: 1, Boxes: []Shared{{Owner: "o", Name: "n"}}, Last: true, Text: "t"}, &SharesChanged{},
		&Publish{First: true, Last: true, Boxes: []Published{{Name: "n", Entries: []string{"user=bob lr"}}}},
		&Guest{ID: 1, User: "u", Groups: []string{"g"}}, &GuestEnded{ID: 1}}
}

func TestRoundTrip(t *testing.T) { ipctest.RoundTrip(t, Protocol, samples()...) }
func FuzzDecode(f *testing.F)    { ipctest.Fuzz(f, Protocol, samples()...) }
