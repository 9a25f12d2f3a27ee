package main

import (
	"fmt"
	"strings"
)

func bytesText(b float64) string {
	switch {
	case b >= 1<<20 || b <= -(1<<20):
		return fmt.Sprintf("%.2f MB", b/(1<<20))
	case b < 2048 && b > -2048:
		return fmt.Sprintf("%.0f B", b)
	}
	return fmt.Sprintf("%.1f KB", b/1024)
}

// timeText is for microseconds: three figures at most.
func timeText(us float64) string {
	unit := "µs"
	switch {
	case us >= 1e6:
		us, unit = us/1e6, "s"
	case us >= 1000:
		us, unit = us/1000, "ms"
	}
	switch {
	case us >= 100:
		return fmt.Sprintf("%.0f %s", us, unit)
	case us >= 10:
		return fmt.Sprintf("%.1f %s", us, unit)
	}
	return fmt.Sprintf("%.2f %s", us, unit)
}

// figure writes a value of the row's kind.
func (r rowResult) figure(v float64) string {
	switch r.Kind {
	case bytesUsed:
		return bytesText(v)
	case timeOfOne:
		return timeText(v)
	}
	return fmt.Sprintf("%.0f/s", v)
}

// progressText is a sample for the line that says what goes on.
func (r rowResult) progressText(s sample) string {
	text := fmt.Sprintf("%10s", r.figure(s.Value))
	if s.CPU > 0 {
		text += fmt.Sprintf("  CPU %s  p50 %s  p99 %s", timeText(s.CPU), timeText(s.P50*1000), timeText(s.P99*1000))
	}
	if s.Bytes > 0 {
		text += "  written " + bytesText(s.Bytes)
	}
	if s.Procs > 0 {
		text += fmt.Sprintf("  %d processes", s.Procs)
	}
	text += fmt.Sprintf("  (%d)", s.Count)
	if s.Fails > 0 {
		text += fmt.Sprintf("  %d FAILED (%s)", s.Fails, s.Why)
	}
	return text
}

// cell is a server's figures.
func (r rowResult) cell(server string) string {
	samples := r.Samples[server]
	if len(samples) == 0 {
		return "–"
	}
	v := spreadOf(pickOut(samples, value))
	text := fmt.Sprintf("%s (%s to %s)", r.figure(v.middle), r.figure(v.least), r.figure(v.most))
	if cpu := middle(samples, cpuOf); cpu > 0 {
		text += "; " + timeText(cpu)
	}
	fails := 0
	for _, s := range samples {
		fails += s.Fails
	}
	if fails > 0 {
		text += fmt.Sprintf(", %d failed", fails)
	}
	return text
}

func ratioCell(ratios []float64) string {
	if len(ratios) == 0 {
		return "–"
	}
	v := spreadOf(ratios)
	return fmt.Sprintf("%s× (%s to %s)", times(v.middle), times(v.least), times(v.most))
}

