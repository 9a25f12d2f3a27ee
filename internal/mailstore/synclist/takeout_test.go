package synclist

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// testTime bounds one run of one test.
const testTime = 10 * time.Minute

// bench builds and runs the packages' tests with every call behind a switch.
type bench struct {
	t       *testing.T
	dir     string // of what is built
	overlay string
	built   map[string]string // package → test binary
	made    map[string]string // test → the calls that it makes, one on each line
}

func newBench(t *testing.T, calls []call) *bench {
	b := &bench{t: t, dir: t.TempDir(), built: map[string]string{}, made: map[string]string{}}
	replace := map[string]string{}
	put := func(path string, text []byte) {
		abs, err := filepath.Abs(place(path))
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(b.dir, strings.ReplaceAll(path, "/", "-"))
		if err := os.WriteFile(to, text, 0o600); err != nil {
			t.Fatal(err)
		}
		replace[abs] = to
	}
	for name, list := range byFile(calls) {
		src, err := os.ReadFile(place(name))
		if err != nil {
			t.Fatal(err)
		}
		put(name, switched(src, list))
		pkg := list[0].pkg()
		put(pkg+"/zz_syncout.go", fmt.Appendf(nil, switchFile, packageName(src)))
	}
	js, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	b.overlay = filepath.Join(b.dir, "overlay.json")
	if err := os.WriteFile(b.overlay, js, 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

func byFile(calls []call) map[string][]call {
	out := map[string][]call{}
	for _, c := range calls {
		out[c.file] = append(out[c.file], c)
	}
	return out
}

var packageLine = regexp.MustCompile(`(?m)^package (\w+)`)

func packageName(src []byte) string { return string(packageLine.FindSubmatch(src)[1]) }

// binary builds a package's tests, once.
func (b *bench) binary(pkg string) string {
	if out, ok := b.built[pkg]; ok {
		return out
	}
	out := filepath.Join(b.dir, strings.ReplaceAll(pkg, "/", "-")+".test")
	cmd := exec.Command("go", "test", "-c", "-overlay", b.overlay, "-o", out, "./"+pkg)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("build the tests of %s: %v\n%s", pkg, err, text)
	}
	b.built[pkg] = out
	return out
}

// run runs "package Test/Case" with one call out ("": none) and tells whether it
// passed. seen, if not "", is a file that gets the calls that were made.
func (b *bench) run(test, out, seen string) (passed bool, text string) {
	pkg, name, _ := strings.Cut(test, " ")
	var pattern []string
	for part := range strings.SplitSeq(name, "/") {
		pattern = append(pattern, "^"+part+"$")
	}
	cmd := exec.Command(b.binary(pkg), "-test.run", strings.Join(pattern, "/"), "-test.failfast", "-test.v", "-test.timeout", testTime.String())
	cmd.Dir = filepath.Join(root, pkg)
	cmd.Env = append(os.Environ(), "ROOKERY_SYNC_OUT="+out, "ROOKERY_SYNC_SEEN="+seen, "ROOKERY_SOAK=")
	var buf bytes.Buffer
	cmd.Stdout, cmd.Stderr = &buf, &buf
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		b.t.Fatalf("%s: %v", test, err)
	}
	text = buf.String()
	if !strings.Contains(text, "=== RUN") {
		b.t.Fatalf("%s: there is no such test", test)
	}
	return err == nil, text[max(0, len(text)-4000):]
}

// fails runs a test without a call: whether the test makes the call, and fails.
func (b *bench) fails(test, id string) (makes, fails bool) {
	if makes = b.makes(test, id); !makes {
		return false, false
	}
	began := time.Now()
	passed, _ := b.run(test, id, "")
	b.t.Logf("%s without %s: %v, fails: %v", test, id, time.Since(began).Round(time.Millisecond), !passed)
	return true, !passed
}

// makes reports whether a test makes a call; it is run once, with all calls.
func (b *bench) makes(test, id string) bool {
	list, ok := b.made[test]
	if !ok {
		seen := filepath.Join(b.dir, "seen")
		_ = os.Remove(seen)
		if passed, text := b.run(test, "", seen); !passed {
			b.t.Fatalf("%s fails with all calls:\n%s", test, text)
		}
		read, _ := os.ReadFile(seen)
		list = "\n" + string(read) + "\n"
		b.made[test] = list
	}
	return strings.Contains(list, "\n"+id+"\n")
}

