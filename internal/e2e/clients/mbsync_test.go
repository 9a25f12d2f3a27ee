package clients

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"rookery/internal/e2e/harness"
)

// oddFolders are names that a client or a server may stumble over, as the
// Maildir++ directory has them, and what people call them. mbsync keeps names
// in modified UTF-7.
var oddFolders = []struct{ disk, shown string }{
	{"", "INBOX"},
	{"Two words", "Two words"},
	{`quo"te`, `quo"te`},
	{`back\slash`, `back\slash`},
	{"&ANw-ml&AOQ-ut", "Ümläut"},
	{"&ZeVnLIqe-", "日本語"},
	{"R&-D", "R&D"},
	{"Parent", "Parent"},
	{"Parent.Child", "Parent/Child"},
	{"Parent.Child.Grand child", "Parent/Child/Grand child"},
	{"~tilde", "~tilde"},
	{"per%cent*star", "per%cent*star"},
	{"(paren) {brace}", "(paren) {brace}"},
	{"[box]", "[box]"},
}

// mirror is mbsync between a demo and a local Maildir.
type mirror struct {
	t     *testing.T
	d     *harness.Demo
	local string
	rc    string
}

func newMirror(t *testing.T, d *harness.Demo, m mode) *mirror {
	dir := t.TempDir()
	kind := map[string]string{"plain": "None", "starttls": "STARTTLS", "tls": "IMAPS"}[m.name]
	local := filepath.Join(dir, "mail")
	if err := os.Mkdir(local, 0o700); err != nil {
		t.Fatal(err)
	}
	rc := fmt.Sprintf(`IMAPAccount demo
Host localhost
Port %d
User u1
Pass pass
AuthMechs *
SSLType %s
CertificateFile %s
Timeout 60

IMAPStore far
Account demo

MaildirStore near
Path %s/
Inbox %s/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
CopyArrivalDate yes
`, d.Port(m.imap), kind, d.Cert(), local, local)
	return &mirror{t: t, d: d, local: local, rc: write(t, filepath.Join(dir, "mbsyncrc"), rc)}
}

// sync runs mbsync and gives how many messages it downloaded, as the server
// logs it at logout.
func (m *mirror) sync() (downloaded int) {
	m.t.Helper()
	before := len(m.d.Log())
	r := run(m.t, "mbsync", "-c", m.rc, "-a")
	if r.code != 0 {
		m.t.Fatalf("mbsync: exit %d\n%s\n%s", r.code, tailOf(r.out), tailOf(r.err))
	}
	count := regexp.MustCompile(`Logged out .* body_count=(\d+) `)
	var found []string
	m.d.Eventually("mbsync's logout is logged", func() bool {
		found = count.FindStringSubmatch(m.d.Log()[before:])
		return found != nil
	})
	if found == nil {
		m.t.FailNow()
	}
	downloaded, err := strconv.Atoi(found[1])
	if err != nil {
		m.t.Fatal(err)
	}
	return downloaded
}

// idle runs mbsync again, which must find nothing to do: nothing is
// downloaded, and no file's name changes on either side.
func (m *mirror) idle(when string) {
	m.t.Helper()
	before := m.names()
	if n := m.sync(); n != 0 {
		m.t.Errorf("%s: run again it downloaded %d messages", when, n)
	}
	if after := m.names(); !slices.Equal(before, after) {
		m.t.Errorf("%s: run again it changed files: %s", when, firstDifference(after, before))
	}
}

// names lists the files of all messages on both sides.
func (m *mirror) names() []string {
	var all []string
	for _, f := range oddFolders {
		for _, dir := range []string{m.far(f.disk), m.localFolder(f.disk)} {
			for _, sub := range []string{"cur", "new"} {
				entries, err := os.ReadDir(filepath.Join(dir, sub))
				if err != nil {
					m.t.Fatal(err)
				}
				for _, e := range entries {
					all = append(all, filepath.Join(dir, sub, e.Name()))
				}
			}
		}
	}
	return all
}

// localFolder is a folder's place in the mirror.
func (m *mirror) localFolder(disk string) string {
	if disk == "" {
		return filepath.Join(m.local, "INBOX")
	}
	return filepath.Join(m.local, filepath.FromSlash(strings.ReplaceAll(disk, ".", "/")))
}

