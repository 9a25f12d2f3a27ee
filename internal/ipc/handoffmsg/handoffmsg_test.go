package handoffmsg

import (
	"net/netip"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/ipctest"
)

func samples() []ipc.Message {
	return []ipc.Message{
		&Request{ID: 1, Ticket: [16]byte{1}, Service: "imap", Session: "s"},
		&Load{Unauthenticated: 1, Relayed: 2, Dropped: 3},
		&Accepted{Remote: netip.MustParseAddrPort("192.0.2.7:4711")},
		&Welcome{Credits: 64, Processes: 2, HostName: "h"},
		&Done{ID: 1, Failed: true, Kind: errkind.Limit, Text: "t", PID: 4711},
		&Certificate{Name: "n", Names: []string{"a", "b"}, SPKI: [32]byte{3}, KeyType: 2, Chain: [][]byte{{1}, {2, 3}}},
		&CertificatesEnd{Count: 1}, &TicketKeys{Keys: [][TicketKey]byte{{1}, {2}}}, &Drain{},
		&Shutdown{Within: time.Second}, &LogDebug{Filter: "user=u"}, &Ready{}, &Auth{}, &TooMany{},
	}
}

func TestRoundTrip(t *testing.T) { ipctest.RoundTrip(t, Protocol, samples()...) }
func FuzzDecode(f *testing.F)    { ipctest.Fuzz(f, Protocol, samples()...) }

func TestChainIsBounded(t *testing.T) {
	for _, c := range []struct {
		chain [][]byte
		ok    bool
	}{
		{nil, true},
		{make([][]byte, ipc.MaxChain), true},
		{make([][]byte, ipc.MaxChain+1), false},
		{[][]byte{make([]byte, ipc.MaxCertificate)}, true},
		{[][]byte{make([]byte, ipc.MaxCertificate+1)}, false},
	} {
		b, err := Protocol.Encode(&Certificate{Chain: c.chain})
		if (err == nil) != c.ok {
			t.Errorf("%d certificates: %v", len(c.chain), err)
		}
		if err != nil {
			continue
		}
		m, _, err := Protocol.Decode(b, ipc.FromServer)
		if got := m.(*Certificate).Chain; err != nil || len(got) != len(c.chain) {
			t.Errorf("%d certificates come as %d: %v", len(c.chain), len(got), err)
		}
	}
}
