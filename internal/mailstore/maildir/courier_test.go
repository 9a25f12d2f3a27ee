package maildir_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/numset"
	"rookery/internal/vfs"
	"rookery/internal/vfs/faultfs"
	"rookery/internal/vfs/memfs"
)

// courierTree is a Maildir as Courier leaves one, with keywords in each of the
// places where it may keep them.
func courierTree(tr *tree) (want string) {
	tr.put("courierimapuiddb", "1 1100000000 9\n2 one.host\n3 two.host\n4 three.host\n5 four.host\n7 five.host\n8 gone.host\n")
	tr.put("courierimapkeywords/:list", "$Label1\nwork\n$Forwarded\n\\Odd\n\none.host:0 1\ntwo.host:1 1 7 x -1\nthree.host:2 1\nfour.host:0\ngone.host:0 1\nnonsense\n:0\n")
	tr.put("courierimapkeywords/two.host", "later\nWORK\n")                // not yet in the list
	tr.put("courierimapkeywords/.5.two.host", "older\n")                   // and not the newest
	tr.put("courierimapkeywords/.7.four.host", "")                         // all were taken away
	tr.put("courierimapkeywords/.6.four.host", "work\n")                   // before
	tr.put("courierimapkeywords/.x.one.host", "bad\n")                     // no number
	tr.put("courierimapkeywords/five.host", strings.Repeat("long", 20000)) // too large to be one
	tr.put("cur/one.host:2,S", "1\r\n")
	tr.put("cur/two.host:2,FS", "2\r\n")
	tr.put("cur/three.host:2,", "3\r\n")
	tr.put("cur/four.host:2,T", "4\r\n")
	tr.put("cur/five.host:2,", "5\r\n")
	tr.put("new/six.host", "6\r\n")
	return "2:S[$Label1 work] 3:FS[later work] 4:[$Forwarded work] 5:T[] 7:[] 9:[]"
}

func TestCourierKeywords(t *testing.T) {
	tr := newTree(t)
	want := courierTree(tr)
	s := tr.open(maildir.Options{})
	mb := tr.box(s, "INBOX")
	tr.is(mb, want)
	if v := mb.Info().UIDValidity; v != 1100000000 {
		t.Errorf("UIDVALIDITY %d", v)
	}
	if got := tr.get("dovecot-keywords"); got != "0 $Label1\n1 work\n2 later\n" {
		t.Errorf("%q", got)
	}
	if got := tr.files("cur"); !slices.Equal(got, []string{"five.host:2,", "four.host:2,T", "one.host:2,Sab", "three.host:2,Pb", "two.host:2,FSbc"}) {
		t.Errorf("%q", got)
	}
	_, err := mb.Store(mailstore.FlagChange{UIDs: numset.Of(2, 4), Op: mailstore.RemoveFlags, Keywords: []string{"work", "$forwarded"}})
	tr.must(err)
	want = "2:S[$Label1] 3:FS[later work] 4:[] 5:T[] 7:[] 9:[]"
	tr.is(mb, want)
	tr.must(mb.Close())
	tr.must(s.Close())
	// Courier's are read once: what it kept does not come back.
	tr.is(tr.box(tr.open(maildir.Options{}), "INBOX"), want)
}

// More keywords than letters, and messages that are not where Courier puts them.
func TestCourierManyKeywords(t *testing.T) {
	tr := newTree(t)
	var names, all []string
	for i := range 30 {
		names, all = append(names, fmt.Sprintf("k%02d", i)), append(all, fmt.Sprint(i))
	}
	tr.put("courierimapuiddb", "1 1100000000 9\n2 one.host\n3 two.host\n")
	tr.put("courierimapkeywords/:list", strings.Join(names, "\n")+"\n\none.host:"+strings.Join(all, " ")+"\ntwo.host:0 29\n")
	tr.put("cur/one.host:2,S", "1\r\n")
	tr.put("new/two.host", "2\r\n")
	s := tr.open(maildir.Options{})
	mb := tr.box(s, "INBOX")
	want := "2:S[" + strings.Join(names, " ") + "] 3:[k00 k29]"
	tr.is(mb, want)
	tr.must(mb.Close())
	tr.must(s.Close())
	tr.is(tr.box(tr.open(maildir.Options{}), "INBOX"), want)
}

