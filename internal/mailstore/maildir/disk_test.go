package maildir

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"rookery/internal/mailstore/index"
	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

func TestState(t *testing.T) {
	st := state{dir: "mail/.a", boot: 7, uids: fileStamp{1, 2, 3}, read: 2, records: 5, dropped: 6, keyf: fileStamp{4, 5, 6}, moref: fileStamp{7, 8, 9},
		moreN: 10, moreAt: 11, inNew: 12, lowNew: 13}
	st.cur = dirState{known: fileStamp{21, 22, 23}, stale: true, took: 99}
	st.new = dirState{known: fileStamp{31, 32, 33}, doubt: true, took: 99}
	b := st.append(nil)
	if got, ok := parseState(b); !ok || got != st {
		t.Fatalf("%+v, want %+v", got, st)
	}
	st.dir = strings.Repeat("x", 2000)
	if n := len(st.append(nil)); n != index.MaxState {
		t.Fatal(n)
	}
	if _, ok := parseState(b[:stateSize-1]); ok {
		t.Fatal("half a state")
	}
}

func FuzzState(f *testing.F) {
	f.Add(state{dir: "a"}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if st, ok := parseState(b); ok {
			if again, ok := parseState(st.append(nil)); !ok || len(st.dir) <= index.MaxState-stateSize && again != st && st.cur.took == st.new.took {
				t.Fatalf("%+v, %+v", st, again)
			}
		}
	})
}

func TestLoc(t *testing.T) {
	for _, c := range []struct {
		base, ext, info string
		odd             bool
	}{{"a", "", "", false}, {"a", "W1 Gx", "", false}, {"a", "", "", true}, {"a,S=1", "T5", ":2,ZZ", true}} {
		base, ext, info := splitLoc(joinLoc(c.base, c.ext, c.info, c.odd))
		if base != c.base || ext != c.ext || info != c.info {
			t.Errorf("%+v: %q %q %q", c, base, ext, info)
		}
	}
	long := joinLoc(strings.Repeat("b", 255), "X"+strings.Repeat("y", 3000)+" Gg W5", "", false)
	if base, ext, _ := splitLoc(long); len(long) > index.MaxLoc || len(base) != 255 || ext != "Gg W5" {
		t.Fatal(len(long), ext)
	}
}

func TestFlagged(t *testing.T) {
	list := []flagged{{1, "n", ":2,S", nil, false}, {9, "c:2,S", ":2,", nil, true}, {7, "c", ":2,", []uint16{26, 300}, true}}
	var b []byte
	for _, f := range list {
		b = f.append(b)
	}
	if got := parseFlagged(b); !reflect.DeepEqual(got, list) {
		t.Fatalf("%+v", got)
	}
	for i := range b { // a cut one gives what is whole
		if got := parseFlagged(b[:i]); len(got) >= len(list) {
			t.Fatal(i)
		}
	}
}

func FuzzFlagged(f *testing.F) {
	f.Add(flagged{1, "n", ":2,S", []uint16{26}, true}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var out []byte
		for _, x := range parseFlagged(b) {
			out = x.append(out)
		}
		if len(out) > len(b) || !slices.Equal(out, b[:len(out)]) {
			t.Fatalf("%x, %x", b, out)
		}
	})
}

// A search in the uidlist finds what is in it, and nothing else, also among
// damaged lines.
func TestSeek(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		list := "3 V1 N9 Gabc\n"
		names := map[uint32]string{}
		uid := uint32(0)
		for range rnd.IntN(3000) {
			uid += 1 + uint32(rnd.IntN(5))
			base := fmt.Sprintf("%d.%s", rnd.Uint32(), strings.Repeat("x", rnd.IntN(120)))
			if seed > 10 && rnd.IntN(50) == 0 {
				list += fmt.Sprintf("%d :%s\n", rnd.IntN(9), base) // out of order: does not count
				continue
			}
			names[uid] = base
			list += fmt.Sprintf("%d W%d :%s\n", uid, rnd.IntN(1e6), base)
		}
		disk := memfs.New(memfs.Options{})
		f, err := disk.OpenFile("l", vfs.Read|vfs.Write|vfs.Create, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte(list))
		parsed, err := parseUIDList([]byte(list))
		if err != nil {
			t.Fatal(err)
		}
		want := map[uint32]string{}
		for _, r := range parsed.recs {
			want[r.uid] = r.base
		}
		for range 200 {
			k := &seeker{f: f, size: int64(len(list))}
			for range 3 {
				u := uint32(rnd.IntN(int(uid) + 3))
				if same, err := k.is(u, names[u]); err != nil || same != (names[u] != "" && want[u] == names[u]) {
					t.Fatalf("seed %d: UID %d: %v %v, named %q", seed, u, same, err, want[u])
				}
				if same, err := k.is(u, "other"); err != nil || same {
					t.Fatal(u, err)
				}
			}
		}
		f.Close()
	}
}
