package places

import (
	"net/netip"
	"testing"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestOldestGoesFirst(t *testing.T) {
	tab := New(2, 0)
	a, b, c := &Entry{Client: "a"}, &Entry{Client: "b"}, &Entry{Client: "c"}
	tab.Add(a, ip("192.0.2.1"), false)
	if v, _ := tab.Add(b, ip("192.0.2.1"), false); v != Taken {
		t.Fatal(v)
	}
	if v, old := tab.Add(c, ip("192.0.2.1"), false); v != MustDrop || old != a || tab.Len() != 2 {
		t.Fatal(v, old)
	}
	tab.Remove(a) // it has none any more
	tab.Remove(b)
	if tab.Len() != 1 || tab.Oldest() != c || tab.Oldest() != nil {
		t.Fatal(tab.Len())
	}
}

func TestPerAddress(t *testing.T) {
	tab := New(100, 2)
	add := func(s string, exempt bool) (*Entry, Verdict) {
		e := &Entry{}
		v, _ := tab.Add(e, netip.MustParseAddr(s), exempt)
		return e, v
	}
	first, _ := add("2001:db8::1", false)
	add("2001:db8::ffff:1", false) // the same /64
	if _, v := add("2001:db8::2", false); v != TooMany {
		t.Error(v)
	}
	if _, v := add("2001:db8:0:1::2", false); v != Taken {
		t.Error("another /64:", v)
	}
	if _, v := add("2001:db8::2", true); v != Taken {
		t.Error("exempt:", v)
	}
	tab.Remove(first)
	if _, v := add("2001:db8::2", false); v != Taken {
		t.Error("after one left:", v)
	}
	add("192.0.2.1", false)
	add("::ffff:192.0.2.1", false)
	if _, v := add("192.0.2.1", false); v != TooMany {
		t.Error("IPv4 in IPv6 is the same address:", v)
	}
	for range 1000 { // Unix sockets have no address
		e := &Entry{}
		if v, _ := tab.Add(e, netip.Addr{}, false); v == TooMany {
			t.Fatal(v)
		}
	}
	var all []*Entry
	tab.Each(func(e *Entry) { all = append(all, e) })
	if len(all) != 100 {
		t.Error(len(all))
	}
	for _, e := range all {
		tab.Remove(e)
	}
	if tab.Len() != 0 || len(tab.byAddr) != 0 {
		t.Error("left:", tab.Len(), tab.byAddr)
	}
}
