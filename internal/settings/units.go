package settings

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

var durationUnits = []struct {
	names []string
	size  time.Duration
}{
	{[]string{"ms", "msec", "msecs", "millisecond", "milliseconds"}, time.Millisecond},
	{[]string{"s", "sec", "secs", "second", "seconds"}, time.Second},
	{[]string{"m", "min", "mins", "minute", "minutes"}, time.Minute},
	{[]string{"h", "hour", "hours"}, time.Hour},
	{[]string{"d", "day", "days"}, 24 * time.Hour},
	{[]string{"w", "week", "weeks"}, 7 * 24 * time.Hour},
}

// parseDuration reads "180s", "3 mins", "1 week"; "0" needs no unit.
func parseDuration(text string) (time.Duration, error) {
	number, word := splitUnit(text)
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a time; write a number and a unit, such as \"30 secs\" (ms, secs, mins, hours, days, weeks)", text)
	}
	if word == "" {
		if n == 0 {
			return 0, nil
		}
		return 0, fmt.Errorf("%q lacks a unit; write \"%d secs\" if seconds are meant (ms, secs, mins, hours, days, weeks)", text, n)
	}
	for _, u := range durationUnits {
		for _, name := range u.names {
			if name == word {
				if n > math.MaxInt64/int64(u.size) {
					return 0, fmt.Errorf("%q is too long a time", text)
				}
				return time.Duration(n) * u.size, nil
			}
		}
	}
	return 0, fmt.Errorf("%q has the unknown unit %q; known are ms, secs, mins, hours, days, weeks", text, word)
}

// formatDuration is the inverse: the largest unit that divides evenly.
func formatDuration(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	names := []string{"ms", "secs", "mins", "hours", "days", "weeks"}
	for i := len(durationUnits) - 1; i >= 0; i-- {
		if u := durationUnits[i].size; d%u == 0 {
			name := names[i]
			if d == u && i > 0 {
				name = strings.TrimSuffix(name, "s")
			}
			return fmt.Sprintf("%d %s", d/u, name)
		}
	}
	return fmt.Sprintf("%d ms", d/time.Millisecond)
}

var sizeUnits = []struct {
	letter string
	size   int64
}{{"b", 1}, {"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {"t", 1 << 40}}

// parseSize reads "64k", "10 MB", "1 GiB", "4096"; K is 1024.
func parseSize(text string) (int64, error) {
	number, word := splitUnit(text)
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size; write a number and a unit, such as \"64 KiB\" (B, KiB, MiB, GiB, TiB)", text)
	}
	letter := word
	if len(word) > 1 {
		letter = strings.TrimSuffix(strings.TrimSuffix(word, "b"), "i")
	}
	if word == "" {
		letter = "b"
	}
	for _, u := range sizeUnits {
		if u.letter == letter {
			if n > math.MaxInt64/u.size {
				return 0, fmt.Errorf("%q is too large", text)
			}
			return n * u.size, nil
		}
	}
	return 0, fmt.Errorf("%q has the unknown unit %q; known are B, KiB, MiB, GiB, TiB", text, word)
}

func formatSize(n int64) string {
	if n == 0 {
		return "0"
	}
	for i := len(sizeUnits) - 1; i > 0; i-- {
		if n%sizeUnits[i].size == 0 {
			return fmt.Sprintf("%d %siB", n/sizeUnits[i].size, strings.ToUpper(sizeUnits[i].letter))
		}
	}
	return fmt.Sprintf("%d B", n)
}

// splitUnit parts "10 MB" into "10" and "mb".
func splitUnit(text string) (number, word string) {
	text = strings.TrimSpace(text)
	i := 0
	for i < len(text) && (text[i] >= '0' && text[i] <= '9' || i == 0 && text[i] == '-') {
		i++
	}
	return text[:i], strings.ToLower(strings.TrimSpace(text[i:]))
}

// PasswordLog is what auth_verbose_passwords asks for.
type PasswordLog struct {
	Mode string // "no", "plain" or "sha1"
	Cut  int    // how many characters (of the password, or of the hexadecimal sum) are written; 0: all
}

var errPasswordLog = errors.New(`must be "no", "plain" (or "yes"), "sha1", "plain:N" or "sha1:N" with N of at least 1`)

func parsePasswordLog(text string) (PasswordLog, error) {
	mode, cut, has := strings.Cut(text, ":")
	if mode == "yes" {
		mode = "plain"
	}
	p := PasswordLog{Mode: mode}
	switch mode {
	case "no":
		if has {
			return p, errPasswordLog
		}
		return p, nil
	case "plain", "sha1":
	default:
		return p, errPasswordLog
	}
	if !has {
		return p, nil
	}
	n, err := strconv.Atoi(cut)
	if err != nil || n < 1 || n > 1024 || cut != strconv.Itoa(n) {
		return p, errPasswordLog
	}
	p.Cut = n
	return p, nil
}

// String is the form that the setting has in a file.
func (p PasswordLog) String() string {
	if p.Mode == "" {
		return "no"
	}
	if p.Cut == 0 {
		return p.Mode
	}
	return p.Mode + ":" + strconv.Itoa(p.Cut)
}
