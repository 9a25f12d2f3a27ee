package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ProcState is what the system itself says about a running process.
type ProcState struct {
	PID         int               `json:"pid"`
	Comm        string            `json:"comm"`
	UIDs        [4]int            `json:"uids"` // real, effective, saved, file system
	GIDs        [4]int            `json:"gids"`
	Groups      []int             `json:"groups"`
	Caps        map[string]string `json:"capabilities"` // inh, prm, eff, bnd, amb: 64 bits in hex
	NoNewPrivs  bool              `json:"no_new_privs"`
	Seccomp     int               `json:"seccomp"`         // 0 none, 1 strict, 2 filter
	Filters     int               `json:"seccomp_filters"` // how many are stacked
	Threads     int               `json:"threads"`
	Unconfined  []int             `json:"unconfined_threads"` // that differ from the first in uids, capabilities or seccomp
	Namespaces  map[string]string `json:"namespaces"`         // name to "pid:[4026531836]"
	OwnNS       []string          `json:"own_namespaces"`     // those that differ from the reader's
	Root        string            `json:"root"`
	Dumpable    bool              `json:"dumpable"` // as seen from the owner of its files in /proc
	Descriptors []Descriptor      `json:"descriptors"`
	// Landlock is what can be seen of it: the kernel shows no domain in /proc,
	// so the word of the process's own report has to do.
	Landlock string `json:"landlock"`
}

// Descriptor is one open descriptor.
type Descriptor struct {
	FD     int    `json:"fd"`
	Target string `json:"target"`
}

// ReadProc reads one process from /proc. What the reader may not see stays
// empty; an error means that the process is not there.
func ReadProc(pid int) (ProcState, error) { return readProc("/proc", pid) }

func readProc(proc string, pid int) (ProcState, error) {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return ProcState{}, fmt.Errorf("sandbox: process %d: %w", pid, err)
	}
	p := ProcState{PID: pid, Caps: map[string]string{}, Namespaces: map[string]string{}, Landlock: "not shown by the kernel"}
	p.parseStatus(status)
	p.readThreads(dir, status)
	p.readNamespaces(proc, dir)
	p.Root, _ = os.Readlink(filepath.Join(dir, "root"))
	p.Dumpable = ownerIs(filepath.Join(dir, "fd"), p.UIDs[1])
	p.Descriptors, err = descriptors(filepath.Join(dir, "fd"))
	if errors.Is(err, fs.ErrPermission) {
		err = nil // another user's process, seen by someone who is not root
	}
	return p, err
}

// statusFields are the lines of /proc/PID/status that are read.
func (p *ProcState) parseStatus(status []byte) {
	for line := range bytes.Lines(status) {
		name, value, _ := strings.Cut(strings.TrimRight(string(line), "\n"), ":")
		value = strings.TrimSpace(value)
		switch name {
		case "Name":
			p.Comm = value
		case "Uid":
			copy(p.UIDs[:], numbers(value))
		case "Gid":
			copy(p.GIDs[:], numbers(value))
		case "Groups":
			p.Groups = numbers(value)
		case "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb":
			p.Caps[strings.ToLower(name[3:])] = value
		case "NoNewPrivs":
			p.NoNewPrivs = value == "1"
		case "Seccomp":
			p.Seccomp, _ = strconv.Atoi(value)
		case "Seccomp_filters":
			p.Filters, _ = strconv.Atoi(value)
		case "Threads":
			p.Threads, _ = strconv.Atoi(value)
		}
	}
}

// readThreads compares each thread's privileges with the first's.
func (p *ProcState) readThreads(dir string, first []byte) {
	want := privilegeLines(first)
	tasks, err := os.ReadDir(filepath.Join(dir, "task"))
	if err != nil {
		return
	}
	for _, t := range tasks {
		status, err := os.ReadFile(filepath.Join(dir, "task", t.Name(), "status"))
		if err == nil && privilegeLines(status) != want {
			tid, _ := strconv.Atoi(t.Name())
			p.Unconfined = append(p.Unconfined, tid)
		}
	}
}

func privilegeLines(status []byte) string {
	var b strings.Builder
	for line := range bytes.Lines(status) {
		for _, prefix := range []string{"Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:", "Seccomp"} {
			if bytes.HasPrefix(line, []byte(prefix)) {
				b.Write(line)
			}
		}
	}
	return b.String()
}

func (p *ProcState) readNamespaces(proc, dir string) {
	names, err := os.ReadDir(filepath.Join(dir, "ns"))
	if err != nil {
		return
	}
	for _, n := range names {
		target, err := os.Readlink(filepath.Join(dir, "ns", n.Name()))
		if err != nil {
			continue
		}
		p.Namespaces[n.Name()] = target
		own, err := os.Readlink(filepath.Join(proc, "self", "ns", n.Name()))
		if err == nil && own != target && !strings.HasSuffix(n.Name(), "_for_children") {
			p.OwnNS = append(p.OwnNS, n.Name())
		}
	}
	slices.Sort(p.OwnNS)
}

func descriptors(dir string) ([]Descriptor, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("sandbox: descriptors: %w", err)
	}
	var out []Descriptor
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err == nil {
			out = append(out, Descriptor{fd, target})
		}
	}
	slices.SortFunc(out, func(a, b Descriptor) int { return a.FD - b.FD })
	return out, nil
}

func numbers(s string) []int {
	var out []int
	for _, f := range strings.Fields(s) {
		if n, err := strconv.Atoi(f); err == nil {
			out = append(out, n)
		}
	}
	return out
}
