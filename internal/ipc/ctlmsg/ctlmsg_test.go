package ctlmsg

import (
	"testing"

	"rookery/internal/ipc"
	"rookery/internal/ipc/ipctest"
	"rookery/internal/secret"
)

func samples() []ipc.Message {
	return []ipc.Message{&Request{Verb: Who, Args: []string{"u"}, Secret: secret.FromString("p")}, &Answer{Exit: 1, Text: "t", Body: []byte("{}"), More: true}}
}

func TestRoundTrip(t *testing.T) { ipctest.RoundTrip(t, Protocol, samples()...) }
func FuzzDecode(f *testing.F)    { ipctest.Fuzz(f, Protocol, samples()...) }
