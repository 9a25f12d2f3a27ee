package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// measureStores measures the rows of the mail store. A row that fails is told
// and left without figures; the others go on. What was measured until then is
// given even with an error.
func measureStores(ctx context.Context, rows []storeRow, o options, d *disk) ([]rowResult, error) {
	l := newLab(d, o.bin, o.only)
	defer l.stop()
	var out []rowResult
	var failed []string
	for i := range rows {
		r := &rows[i]
		began := time.Now()
		res, err := l.measureRow(ctx, r, o, fmt.Sprintf("%d/%d", i+1, len(rows)))
		if err != nil && ctx.Err() != nil {
			return out, fmt.Errorf("%s: %w", r.name, err)
		}
		switch {
		case errors.Is(err, errNotThere):
			res.Skipped = err.Error()
			progress("%d/%d %s: skipped: %v", i+1, len(rows), r.name, err)
		case err != nil:
			res.Skipped = "failed: " + firstLine(err.Error())
			res.Samples = nil
			failed = append(failed, r.name)
			progress("%d/%d %s: FAILED: %v", i+1, len(rows), r.name, err)
		default:
			progress("%d/%d %s: %s %s, %v in all", i+1, len(rows), r.name, res.compared(res.peer(0)), res.verdict(), time.Since(began).Round(100*time.Millisecond))
		}
		out = append(out, res)
		if err := ctx.Err(); err != nil {
			return out, fmt.Errorf("ended after %s: %w", r.name, err)
		}
	}
	if failed != nil {
		return out, fmt.Errorf("rows that failed: %s", strings.Join(failed, ", "))
	}
	return out, nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// result is the row without samples.
func (r *storeRow) result() rowResult {
	section := "read"
	switch {
	case r.driver != "maildir":
		section = r.driver
	case r.bytes:
		section = "figures"
	case r.write && r.fsync == "never":
		section = "write-nosync"
	case r.write:
		section = "write-durable"
	case r.owner != 0:
		section = "folders"
	}
	k := timeOfOne
	if r.bytes {
		k = bytesUsed
	}
	out := newRow(r.name, r.title, section, k, r.goal)
	out.Family, out.Size, out.Constant = r.family, r.n, r.constant
	for _, key := range r.peers()[1:] {
		out.Peers = append(out.Peers, key.name())
	}
	return out
}

// sampleName is how a rig's samples are kept: ours under one name whatever its
// mail_fsync is.
func sampleName(k rigKey) string {
	if k.server == "rookery" {
		return "rookery"
	}
	return k.name()
}

// quickSize is what --quick makes of a size.
func quickSize(n int) int {
	if n >= 10_000 {
		return n / 10
	}
	return n
}

// measureRow seeds every rig of the row, then measures, alternating, and at
// last counts syncs.
func (l *lab) measureRow(ctx context.Context, r *storeRow, o options, place string) (rowResult, error) {
	res := r.result()
	n := r.n
	if o.quick {
		n = quickSize(n)
	}
	var beds []*bed
	for _, key := range r.peers() {
		if l.only != "" && key.server != l.only {
			continue
		}
		g, err := l.rig(ctx, key)
		if err != nil {
			return res, err
		}
		b := &bed{lab: l, rig: g, row: r, span: o.span, n: n, quick: o.quick}
		if err := r.seed(ctx, b); err != nil {
			return res, err
		}
		beds = append(beds, b)
	}
	for repeat := range o.repeats {
		for _, b := range beds {
			b.bytes = r.write && (r.bytes || repeat == 0 && !o.quick)
			out, err := r.measure(ctx, b)
			if err != nil {
				return res, fmt.Errorf("%s: %w%s", b.rig.name, err, tail(b.rig.logFile))
			}
			name := sampleName(b.rig.key)
			res.Samples[name] = append(res.Samples[name], out.sample)
			progress("%s %-26s %d/%d %-22s %s", place, r.name, repeat+1, o.repeats, b.rig.name, res.progressText(out.sample))
		}
	}
	if o.profile != "" && beds[0].rig.key.server == "rookery" {
		if err := profile(ctx, beds[0], o.profile); err != nil {
			return res, fmt.Errorf("profile: %w", err)
		}
	}
	if r.write && o.syncs && !r.bytes {
		return res, countRowSyncs(ctx, beds, &res)
	}
	return res, nil
}

// tracedOps is how many operations of a row run under strace.
const tracedOps = 60

// countRowSyncs runs the row once more on every rig, under strace.
func countRowSyncs(ctx context.Context, beds []*bed, res *rowResult) error {
	res.Syncs = map[string]float64{}
	for _, b := range beds {
		traced := *b
		traced.trace, traced.limit, traced.span = true, tracedOps, 5*time.Second
		out, err := b.row.measure(ctx, &traced)
		if err != nil {
			return fmt.Errorf("%s, traced: %w%s", b.rig.name, err, tail(b.rig.logFile))
		}
		res.Syncs[sampleName(b.rig.key)] = out.syncs
	}
	return nil
}
