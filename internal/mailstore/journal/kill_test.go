package journal

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"rookery/internal/vfs"
)

const childEnv = "JOURNAL_TEST_CHILD"

// TestChild is no test: it is the process that TestKilledProcesses kills. It
// appends for ever and says on standard output what was answered ("+UID") and
// what was made certain elsewhere ("-UID"), before it goes on.
func TestChild(t *testing.T) {
	dir, first, ok := strings.Cut(os.Getenv(childEnv), " ")
	if !ok {
		t.Skip("this is what another test starts")
	}
	var uid uint32
	fmt.Sscan(first, &uid)
	fs, err := vfs.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	j, _ := start(t, Options{FS: fs, Checkpoint: func(recs []Record) error {
		var b strings.Builder
		for _, r := range recs {
			fmt.Fprintf(&b, "-%d\n", r.UID)
		}
		_, err := os.Stdout.WriteString(b.String())
		return err
	}})
	for ; ; uid++ {
		k, err := j.Append(Now, msg(uid, 100+int(uid%7)*3000))
		if err == nil {
			err = k.Wait()
		}
		if err != nil {
			t.Fatal(err)
		}
		k.Done()
		fmt.Printf("+%d\n", uid)
	}
}

// Two processes write, one and then the other is killed in the middle of it, and
// a third comes between: what was answered is certain elsewhere, or replayed.
func TestKilledProcesses(t *testing.T) {
	dir := t.TempDir()
	open := map[uint32]bool{}
	var reading []*exec.Cmd
	begin := func(first uint32) (*exec.Cmd, *bufio.Scanner) {
		c := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.v=false")
		c.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", childEnv, dir, first))
		out, err := c.StdoutPipe()
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		reading = append(reading, c)
		return c, bufio.NewScanner(out)
	}
	settled := map[uint32]bool{}
	read := func(s *bufio.Scanner, lines int) {
		for n := 0; n < lines && s.Scan(); n++ {
			var u uint32
			switch fmt.Sscanf(s.Text()[1:], "%d", &u); s.Text()[0] {
			case '+':
				open[u] = true
			case '-':
				settled[u] = true
			default:
				t.Error(s.Text())
			}
		}
	}
	const all = 1 << 30
	a, outA := begin(1)
	read(outA, 30)
	b, outB := begin(100_000)
	read(outB, 30)
	a.Process.Kill()
	read(outA, all)
	read(outB, 30)
	c, outC := begin(200_000)
	read(outC, 30)
	b.Process.Kill()
	read(outB, all)
	c.Process.Kill()
	read(outC, all)
	for _, c := range reading {
		c.Wait()
	}
	fs, err := vfs.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	j, got := start(t, Options{FS: fs, Manual: true})
	for _, r := range got {
		settled[r.UID] = true
		if !r.SameBoot || r.Own {
			t.Errorf("UID %d: same boot %v, own %v", r.UID, r.SameBoot, r.Own)
		}
	}
	for u := range open {
		if !settled[u] {
			t.Errorf("UID %d was answered for and is lost", u)
		}
	}
	if len(open) < 100 || len(got) == 0 {
		t.Errorf("%d answered, %d replayed: too few to tell", len(open), len(got))
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}
