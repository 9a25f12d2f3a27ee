package authmsg

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
	a, b := netip.MustParseAddrPort("192.0.2.7:4711"), netip.MustParseAddrPort("[2001:db8::1]:993")
	return []ipc.Message{
		&Begin{ID: 1, Peer: Peer{Service: "imap", Session: "s1", Remote: a, Local: b, RealRemote: b, RealLocal: a, TLS: true,
			TLSVersion: "TLSv1.3", TLSCipher: "c", TLSServerName: "n", Secured: true},
			Mech: "PLAIN", HasInitial: true, Initial: secret.FromString("\x00u\x00p")},
		&Continue{ID: 2, Response: secret.FromString("r")}, &Cancel{ID: 3},
		&Sign{ID: 4, SPKI: [32]byte{1, 2}, Scheme: 0x0804, Content: []byte("c")},
		&Welcome{Mechanisms: []Mechanism{{"PLAIN", true, false}, {"APOP", false, true}}, APOPPrefix: "a1"},
		&Challenge{ID: 5, Data: []byte("d")}, &Granted{ID: 6, User: "u", Master: "m", Ticket: [16]byte{9}},
		&Refused{ID: 7, Kind: errkind.AuthFailed, User: "u", Text: "t", Delayed: time.Second},
		&Signed{ID: 8, Signature: []byte("s")},
	}
}

func TestRoundTrip(t *testing.T) { ipctest.RoundTrip(t, Protocol, samples()...) }
func FuzzDecode(f *testing.F)    { ipctest.Fuzz(f, Protocol, samples()...) }
