package notify

import (
	"net"
	"path/filepath"
	"testing"
	"time"
)

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	env := map[string]string{"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "20000000"}
	m, err := New(func(k string) string { return env[k] })
	if err != nil {
		t.Fatal(err)
	}
	m.Ready("10 listeners")
	m.Reloading(3 * time.Second)
	m.Alive()
	m.Stopping()
	for _, want := range []string{"READY=1\nSTATUS=10 listeners", "RELOADING=1\nMONOTONIC_USEC=3000000", "WATCHDOG=1", "STOPPING=1"} {
		buf := make([]byte, 256)
		l.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, err := l.Read(buf)
		if err != nil || string(buf[:n]) != want {
			t.Errorf("%q %v, want %q", buf[:n], err, want)
		}
	}
	if m.Watchdog != 10*time.Second {
		t.Error(m.Watchdog)
	}
	env["WATCHDOG_PID"] = "1"
	if m, _ := New(func(k string) string { return env[k] }); m.Watchdog != 0 {
		t.Error("another process's watchdog was taken")
	}
	none, err := New(func(string) string { return "" })
	if err != nil || none.Watchdog != 0 {
		t.Error(err, none.Watchdog)
	}
	none.Ready("nobody listens")
	if Monotonic() <= 0 {
		t.Error("no monotonic clock")
	}
}
