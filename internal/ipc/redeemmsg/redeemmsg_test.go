package redeemmsg

import (
	"net/netip"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/ipctest"
	"rookery/internal/secret"
)

func samples() []ipc.Message {
	a := netip.MustParseAddrPort("192.0.2.7:4711")
	return []ipc.Message{
		&Attach{Channel: 1, Kind: "login"}, &File{Use: "key", Name: "n", Path: "/p", Pair: 2},
		&Redeem{ID: 1, Channel: 2, Ticket: [16]byte{1}, Service: "imap", Session: "s"}, &Lookup{ID: 3, User: "u", Service: "imap"},
		&Test{ID: 4, User: "u", Password: secret.FromString("p"), Service: "imap", Remote: a}, &Settings{Generation: 5}, &LogDebug{Filter: "f"},
		&Redeemed{ID: 1, Record: Record{User: "u", Master: "m", UID: 1, GID: 2, Groups: []string{"g"}, Home: "/h", Anonymous: true, Mech: "PLAIN",
			Remote: a, Local: a, TLS: true, Fields: []string{"mail_path=/x"}}},
		&Failed{ID: 1, Kind: errkind.NotFound, Text: "t"},
		&PairChecked{Pair: 1, Problem: "p", SPKI: [32]byte{1}, KeyType: 1, NotAfter: time.Unix(1, 0).UTC(), Subject: "s", Chain: [][]byte{{1}}},
		&PairDone{Pair: 1}, &SettingsDone{Generation: 1, Problem: "p"}, &Ready{},
		&Publish{Owner: "o", Source: 1, First: true, Last: true, Boxes: []Published{{Name: "n", Entries: []string{"user=bob lr", "anyone l"}}, {Name: "m"}}},
		&PublishSeen{Owner: "o", Changed: true, Users: []string{"bob"}, All: true, Problem: "p"}, &SharesOf{ID: 1, User: "u"},
		&Shares{ID: 1, Boxes: []Shared{{Owner: "o", Name: "n"}}, Last: true, Text: "t"}, &Visit{ID: 1, Guest: "g", Owner: "o"},
		&Visited{ID: 1, Owner: Record{User: "o", UID: 1, GID: 2}, Groups: []string{"g"}},
		&ListUsers{ID: 1}, &Users{ID: 1, Names: []string{"u"}, Unlisted: []string{"d"}, Last: true},
	}
}

func TestRoundTrip(t *testing.T) { ipctest.RoundTrip(t, Protocol, samples()...) }
func FuzzDecode(f *testing.F)    { ipctest.Fuzz(f, Protocol, samples()...) }
