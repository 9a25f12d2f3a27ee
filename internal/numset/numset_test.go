package numset

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

const top = 1<<32 - 1

func TestParse(t *testing.T) {
	tests := []struct {
		in   string
		want string // of String
		err  error
	}{
		{"1", "1", nil},
		{"*", "*", nil},
		{"5:2", "5:2", nil},
		{"2,4:7,9,12:*", "2,4:7,9,12:*", nil},
		{"*:*", "*", nil},
		{"4294967295", "4294967295", nil},
		{"4294967296", "", ErrTooLarge},
		{"99999999999999999999999", "", ErrTooLarge},
		{"0", "", ErrZero},
		{"01", "", ErrZero},
		{"1:0", "", ErrZero},
		{"", "", ErrSyntax},
		{"1,", "", ErrSyntax},
		{",1", "", ErrSyntax},
		{"1:", "", ErrSyntax},
		{"1:2:3", "", ErrSyntax},
		{"1 ", "", ErrSyntax},
		{"a", "", ErrSyntax},
		{"-1", "", ErrSyntax},
		{"**", "", ErrSyntax},
		{"1,2,3,4,5", "1,2,3,4,5", nil},
		{"1,2,3,4,5,6", "", ErrTooMany},
	}
	for _, test := range tests {
		got, err := Parse([]byte(test.in), 5)
		if !errors.Is(err, test.err) || got.String() != test.want {
			t.Errorf("Parse(%q) = %q, %v; want %q, %v", test.in, got, err, test.want, test.err)
		}
	}
}

func TestResolve(t *testing.T) {
	tests := []struct {
		in   string
		star uint32
		want string
	}{
		{"*", 7, "7"},
		{"*", 0, ""},
		{"1:*", 0, ""},
		{"3,1:*", 0, "3"},
		{"999:*", 7, "7:999"},
		{"*:5", 7, "5:7"},
		{"5:2", 7, "2:5"},
		{"1,2,3,5,4", 9, "1:5"},
		{"9,1:3,2:4", 9, "1:4,9"},
		{"4294967295,1", 9, "1,4294967295"},
		{"4294967294:4294967295,4294967295", 9, "4294967294:4294967295"},
		{"4294967295:*", 9, "9:4294967295"}, {"$", 9, ""}, {"3,$", 9, "3"}, {"4294967295:*,$,2", 9, "2,9:4294967295"},
	}
	for _, test := range tests {
		e, err := Parse([]byte(test.in), 10)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Resolve(test.star).String(); got != test.want {
			t.Errorf("%q with * = %d: %q, want %q", test.in, test.star, got, test.want)
		}
	}
}

func TestSaved(t *testing.T) {
	for in, want := range map[string]string{"$": "$", "1,$": "1,$", "1,$,3:*": "1,$,3:*", "4294967295:*": "*:4294967295",
		"$,1": "!", "$$": "!", "1,$,": "!", "1:$": "!", "$:1": "!", "1,$2": "!"} {
		e, err := Parse([]byte(in), 10)
		got := e.String()
		if err != nil {
			got = "!"
		}
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if has := strings.Contains(want, "$"); e.HasSaved() != has || e.HasStar() != (has || strings.Contains(want, "*")) {
			t.Errorf("%q: saved %t, star %t", in, e.HasSaved(), e.HasStar())
		}
	}
	if e := (Expr{{3, 4}, saved}); e.Highest() != 4 || Saved().String() != "$" || Saved().Highest() != 0 {
		t.Errorf("%v: highest %d", e, e.Highest())
	}
}

// model is the plainest set there is.
type model map[uint32]bool

func (m model) set() Set {
	var s Set
	for n := uint32(1); n < 64; n++ {
		if m[n] {
			s.Add(n)
		}
	}
	return s
}

func TestAgainstModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := 0; round < 2000; round++ {
		a, b := model{}, model{}
		var sa, sb Set
		for i := 0; i < 8; i++ {
			for _, x := range []struct {
				m model
				s *Set
			}{{a, &sa}, {b, &sb}} {
				first := uint32(rng.IntN(40))
				last := first + uint32(rng.IntN(6))
				x.s.AddRange(first, last)
				if first == 0 {
					continue
				}
				for n := first; n <= last; n++ {
					x.m[n] = true
				}
			}
		}
		union, inter, minus := model{}, model{}, model{}
		for n := uint32(1); n < 64; n++ {
			union[n] = a[n] || b[n]
			inter[n] = a[n] && b[n]
			minus[n] = a[n] && !b[n]
			if sa.Contains(n) != a[n] {
				t.Fatalf("%v.Contains(%d) = %v", sa, n, sa.Contains(n))
			}
		}
		check := func(op string, got Set, want model) {
			if !got.Equal(want.set()) {
				t.Fatalf("%s of %v and %v = %v, want %v", op, sa, sb, got, want.set())
			}
		}
		check("first", sa, a)
		check("union", sa.Union(sb), union)
		check("intersection", sa.Intersect(sb), inter)
		check("difference", sa.Minus(sb), minus)
	}
}

func TestEdges(t *testing.T) {
	if s := Of(3, 0, 1, 2); s.String() != "1:3" || s.Len() != 3 || s.Min() != 1 || s.Max() != 3 {
		t.Errorf("Of = %v", s)
	}
	if Of().Contains(0) || Of(1).Contains(0) {
		t.Error("zero is in a set")
	}
	if s := Span(1, top); s.Len() != top || !s.Contains(top) || s.String() != "1:4294967295" {
		t.Errorf("Span = %v", s)
	}
	if s := Span(5, 4); !s.Empty() {
		t.Errorf("reversed span = %v", s)
	}
	if s := Span(top, top); s.Minus(Of(1)).String() != "4294967295" || !s.Minus(Span(1, top)).Empty() {
		t.Error("difference at the top is wrong")
	}
	var walked []uint32
	for n := range FromSorted([]uint32{1, 1, 2, 9, top - 1, top}).All() {
		walked = append(walked, n)
	}
	if len(walked) != 5 || walked[4] != top {
		t.Errorf("walk = %v", walked)
	}
	s := Of(1, 3)
	c := s.Clone()
	c.AddRange(1, 9)
	if s.String() != "1,3" {
		t.Errorf("the clone shares memory: %v", s)
	}
	for n := range Of(1, 2, 3).All() {
		if n == 2 {
			break
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"1", "1:*", "*:4,2", "5:2,4294967295", "0", ",", "1::2", "$", "1,$,4294967295:*"} {
		f.Add([]byte(seed), uint32(10))
	}
	f.Fuzz(func(t *testing.T, p []byte, star uint32) {
		e, err := Parse(p, 64)
		if err != nil {
			return
		}
		again, err := Parse(e.AppendTo(nil), 64)
		if err != nil || again.String() != e.String() {
			t.Fatalf("%q: written again %q, %v", p, again, err)
		}
		s := e.Resolve(star)
		if s.Empty() {
			return
		}
		canonical, err := Parse(s.AppendTo(nil), 64)
		if err != nil || !canonical.Resolve(0).Equal(s) {
			t.Fatalf("%q: canonical form %q does not read back: %v", p, s, err)
		}
		for i, r := range s.Ranges() {
			if r.First == 0 || r.First > r.Last || i > 0 && r.First <= s.Ranges()[i-1].Last+1 {
				t.Fatalf("%q: not canonical: %v", p, s)
			}
		}
	})
}

func TestAt(t *testing.T) {
	s := Of(3, 4, 5, 9, 1<<32-1)
	for pos, want := range []uint32{3, 4, 5, 9, 1<<32 - 1} {
		if n, ok := s.At(uint64(pos)); n != want || !ok {
			t.Errorf("at %d: %d, %t", pos, n, ok)
		}
	}
	if n, ok := s.At(5); ok {
		t.Errorf("beyond the end: %d", n)
	}
	if n, ok := Span(1, 1<<32-1).At(1<<32 - 2); n != 1<<32-1 || !ok {
		t.Errorf("the last of all: %d, %t", n, ok)
	}
}

func TestFromRanges(t *testing.T) {
	s := Of(1, 2, 5, 9)
	if part := FromRanges(s.Ranges()[1:]); part.String() != "5,9" {
		t.Errorf("%v of %v", part, s)
	}
}
