package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func shell(script string) *exec.Cmd { return exec.Command("/bin/sh", "-c", script) }

func TestQuantile(t *testing.T) {
	for _, c := range []struct {
		all  []float64
		q    float64
		want float64
	}{
		{nil, 0.5, 0}, {[]float64{7}, 0.99, 7}, {[]float64{3, 1, 2}, 0.5, 2}, {[]float64{4, 1, 2, 3}, 0.5, 2.5}, {[]float64{1, 2}, 1, 2}, {[]float64{2, 1}, 0, 1},
	} {
		if got := quantile(c.all, c.q); got != c.want {
			t.Errorf("quantile(%v, %v) = %v, want %v", c.all, c.q, got, c.want)
		}
	}
}

func TestParsePSS(t *testing.T) {
	text := "5581-7ffd ---p 0 00:00 0 [rollup]\nRss:                3012 kB\nPss:                 553 kB\nPss_Dirty:           412 kB\n"
	if kb, err := parsePSS(bufio.NewScanner(strings.NewReader(text))); err != nil || kb != 553 {
		t.Errorf("%d, %v, want 553", kb, err)
	}
	if _, err := parsePSS(bufio.NewScanner(strings.NewReader("Rss: 1 kB\n"))); err == nil {
		t.Error("no Pss line, no error")
	}
}

func TestOwnPath(t *testing.T) {
	own := "9:name=systemd:/a\n2:cpuacct,cpu:/b\n0::/c\n"
	for controller, want := range map[string]string{"": "/c", "cpuacct": "/b", "cpu": "/b", "memory": "/"} {
		if got := ownPath(own, controller); got != want {
			t.Errorf("ownPath(%q) = %q, want %q", controller, got, want)
		}
	}
}

func TestParseUser(t *testing.T) {
	line := "u7@example.test:{PLAIN}pass:58106:58106::/var/tmp/x/mail/u7@example.test::"
	u, err := parseUser(line)
	if err != nil || u != (user{"u7@example.test", 58106, 58106, "/var/tmp/x/mail/u7@example.test"}) {
		t.Fatalf("%+v, %v", u, err)
	}
	if u.line() != line+"\n" {
		t.Errorf("written again it is %q", u.line())
	}
	for _, bad := range []string{"", "u1", "u1:{SHA}x:1:1::/x::", "u1:{PLAIN}pass:a:1::/x::"} {
		if _, err := parseUser(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// A process that has ended stays counted, and so do its children.
func TestGroupCountsTheDead(t *testing.T) {
	g, err := newGroup("test")
	if err != nil {
		t.Fatal(err)
	}
	defer g.end()
	if g.path == "" {
		t.Log("no control group can be made here")
		return
	}
	cmd := g.wrap(shell("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exit 0"))
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if used, err := g.cpu(); err != nil || used < 10*time.Millisecond {
		t.Errorf("a busy child used %v, %v", used, err)
	}
	if n := len(g.pids()); n != 0 {
		t.Errorf("%d processes left", n)
	}
}

func TestDescendants(t *testing.T) {
	cmd := shell("sleep 30 & echo; wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	pids := descendants(cmd.Process.Pid)
	for _, pid := range pids {
		if p, err := os.FindProcess(pid); err == nil {
			p.Kill()
		}
	}
	cmd.Wait()
	if len(pids) != 2 {
		t.Errorf("%d processes, want the shell and its sleep", len(pids))
	}
}

func TestVerdicts(t *testing.T) {
	samples := func(v ...float64) []sample {
		var all []sample
		for _, x := range v {
			all = append(all, sample{Value: x})
		}
		return all
	}
	r := rowResult{Goal: 8, Samples: map[string][]sample{"rookery": samples(1000, 1600, 1700), "dovecot-hp": samples(100, 200, 200)}}
	if got := ratioCell(r.ratios("dovecot-hp")); got != "8.5× (8.0 to 10.0)" {
		t.Errorf("ratio %q", got)
	}
	if got := r.verdict(); got != "8×: reached" {
		t.Errorf("verdict %q", got)
	}
	for name, us := range map[string]float64{"rookery": 500, "dovecot-hp": 3000} {
		for i := range r.Samples[name] {
			r.Samples[name][i].CPU = us
		}
	}
	if got := r.compared("dovecot-hp"); got != "8.5× (8.0 to 10.0), CPU 6.0×" {
		t.Errorf("compared %q", got)
	}
	r.Samples["rookery"] = samples(1000, 1400, 1500)
	if got := r.verdict(); got != "8×: NOT reached" {
		t.Errorf("verdict %q", got)
	}
	m := rowResult{Memory: true, Goal: 60 << 10, Samples: map[string][]sample{"rookery": samples(50<<10, 70<<10, 55<<10), "dovecot-hp": samples(500<<10, 700<<10, 550<<10)}}
	if got := m.verdict() + "; " + ratioCell(m.ratios("dovecot-hp")); got != "≤ 60.0 KB: reached; 10.0× (10.0 to 10.0)" {
		t.Errorf("memory %q", got)
	}
}

func TestProcessorTime(t *testing.T) {
	if work, all := parseProcessorTime("cpu  10 20 30 400 50 6 7 8 9 0"); work != 81 || all != 531 {
		t.Errorf("work %d of %d", work, all)
	}
}

func TestWriteInto(t *testing.T) {
	file := filepath.Join(t.TempDir(), "PERFORMANCE.md")
	res := &result{Rows: []rowResult{{Name: "x", Title: "first"}}}
	for _, title := range []string{"first", "second"} {
		res.Rows[0].Title = title
		if err := res.writeInto(file); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(data); strings.Contains(text, "first") || strings.Count(text, "second") != 1 || !strings.HasPrefix(text, "# Performance\n") {
		t.Errorf("the file is\n%s", text)
	}
	if _, err := between("no marks", "x"); err == nil {
		t.Error("a file without marks was taken")
	}
}

func TestPick(t *testing.T) {
	all, err := pick("")
	if err != nil || len(all) != 12 {
		t.Errorf("%d rows by default, %v", len(all), err)
	}
	if one, err := pick("same-tls-1"); err != nil || len(one) != 1 || one[0].clients != 1 {
		t.Errorf("same-tls-1: %v, %v", one, err)
	}
	if some, err := pick("idle"); err != nil || len(some) != 4 {
		t.Errorf("idle: %v, %v", some, err)
	}
	if _, err := pick("nothing"); err == nil {
		t.Error("an unknown row was taken")
	}
}