// TestTakenOut takes out each call in turn: the test of its row must fail.
// Without more it tries one; ROOKERY_SOAK or ROOKERY_SYNCS=check takes all.
// ROOKERY_SYNCS=find looks for a test where the row names none that fails, and
// writes the table. ROOKERY_SYNCS_ONLY=TEXT takes the calls whose id has the text.
func TestTakenOut(t *testing.T) {
	mode, only := os.Getenv("ROOKERY_SYNCS"), os.Getenv("ROOKERY_SYNCS_ONLY")
	if mode == "" && os.Getenv("ROOKERY_SOAK") == "" {
		only = "journal/write.go Journal.writeVoid" // its test takes a moment
		if testing.Short() {
			t.Skip("builds a package's tests anew")
		}
	}
	calls, err := allCalls()
	if err != nil {
		t.Fatal(err)
	}
	head, rows, err := readTable()
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, calls)
	next := make([]row, 0, len(calls))
	for _, c := range calls {
		r := row{id: c.id()}
		if i := slices.IndexFunc(rows, func(r row) bool { return r.id == c.id() }); i >= 0 {
			r = rows[i]
		}
		r.text = c.oneLine()
		if strings.Contains(c.id(), only) {
			b.check(c, &r, mode == "find")
		}
		next = append(next, r)
		if mode == "find" { // a long run that is ended keeps what it has found
			if err := writeTable(head, append(slices.Clone(next), rest(rows, calls, len(next))...)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// rest gives the old rows of the calls from n on.
func rest(rows []row, calls []call, n int) (out []row) {
	for _, c := range calls[n:] {
		if i := slices.IndexFunc(rows, func(r row) bool { return r.id == c.id() }); i >= 0 {
			out = append(out, rows[i])
		}
	}
	return out
}

// check runs a row's test without its call; with find, others if that passes. A
// row without a test says so, and why, and is left alone but by find.
func (b *bench) check(c call, r *row, find bool) {
	if r.test != "" {
		makes, fails := b.fails(r.test, c.id())
		if makes && fails {
			return
		}
		if !find {
			b.t.Errorf("%s (%s): %s makes it: %v, fails without it: %v", c.id(), c.oneLine(), r.test, makes, fails)
			return
		}
	}
	if !find {
		return
	}
	r.test = ""
	for _, test := range candidates[c.pkg()] {
		if makes, fails := b.fails(test, c.id()); makes && fails {
			r.test = test
			return
		}
	}
	b.t.Errorf("%s (%s): no test misses it", c.id(), c.oneLine())
}

// candidates are tests that may miss a package's calls, quick ones first: the
// histories of TestSyncs, which are made for it, and then what tries everything.
var candidates = map[string][]string{
	"vfs":     {"maildir TestStore/PowerCut", "maildir TestStore/Whole", "mbox TestPowerCuts", "held TestCutAfterEach", "pack TestCheckpointPowerCut", "pack TestStore/PowerCut", "mbox TestStore/PowerCut", "maildir TestStoreSplit/AllApart/PowerCut"},
	"control": {"maildir TestStore/PowerCut", "mbox TestStore/PowerCut", "pack TestStore/PowerCut", "maildir TestStoreSplit/AllApart/PowerCut"},
	"engine":  {"mbox TestPowerCuts", "maildir TestStore/PowerCut", "pack TestStore/PowerCut", "mbox TestStore/PowerCut"},
	"held":    {"held TestSyncsOfRewrite", "held TestCutAfterEach", "held TestCutDelete", "held TestCompact", "held TestTornTail"},
	"index":   {"index TestSyncsOfSnapshots", "index TestSyncsOfModseqs", "index TestSyncsOfARaisedCeiling", "index TestSyncsOfAStaleRecord", "index TestPowerCut", "index TestCleanEnd", "index TestKill", "index TestErrorsOfTheDisk", "maildir TestStore/PowerCut"},
	"journal": {"journal TestPowerCuts", "journal TestPowerCutsInRecovery", "journal TestAcknowledgedIsReplayedAfterAPowerCut", "journal TestFailedSync", "maildir TestStore/PowerCut"},
	"maildir": append(histories("maildir", "CopyBig", "CopyBigs", "CopyWithoutLinks", "MoveAcrossMounts", "Big", "BigSeveral", "MoveUnsynced", "RenameTreeAgain", "RenameTree",
		"FirstUseApart", "FirstUseUID", "FirstUse", "CreateAppendApart", "CreateFS", "Delete", "RenameApart", "Settled", "MoreKeywords"),
		"maildir TestSyncsWithoutJournal", "maildir TestSyncsOfARefusedRename", "maildir TestSyncsOfARepair", "maildir TestSyncsAfterAKill",
		"maildir TestCourierPowerCut", "maildir TestSyncChanges", "maildir TestStore/Whole", "maildir TestStore/PowerCut", "maildir TestStoreSplit/AllApart/PowerCut"),
	"mbox":       append(histories("mbox", "FirstUse", "CreateFirst", "Create", "Expunge", "FlagsAtTheEnd", "Records", "Redo"), "mbox TestLateFlush", "mbox TestPowerCuts", "mbox TestIdentifyPowerCut", "mbox TestStore/Whole", "mbox TestStore/PowerCut"),
	"mbox/spool": {"mbox TestSyncs/Locked", "mbox TestPowerCuts", "mbox TestStore/PowerCut"},
	"pack":       append(histories("pack", "FirstUse", "Append", "AppendMany", "ToAlt", "Purge"), "pack TestCheckpointPowerCut", "pack TestPurgePowerCut", "pack TestShownIsSynced", "pack TestStore/Whole", "pack TestStore/PowerCut", "pack TestStoreAlways/PowerCut"),
}

// histories names cases of a package's TestSyncs.
func histories(pkg string, names ...string) (list []string) {
	for _, n := range names {
		list = append(list, pkg+" TestSyncs/"+n)
	}
	return list
}
