package transcript

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// echo answers each line with itself, and "both" in both sessions.
type echo struct {
	in  [Sessions + 1]string
	out [Sessions + 1]string
}

func (e *echo) Send(session int, p []byte) {
	e.in[session] += string(p)
	for {
		line, rest, ok := strings.Cut(e.in[session], "\n")
		if !ok {
			return
		}
		e.in[session] = rest
		e.out[session] += "got " + strings.TrimSuffix(line, "\r") + "\r\n"
		if strings.HasPrefix(line, "both") {
			e.out[3-session] += "heard\r\n"
		}
	}
}
func (e *echo) Event(words string) { e.out[1] += "event " + words + " \r\n+ " }
func (e *echo) Take(session int) []byte {
	out := e.out[session]
	e.out[session] = ""
	return []byte(out)
}
func (e *echo) Close() {}

const golden = `# a comment
given: nothing

C: a
C: b
S: got a
S: got b
C" "raw\x00\n"
S" "got raw\x00"
C2: both
S: heard
S2: got both
E: noon
S" "event noon "
S! "+ "
`

func TestPlay(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(golden, "\n"), "\n")
	byByte := func(p []byte, send func([]byte)) {
		for i := range p {
			send(p[i : i+1])
		}
	}
	got, err := play(lines, &echo{}, byByte)
	if err != nil || strings.Join(got, "\n")+"\n" != golden {
		t.Errorf("%v, got:\n%s", err, strings.Join(got, "\n"))
	}
	// A wrong line, a missing line and one too many are all seen.
	for _, wrong := range []string{
		strings.Replace(golden, "S: got a\n", "S: got x\n", 1),
		strings.Replace(golden, "S: got a\n", "", 1),
		strings.Replace(golden, "S2: got both\n", "S2: got both\nS2: more\n", 1),
	} {
		got, err := play(strings.Split(strings.TrimSuffix(wrong, "\n"), "\n"), &echo{}, byByte)
		if err != nil || strings.Join(got, "\n")+"\n" == wrong {
			t.Errorf("a wrong transcript passes: %v\n%s", err, wrong)
		}
	}
	if _, err := play([]string{"what is this"}, &echo{}, byByte); err == nil {
		t.Error("nonsense was taken")
	}
}

func TestUpdate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.txt")
	if err := os.WriteFile(path, []byte("C: a\nS: old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	*update = true
	defer func() { *update = false }()
	replay(t, path, func(*testing.T, []string) Peer { return &echo{} })
	if text, _ := os.ReadFile(path); string(text) != "C: a\nS: got a\n" {
		t.Errorf("%q", text)
	}
}

// Each variant replays all but what it leaves out, with its lines before the transcript's.
func TestRunIn(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, name+".txt"), []byte("given: "+name+"\nC: x\nS: got x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]int{}
	RunIn(t, filepath.Join(dir, "*.txt"), func(_ *testing.T, given []string) Peer {
		seen[strings.Join(given, " ")]++
		return &echo{}
	}, Variant{Name: "all", Given: []string{"v"}}, Variant{Name: "some", Given: []string{"w", "x"}, But: func(name string) bool { return name == "a" }})
	for given, n := range map[string]int{"a": 2, "b": 2, "v a": 2, "v b": 2, "w x b": 2} {
		if seen[given] != n {
			t.Errorf("%q was given %d times", given, seen[given])
		}
	}
	if len(seen) != 5 {
		t.Errorf("there was %v", seen)
	}
}
