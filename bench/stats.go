package main

import (
	"fmt"
	"slices"
)

// sample is one measurement.
type sample struct {
	Value float64 `json:"value"`           // by the row's kind: a second, microseconds for an operation, or bytes
	CPU   float64 `json:"cpu,omitempty"`   // microseconds of the server for each operation
	P50   float64 `json:"p50,omitempty"`   // milliseconds of an operation
	P99   float64 `json:"p99,omitempty"`   // the same
	Bytes float64 `json:"bytes,omitempty"` // written to the disk for each operation
	Count int     `json:"count"`           // operations, or sessions
	Fails int     `json:"fails,omitempty"` // operations that did not succeed, in rows that go on then
	Why   string  `json:"why,omitempty"`   // of the first that failed
	Procs int     `json:"procs,omitempty"` // processes at the end
	Total int64   `json:"total,omitempty"` // PSS of the whole server, or size of all files, bytes
}

// kind says what Value is and which way is better.
type kind string

const (
	perSecond kind = "rate"  // more is better
	timeOfOne kind = "time"  // microseconds, less is better
	bytesUsed kind = "bytes" // less is better
)

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

func slowest(s sample) float64 { return s.P99 }

func middle(samples []sample, f func(sample) float64) float64 {
	return spreadOf(pickOut(samples, f)).middle
}

// rowResult is what a row gave, by server.
type rowResult struct {
	Name     string              `json:"name"`
	Title    string              `json:"title"`
	Section  string              `json:"section"`
	Kind     kind                `json:"kind"`
	Goal     goal                `json:"goal"`
	Peers    []string            `json:"peers"` // the one to compare with first
	Family   string              `json:"family,omitempty"`
	Size     int                 `json:"size,omitempty"`
	Constant bool                `json:"constant,omitempty"` // must cost the same at every size
	Samples  map[string][]sample `json:"samples,omitempty"`
	Syncs    map[string]float64  `json:"syncs,omitempty"` // for each operation
	Skipped  string              `json:"skipped,omitempty"`
	Date     string              `json:"date"`
	Commit   string              `json:"commit"`
	Busy     float64             `json:"busy"` // part of the processors that other work had before the row
}

// ratios says how many times better Rookery did than another server, repeat by
// repeat: more a second, or less time or memory.
func (r rowResult) ratios(other string) []float64 {
	ours, theirs := r.Samples["rookery"], r.Samples[other]
	var all []float64
	for i := range min(len(ours), len(theirs)) {
		a, b := ours[i].Value, theirs[i].Value
		if r.Kind != perSecond {
			a, b = b, a
		}
		if b > 0 {
			all = append(all, a/b)
		}
	}
	return all
}

// cpuRatio is how many times less processor time an operation costs than with
// another server; 0 where that was not measured.
func (r rowResult) cpuRatio(other string) float64 {
	ours, theirs := middle(r.Samples["rookery"], cpuOf), middle(r.Samples[other], cpuOf)
	if ours <= 0 {
		return 0
	}
	return theirs / ours
}

// closeCall is how near to a goal the ratio of times decides nothing: figures of
// time differ that much on a machine that does not hold still. Then processor
// time for an operation decides.
const closeCall = 1.25

// reached tells whether the row reached its goal, and by what it was decided.
func (r rowResult) reached() (ok bool, by string) {
	ours := r.Samples["rookery"]
	if r.Goal.Most > 0 && middle(ours, value) > r.Goal.Most {
		return false, ""
	}
	if r.Goal.Time > 0 && 1000*middle(ours, slowest) > r.Goal.Time {
		return false, fmt.Sprintf(" (the slowest hundredth %s)", timeText(1000*middle(ours, slowest)))
	}
	if r.Goal.CPU > 0 && middle(ours, cpuOf) > r.Goal.CPU {
		return false, fmt.Sprintf(" (%s of the server's time)", timeText(middle(ours, cpuOf)))
	}
	if r.Goal.Ratio == 0 || len(r.Peers) == 0 {
		return true, ""
	}
	ratio := spreadOf(r.ratios(r.Peers[0])).middle
	cpu := r.cpuRatio(r.Peers[0])
	if cpu > 0 && ratio < r.Goal.Ratio*closeCall && ratio > r.Goal.Ratio/closeCall {
		return cpu >= r.Goal.Ratio, " by CPU"
	}
	return ratio >= r.Goal.Ratio, ""
}

// goalText is the goal for people.
func (r rowResult) goalText() string {
	switch {
	case r.Goal.Most > 0:
		return "≤ " + bytesText(r.Goal.Most)
	case r.Goal.Time > 0:
		return fmt.Sprintf("%g×, ≤ %s", r.Goal.Ratio, timeText(r.Goal.Time))
	case r.Goal.CPU > 0:
		return fmt.Sprintf("%g×, ≤ %s", r.Goal.Ratio, timeText(r.Goal.CPU))
	case r.Goal.Ratio > 0:
		return fmt.Sprintf("%g×", r.Goal.Ratio)
	}
	return ""
}

// verdict compares the middle figure with the goal.
func (r rowResult) verdict() string {
	goal := r.goalText()
	if goal == "" || len(r.Samples["rookery"]) == 0 || r.Goal.Ratio > 0 && len(r.ratios(r.Peers[0])) == 0 {
		return goal
	}
	ok, by := r.reached()
	if ok {
		return goal + ": reached" + by
	}
	return goal + ": NOT reached" + by
}