// times writes a ratio: small ones with two figures behind the point.
func times(v float64) string {
	if v < 1 {
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

// compared is ratioCell with how many times less processor time an operation
// costs: that holds on a machine that has other work to do, too.
func (r rowResult) compared(other string) string {
	text := ratioCell(r.ratios(other))
	if cpu := r.cpuRatio(other); cpu > 0 {
		text += fmt.Sprintf(", CPU %s×", times(cpu))
	}
	return text
}

// perOperation is a count of something for each server, ours first.
func (r rowResult) perOperation(f func(server string) string) string {
	var all []string
	for _, server := range append([]string{"rookery"}, r.Peers...) {
		if text := f(server); text != "" {
			all = append(all, text)
		}
	}
	return strings.Join(all, " / ")
}

func (r rowResult) syncsCell() string {
	return r.perOperation(func(server string) string {
		n, ok := r.Syncs[server]
		if !ok {
			return ""
		}
		return fmt.Sprintf("%.2f", n)
	})
}

func (r rowResult) bytesCell() string {
	return r.perOperation(func(server string) string {
		for _, s := range r.Samples[server] {
			if s.Bytes > 0 { // counted in one of the repeats
				return bytesText(s.Bytes)
			}
		}
		return ""
	})
}

// measured is when a row was measured, and of what.
func (r rowResult) measured() string {
	text := r.Date + " " + r.Commit
	if r.Busy > 0.1 {
		text += ", busy"
	}
	return text
}

// section makes one table; rows without figures say why they have none.
func (res *result) section(id string) [][]string {
	var rows []rowResult
	wide, writes := false, false
	for _, r := range res.Rows {
		if r.Section == id {
			rows = append(rows, r)
			wide = wide || len(r.Peers) > 1
			writes = writes || len(r.Syncs) > 0 || r.bytesCell() != ""
		}
	}
	heading := []string{"row", "", "Rookery", "Dovecot"}
	switch {
	case id == "login":
		heading[3] = "Dovecot high-performance"
		heading = append(heading, "Dovecot as shipped")
	case wide:
		heading[3] = "Dovecot, mail_fsync = always"
		heading = append(heading, "Dovecot's default")
	}
	heading = append(heading, "ratio")
	if wide {
		heading = append(heading, "ratio to the second")
	}
	if writes {
		heading = append(heading, "syncs an operation", "written an operation")
	}
	table := [][]string{append(heading, "goal", "measured")}
	for _, r := range rows {
		line := []string{"`" + r.Name + "`", r.Title}
		if r.Skipped != "" && len(r.Samples) == 0 {
			line = append(line, "not measured: "+strings.ReplaceAll(r.Skipped, "|", "/"))
			for len(line) < len(heading) {
				line = append(line, "")
			}
			table = append(table, append(line, r.goalText(), r.measured()))
			continue
		}
		line = append(line, r.cell("rookery"))
		for i := range 2 {
			if i == 0 || wide {
				line = append(line, r.cell(r.peer(i)))
			}
		}
		line = append(line, r.compared(r.peer(0)))
		if wide {
			line = append(line, r.compared(r.peer(1)))
		}
		if writes {
			line = append(line, r.syncsCell(), r.bytesCell())
		}
		table = append(table, append(line, r.verdict(), r.measured()))
	}
	return table
}

func (r rowResult) peer(i int) string {
	if i < len(r.Peers) {
		return r.Peers[i]
	}
	return ""
}

// mayGrow is by how much a row that ought to be constant may differ between
// its smallest and its largest size before it counts as growing.
const mayGrow = 1.5

// growth shows rows that differ only in size side by side.
func (res *result) growth() [][]string {
	var families []string
	byFamily := map[string]map[int]rowResult{}
	for _, r := range res.Rows {
		if r.Family == "" || len(r.Samples) == 0 {
			continue
		}
		if byFamily[r.Family] == nil {
			byFamily[r.Family] = map[int]rowResult{}
			families = append(families, r.Family)
		}
		byFamily[r.Family][r.Size] = r
	}
	sizes := []int{0, 100, 1000, 10_000, 100_000, 1_000_000}
	table := [][]string{{"rows"}}
	for _, n := range sizes {
		table[0] = append(table[0], strings.TrimPrefix(sizeName(n), "-"))
	}
	table[0] = append(table[0], "CPU, largest beside smallest")
	for _, f := range families {
		if len(byFamily[f]) < 2 {
			continue
		}
		line := []string{"`" + f + "`"}
		var seen []rowResult
		for _, n := range sizes {
			r, ok := byFamily[f][n]
			if !ok {
				line = append(line, "")
				continue
			}
			seen = append(seen, r)
			line = append(line, timeText(middle(r.Samples["rookery"], value))+" / "+timeText(middle(r.Samples[r.peer(0)], value)))
		}
		table = append(table, append(line, growthText(seen[0], seen[len(seen)-1])))
	}
	return table
}

// growthText compares processor time at the smallest and the largest size, and
// says if what ought to be constant is not.
func growthText(small, large rowResult) string {
	by := func(server string) float64 {
		least := middle(small.Samples[server], cpuOf)
		if least <= 0 {
			return 0
		}
		return middle(large.Samples[server], cpuOf) / least
	}
	text := times(by("rookery")) + "× / " + times(by(large.peer(0))) + "×"
	if small.Constant {
		if by("rookery") > mayGrow {
			return text + ": GROWS"
		}
		return text + ": constant"
	}
	return text
}