// A power cut at any moment of the adoption leaves what was there, or all of it.
func TestCourierPowerCut(t *testing.T) {
	for k := 1; ; k++ {
		whole := 0
		for seed := range uint64(6) {
			tr := newTree(t)
			want := courierTree(tr)
			base := tr.disk.Survive(memfs.Kept, 0)
			f := faultfs.New(base)
			fate := memfs.Torn
			if seed == 0 {
				fate = memfs.Lost
			}
			f.CutAfter(k, fate, seed)
			if s, err := maildir.Open(maildir.Options{FS: f, MailPath: "Maildir", LockWait: 2e9}); err == nil {
				if mb, err := s.Open("INBOX"); err == nil {
					_, _ = mb.Sync()
				}
				_ = s.Close()
			}
			if !f.Dead() {
				whole++
				continue
			}
			tr.disk = f.Survivor(fate, seed)
			tr.clock.Jump(time.Hour)
			s := tr.open(maildir.Options{LockWait: 2e7})
			mb, err := s.Open("INBOX")
			if errkind.Is(err, errkind.InUse) {
				// Two lock files, links of a kept file whose own name was lost: the first
				// that is removed makes the other look young again.
				tr.clock.Jump(time.Hour)
				mb, err = s.Open("INBOX")
			}
			if err != nil {
				t.Fatalf("cut after change %d, seed %d: %v\n%s", k, seed, err, tr.disk.Dump())
			}
			if got := show(mb); got != want {
				t.Fatalf("cut after change %d, seed %d: shows %s\nwant %s\n%s", k, seed, got, want, tr.disk.Dump())
			}
		}
		if whole > 0 {
			if k < 5 {
				t.Fatalf("there are %d changes", k)
			}
			return
		}
	}
}

// courierRoot is where scripts/install-test-tools puts Courier's IMAP server.
const courierRoot = "/usr/local/lib/rookery-test-tools/courier"

// courierUID is whom Courier runs as where the test is root.
const courierUID = 64322

// courierHome is a home on the real disk with a Maildir.
type courierHome struct {
	*testing.T
	dir string
}

// own gives everything to the user that Courier runs as.
func (h *courierHome) own() {
	if os.Getuid() == 0 {
		filepath.WalkDir(h.dir, func(p string, _ fs.DirEntry, _ error) error { return os.Lchown(p, courierUID, courierUID) })
	}
}

// courier runs Courier's IMAP server on the Maildir and gives its answers.
func (h *courierHome) courier(commands ...string) string {
	h.Helper()
	h.own()
	cmd := exec.Command(courierRoot+"/usr/bin/imapd", "Maildir")
	cmd.Dir = h.dir
	cmd.Env = []string{"HOME=" + h.dir, "AUTHENTICATED=u", "AUTHADDR=u", "AUTHFULLNAME=u", "PATH=/usr/bin:/bin", "IMAP_KEYWORDS=1", "IMAP_USELOCKS=0", "IMAP_UMASK=022",
		"IMAP_CAPABILITY=IMAP4rev1 UIDPLUS CHILDREN NAMESPACE", "IMAP_TRASHFOLDERNAME=Trash",
		"LD_LIBRARY_PATH=" + courierRoot + "/usr/lib/x86_64-linux-gnu:" + courierRoot + "/usr/lib/aarch64-linux-gnu:" + courierRoot + "/usr/lib"}
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: courierUID, Gid: courierUID, Groups: []uint32{}}}
	}
	in := ""
	for i, c := range commands {
		in += fmt.Sprintf("c%d %s\r\n", i, c)
	}
	cmd.Stdin = strings.NewReader(in + "z LOGOUT\r\n")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "z OK") || regexp.MustCompile(`(?m)^c\d+ (NO|BAD)`).Match(out) {
		h.Fatalf("courier: %v\n%s", err, out)
	}
	return string(out)
}

