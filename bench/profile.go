package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// profileSpan is how long a row runs while perf looks on.
const profileSpan = 4 * time.Second

// profile runs a row once more on Rookery with perf attached to its processes,
// and writes where the time went by function: to DIR/ROW.txt, first what each
// function took itself, then with all that it called. Programs built without
// symbols (make build strips them) show none: --bin names others.
func profile(ctx context.Context, b *bed, dir string) error {
	if _, err := exec.LookPath("perf"); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	data := filepath.Join(dir, b.row.name+".perf")
	args := append([]string{"record", "-q", "-F", "999", "-g", "-o", data}, whom(b.rig.group)...)
	cmd := exec.CommandContext(ctx, "perf", args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := pause(ctx, 500*time.Millisecond); err != nil { // perf does not tell when it is attached
		return err
	}
	longer := *b
	longer.span, longer.limit, longer.bytes = profileSpan, 0, false
	_, failed := b.row.measure(ctx, &longer)
	_ = cmd.Process.Signal(os.Interrupt) // gone already shows in Wait
	_ = cmd.Wait()                       // it ends with the signal that it was sent
	if failed != nil {
		return failed
	}
	var out bytes.Buffer
	for _, way := range [][]string{{"--no-children", "-g", "none"}, {"--children", "-g", "none"}} {
		fmt.Fprintf(&out, "\n== %s %s\n", b.row.name, way[0])
		report := exec.CommandContext(ctx, "perf", append([]string{"report", "-i", data, "--stdio", "--percent-limit", "0.7", "--sort", "dso,symbol"}, way...)...)
		report.Stdout = &out
		if err := report.Run(); err != nil {
			return fmt.Errorf("perf report: %w: %s", err, bytes.TrimSpace(said.Bytes()))
		}
	}
	return errors.Join(os.Remove(data), os.WriteFile(filepath.Join(dir, b.row.name+".txt"), out.Bytes(), 0o644))
}

// whom says to perf whose time it is about: the server's control group, which
// new processes are in from their start, or the processes that there are.
func whom(g *group) []string {
	mounts, _ := os.ReadFile("/proc/self/mounts") // without it: by process
	if path := inHierarchy(g.path, string(mounts)); path != "" {
		return []string{"-a", "-e", "cpu-clock", "-G", path}
	}
	var pids []string
	for _, pid := range g.pids() {
		pids = append(pids, strconv.Itoa(pid))
	}
	return []string{"-p", strings.Join(pids, ",")}
}

// inHierarchy is the path of a control group below where version 2's hierarchy
// is mounted; "" for one that is elsewhere.
func inHierarchy(path, mounts string) string {
	for _, line := range strings.Split(mounts, "\n") {
		f := strings.Fields(line)
		if len(f) > 2 && f[2] == "cgroup2" {
			if rest, ok := strings.CutPrefix(path, f[1]+"/"); ok {
				return rest
			}
		}
	}
	return ""
}
