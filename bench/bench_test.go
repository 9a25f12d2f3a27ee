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

func TestParseRollup(t *testing.T) {
	text := "5581-7ffd ---p 0 00:00 0 [rollup]\nRss:                3012 kB\nPss:                 553 kB\nPss_Dirty:           412 kB\n"
	if kb, err := parseRollup(bufio.NewScanner(strings.NewReader(text)), "Pss:"); err != nil || kb != 553 {
		t.Errorf("%d, %v, want 553", kb, err)
	}
	if _, err := parseRollup(bufio.NewScanner(strings.NewReader("Rss: 1 kB\n")), "Pss:"); err == nil {
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

func samplesOf(v ...float64) []sample {
	var all []sample
	for _, x := range v {
		all = append(all, sample{Value: x})
	}
	return all
}

func withCPU(all []sample, us float64) []sample {
	for i := range all {
		all[i].CPU = us
	}
	return all
}

func TestVerdicts(t *testing.T) {
	peers := []string{"dovecot-hp"}
	r := rowResult{Kind: perSecond, Peers: peers, Goal: goal{Ratio: 8}, Samples: map[string][]sample{"rookery": samplesOf(1000, 1600, 1700), "dovecot-hp": samplesOf(100, 200, 200)}}
	if got := ratioCell(r.ratios("dovecot-hp")); got != "8.5× (8.0 to 10.0)" {
		t.Errorf("ratio %q", got)
	}
	if got := r.verdict(); got != "8×: reached" {
		t.Errorf("verdict %q", got)
	}
	withCPU(r.Samples["rookery"], 500)
	withCPU(r.Samples["dovecot-hp"], 3000)
	if got := r.compared("dovecot-hp"); got != "8.5× (8.0 to 10.0), CPU 6.0×" {
		t.Errorf("compared %q", got)
	}
	// 8.5 is a close call: processor time decides, and 6 is too little.
	if got := r.verdict(); got != "8×: NOT reached by CPU" {
		t.Errorf("verdict %q", got)
	}
	r.Samples["rookery"] = withCPU(samplesOf(1000, 1400, 1500), 300)
	if got := r.verdict(); got != "8×: reached by CPU" {
		t.Errorf("verdict %q", got)
	}
	r.Samples["rookery"] = withCPU(samplesOf(700, 800, 900), 300) // 4 to 7 times: no close call
	if got := r.verdict(); got != "8×: NOT reached" {
		t.Errorf("verdict %q", got)
	}
	m := rowResult{Kind: bytesUsed, Peers: peers, Goal: goal{Most: 60 << 10}, Samples: map[string][]sample{"rookery": samplesOf(50<<10, 70<<10, 55<<10), "dovecot-hp": samplesOf(500<<10, 700<<10, 550<<10)}}
	if got := m.verdict() + "; " + ratioCell(m.ratios("dovecot-hp")); got != "≤ 60.0 KB: reached; 10.0× (10.0 to 10.0)" {
		t.Errorf("memory %q", got)
	}
	s := rowResult{Kind: timeOfOne, Peers: []string{"dovecot"}, Goal: goal{Ratio: 2, CPU: 300}, Samples: map[string][]sample{
		"rookery": withCPU(samplesOf(200, 400, 500), 290), "dovecot": withCPU(samplesOf(2000, 2000, 2000), 900)}}
	if got := s.verdict() + "; " + ratioCell(s.ratios("dovecot")); got != "2×, ≤ 300 µs: reached; 5.0× (4.0 to 10.0)" {
		t.Errorf("time %q", got)
	}
	withCPU(s.Samples["rookery"], 310)
	if got := s.verdict(); got != "2×, ≤ 300 µs: NOT reached (310 µs of the server's time)" {
		t.Errorf("time %q", got)
	}
}

func TestProcessorTime(t *testing.T) {
	if work, all := parseProcessorTime("cpu  10 20 30 400 50 6 7 8 9 0"); work != 81 || all != 531 {
		t.Errorf("work %d of %d", work, all)
	}
}

func TestWriteInto(t *testing.T) {
	dir := t.TempDir()
	o := options{write: filepath.Join(dir, "PERFORMANCE.md"), record: filepath.Join(dir, "results.json")}
	row := func(name, title string, v ...float64) rowResult {
		return rowResult{Name: name, Title: title, Section: "read", Kind: timeOfOne, Peers: []string{"dovecot"}, Date: "of " + title, Samples: map[string][]sample{"rookery": samplesOf(v...)}}
	}
	for _, res := range []*result{
		{Rows: []rowResult{row("select-1k", "first", 10), row("flags-1k", "first", 10), row("noop-1", "first", 7)}},
		{Rows: []rowResult{row("flags-1k", "second", 20), {Name: "noop-1", Section: "read", Skipped: "no such driver"}}},
	} {
		if err := res.record(o); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(o.write)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	// The row measured again has its new figures, the others keep the old ones.
	for _, once := range []string{"20.0 µs (", "of second", "7.00 µs ("} {
		if strings.Count(text, once) != 1 {
			t.Errorf("%q is not once in\n%s", once, text)
		}
	}
	if strings.Count(text, "of first") != 2 || strings.Contains(text, "no such driver") || !strings.HasPrefix(text, "# Performance\n") {
		t.Errorf("the file is\n%s", text)
	}
	if strings.Index(text, "select-1k") > strings.Index(text, "flags-1k") {
		t.Error("rows are not in the order of the list")
	}
	if _, err := between("no marks", "x"); err == nil {
		t.Error("a file without marks was taken")
	}
	if err := (&result{Quick: true}).record(o); err == nil {
		t.Error("a quick run was recorded")
	}
}

func TestPick(t *testing.T) {
	count := func(o options) (int, int) {
		logins, stores, err := pick(o)
		if err != nil {
			t.Errorf("%q: %v", o.row, err)
		}
		return len(logins), len(stores)
	}
	all, stores := count(options{})
	_, more := count(options{million: true})
	if all != 12 || more-stores != 4 {
		t.Errorf("%d rows of logins, %d of the store, %d with a million", all, stores, more)
	}
	if logins, stores := count(options{row: "same-tls-1"}); logins != 1 || stores != 0 {
		t.Errorf("same-tls-1: %d, %d", logins, stores)
	}
	if logins, stores := count(options{row: "same-tls-1,noop-1,status"}); logins != 1 || stores != 3 {
		t.Errorf("three: %d, %d", logins, stores)
	}
	if logins, stores := count(options{row: "select-1m", quick: true}); logins != 0 || stores != 1 {
		t.Errorf("select-1m: %d, %d", logins, stores)
	}
	if logins, stores := count(options{row: "idle"}); logins != 4 || stores != 0 {
		t.Errorf("idle: %d, %d", logins, stores)
	}
	if logins, stores := count(options{row: "pop3"}); logins != 3 || stores != 4 {
		t.Errorf("pop3: %d, %d", logins, stores)
	}
	if _, _, err := pick(options{row: "nothing"}); err == nil {
		t.Error("an unknown row was taken")
	}
	seen := map[string]bool{}
	for _, name := range allNames() {
		if seen[name] {
			t.Errorf("two rows are named %s", name)
		}
		seen[name] = true
	}
}