// courierShows is what Courier's clients see of mailboxes, and of "" the
// subscriptions. Each run of its program waits a second for a daemon that is not there.
func (h *courierHome) courierShows(boxes ...string) map[string]string {
	h.Helper()
	commands := []string{`LSUB "" "*"`}
	for _, b := range boxes {
		commands = append(commands, "EXAMINE "+b, "UID FETCH 1:* (FLAGS)")
	}
	pics, rest := map[string]string{}, h.courier(commands...)
	var subs []string
	for _, m := range regexp.MustCompile(`LSUB \([^)]*\) "." "?([^"\r]*)"?\r`).FindAllStringSubmatch(rest, -1) {
		subs = append(subs, m[1])
	}
	slices.Sort(subs)
	pics[""] = strings.Join(subs, " ")
	for i, b := range boxes {
		var out string
		out, rest, _ = strings.Cut(rest, fmt.Sprintf("c%d OK", 2*i+2))
		pic := []string{regexp.MustCompile(`UIDVALIDITY (\d+)`).FindStringSubmatch(out)[1]}
		for _, m := range regexp.MustCompile(`FETCH \((?:UID (\d+) FLAGS \(([^)]*)\)|FLAGS \(([^)]*)\) UID (\d+))\)`).FindAllStringSubmatch(out, -1) {
			words := slices.DeleteFunc(strings.Fields(m[2]+m[3]), func(w string) bool { return w == `\Recent` })
			slices.Sort(words)
			pic = append(pic, fmt.Sprintf("%s(%s)", m[1]+m[4], strings.Join(words, " ")))
		}
		pics[b] = strings.Join(pic, " ")
	}
	return pics
}

// rookery opens the same Maildir.
func (h *courierHome) rookery() (*maildir.Store, func()) {
	h.Helper()
	disk, err := vfs.OpenRoot(h.dir)
	if err != nil {
		h.Fatal(err)
	}
	s, err := maildir.Open(maildir.Options{FS: disk, MailPath: "Maildir", Note: func(s string) { h.Log(s) }})
	if err != nil {
		h.Fatal(err)
	}
	return s, func() {
		if err := s.Close(); err != nil {
			h.Error(err)
		}
		disk.Close()
	}
}

// rookeryShows is courierShows of a mailbox of ours.
func rookeryShows(t *testing.T, mb mailstore.Mailbox) string {
	t.Helper()
	s, err := mb.Sync()
	if err != nil {
		t.Fatal(err)
	}
	pic := []string{fmt.Sprint(mb.Info().UIDValidity)}
	for i := range s.Len() {
		e := s.At(i)
		words := slices.Clone(s.Keywords(e.Keywords))
		for _, f := range []struct {
			f mailstore.Flags
			n string
		}{{mailstore.Answered, `\Answered`}, {mailstore.Flagged, `\Flagged`}, {mailstore.Deleted, `\Deleted`}, {mailstore.Seen, `\Seen`}, {mailstore.Draft, `\Draft`}} {
			if e.Flags&f.f != 0 {
				words = append(words, f.n)
			}
		}
		slices.Sort(words)
		pic = append(pic, fmt.Sprintf("%d(%s)", e.UID, strings.Join(words, " ")))
	}
	return strings.Join(pic, " ")
}

