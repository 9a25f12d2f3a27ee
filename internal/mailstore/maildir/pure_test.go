package maildir

import (
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/mailstore"
)

func TestFileNames(t *testing.T) {
	for _, c := range []struct{ name, base, info, canonical string }{
		{"a", "a", "", ":2,"},
		{"a:2,", "a", ":2,", ":2,"},
		{"a,S=1:2,TFS", "a,S=1", ":2,TFS", ":2,FST"},
		{"a:2,PzaD", "a", ":2,PzaD", ":2,DPaz"},
		{"a:2,SX1S", "a", ":2,SX1S", ":2,1SX"},
		{"a:2,S,x=y:z", "a", ":2,S,x=y:z", ":2,S,x=y:z"},
		{"a:1,S", "a", ":1,S", ":2,"},
		{"a:", "a", ":", ":2,"},
	} {
		base, info := splitName(c.name)
		if base != c.base || info != c.info || parseInfo(info).info() != c.canonical {
			t.Errorf("%q: %q %q %q", c.name, base, info, parseInfo(info).info())
		}
	}
	f := parseInfo(":2,DFPRSTac")
	if f.sys != mailstore.AllFlags || !f.forwarded || f.letters != 5 {
		t.Fatalf("%+v", f)
	}
}

func TestSizesInNames(t *testing.T) {
	for _, c := range []struct {
		base string
		p, v int64
	}{
		{"a", -1, -1}, {"a,S=12", 12, -1}, {"a,S=12,W=13", 12, 13}, {"a,W=5,x,S=4", 4, 5}, {"a,S=", -1, -1},
		{"a,S=-1", -1, -1}, {"a,S=1x", -1, -1}, {"a,S=99999999999999999999", -1, -1}, {"S=3", -1, -1}, {"a,S=+3", -1, -1},
	} {
		if p, v := nameSizes(c.base); p != c.p || v != c.v {
			t.Errorf("%q: %d %d", c.base, p, v)
		}
	}
	if got := withSizes("a,S=1,C=2,W=3,k", 7, 8); got != "a,S=7,W=8,C=2,k" {
		t.Fatal(got)
	}
}

func TestNames(t *testing.T) {
	n := newNameMaker("a/b:c,d e", 255)
	a, b := n.next(time.Unix(10, 5000)), n.next(time.Unix(10, 5000))
	if a != `10.M5R00000000000000ffQ1.a\057b\072c\054d_e` || a == b {
		t.Fatal(a, b)
	}
	if _, ok := nameSum(a); ok {
		t.Fatal("no sum")
	}
	if sum, ok := nameSum(withSum(withSizes(a, 1, 2), 0xAB)); !ok || sum != 0xAB {
		t.Fatal(sum, ok)
	}
	if _, ok := nameSum("10.M5P1.host,C=000000ab"); ok {
		t.Fatal("not a name of ours")
	}
}

func TestLetters(t *testing.T) {
	got := parseLetters("0 a\n2 c\n1 A\n25 z\n26 no\nx y\n3 with space\n-1 q\n2 again\n")
	if got[0] != "a" || got[1] != "" || got[2] != "c" || got[25] != "z" || got[3] != "" {
		t.Fatalf("%q", got)
	}
	if text := string(formatLetters(got)); text != "0 a\n2 c\n25 z\n" {
		t.Fatalf("%q", text)
	}
}

func TestMoreKeywords(t *testing.T) {
	data := moreLine(nil, "V 77")
	data = moreLine(data, "K 26 first")
	data = moreLine(data, "K 27 second")
	data = moreUser(data, 5, "five", []uint16{27, 26})
	data = moreUser(data, 6, "six", []uint16{26})
	data = moreUser(data, 6, "six", nil)
	data = append(data, "00000000 U 7 26\ngarbage\n\x00\x00\x00\n"...)
	data = moreUser(data, 8, "eight,S=5", []uint16{26, 99})
	m := parseMore(string(data))
	if m.validity != 77 || !slices.Equal(m.names, []string{"first", "second"}) || len(m.uids) != 2 ||
		!slices.Equal(m.of(5, "five"), []uint16{26, 27}) || !slices.Equal(m.of(8, "eight,S=5,W=6"), []uint16{26}) || m.of(8, "another") != nil {
		t.Fatalf("%+v", m)
	}
	// A torn line is no line, wherever it is cut.
	for i := range data {
		if got := parseMore(string(data[:i]) + "\n"); len(got.of(5, "five")) == 1 {
			t.Fatalf("cut at %d: half a set", i)
		}
	}
}

