package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// result is a whole run.
type result struct {
	Date    string      `json:"date"`
	Machine string      `json:"machine"`
	Dovecot string      `json:"dovecot"`
	Length  string      `json:"length"` // of one measurement of a rate
	Repeats int         `json:"repeats"`
	Users   int         `json:"users"`
	Busy    float64     `json:"busy"` // part of the processors that other work used before the start, 0 to 1
	Took    string      `json:"took"`
	Rows    []rowResult `json:"rows"`
}

// rowResult is what a row gave, by server.
type rowResult struct {
	Name    string              `json:"name"`
	Title   string              `json:"title"`
	Memory  bool                `json:"memory"`
	Goal    float64             `json:"goal,omitempty"`
	Samples map[string][]sample `json:"samples"`
}

func newResult(o options) *result {
	return &result{
		Date: time.Now().UTC().Format(time.DateOnly), Machine: fmt.Sprintf("%s, %d processors, %s", machine(), runtime.NumCPU(), commit()),
		Dovecot: dovecotVersion(), Length: o.seconds.String(), Repeats: o.repeats, Users: o.users, Busy: busy(),
	}
}

// readResult reads what --json printed.
func readResult(file string) (*result, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	res := new(result)
	return res, json.Unmarshal(data, res)
}

// show prints the result and writes it where that is wanted.
func (res *result) show(o options) error {
	if o.json {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		if err := enc.Encode(res); err != nil {
			return err
		}
	} else {
		fmt.Print("\n", res.table())
	}
	if o.write != "" {
		return res.writeInto(o.write)
	}
	return nil
}

// commit names the source that was measured.
func commit() string {
	out, err := exec.Command("git", "rev-parse", "--short=10", "HEAD").Output()
	if err != nil {
		return "no commit"
	}
	return "commit " + strings.TrimSpace(string(out))
}

// sort brings the rows into the order in which they are listed.
func (res *result) sort(order []row) {
	place := map[string]int{}
	for i, r := range order {
		place[r.name] = i
	}
	slices.SortFunc(res.Rows, func(a, b rowResult) int { return place[a.Name] - place[b.Name] })
}

// spread is least, middle and most of some figures.
type spread struct{ least, middle, most float64 }

func spreadOf(all []float64) spread {
	if len(all) == 0 {
		return spread{}
	}
	s := slices.Sorted(slices.Values(all))
	return spread{s[0], quantile(s, 0.5), s[len(s)-1]}
}

// quantile is the figure below which the part q of all lies, between two of
// them where none lies there.
func quantile(all []float64, q float64) float64 {
	if len(all) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(all))
	at := q * float64(len(s)-1)
	low := int(at)
	high := min(low+1, len(s)-1)
	return s[low] + (s[high]-s[low])*(at-float64(low))
}

func pickOut(samples []sample, f func(sample) float64) []float64 {
	var all []float64
	for _, s := range samples {
		all = append(all, f(s))
	}
	return all
}

func value(s sample) float64 { return s.Value }
func cpuOf(s sample) float64 { return s.CPU }

// ratios says how many times better Rookery did than another server, repeat by
// repeat: more logins, or less memory.
func (r rowResult) ratios(other string) []float64 {
	ours, theirs := r.Samples["rookery"], r.Samples[other]
	var all []float64
	for i := range min(len(ours), len(theirs)) {
		a, b := ours[i].Value, theirs[i].Value
		if r.Memory {
			a, b = b, a
		}
		if b > 0 {
			all = append(all, a/b)
		}
	}
	return all
}

// verdict compares the middle figure with the goal.
func (r rowResult) verdict() string {
	if r.Goal == 0 || len(r.Samples["rookery"]) == 0 {
		return ""
	}
	word := func(ok bool) string {
		if ok {
			return "reached"
		}
		return "NOT reached"
	}
	if r.Memory {
		middle := spreadOf(pickOut(r.Samples["rookery"], value)).middle
		return "≤ " + bytesText(r.Goal) + ": " + word(middle <= r.Goal)
	}
	ratios := r.ratios("dovecot-hp")
	if len(ratios) == 0 {
		return ""
	}
	return fmt.Sprintf("%g×: %s", r.Goal, word(spreadOf(ratios).middle >= r.Goal))
}