// TestCourierRoundTrip: Courier makes a store, we adopt and change it, and after
// contrib/courier/to-courier Courier shows the same; and what it then changes we
// show once its lists are taken over again.
func TestCourierRoundTrip(t *testing.T) {
	if _, err := os.Stat(courierRoot + "/usr/bin/imapd"); err != nil {
		text := "needs Courier's IMAP server: scripts/install-test-tools unpacks it"
		if os.Getenv("CI") == "true" {
			t.Fatal(text)
		}
		t.Skip(text)
	}
	dir, err := os.MkdirTemp("/var/tmp", "rookery-courier")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &courierHome{t, dir}
	for _, d := range []string{"new", "cur", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, "Maildir", d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 6 {
		if err := os.WriteFile(filepath.Join(dir, "Maildir/new", fmt.Sprintf("100000000%d.M1P1.host", i)), fmt.Appendf(nil, "Subject: m%d\n\nbody\n", i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.courier("SELECT INBOX", `STORE 1 +FLAGS (\Seen $Label1 red)`, `STORE 2 +FLAGS (\Answered \Flagged)`, `STORE 3 +FLAGS (\Deleted)`, "EXPUNGE", `STORE 3 +FLAGS (blue $Forwarded)`,
		`CREATE "INBOX.Lists.T&APY-"`, `SUBSCRIBE "INBOX.Lists.T&APY-"`, "SUBSCRIBE INBOX", `COPY 1:2 "INBOX.Lists.T&APY-"`)
	h.courier("SELECT INBOX", `STORE 4 +FLAGS (red)`, `STORE 1 -FLAGS (red)`)
	boxes := map[string]string{"INBOX": "INBOX", `"INBOX.Lists.T&APY-"`: "Lists/Tö"}
	names := slices.Sorted(maps.Keys(boxes))
	for round := range 2 {
		want := h.courierShows(names...)
		if !strings.Contains(want[""], "INBOX.Lists.T&APY-") {
			t.Fatalf("Courier's subscriptions: %q", want[""])
		}
		s, done := h.rookery()
		sees := func() map[string]string {
			pics := map[string]string{"": want[""]}
			for theirs, ours := range boxes {
				mb, err := s.Open(ours)
				if err != nil {
					t.Fatal(err)
				}
				pics[theirs] = rookeryShows(t, mb)
				mb.Close()
			}
			return pics
		}
		if got := sees(); !maps.Equal(got, want) {
			t.Fatalf("round %d: Rookery shows\n%v\nCourier\n%v", round, got, want)
		}
		if subs, err := s.Subscriptions(); err != nil || !slices.Equal(subs, []string{"INBOX", "Lists/Tö"}) {
			t.Fatalf("subscriptions %q, %v", subs, err)
		}
		changeAfterCourier(t, s, round)
		want = sees()
		done()
		if out, err := exec.Command("../../../contrib/courier/to-courier", filepath.Join(dir, "Maildir")).CombinedOutput(); err != nil {
			t.Fatalf("to-courier: %v\n%s", err, out)
		}
		if got := h.courierShows(names...); !maps.Equal(got, want) {
			t.Fatalf("round %d: back with Courier it shows\n%v\nRookery\n%v", round, got, want)
		}
		// Courier goes on, and what we kept is out of date: only its own counts then.
		h.courier("SELECT INBOX", fmt.Sprintf(`STORE 2 +FLAGS (\Draft back%d)`, round), `STORE 1 -FLAGS (\Seen)`)
		for _, p := range []string{"", ".Lists.T&APY-/"} {
			for _, f := range []string{"dovecot-uidlist", "subscriptions"} {
				os.Remove(filepath.Join(dir, "Maildir", p+f))
			}
		}
	}
}

// changeAfterCourier is a session of ours.
func changeAfterCourier(t *testing.T, s *maildir.Store, round int) {
	t.Helper()
	mb, err := s.Open("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer mb.Close()
	snap, err := mb.Sync()
	if err != nil {
		t.Fatal(err)
	}
	first, last := snap.At(0).UID, snap.At(snap.Len()-1).UID
	for _, c := range []mailstore.FlagChange{
		{UIDs: numset.Of(first, last), Op: mailstore.AddFlags, Flags: mailstore.Answered, Keywords: []string{fmt.Sprint("new", round), "red"}},
		{UIDs: numset.Of(last), Op: mailstore.RemoveFlags, Keywords: []string{"$Label1", "blue"}},
	} {
		if _, err := mb.Store(c); err != nil {
			t.Fatal(err)
		}
	}
	a, err := s.Append("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	w, err := a.Add(mailstore.AppendMeta{Flags: mailstore.Flagged, Keywords: []string{"blue", "$Forwarded"}}, -1)
	if err == nil {
		_, err = fmt.Fprintf(w, "Subject: ours %d\r\n\r\nbody\r\n", round)
	}
	if err == nil {
		_, err = a.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mb.Move(numset.Of(snap.At(1).UID), "Lists/Tö"); err != nil {
		t.Fatal(err)
	}
}
