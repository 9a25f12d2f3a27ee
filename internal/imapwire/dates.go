package imapwire

import (
	"strings"
	"time"
)

// Date is a day without time or zone, as SEARCH has it.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// DateOf gives the day that t shows in its own zone.
func DateOf(t time.Time) Date {
	y, m, d := t.Date()
	return Date{y, m, d}
}

// Compare is below, equal to or above zero as d is before, equal to or after o.
func (d Date) Compare(o Date) int {
	if d.Year != o.Year {
		return d.Year - o.Year
	}
	if d.Month != o.Month {
		return int(d.Month - o.Month)
	}
	return d.Day - o.Day
}

// valid reports whether the day is in the calendar.
func (d Date) valid() bool {
	t := time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC)
	return d.Month >= 1 && t.Day() == d.Day && t.Month() == d.Month
}

var months = [...]string{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"}

// WantDate demands date = date-text / DQUOTE date-text DQUOTE.
func (d *Decoder) WantDate(out *Date) bool {
	quoted := d.Byte('"')
	return d.WantDateText(out) && (!quoted || d.WantByte('"'))
}

// WantDateText demands date-text = date-day "-" date-month "-" date-year,
// date-day being one or two digits.
func (d *Decoder) WantDateText(out *Date) bool {
	start := d.at
	var day int
	if !d.fixed(2, &day) && !d.fixed(1, &day) {
		return d.want(false, "date")
	}
	return d.monthYear(start, day, out)
}

func (d *Decoder) monthYear(start, day int, out *Date) bool {
	date := Date{Day: day}
	if !d.WantByte('-') || !d.wantMonth(&date.Month) || !d.WantByte('-') || !d.want(d.fixed(4, &date.Year), "year") {
		return false
	}
	if !date.valid() {
		d.at = start
		return d.want(false, "a day of the calendar")
	}
	*out = date
	return true
}

// wantMonth demands a month's name, whatever its case.
func (d *Decoder) wantMonth(m *time.Month) bool {
	if d.err == nil && d.at+3 <= len(d.p) {
		for i, name := range months {
			if strings.EqualFold(string(d.p[d.at:d.at+3]), name) {
				*m = time.Month(i + 1)
				d.at += 3
				return true
			}
		}
	}
	return d.want(false, "month")
}

// fixed takes exactly n digits.
func (d *Decoder) fixed(n int, out *int) bool {
	if d.err != nil || d.at+n > len(d.p) {
		return false
	}
	v := 0
	for _, b := range d.p[d.at : d.at+n] {
		if b < '0' || b > '9' {
			return false
		}
		v = v*10 + int(b-'0')
	}
	d.at += n
	*out = v
	return true
}

// DateTime takes date-time = DQUOTE date-day-fixed "-" date-month "-"
// date-year SP time SP zone DQUOTE; date-day-fixed = (SP DIGIT) / 2DIGIT. It
// says false with nothing taken when no quote stands here.
func (d *Decoder) DateTime(out *time.Time) bool {
	if d.Peek() != '"' {
		return false
	}
	d.at++
	var day int
	start := d.at
	var date Date
	if d.SP() {
		if !d.want(d.fixed(1, &day), "day") {
			return false
		}
	} else if !d.want(d.fixed(2, &day), "day") {
		return false
	}
	var h, m, s, zone int
	ok := d.monthYear(start, day, &date) && d.WantSP() &&
		d.wantFixed(23, &h) && d.WantByte(':') && d.wantFixed(59, &m) && d.WantByte(':') && d.wantFixed(60, &s) &&
		d.WantSP() && d.wantZone(&zone) && d.WantByte('"')
	if ok {
		*out = time.Date(date.Year, date.Month, date.Day, h, m, s, 0, time.FixedZone("", zone))
	}
	return ok
}

// WantDateTime demands a date-time.
func (d *Decoder) WantDateTime(out *time.Time) bool { return d.want(d.DateTime(out), "date and time") }

// wantFixed demands two digits that give at most limit.
func (d *Decoder) wantFixed(limit int, out *int) bool {
	before := d.at
	if d.fixed(2, out) && *out <= limit {
		return true
	}
	d.at = before
	return d.want(false, "time of day")
}

// wantZone demands zone = ("+" / "-") 4DIGIT, in seconds east of Greenwich.
func (d *Decoder) wantZone(seconds *int) bool {
	sign := 1
	if d.Byte('-') {
		sign = -1
	} else if !d.want(d.Byte('+'), "time zone") {
		return false
	}
	var h, m int
	if !d.wantFixed(99, &h) || !d.wantFixed(59, &m) {
		return false
	}
	*seconds = sign * (h*3600 + m*60)
	return true
}