func (m *mirror) far(disk string) string {
	if disk == "" {
		return m.d.Maildir(1)
	}
	return filepath.Join(m.d.Maildir(1), "."+disk)
}

// digest is a folder's messages as flags and hash of the CRLF form, sorted:
// the local store has LF, the server what was sent or delivered. mbsync's own
// X-TUID header line of a message that it has just stored is left out.
func digest(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	for _, k := range messages(t, dir) {
		text := strings.ReplaceAll(strings.ReplaceAll(k.text, "\r\n", "\n"), "\n", "\r\n")
		text = tuid.ReplaceAllString(text, "")
		flags := strings.ReplaceAll(strings.ReplaceAll(k.flags, "a", ""), "b", "")
		all = append(all, fmt.Sprintf("%s %x", flags, sha256.Sum256([]byte(text))))
	}
	sort.Strings(all)
	return all
}

var tuid = regexp.MustCompile(`(?m)^X-TUID: [^\r\n]*\r\n`)

// compare compares both sides, folder by folder, byte for byte.
func (m *mirror) compare(when string) (total int) {
	m.t.Helper()
	for _, f := range oddFolders {
		far, near := digest(m.t, m.far(f.disk)), digest(m.t, m.localFolder(f.disk))
		total += len(far)
		if !slices.Equal(far, near) {
			m.t.Errorf("%s, %q: the server has %d messages, the mirror %d, and they differ%s", when, f.shown, len(far), len(near), firstDifference(far, near))
		}
	}
	return total
}

func firstDifference(a, b []string) string {
	for _, x := range a {
		if !slices.Contains(b, x) {
			return ": only the server has " + x
		}
	}
	for _, x := range b {
		if !slices.Contains(a, x) {
			return ": only the mirror has " + x
		}
	}
	return ""
}

// bulk makes message n: of varied size, with 8-bit, long lines, dots, and
// sometimes no newline at the end or CRLF line ends in the file.
func bulk(r *rand.Rand, n int) string {
	var b strings.Builder
	b.WriteString(plainMail(fmt.Sprintf("message %d", n), ""))
	for range r.IntN(30) {
		switch r.IntN(6) {
		case 0:
			b.WriteString(".\n")
		case 1:
			b.WriteString("Grüße \xff\xfe raw bytes\n")
		case 2:
			b.WriteString(strings.Repeat("long ", 400) + "\n")
		case 3:
			b.WriteString("\n")
		default:
			fmt.Fprintf(&b, "From line %d of %d\n", r.Uint32(), n)
		}
	}
	text := b.String()
	switch n % 10 {
	case 3:
		return crlf(text)
	case 7:
		return text + "no newline at the end"
	}
	return text
}

// fill puts count messages into the user's folders, some of them new, the
// others with all kinds of flags.
func fill(t *testing.T, d *harness.Demo, count int) {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 11))
	flags := []string{"", "S", "F", "FS", "RS", "D", "DFRS", "S", "S"}
	for n := range count {
		folder := oddFolders[0]
		if n%2 == 1 {
			folder = oddFolders[r.IntN(len(oddFolders))]
		}
		name := fmt.Sprintf("%d.M%dP1.host", 1700000000+n, n)
		text := bulk(r, n)
		if n%9 == 0 {
			deliver(t, d, 1, folder.disk, name, text)
			continue
		}
		dir := maildirFolder(t, d, 1, folder.disk)
		place(t, d, 1, filepath.Join(dir, "cur", name+":2,"+flags[r.IntN(len(flags))]), text)
	}
	for _, f := range oddFolders {
		maildirFolder(t, d, 1, f.disk)
	}
}

// TestMbsync pulls 2,000 messages in odd folders, changes both sides, pushes
// and pulls again, and at the end there is nothing left to do.
func TestMbsync(t *testing.T) {
	harness.Need(t, "mbsync", "isync")
	for _, md := range modes() {
		t.Run(md.name, func(t *testing.T) {
			t.Parallel()
			count := 2000
			if md.name == "starttls" {
				count = 200 // the same but for the first bytes
			}
			d := harness.Start(t, "--users", "1", "--empty")
			fill(t, d, count)
			m := newMirror(t, d, md)
			first := m.sync()
			if n := m.compare("after the first pull"); n != count {
				t.Errorf("%d messages in all, want %d", n, count)
			}
			if first != count {
				t.Errorf("the first pull downloaded %d messages", first)
			}
			m.idle("after the first pull")
			added, gone := m.changeNear()
			m.changeFar()
			if n := m.sync(); n != 0 {
				t.Errorf("changed flags and messages from here made it download %d", n)
			}
			if n, want := m.compare("after both sides changed"), count+added-gone; n != want {
				t.Errorf("%d messages in all, want %d", n, want)
			}
			m.idle("after the changes")
			m.newFolders()
		})
	}
}

