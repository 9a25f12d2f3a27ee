package message

import (
	"strings"
	"testing"
)

// TestBaseSubject has one row for each rule of RFC 5256 §2.1 and §5.
func TestBaseSubject(t *testing.T) {
	for _, row := range []struct {
		value, base string
		reply       bool
	}{
		{"", "", false},
		{"lunch", "lunch", false},
		{" \t lunch \t today  ", "lunch today", false},
		{"lunch\r\n today", "lunch today", false},
		{"=?utf-8?Q?Re:_gr=C3=BC=C3=9Fe?=", "grüße", true},
		{"Re: lunch", "lunch", true},
		{"RE : lunch", "lunch", true},
		{"re:re:fw:Fwd:FWD : lunch", "lunch", true},
		{"Re[2]: lunch", "lunch", true},
		{"Re [a] : lunch", "lunch", true},
		{"Re [a] [b]: lunch", "Re [a] [b]: lunch", false}, // one blob at most behind the mark
		{"ref: lunch", "ref: lunch", false},
		{"re lunch", "re lunch", false},
		{"fwdx: lunch", "fwdx: lunch", false},
		{"lunch (fwd)", "lunch", true},
		{"lunch (fwd) (FWD)(fwd) ", "lunch", true},
		{"(fwd)", "", true},
		{"[list] lunch", "lunch", false},
		{"[list] [other] Re: [third] lunch", "lunch", true},
		{"[list]", "[list]", false},
		{"[a] [b]", "[b]", false},
		{"Re: [a] [b]  (fwd)", "[b]", true},
		{"[list] Re:", "", true},
		{"[a[b] lunch", "[a[b] lunch", false},
		{"[fwd: lunch]", "lunch", true},
		{"[FWD: Re: [list] lunch (fwd)] ", "lunch", true},
		{"[fwd: [fwd: lunch]]", "lunch", true},
		{"[fwd: lunch", "[fwd: lunch", false},
		{"[fwd: lunch] tomorrow", "tomorrow", false}, // a blob like any other
		{"[fwd:]", "", true},
		{"[list] [fwd: Re: lunch]", "lunch", true},
		{"lunch re: fwd", "lunch re: fwd", false},
	} {
		base, reply := BaseSubject(row.value)
		if base != row.base || reply != row.reply {
			t.Errorf("%q: got %q, %v; want %q, %v", row.value, base, reply, row.base, row.reply)
		}
	}
}

// TestBaseSubjectIsLinear has values that would take an hour if the work grew
// with the square of their length.
func TestBaseSubjectIsLinear(t *testing.T) {
	const many = 1 << 20
	for _, unit := range []string{"[a]", "[", "re [", "re:", "[fwd:", "(fwd)", "[a] re ", "re[a]:", "[]", "fw "} {
		BaseSubject(strings.Repeat(unit, many/len(unit)))
	}
	BaseSubject(strings.Repeat("[fwd:", many/5) + strings.Repeat("]", many/5))
}

func FuzzBaseSubject(f *testing.F) {
	for _, s := range []string{"Re: [list] lunch (fwd)", "[fwd: [a] x]", "=?utf-8?q?re=3a_x?=", "[[]]re:", "fw d:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		base, _ := BaseSubject(value)
		if strings.Contains(base, "=?") {
			return // what looks like an encoded-word now would be decoded again
		}
		if again, _ := BaseSubject(base); again != base {
			t.Fatalf("%q: %q is no base subject: it gives %q", value, base, again)
		}
	})
}
