package logd

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"time"

	"rookery/internal/ipc/logmsg"
	"rookery/internal/maillog/sink"
)

// ring keeps the last warnings and errors for `rookeryctl log errors`.
type ring struct {
	lines []logmsg.ErrorLine // a circle once it is full
	limit int
	start int
	last  uint64 // number of the newest line
}

func newRing(limit int) ring { return ring{limit: limit} }

func (r *ring) add(l *sink.Line, style *sink.Style) {
	r.last++
	text := l.AppendHead(nil, style)
	text = append(text, ": "...)
	text = sink.AppendClean(text, l.Event.Text)
	if len(text) > 1<<10 {
		text = append(text[:1<<10-3], "..."...)
	}
	line := logmsg.ErrorLine{Number: r.last, Time: l.Time, Level: l.Event.Level, Text: string(text)}
	if len(r.lines) < r.limit {
		r.lines = append(r.lines, line)
		return
	}
	r.lines[r.start] = line
	r.start = (r.start + 1) % r.limit
}

// after gives at most n lines with a number above number, oldest first.
func (r *ring) after(number uint64, n int) (lines []logmsg.ErrorLine, more bool) {
	for i := range r.lines {
		l := r.lines[(r.start+i)%len(r.lines)]
		if l.Number <= number {
			continue
		}
		if len(lines) == n {
			return lines, true
		}
		lines = append(lines, l)
	}
	return lines, false
}

// Each process may write burst lines at once and rate lines a second.
const (
	rate  = 2000
	burst = 10000
)

// quota keeps one process from filling the disk.
type quota struct {
	used    float64 // lines, less what time gave back
	last    time.Time
	dropped uint64
}

// take asks for one line; dropped tells how many were refused before one is granted again.
func (q *quota) take(now time.Time) (ok bool, dropped uint64) {
	if d := now.Sub(q.last).Seconds(); d > 0 {
		q.used = max(0, q.used-d*rate)
	}
	q.last = now
	if q.used >= burst {
		q.dropped++
		return false, 0
	}
	q.used++
	dropped, q.dropped = q.dropped, 0
	return true, dropped
}

func utoa(n uint64) string { return strconv.FormatUint(n, 10) }

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

func splitLines(data []byte) []string {
	var lines []string
	for _, l := range bytes.Split(bytes.TrimRight(data, "\n"), []byte("\n")) {
		lines = append(lines, string(l))
	}
	return lines
}