func bytesText(b float64) string {
	if b >= 1<<20 || b <= -(1<<20) {
		return fmt.Sprintf("%.2f MB", b/(1<<20))
	}
	return fmt.Sprintf("%.1f KB", b/1024)
}

// text is a sample for the progress line.
func (s sample) text(memory bool) string {
	if memory {
		return fmt.Sprintf("%10s a session, %d processes, %s in all", bytesText(s.Value), s.Procs, bytesText(float64(s.Total)))
	}
	text := fmt.Sprintf("%8.0f/s  CPU %6.0f µs  p50 %.2f ms  p99 %.2f ms", s.Value, s.CPU, s.P50, s.P99)
	if s.Fails > 0 {
		text += fmt.Sprintf("  %d FAILED (%s)", s.Fails, s.Why)
	}
	return text
}

func (r rowResult) cell(server string) string {
	samples := r.Samples[server]
	if len(samples) == 0 {
		return "–"
	}
	v := spreadOf(pickOut(samples, value))
	if r.Memory {
		return fmt.Sprintf("%s (%s to %s)", bytesText(v.middle), bytesText(v.least), bytesText(v.most))
	}
	text := fmt.Sprintf("%.0f (%.0f to %.0f), %.0f µs", v.middle, v.least, v.most, spreadOf(pickOut(samples, cpuOf)).middle)
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
	return fmt.Sprintf("%.1f× (%.1f to %.1f)", v.middle, v.least, v.most)
}

// compared is ratioCell with how many times less processor time a login costs:
// that holds on a machine that has other work to do, too.
func (r rowResult) compared(other string) string {
	text := ratioCell(r.ratios(other))
	ours, theirs := spreadOf(pickOut(r.Samples["rookery"], cpuOf)).middle, spreadOf(pickOut(r.Samples[other], cpuOf)).middle
	if ours > 0 && theirs > 0 {
		text += fmt.Sprintf(", CPU %.1f×", theirs/ours)
	}
	return text
}

// table is the result for people: Markdown that reads well as it is.
func (res *result) table() string {
	lines := [][]string{{"row", "Rookery", "Dovecot as shipped", "Dovecot high-performance", "ratio as shipped", "ratio high-performance", "goal"}}
	for _, r := range res.Rows {
		lines = append(lines, []string{r.Title, r.cell("rookery"), r.cell("dovecot"), r.cell("dovecot-hp"),
			r.compared("dovecot"), r.compared("dovecot-hp"), r.verdict()})
	}
	widths := make([]int, len(lines[0]))
	for _, l := range lines {
		for i, cell := range l {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s. Dovecot %s. Each rate over %s, %d times, alternating; %d users; %s in all.\n",
		res.Date, res.Machine, res.Dovecot, res.Length, res.Repeats, res.Users, res.Took)
	if res.Busy > 0.1 {
		fmt.Fprintf(&b, "**The machine had other work to do (%.0f %% of its processors before the start): the rates say little, the CPU times more.**\n", res.Busy*100)
	}
	b.WriteString("Middle (least to most); rates with the server's CPU time for each login.\n\n")
	for n, l := range lines {
		for i, cell := range l {
			fmt.Fprintf(&b, "| %s%s ", cell, strings.Repeat(" ", widths[i]-len([]rune(cell))))
		}
		b.WriteString("|\n")
		if n == 0 {
			for _, w := range widths {
				b.WriteString("|" + strings.Repeat("-", w+2))
			}
			b.WriteString("|\n")
		}
	}
	return b.String()
}

// The table stands between these lines; what is around them is written by hand.
const (
	benchBegin = "<!-- bench: begin, written by `make bench` with BENCH_WRITE=1 -->\n"
	benchEnd   = "<!-- bench: end -->\n"
)

// writeInto puts the table into a file in place of the one that is there.
func (res *result) writeInto(file string) error {
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		data, err = []byte("# Performance\n\n"+benchBegin+benchEnd), nil
	}
	if err != nil {
		return err
	}
	text, err := between(string(data), res.table())
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// between replaces what stands between the marks.
func between(text, table string) (string, error) {
	begin := strings.Index(text, benchBegin)
	end := strings.Index(text, benchEnd)
	if begin < 0 || end < begin {
		return "", errors.New("it has no bench marks")
	}
	return text[:begin+len(benchBegin)] + table + text[end:], nil
}