// changeNear changes the mirror: new messages, flags, deletions. It gives how
// many messages were added and how many will go on both sides, changeFar's
// included.
func (m *mirror) changeNear() (added, gone int) {
	m.t.Helper()
	for i, f := range oddFolders {
		dir := m.localFolder(f.disk)
		text := plainMail(fmt.Sprintf("written here %d", i), "Grüße\n.\n")
		write(m.t, filepath.Join(dir, "cur", fmt.Sprintf("1800000000.%d_1.here:2,FS", i)), text)
		added++
	}
	dir := filepath.Join(m.local, "INBOX", "cur")
	entries, err := os.ReadDir(dir)
	if err != nil {
		m.t.Fatal(err)
	}
	for i, e := range entries {
		base, info, _ := strings.Cut(e.Name(), ":2,")
		from, to := filepath.Join(dir, e.Name()), ""
		switch {
		case strings.HasPrefix(e.Name(), "18"):
			continue
		case i%10 == 1 && !strings.Contains(info, "R"):
			to = filepath.Join(dir, base+":2,"+sorted(info+"R"))
		case i%10 == 2:
			to = filepath.Join(dir, base+":2,"+sorted(strings.ReplaceAll(info, "S", "")))
		case i%10 == 3:
			to = filepath.Join(dir, base+":2,"+sorted(info+"T"))
			gone++
		default:
			continue
		}
		if err := os.Rename(from, to); err != nil {
			m.t.Fatal(err)
		}
	}
	return added, gone
}

func sorted(flags string) string {
	b := []byte(flags)
	slices.Sort(b)
	return string(slices.Compact(b))
}

// changeFar changes the server's side over IMAP: flags in another folder.
func (m *mirror) changeFar() {
	m.t.Helper()
	c := m.d.Dial("imap")
	c.Login("u1")
	c.OK(`SELECT "Two words"`)
	c.OK(`STORE 1:* +FLAGS.SILENT (\Answered)`)
	c.OK(`STORE 1:2 -FLAGS.SILENT (\Seen \Flagged)`)
	c.OK("LOGOUT")
}

// newFolders makes a folder on each side; both come to the other.
func (m *mirror) newFolders() {
	m.t.Helper()
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(m.local, "Made here", "Below it", sub), 0o700); err != nil {
			m.t.Fatal(err)
		}
	}
	text := plainMail("made here", "x\n")
	write(m.t, filepath.Join(m.local, "Made here", "Below it", "new", "1800000000.1_1.here"), text)
	c := m.d.Dial("imap")
	c.Login("u1")
	c.OK(`CREATE "Made there.&AOQ-"`)
	if err := c.Append("Made there.&AOQ-", `(\Draft) `, crlf(text)); err != nil {
		m.t.Error(err)
	}
	m.sync()
	wantMessages(m.t, filepath.Join(m.local, "Made there", "&AOQ-"), kept{"D", tuidOf(m.t, filepath.Join(m.local, "Made there", "&AOQ-"), text)})
	if got := digest(m.t, filepath.Join(m.d.Maildir(1), ".Made here.Below it")); !slices.Equal(got, digest(m.t, filepath.Join(m.local, "Made here", "Below it"))) || len(got) != 1 {
		m.t.Errorf("the folder that was made here has %q there", got)
	}
}

// tuidOf gives text with the X-TUID line that mbsync has put into the only
// message of a folder, if it did.
func tuidOf(t *testing.T, dir, text string) string {
	for _, k := range messages(t, dir) {
		if line := regexp.MustCompile(`(?m)^X-TUID: .*\n`).FindString(k.text); line != "" {
			return strings.Replace(text, "\n\n", "\n"+line+"\n", 1)
		}
	}
	return text
}

func tailOf(s string) string { return s[max(0, len(s)-1500):] }
