package dotlockmsg

import (
	"testing"
	"time"

	"rookery/internal/ipc"
	"rookery/internal/ipc/ipctest"
)

func samples() []ipc.Message {
	return []ipc.Message{&Open{Create: true}, &Stat{}, &Lock{Own: true}, &Unlock{},
		&Answer{Errno: 17, Writable: true, Size: 5, Mode: 0o600, ModTime: time.Unix(1, 2).UTC(), ChangeTime: time.Unix(3, 4).UTC(), Inode: 6, Device: 7, Links: 1}}
}

func TestRoundTrip(t *testing.T) {
	ipctest.RoundTrip(t, Protocol, samples()...)
	ipctest.RoundTrip(t, Control, &File{Name: "user", Stale: time.Minute})
}

func FuzzDecode(f *testing.F) { ipctest.Fuzz(f, Protocol, samples()...) }
func FuzzFile(f *testing.F)   { ipctest.Fuzz(f, Control, &File{Name: "user", Stale: time.Minute}) }
