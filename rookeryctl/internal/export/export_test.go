package export

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/mailstore/foreign"
	"rookery/internal/vfs"
)

// put exports one message in pieces.
func put(t *testing.T, w Writer, m Message, body string) {
	t.Helper()
	m.Size = int64(len(body))
	if err := w.Begin(m); err != nil {
		t.Fatal(err)
	}
	for body != "" {
		n := min(len(body), 1+rand.IntN(7))
		if _, err := io.WriteString(w, body[:n]); err != nil {
			t.Fatal(err)
		}
		body = body[n:]
	}
	if err := w.End(); err != nil {
		t.Fatal(err)
	}
}

var when = time.Unix(1700000000, 0)

func export(t *testing.T, format string, folders map[string][]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	w, err := New(dir, format)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for n := range folders {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		if err := w.Folder(n, true); err != nil {
			t.Fatal(err)
		}
		for i, body := range folders[n] {
			put(t, w, Message{UID: uint32(i + 1), Seen: i == 0, Answered: i == 1, Keywords: []string{"$k"}, InternalDate: when}, body)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// files lists a tree with the content of its files.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		out[rel] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEML(t *testing.T) {
	dir := export(t, "eml", map[string][]string{"A/b": {"x\r\ny\rz\r\n"}, "INBOX": {}})
	if got := files(t, dir); len(got) != 1 || got["A/b/00000001.eml"] != "x\r\ny\rz\r\n" {
		t.Errorf("%q", got)
	}
	if info, err := os.Stat(filepath.Join(dir, "A/b/00000001.eml")); err != nil || !info.ModTime().Equal(when) {
		t.Errorf("%v %v", info.ModTime(), err)
	}
	if _, err := os.Stat(filepath.Join(dir, "INBOX")); err != nil {
		t.Error(err)
	}
}

func TestMH(t *testing.T) {
	got := files(t, export(t, "mh", map[string][]string{"A": {"1\r\n", "2\r\r\n", "3\r\n", "4\r"}}))
	want := map[string]string{"A/1": "1\n", "A/2": "2\r\n", "A/3": "3\n", "A/4": "4\r", "A/.mh_sequences": "replied: 2\nunseen: 2-4\n"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q", got)
	}
}

// What was exported can be imported again.
func TestMaildir(t *testing.T) {
	dir := export(t, "maildir", map[string][]string{"INBOX": {"a\r\n"}, "Ärger/Sub": {"b\r\n", "c\r\n"}})
	fs, err := vfs.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	r, err := foreign.Open(fs, ".", "")
	if err != nil {
		t.Fatal(err)
	}
	folders, err := r.Folders()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range folders {
		r.Read(f, func(m *foreign.Message) error {
			body, _ := io.ReadAll(m.Body)
			got = append(got, fmt.Sprintf("%s|%t|%q|%d|%v|%d", f.Name, f.Subscribed, body, m.Flags, m.Keywords, m.InternalDate.Unix()))
			return nil
		})
	}
	want := []string{`|true|"a\r\n"|8|[$k]|1700000000`, `Ärger/Sub|true|"b\r\n"|8|[$k]|1700000000`, `Ärger/Sub|true|"c\r\n"|1|[$k]|1700000000`}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestMbox(t *testing.T) {
	got := files(t, export(t, "mbox", map[string][]string{"A": {"Subject: x\r\n\r\nFrom me\r\n>>From you\r\nFro\r\n From\r\n>x\r\nFrom", "y\r\n"}}))
	text := got["A.mbox"]
	for _, want := range []string{"From MAILER-DAEMON Tue Nov 14 22:13:20 2023\n", "\nSubject: x\n\n>From me\n>>>From you\nFro\n From\n>x\nFrom\n\nFrom MAILER-DAEMON", "X-UID: 1\n", "$k"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if strings.Contains(text, "\r") || !strings.HasSuffix(text, "y\n\n") {
		t.Errorf("%q", text)
	}
}

func TestMbx(t *testing.T) {
	text := files(t, export(t, "mbx", map[string][]string{"A": {"one\r\n", "two\r\n"}}))["A.mbx"]
	if !strings.HasPrefix(text, "*mbx*\r\n") || text[23:31] == "" || !strings.Contains(text[:2048], "\r\n$k\r\n") {
		t.Errorf("%q", text[:60])
	}
	want := "14-Nov-2023 22:13:20 +0000,5;000000010011-00000001\r\none\r\n14-Nov-2023 22:13:20 +0000,5;000000010018-00000002\r\ntwo\r\n"
	if text[2048:] != want {
		t.Errorf("%q, want %q", text[2048:], want)
	}
}

// Names that a hostile process sends lead nowhere but below the directory.
func TestHostileNames(t *testing.T) {
	names, _ := Formats()
	for _, format := range names {
		top := t.TempDir()
		dir := filepath.Join(top, "out")
		w, err := New(dir, format)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []string{"../escape", "/etc/escape", "a/../../escape", ".", "..", "\x00", "a\nb", strings.Repeat("x", 1000), "-rf", "\u202e", "\xff\xfe"} {
			if err := w.Folder(n, false); err == nil {
				put(t, w, Message{InternalDate: when}, "x\r\n")
			}
		}
		w.Close()
		in, err := os.ReadDir(top)
		if err != nil || len(in) != 1 {
			t.Errorf("%s: %v %v", format, in, err)
		}
		for name := range files(t, dir) {
			if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == '\u202e' }) {
				t.Errorf("%s: %q", format, name)
			}
		}
	}
}

func TestNewRefuses(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "x"), nil, 0o600)
	if _, err := New(dir, "eml"); err == nil {
		t.Error("a directory with files was taken")
	}
	if _, err := New(filepath.Join(dir, "y"), "nonsense"); err == nil {
		t.Error("an unknown format was taken")
	}
	if _, err := os.Stat(filepath.Join(dir, "y")); err == nil {
		t.Error("a directory was made for nothing")
	}
}
