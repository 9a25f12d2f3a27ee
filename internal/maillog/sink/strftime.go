package sink

import (
	"fmt"
	"strconv"
	"time"
)

// layouts of strftime(3)'s letters that Go's time package writes.
var layouts = map[byte]string{'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'd': "02", 'e': "_2", 'H': "15",
	'I': "03", 'm': "01", 'M': "04", 'p': "PM", 'S': "05", 'y': "06", 'Y': "2006", 'z': "-0700", 'Z': "MST", 'F': "2006-01-02",
	'T': "15:04:05", 'R': "15:04", 'D': "01/02/06", 'j': "002"}

// AppendTime appends t as format says, in strftime(3)'s letters; %s are seconds
// since 1970, %L milliseconds. A letter that it does not know stays as it is.
func AppendTime(dst []byte, format string, t time.Time) []byte {
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			dst = append(dst, format[i])
			continue
		}
		i++
		switch c := format[i]; {
		case layouts[c] != "":
			dst = t.AppendFormat(dst, layouts[c])
		case c == 's':
			dst = strconv.AppendInt(dst, t.Unix(), 10)
		case c == 'L':
			dst = fmt.Appendf(dst, "%03d", t.Nanosecond()/1e6)
		case c == '%':
			dst = append(dst, '%')
		default:
			dst = append(dst, '%', c)
		}
	}
	return dst
}