func TestExtKeys(t *testing.T) {
	ext := "W12 Gabc Qx"
	if v, ok := extKey(ext, 'G'); !ok || v != "abc" {
		t.Fatal(v)
	}
	if _, ok := extKey(ext, 'S'); ok {
		t.Fatal("S")
	}
	if got := extSet(ext, 'G', "d"); got != "W12 Qx Gd" {
		t.Fatal(got)
	}
	if got := extSet("", 'T', "1"); got != "T1" {
		t.Fatal(got)
	}
}

func FuzzUIDList(f *testing.F) {
	f.Add([]byte("3 V1 N5 Gabc Xy\n1 W2 :a:2,S\n2 :b\n"))
	f.Add([]byte("1 5 9\n3 a.b\n4 c:2,S\n"))
	f.Add([]byte("3 V4294967295 N4294967295\n4294967295 :x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := parseUIDList(data)
		if err != nil {
			return
		}
		if l.size > int64(len(data)) || l.hdr.validity == 0 {
			t.Fatal(l.size, l.hdr)
		}
		last := uint32(0)
		out := l.hdr.append(nil)
		for _, r := range l.recs {
			if r.uid <= last || r.uid >= l.hdr.next && l.hdr.next != 0 {
				t.Fatalf("%+v after %d, next %d", r, last, l.hdr.next)
			}
			last = r.uid
			out = r.append(out)
		}
		if l.hdr.next == 0 {
			return
		}
		again, err := parseUIDList(out)
		if err != nil || again.damaged != 0 || !slices.Equal(again.recs, l.recs) || again.hdr != l.hdr {
			t.Fatalf("%v\n%q\n%q\n%+v\n%+v", err, data, out, l, again)
		}
	})
}

func FuzzFileName(f *testing.F) {
	f.Add("1.M1P1.h,S=5,W=6:2,FSab,x")
	f.Add("a:2,ZZSSz,,")
	f.Fuzz(func(t *testing.T, name string) {
		base, info := splitName(name)
		if base+info != name {
			t.Fatal("bytes lost")
		}
		nf := parseInfo(info)
		again := parseInfo(nf.info())
		if again != nf && nf.info() != again.info() || again.sys != nf.sys || again.letters != nf.letters || again.forwarded != nf.forwarded || again.tail != nf.tail {
			t.Fatalf("%q: %+v, %+v", name, nf, again)
		}
		if p, v := nameSizes(base); p < -1 || v < -1 {
			t.Fatal(p, v)
		}
		if p, v := nameSizes(withSizes(base, 3, 4)); p != 3 || v != 4 {
			t.Fatalf("%q: %d %d", base, p, v)
		}
		nameSum(base)
		goodFile(name)
	})
}

func FuzzKeywords(f *testing.F) {
	f.Add("0 a\n1 b\n", "V 1")
	f.Add("25 $Forwarded\r\n", "U 5 26,27")
	f.Add("", "K 26 x")
	f.Fuzz(func(t *testing.T, letters, more string) {
		l := parseLetters(letters)
		if again := parseLetters(string(formatLetters(l))); again != l {
			t.Fatalf("%q: %q, %q", letters, l, again)
		}
		for _, text := range []string{more, string(moreLine(nil, "K 26 x")) + string(moreLine(nil, strings.ReplaceAll(more, "\n", "")))} {
			m := parseMore(text)
			if len(m.names) > maxKeywords {
				t.Fatal("too many names")
			}
			for u, set := range m.uids {
				list := set.list
				if u == 0 || len(list) == 0 || !slices.IsSorted(list) || int(list[len(list)-1]) >= letterCount+len(m.names) {
					t.Fatal(u, list)
				}
			}
			k := newKeywordTable()
			k.setNames(l, m.names)
			for _, set := range m.uids {
				k.list(nameFlags{letters: 1<<26 - 1, forwarded: true}, set.list)
			}
		}
	})
}
