// Package demo makes a whole server in one folder, with users and mail, and
// runs it: what `rookeryctl demo` does.
//
// Only rookeryctl uses it. It writes below one folder of its own (and, where
// the server's uids could not reach that, below /var/tmp), listens on loopback
// only, and makes no system user.
package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"rookery/rookeryctl/internal/control"
)

// Options are the flags; Set has the names of those that were given.
type Options struct {
	Dir        string // "" for ./demo
	BasePort   int
	Users      int
	Driver     string
	Empty      bool
	NoExempt   bool // --no-localhost-exemption
	WriteOnly  bool // for tests that change the configuration before the start
	Set        map[string]bool
	ProgramDir string // where rookery and its programs are
}

// marker is DIR/demo.json: what DIR was made with, so that it can be used
// again and a contradiction is seen.
type marker struct {
	Dir      string `json:"dir"`
	BasePort int    `json:"base_port"`
	Users    int    `json:"users"`
	Driver   string `json:"driver"`
	Empty    bool   `json:"empty"`
	NoExempt bool   `json:"no_localhost_exemption"`
	UIDs     uids   `json:"uids"`
}

const markerName = "demo.json"

// Check refuses options that cannot be.
func (o *Options) Check() error {
	switch o.Driver {
	case "maildir", "mbox", "pack":
	default:
		return control.Errorf(control.ExitUsage, "--driver %q is not known; write maildir, mbox or pack", o.Driver)
	}
	if o.Users < 1 || o.Users > 1000 {
		return control.Errorf(control.ExitUsage, "--users %d is out of range; write 1 to 1000", o.Users)
	}
	if o.BasePort < 1 || o.BasePort > 65535-4190 {
		return control.Errorf(control.ExitUsage, "--base-port %d is out of range; write 1 to %d", o.BasePort, 65535-4190)
	}
	return nil
}

// readMarker looks at a folder that may be there from an earlier demo. nil and
// no error: there is none, or an empty one.
func readMarker(dir string) (*marker, error) {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, control.Errorf(control.ExitNoPerm, "%s: %v", dir, err)
	}
	if !info.IsDir() {
		return nil, control.Errorf(control.ExitCantCreate, "%s is no folder; name another with --dir", dir)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return nil, control.Errorf(control.ExitNoPerm, "%s belongs to uid %d, not to you (uid %d); name another folder with --dir", dir, st.Uid, os.Geteuid())
	}
	b, err := os.ReadFile(filepath.Join(dir, markerName))
	if errors.Is(err, fs.ErrNotExist) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, control.Errorf(control.ExitNoPerm, "%s: %v", dir, err)
		}
		if len(entries) > 0 {
			return nil, control.Errorf(control.ExitCantCreate, "%s is not empty and is no demo's folder (it has no %s); name another with --dir", dir, markerName)
		}
		return nil, nil
	}
	if err != nil {
		return nil, control.Errorf(control.ExitNoPerm, "%v", err)
	}
	m := new(marker)
	if err := json.Unmarshal(b, m); err != nil {
		return nil, control.Errorf(control.ExitCantCreate, "%s cannot be read (%v); remove %s to begin anew", filepath.Join(dir, markerName), err, dir)
	}
	return m, nil
}

// reuse takes what is not said on the command line from an earlier demo's
// folder, and stops where the two contradict each other.
func (o *Options) reuse(m *marker, dir string) error {
	if m.Dir != dir {
		return control.Errorf(control.ExitUsage, "%s was made as %s, and its files name that path; move it back, or remove it to begin anew", dir, m.Dir)
	}
	root := os.Geteuid() == 0
	if root != m.UIDs.Separate {
		return control.Errorf(control.ExitUsage, "%s was made by another kind of user (root or not); name another folder with --dir", dir)
	}
	for _, f := range []struct {
		name     string
		was, now any
	}{
		{"base-port", m.BasePort, o.BasePort}, {"users", m.Users, o.Users}, {"driver", m.Driver, o.Driver},
		{"empty", m.Empty, o.Empty}, {"no-localhost-exemption", m.NoExempt, o.NoExempt},
	} {
		if o.Set[f.name] && f.was != f.now {
			return control.Errorf(control.ExitUsage, "--%s %v contradicts %s, which was made with %v; leave the flag away, name another folder with --dir, or remove that one",
				f.name, f.now, dir, f.was)
		}
	}
	o.BasePort, o.Users, o.Driver, o.Empty, o.NoExempt = m.BasePort, m.Users, m.Driver, m.Empty, m.NoExempt
	return nil
}

func writeMarker(dir string, m marker) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, markerName), append(b, '\n'), 0o644)
}
