package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// group is a server's processes and what they have used, dead ones included.
// It is a control group where one can be had (CPU time to the microsecond),
// else the process tree below top with what its members waited for (CPU time
// to the hundredth of a second).
type group struct {
	path string // of the control group; "" where there is none
	top  int    // first process
}

// newGroup makes a control group below our own. Names must differ, or the
// second group of a name counts less exactly.
func newGroup(name string) (*group, error) {
	for _, parent := range cgroupParents() {
		path := filepath.Join(parent, fmt.Sprintf("rookery-bench-%d-%s", os.Getpid(), name))
		if err := os.Mkdir(path, 0o755); err != nil {
			continue
		}
		if _, err := cgroupCPU(path); err != nil {
			os.Remove(path)
			continue
		}
		return &group{path: path}, nil
	}
	return &group{}, nil
}

// cgroupParents finds where a control group that counts CPU time may be made:
// ours in version 2, or version 1's cpuacct.
func cgroupParents() []string {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	var parents []string
	for _, m := range strings.Split(string(mounts), "\n") {
		f := strings.Fields(m)
		if len(f) < 4 {
			continue
		}
		switch {
		case f[2] == "cgroup2":
			parents = append([]string{filepath.Join(f[1], ownPath(string(own), ""))}, parents...)
		case f[2] == "cgroup" && strings.Contains(","+f[3]+",", ",cpuacct,"):
			parents = append(parents, filepath.Join(f[1], ownPath(string(own), "cpuacct")))
		}
	}
	return parents
}

// ownPath gives our path in the hierarchy of a controller ("" is version 2's).
func ownPath(own, controller string) string {
	for _, line := range strings.Split(own, "\n") {
		f := strings.SplitN(line, ":", 3)
		if len(f) == 3 && (f[1] == controller || controller != "" && strings.Contains(","+f[1]+",", ","+controller+",")) {
			return f[2]
		}
	}
	return "/"
}

// cgroupCPU is what all members have used so far, user and system together.
func cgroupCPU(path string) (time.Duration, error) {
	if data, err := os.ReadFile(filepath.Join(path, "cpuacct.usage")); err == nil {
		ns, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
		return time.Duration(ns), err
	}
	data, err := os.ReadFile(filepath.Join(path, "cpu.stat"))
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(data), "\n") {
		if us, ok := strings.CutPrefix(line, "usage_usec "); ok {
			n, err := strconv.ParseInt(us, 10, 64)
			return time.Duration(n) * time.Microsecond, err
		}
	}
	return 0, errors.New("cpu.stat has no usage_usec")
}

// wrap has the command put itself into the group before it becomes itself.
func (g *group) wrap(cmd *exec.Cmd) *exec.Cmd {
	if g.path == "" {
		return cmd
	}
	args := append([]string{"-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(g.path, "cgroup.procs"), cmd.Path}, cmd.Args[1:]...)
	return exec.Command("/bin/sh", args...)
}

// cpu is what the group has used so far.
func (g *group) cpu() (time.Duration, error) {
	if g.path != "" {
		return cgroupCPU(g.path)
	}
	var total time.Duration
	for _, pid := range g.pids() {
		total += procCPU(pid)
	}
	return total, nil
}

// pids are the members that live.
func (g *group) pids() []int {
	if g.path != "" {
		data, err := os.ReadFile(filepath.Join(g.path, "cgroup.procs"))
		if err != nil {
			return nil
		}
		var pids []int
		for _, f := range strings.Fields(string(data)) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
		return pids
	}
	return descendants(g.top)
}

// descendants lists top and all below it.
func descendants(top int) []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is right
	for _, name := range stats {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			continue
		}
		if f := statFields(pid); len(f) > 1 {
			parent, _ := strconv.Atoi(f[1]) // the kernel writes a number
			children[parent] = append(children[parent], pid)
		}
	}
	all := []int{top}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// statFields are the fields of /proc/PID/stat behind the name: state first.
func statFields(pid int) []string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	end := strings.LastIndexByte(string(data), ')')
	if end < 0 {
		return nil
	}
	return strings.Fields(string(data[end+1:]))
}

// procCPU is utime, stime, cutime and cstime of a process; a tick is 10 ms on
// every Linux that Go runs on.
func procCPU(pid int) time.Duration {
	f := statFields(pid)
	if len(f) < 15 {
		return 0
	}
	var ticks int64
	for _, s := range f[11:15] {
		n, _ := strconv.ParseInt(s, 10, 64) // the kernel writes a number
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// pss is the proportional set size of all members, in bytes: memory of their
// own, and of shared pages their share.
func (g *group) pss() (int64, error) { return g.memory("Pss:") }

// memory sums a line of smaps_rollup over all members, in bytes.
func (g *group) memory(line string) (int64, error) {
	var total int64
	var n int
	for _, pid := range g.pids() {
		f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue // it has ended
		}
		kb, err := parseRollup(bufio.NewScanner(f), line)
		f.Close()
		if err != nil {
			continue
		}
		total += kb << 10
		n++
	}
	if n == 0 {
		return 0, errors.New("no process left to measure")
	}
	return total, nil
}

// parseRollup finds the line "Pss: 123 kB" and gives the number.
func parseRollup(lines *bufio.Scanner, name string) (int64, error) {
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), name); ok {
			return strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
		}
	}
	return 0, fmt.Errorf("no line %s", name)
}

// end makes sure that no member is left, and removes the control group.
func (g *group) end() {
	if g.path == "" {
		return
	}
	for range 100 {
		for _, pid := range g.pids() {
			if p, err := os.FindProcess(pid); err == nil {
				_ = p.Kill() // a member of our own group that its parent left behind
			}
		}
		if os.Remove(g.path) == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}
