package relocated

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// What was put is there for the next master; what leads nowhere is forgotten.
func TestTable(t *testing.T) {
	dir := t.TempDir()
	open := func() *Table {
		t.Helper()
		tab, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		return tab
	}
	tab := open()
	ann := Move{"ann", "/home/ann/Maildir", "/disk2/ann", "/home/ann/Maildir"}
	odd := Move{"o\"d d\n", "/a b", "/c\td", ""}
	for _, m := range []Move{odd, ann} {
		if err := tab.Put(m); err != nil {
			t.Fatal(err)
		}
	}
	if got := open().All(); !reflect.DeepEqual(got, []Move{ann, odd}) {
		t.Errorf("%+v", got)
	}
	if m, ok := open().Find("ann"); !ok || m != ann {
		t.Error(m, ok)
	}
	// Moved back, not freed yet; then freed.
	back := Move{"ann", "/home/ann/Maildir", "/home/ann/Maildir", "/disk2/ann"}
	if err := tab.Put(back); err != nil {
		t.Fatal(err)
	}
	if m, _ := open().Find("ann"); m != back {
		t.Error(m)
	}
	back.Old = ""
	if err := tab.Put(back); err != nil {
		t.Fatal(err)
	}
	if _, ok := open().Find("ann"); ok {
		t.Error("a move to where the settings lead is kept")
	}
	if err := tab.Forget(odd.User); err != nil || len(open().All()) != 0 {
		t.Error(err, open().All())
	}
	info, err := os.Stat(filepath.Join(dir, Name))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	for _, m := range []Move{{"u", "rel", "/b", ""}, {"u", "/a", "/b/../c", ""}, {"u", "/a", "/", ""}, {"", "/a", "/b", ""}, {"u", "/a", "/b", "/b"}, {"u", "/a", "/b", "x"}} {
		if err := tab.Put(m); err == nil {
			t.Errorf("%+v was kept", m)
		}
	}
}

// A file that is not whole is an error, never an empty list.
func TestDamaged(t *testing.T) {
	good := string(encode(map[string]Move{"a": {"a", "/a", "/b", ""}, "b": {"b", "/x", "/y", "/x"}}))
	if m, err := decode([]byte(good)); err != nil || len(m) != 2 {
		t.Fatal(m, err)
	}
	for n := range len(good) {
		if _, err := decode([]byte(good[:n])); err == nil {
			t.Errorf("the first %d octets were taken for the whole", n)
		}
	}
	dir := t.TempDir()
	for _, bad := range []string{"", "rookery-relocated 2\nend 0\n", magic + "\nend 1\n", good + "x", magic + "\n\"a\" \"/a\" \"/b\"\nend 1\n", magic + "\n\"a\" \"/a\" \"/b\" \"\" x\nend 1\n",
		magic + "\n\"a\" \"/a\" \"/b\" \"\"\n\"a\" \"/a\" \"/c\" \"\"\nend 2\n"} {
		if err := os.WriteFile(filepath.Join(dir, Name), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(map[string]Move{"a": {"a", "/a", "/b", ""}, "b": {"b", "/x", "/y", "/x"}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		moves, err := decode(data)
		if err != nil {
			return
		}
		again, err := decode(encode(moves))
		if err != nil || !reflect.DeepEqual(again, moves) {
			t.Errorf("%v %v %v", moves, again, err)
		}
	})
}
