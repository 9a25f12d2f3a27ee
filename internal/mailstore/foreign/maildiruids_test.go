package foreign

import (
	"fmt"
	"strings"
	"testing"

	"rookery/internal/vfs"
	"rookery/internal/vfs/memfs"
)

func lay(t *testing.T, disk vfs.FS, files map[string]string) {
	t.Helper()
	for path, text := range files {
		if err := vfs.MkdirAll(disk, path[:strings.LastIndexByte(path, '/')], 0o700); err != nil {
			t.Fatal(err)
		}
		f, err := disk.OpenFile(path, vfs.Write|vfs.Create, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}

// UIDs, keywords and subscriptions of Dovecot's and Courier's folders; messages come
// in the order of UIDs, those without one last.
func TestMaildirUIDs(t *testing.T) {
	for _, c := range []struct {
		what  string
		files map[string]string
		want  string
	}{
		{"Dovecot", map[string]string{"m/dovecot-uidlist": "3 V7 N40 Gx\n3 :c\n9 W4 S4 :a\nx :y\n9 :again\n12 :cut", "m/dovecot-keywords": "0 $K\n", "m/subscriptions": "A\nA.B\n"},
			"7 40 3c[] 9a[$K] 0b[] A A/B"},
		{"Courier", map[string]string{"m/courierimapuiddb": "1 8 5\n2 b\n4 a\n", "m/courierimapkeywords/:list": "one\ntwo\n\na:1 0 7\nb:0\n",
			"m/courierimapkeywords/b": "old\n", "m/courierimapkeywords/.2.b": "newest\nno keyword\n", "m/courierimapkeywords/.1.b": "newer\n", "m/courierimapsubscribed": "INBOX.A.B\n"},
			"8 5 2b[newest] 4a[two one] 0c[] A/B"},
		{"neither", map[string]string{"m/dovecot-uidlist": "noise\n"}, "0 0 0a[] 0b[] 0c[]"},
	} {
		disk := memfs.New(memfs.Options{})
		lay(t, disk, map[string]string{"m/cur/a:2,a": "x\n", "m/cur/b:2,": "x\n", "m/new/c": "x\n"})
		lay(t, disk, c.files)
		r, err := Open(disk, "m", "maildir")
		if err != nil {
			t.Fatal(err)
		}
		folders, err := r.Folders()
		if err != nil || len(folders) != 1 {
			t.Fatal(folders, err)
		}
		got := fmt.Sprint(folders[0].UIDValidity, folders[0].UIDNext)
		err = r.Read(folders[0], func(m *Message) error {
			base, _, _ := strings.Cut(m.Where[strings.LastIndexByte(m.Where, '/')+1:], ":")
			got += fmt.Sprintf(" %d%s%v", m.UID, base, m.Keywords)
			return m.Err
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []string{"A", "A/B"} {
			if r.(*maildirTree).subs[n] {
				got += " " + n
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

// Whatever a list has in it, UIDs ascend and none is above UIDNEXT.
func FuzzUIDList(f *testing.F) {
	f.Add("3 V7 N40\n3 :c\n9 W4 :a\n")
	f.Add("1 8 5\n2 b\n")
	f.Add("3 V1 N1\n4294967295 :x\n")
	f.Fuzz(func(t *testing.T, text string) {
		disk := memfs.New(memfs.Options{})
		lay(t, disk, map[string]string{"m/dovecot-uidlist": text})
		l := (&maildirTree{fs: disk, root: "m"}).uidlist("m")
		for name, uid := range l.of {
			if uid == 0 || uid >= l.next || name == "" || l.validity == 0 {
				t.Fatalf("%q: %q has %d of %+v", text, name, uid, l)
			}
		}
	})
}
