package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// result is a whole run, or all rows that were ever recorded.
type result struct {
	Date    string      `json:"date"`
	Machine string      `json:"machine"`
	Dovecot string      `json:"dovecot"`
	Disk    string      `json:"disk"`
	Length  string      `json:"length"` // of one measurement of logins
	Span    string      `json:"span"`   // of one measurement of the mail store
	Repeats int         `json:"repeats"`
	Users   int         `json:"users"`
	Quick   bool        `json:"quick,omitempty"`
	Busy    float64     `json:"busy"` // part of the processors that other work used before the start, 0 to 1
	Took    string      `json:"took"`
	Rows    []rowResult `json:"rows"`
}

func newResult(o options, d *disk) *result {
	return &result{
		Date: time.Now().UTC().Format(time.DateOnly), Machine: machine(), Dovecot: dovecotVersion(), Disk: d.describe(),
		Length: o.seconds.String(), Span: o.span.String(), Repeats: o.repeats, Users: o.users, Quick: o.quick, Busy: busy(),
	}
}

// newRow begins the result of a row.
func newRow(name, title, section string, k kind, g goal) rowResult {
	return rowResult{Name: name, Title: title, Section: section, Kind: k, Goal: g, Samples: map[string][]sample{},
		Date: time.Now().UTC().Format(time.DateOnly), Commit: commit(), Busy: busy()}
}

// commit names the source that was measured.
func commit() string {
	out, err := exec.Command("git", "rev-parse", "--short=10", "HEAD").Output()
	if err != nil {
		return "no commit"
	}
	return strings.TrimSpace(string(out))
}

// machine tells what the figures were taken on.
func machine() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "?"
	}
	text := fmt.Sprintf("Linux %s, %d processors", strings.TrimSpace(string(release)), runtime.NumCPU())
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for _, line := range strings.Split(string(info), "\n") {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				return text + " (" + strings.TrimSpace(value) + ")"
			}
		}
	}
	return text
}

// readResult reads what --json printed, or what was recorded.
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
		if err := res.encode(os.Stdout.Write); err != nil {
			return err
		}
	} else {
		fmt.Print("\n", res.text())
	}
	if o.write == "" {
		return nil
	}
	return res.record(o)
}

// record merges what was recorded before into the result and writes both files.
func (res *result) record(o options) error {
	if res.Quick {
		return errors.New("a quick run is not recorded: its sizes are not those of the table")
	}
	all, err := readResult(o.record)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if all != nil {
		res.merge(all)
	}
	if err := res.encode(func(b []byte) (int, error) { return len(b), os.WriteFile(o.record, b, 0o644) }); err != nil {
		return err
	}
	return res.writeInto(o.write)
}

func (res *result) encode(write func([]byte) (int, error)) error {
	data, err := json.MarshalIndent(res, "", "\t")
	if err != nil {
		return err
	}
	_, err = write(append(data, '\n'))
	return err
}

// merge takes over what an earlier run measured and this one did not. A row
// that could not be measured now keeps its older figures.
func (res *result) merge(old *result) {
	place := map[string]int{}
	for i, r := range res.Rows {
		place[r.Name] = i
	}
	for _, r := range old.Rows {
		i, ok := place[r.Name]
		if !ok {
			res.Rows = append(res.Rows, r)
		} else if len(res.Rows[i].Samples) == 0 && len(r.Samples) > 0 {
			res.Rows[i] = r
		}
	}
	res.sort()
}

// sort brings the rows into the order in which they are listed.
func (res *result) sort() {
	place := map[string]int{}
	for i, name := range allNames() {
		place[name] = i
	}
	slices.SortStableFunc(res.Rows, func(a, b rowResult) int { return place[a.Name] - place[b.Name] })
}

// sections are the tables, in their order.
var sections = [...]struct{ id, title string }{
	{"login", "Logins and sessions"}, {"read", "Reading"}, {"folders", "Folders and POP3"},
	{"write-durable", "Writing, durable: Rookery by default, Dovecot with mail_fsync = always, and by default"},
	{"write-nosync", "Writing without syncs: mail_fsync = never in both"},
	{"pack", "pack beside mdbox"}, {"mbox", "mbox beside mbox"}, {"figures", "Memory and disk"},
}

// text is the result for people: Markdown that reads well as it is.
func (res *result) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s, commit %s. Dovecot %s. Mail on %s. Logins over %s, all else over %s, %d times, alternating; %s in all.\n",
		res.Date, res.Machine, commit(), res.Dovecot, res.Disk, res.Length, res.Span, res.Repeats, res.Took)
	if res.Quick {
		b.WriteString("**Quick: folders of 10,000 and more are a tenth of what their row says, and each row was measured once.**\n")
	}
	if res.Busy > 0.1 {
		fmt.Fprintf(&b, "**The machine had other work to do (%.0f %% of its processors before the start): the times say little, the CPU times more.**\n", res.Busy*100)
	}
	b.WriteString("Middle (least to most); with the server's CPU time for each operation behind the semicolon.\n")
	for _, s := range sections {
		if table := res.section(s.id); len(table) > 1 {
			fmt.Fprintf(&b, "\n### %s\n\n%s", s.title, markdown(table))
		}
	}
	if table := res.growth(); len(table) > 1 {
		fmt.Fprintf(&b, "\n### Growth\n\nTime of an operation by the number of messages or folders, Rookery's and Dovecot's.\n\n%s", markdown(table))
	}
	return b.String()
}

// markdown aligns a table; its first line is the heading.
func markdown(lines [][]string) string {
	widths := make([]int, len(lines[0]))
	for _, l := range lines {
		for i, cell := range l {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var b strings.Builder
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

// The tables stand between these lines; what is around them is written by hand.
const (
	benchBegin = "<!-- bench: begin, written by `make bench` with BENCH_WRITE=1 -->\n"
	benchEnd   = "<!-- bench: end -->\n"
)

// writeInto puts the tables into a file in place of those that are there.
func (res *result) writeInto(file string) error {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = []byte("# Performance\n\n"+benchBegin+benchEnd), nil
	}
	if err != nil {
		return err
	}
	text, err := between(string(data), res.text())
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
