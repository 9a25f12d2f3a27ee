package envelopemsg

import (
	"net/netip"
	"testing"

	"rookery/internal/ipc"
	"rookery/internal/ipc/ipctest"
)

func samples() []ipc.Message {
	return []ipc.Message{&Accept{}, &Go{Kind: StreamRelay, Session: "s", Tag: "a1", Command: "LOGIN", Pending: []byte("a2 NOOP\r\n"),
		Remote: netip.MustParseAddrPort("192.0.2.7:4711"), Local: netip.MustParseAddrPort("[::1]:143"), TLS: true, UTF8: true, Lang: "de",
		Client: []string{"name=x", "version=1"}, Unauthenticate: true}}
}

func TestRoundTrip(t *testing.T) { ipctest.RoundTrip(t, Protocol, samples()...) }
func FuzzDecode(f *testing.F)    { ipctest.Fuzz(f, Protocol, samples()...) }
