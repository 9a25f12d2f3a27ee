package journal

import (
	"bufio"
	"fmt"
	"maps"
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
		return
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

// child is a running TestChild.
type child struct {
	*exec.Cmd
	out               *bufio.Scanner
	answered, settled map[uint32]bool
}

func begin(t *testing.T, dir string, first uint32) *child {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.v=false")
	c.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", childEnv, dir, first))
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &child{c, bufio.NewScanner(out), map[uint32]bool{}, map[uint32]bool{}}
}

// read takes lines of what the child says.
func (c *child) read(t *testing.T, lines int) {
	t.Helper()
	for n := 0; n < lines && c.out.Scan(); n++ {
		var u uint32
		switch fmt.Sscanf(c.out.Text()[1:], "%d", &u); c.out.Text()[0] {
		case '+':
			c.answered[u] = true
		case '-':
			c.settled[u] = true
		default:
			t.Error(c.out.Text())
		}
	}
}

const toTheEnd = 1 << 30

// kill ends it and reads what it still said.
func (c *child) kill(t *testing.T) {
	t.Helper()
	c.Process.Kill()
	c.read(t, toTheEnd)
	c.Wait()
}

// Two processes write, one and then the other is killed in the middle of it, and
// a third comes between: what was answered is certain elsewhere, or replayed.
func TestKilledProcesses(t *testing.T) {
	dir := t.TempDir()
	one := begin(t, dir, 1)
	one.read(t, 30)
	two := begin(t, dir, 100_000)
	two.read(t, 30)
	one.kill(t)
	two.read(t, 30)
	three := begin(t, dir, 200_000)
	three.read(t, 30)
	two.kill(t)
	three.kill(t)
	open, settled := map[uint32]bool{}, map[uint32]bool{}
	for _, c := range []*child{one, two, three} {
		maps.Copy(open, c.answered)
		maps.Copy(settled, c.settled)
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
	if len(open) < 40 || len(got) == 0 {
		t.Errorf("%d answered, %d replayed: too few to tell", len(open), len(got))
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}
