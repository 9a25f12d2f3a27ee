package harness

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Process is a row of `rookeryctl status`.
type Process struct {
	Role string
	PID  int
	User string
}

// Status is what a test reads of `rookeryctl status --json`.
type Status struct {
	PID        int
	Build      string
	Generation uint64
	State      string
	Login      struct {
		Processes, Draining, Generations int
		Unauthenticated                  uint64
		Relayed                          uint64 `json:"relayed_tls_sessions"`
		Dropped                          uint64 `json:"dropped_strangers"`
	}
	Limits    map[string]int64
	Counters  map[string]uint64
	Processes []Process
}

// TryStatus asks the server how it is.
func (d *Demo) TryStatus() (*Status, error) {
	out, err := d.Ctl("status", "--json")
	if err != nil {
		return nil, &ctlError{out, err}
	}
	s := new(Status)
	return s, json.Unmarshal([]byte(out), s)
}

type ctlError struct {
	out string
	err error
}

func (e *ctlError) Error() string { return e.err.Error() + ": " + e.out }

// Status is TryStatus that must succeed.
func (d *Demo) Status() *Status {
	d.t.Helper()
	s, err := d.TryStatus()
	if err != nil {
		d.t.Fatalf("rookeryctl status: %v", err)
	}
	return s
}

// Of gives the processes of a role: "login", "authd", "logd", "imapworker", "pop3worker".
func (s *Status) Of(role string) []Process {
	var out []Process
	for _, p := range s.Processes {
		if p.Role == role {
			out = append(out, p)
		}
	}
	return out
}

// RSS is a process's resident memory in bytes, 0 if it is gone.
func RSS(pid int) int64 { return memory(pid, "VmRSS:") }

// PeakRSS is the most that it ever was.
func PeakRSS(pid int) int64 { return memory(pid, "VmHWM:") }

func memory(pid int, name string) int64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// Owner is the uid and gid of a user's files.
func (d *Demo) Owner(user int) (uid, gid int) {
	d.t.Helper()
	st, err := os.Stat(filepath.Dir(d.Maildir(user)))
	if err != nil {
		d.t.Fatal(err)
	}
	sys := st.Sys().(*syscall.Stat_t)
	return int(sys.Uid), int(sys.Gid)
}

// Deliver puts a message into the INBOX as a deliverer does: written in tmp/,
// renamed into new/. The folders must be there, and text has LF line ends.
func (d *Demo) Deliver(user int, name, text string) error {
	uid, gid := d.Owner(user)
	tmp := filepath.Join(d.Maildir(user), "tmp", name)
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return err
	}
	if err := os.Lchown(tmp, uid, gid); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(d.Maildir(user), "new", name))
}

// NoCrash looks for traces of programs that crashed.
func (d *Demo) NoCrash(t testing.TB) {
	t.Helper()
	log := d.Log()
	for _, bad := range []string{"stderr: panic", "stderr: fatal error", "goroutine ", "BUG:", "SIGSYS", "bad system call"} {
		for line := range strings.Lines(log) {
			if strings.Contains(line, bad) {
				t.Errorf("the log has %q", strings.TrimSpace(line))
				break
			}
		}
	}
}
