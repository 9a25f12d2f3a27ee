package logs

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// alphabets that passwords are made of. A passwd-file has no colon in them.
var alphabets = []string{
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
	"%%%{}$sdnxv|user!",
	"\"'`\\ <>()[]&;#~",
	"äöüßéñčłøåœ漢字仮名мирЖλπΩ",
	"+/=-_.,*?@^|0aZ",
}

// password makes one of 16 characters.
func password(t *testing.T, alphabet string) string {
	letters := []rune(alphabet)
	for {
		word := make([]rune, 16)
		for i := range word {
			n, err := rand.Int(rand.Reader, big.NewInt(int64(len(letters))))
			if err != nil {
				t.Fatal(err)
			}
			word[i] = letters[n.Int64()]
		}
		// SASL and the passwd-file take spaces at the ends differently, and
		// "%{user}" by chance would be no password but a variable.
		if s := string(word); strings.TrimSpace(s) == s {
			return s
		}
	}
}

// forms are all the ways in which a secret could stand somewhere.
func forms(secret string) []string {
	quoted, _ := json.Marshal(secret)
	list := []string{secret, hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret))),
		url.QueryEscape(secret), url.PathEscape(secret), strings.Trim(strconv.Quote(secret), `"`), strings.Trim(strconv.QuoteToASCII(secret), `"`),
		strings.Trim(string(quoted), `"`), fmt.Sprintf("% x", secret), strings.Trim(fmt.Sprint([]byte(secret)), "[]")}
	for offset := range 3 {
		// The characters of base64 that depend on the secret alone.
		enc := base64.StdEncoding.EncodeToString(append(make([]byte, offset), secret...))
		from := []int{0, 2, 3}[offset]
		to := (offset + len(secret)) * 8 / 6
		list = append(list, enc[from:to], strings.NewReplacer("+", "-", "/", "_").Replace(enc[from:to]))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// secrets is everything that must stand nowhere, found by its first bytes.
type secrets struct {
	heads map[[headSize]byte][]needle
}

// headSize is shorter than every form of what is searched for.
const headSize = 8

type needle struct{ secret, form string }

func (s *secrets) add(more ...string) {
	if s.heads == nil {
		s.heads = map[[headSize]byte][]needle{}
	}
	for _, secret := range more {
		for _, form := range forms(secret) {
			head := [headSize]byte([]byte(form))
			s.heads[head] = append(s.heads[head], needle{secret, form})
		}
	}
}

// search gives the secrets that stand in data, in the words of what.
func (s *secrets) search(what string, data []byte) []string {
	var found []string
	for i := 0; i+headSize <= len(data); i++ {
		for _, n := range s.heads[[headSize]byte(data[i:])] {
			if bytes.HasPrefix(data[i:], []byte(n.form)) {
				found = append(found, fmt.Sprintf("%s holds %q (as %q): …%q…", what, n.secret, n.form, data[max(0, i-80):min(len(data), i+len(n.form)+40)]))
			}
		}
	}
	return found
}

// searchTree looks through all files below dir but those that skip names.
func (s *secrets) searchTree(t *testing.T, dir string, skip func(path string) bool) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || skip(path) {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil // gone meanwhile
		}
		s.report(t, s.search(path, data))
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func (s *secrets) report(t *testing.T, found []string) {
	t.Helper()
	for i, f := range found {
		if i == 5 {
			t.Errorf("… and %d more", len(found)-i)
			return
		}
		t.Error(f)
	}
}

// processes lists the server's, master first.
func processes(t *testing.T, root int) []int {
	t.Helper()
	list := []int{root}
	for i := 0; i < len(list); i++ {
		children, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", list[i]))
		for _, c := range children {
			for _, f := range strings.Fields(read(c)) {
				pid, err := strconv.Atoi(f)
				if err == nil && !slices.Contains(list, pid) {
					list = append(list, pid)
				}
			}
		}
	}
	return list
}

// asNobody gives everything that an unprivileged user can read of a process.
const asNobody = `cd /proc/%d || exit 0
for f in cmdline environ status maps smaps smaps_rollup numa_maps stat statm comm wchan stack syscall auxv io limits mountinfo mounts mountstats sched schedstat cgroup timers attr/current task/*/comm task/*/cmdline task/*/environ task/*/status fdinfo/*; do
	[ -r "$f" ] && { echo "== $f"; cat "$f"; }
done
ls -l . fd map_files cwd root exe task`

// searchProc looks at the server's processes with a stranger's eyes.
func (s *secrets) searchProc(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf(asNobody, pid))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, _ := cmd.CombinedOutput()
		if !bytes.Contains(out, []byte("== status")) && bytes.Contains(out, []byte("== cmdline")) {
			t.Errorf("process %d: only %q could be read", pid, out)
		}
		if bytes.Contains(out, []byte("== environ")) {
			t.Errorf("process %d: its environment is open to nobody", pid)
		}
		s.report(t, s.search(fmt.Sprintf("/proc/%d", pid), out))
		// The server's own names of itself, with root's eyes.
		for _, f := range []string{"cmdline", "environ", "status", "maps", "comm"} {
			s.report(t, s.search(fmt.Sprintf("/proc/%d/%s", pid, f), []byte(read(fmt.Sprintf("/proc/%d/%s", pid, f)))))
		}
		if limits := read(fmt.Sprintf("/proc/%d/limits", pid)); limits != "" && !noCore(limits) {
			t.Errorf("process %d may dump core:\n%s", pid, limits)
		}
	}
}

// noCore tells by /proc/PID/limits whether the soft limit of core files is 0.
func noCore(limits string) bool {
	for _, line := range strings.Split(limits, "\n") {
		if rest, ok := strings.CutPrefix(line, "Max core file size"); ok {
			return strings.Fields(rest)[0] == "0"
		}
	}
	return false
}

// The search finds what it is for, in each of its forms.
func TestSearchFinds(t *testing.T) {
	for _, alphabet := range alphabets {
		word := password(t, alphabet)
		s := &secrets{}
		s.add(word, password(t, alphabet))
		texts := []string{word, hex.EncodeToString([]byte(word)), fmt.Sprintf("%X", word), fmt.Sprintf("%q", word), fmt.Sprintf("%+q", word),
			url.QueryEscape(word), url.PathEscape(word), fmt.Sprint([]byte(word)), fmt.Sprintf("% x", word)}
		for _, blob := range []string{"\x00u1\x00", "\x00u1@x\x00", "\x00abc\x00", ""} {
			texts = append(texts, b64(blob+word), b64(blob+word+"\r\n"), base64.RawURLEncoding.EncodeToString([]byte(blob+word)))
		}
		if quoted, err := json.Marshal(word); err == nil {
			texts = append(texts, string(quoted))
		}
		for _, text := range texts {
			if len(s.search("text", []byte("before "+text+" after"))) == 0 {
				t.Errorf("%q is not found in %q", word, text)
			}
		}
		if got := s.search("text", []byte(word[1:]+" "+word[:15])); len(got) > 0 && len(word) == 16 {
			t.Errorf("half of %q is found: %q", word, got)
		}
	}
}
