package hammer

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"rookery/internal/e2e/harness"
)

// place is what other programs do to a format's files.
type place struct {
	driver  string
	deliver func(f *field, id string) error
	meddle  func(f *field) // what programs do that know the format; nil: none
}

// maildirPlace works in a Maildir as its user's programs do.
func maildirPlace(d *harness.Demo) place {
	root := filepath.Join(d.Dir, "mail", "u1@example.test", "Maildir")
	return place{driver: "maildir", deliver: func(f *field, id string) error { return deliverMaildir(root, id) },
		meddle: func(f *field) { meddleMaildir(f, root) }}
}

// packPlace has no programs of others: what is delivered comes over IMAP.
func packPlace(d *harness.Demo) place {
	return place{driver: "pack", deliver: func(f *field, id string) error {
		c, err := d.TryDial("imap")
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.TryLine(); err != nil {
			return err
		}
		if _, err := c.TryIMAP("LOGIN u1 pass"); err != nil {
			return err
		}
		return c.Append("INBOX", "", text(id))
	}}
}

// mboxPlace appends to INBOX with Debian's locks in their order, as local
// deliveries do.
func mboxPlace(d *harness.Demo) place {
	home := filepath.Join(d.Dir, "mail", "u1@example.test")
	return place{driver: "mbox", deliver: func(f *field, id string) error { return deliverMbox(home, id) }}
}

func deliverMbox(home, id string) error {
	path := filepath.Join(home, "mail", "inbox")
	var st syscall.Stat_t
	if err := syscall.Stat(home, &st); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := file.Chown(int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := syscall.FcntlFlock(file.Fd(), syscall.F_SETLKW, &syscall.Flock_t{Type: syscall.F_WRLCK}); err != nil {
		return err
	}
	for try := 0; ; try++ {
		lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err == nil {
			fmt.Fprintln(lock, os.Getpid())
			lock.Close()
			break
		}
		if try == 1000 {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	defer os.Remove(path + ".lock")
	letter := strings.ReplaceAll(text(id), "\r\n", "\n")
	_, err = fmt.Fprintf(file, "From ann@example.test %s\n%s\n", time.Now().UTC().Format("Mon Jan _2 15:04:05 2006"), letter)
	return err
}

// deliverMaildir is a delivery as maildir(5) has it.
func deliverMaildir(root, id string) error {
	var st syscall.Stat_t
	if err := syscall.Stat(root, &st); err != nil {
		return err
	}
	name := fmt.Sprintf("%d.M%dP%d.hammer", time.Now().Unix(), rand.Uint32(), os.Getpid())
	tmp := filepath.Join(root, "tmp", name)
	if err := os.WriteFile(tmp, []byte(strings.ReplaceAll(text(id), "\r\n", "\n")), 0o600); err != nil {
		return err
	}
	if err := os.Chown(tmp, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(root, "new", name))
}

// deliverer brings mail of which some is the meddler's to remove.
func (f *field) deliverer(p place) {
	for !f.over() {
		id := f.newID([]string{"d", "x"}[rand.IntN(4)/3])
		f.l.begin(id, "INBOX")
		if err := p.deliver(f, id); err != nil {
			f.l.complain("delivery: %v", err)
		} else {
			f.l.settle(id, fate{boxes: []string{"INBOX"}})
		}
		f.pause(60 * time.Millisecond)
	}
}

// meddleMaildir renames a file of cur/ for other flags, or removes one of the
// messages that are there to be removed.
func meddleMaildir(f *field, root string) {
	names, err := filepath.Glob(filepath.Join(root, "cur", "*:2,*"))
	if err != nil || len(names) == 0 {
		return
	}
	name := names[rand.IntN(len(names))]
	data, err := os.ReadFile(name)
	if err != nil {
		return // renamed by somebody
	}
	m := hammerID.FindSubmatch(data)
	if m == nil {
		return
	}
	if id := string(m[1]); strings.HasPrefix(id, "x") {
		if took, ok := f.l.take("INBOX", func(other string) bool { return other == id }); ok {
			f.l.begin(took, "INBOX")
			if os.Remove(name) == nil {
				f.l.settle(took, fate{gone: true})
			} else {
				f.l.settle(took, fate{boxes: []string{"INBOX"}})
			}
			return
		}
	}
	base, flags, _ := strings.Cut(name, ":2,")
	if strings.Contains(flags, "F") {
		flags = strings.ReplaceAll(flags, "F", "")
	} else if flags = "F" + flags; strings.HasPrefix(flags, "FD") {
		flags = "D" + "F" + flags[2:]
	}
	os.Rename(name, base+":2,"+flags)
}

func (f *field) meddler(p place) {
	for p.meddle != nil && !f.over() {
		p.meddle(f)
		f.pause(80 * time.Millisecond)
	}
}

// vandal deletes, cuts and garbles index files.
func (f *field) vandal() {
	root := filepath.Join(f.d.Dir, "mail", "u1@example.test")
	for !f.over() {
		var files []string
		filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
			if err == nil && !e.IsDir() && strings.HasPrefix(e.Name(), "rookery.index") {
				files = append(files, path)
			}
			return nil
		})
		if len(files) > 0 {
			spoil(files[rand.IntN(len(files))])
			f.damages.Add(1)
		}
		f.pause(900 * time.Millisecond)
	}
}

func spoil(path string) {
	switch rand.IntN(3) {
	case 0:
		os.Remove(path)
	case 1:
		if st, err := os.Stat(path); err == nil {
			os.Truncate(path, rand.Int64N(st.Size()+1))
		}
	case 2:
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return
		}
		defer file.Close()
		if st, err := file.Stat(); err == nil && st.Size() > 0 {
			noise := make([]byte, 1+rand.IntN(200))
			for i := range noise {
				noise[i] = byte(rand.Uint32())
			}
			file.WriteAt(noise, rand.Int64N(st.Size()))
		}
	}
}

// operator uses the tool on the same mail, a process of its own each time.
func (f *field) operator(bin string) {
	for !f.over() {
		out, err := exec.Command(filepath.Join(bin, "rookeryctl"), "-c", filepath.Join(f.d.Dir, "rookery.toml"), "mailbox", "status", "-u", "u1@example.test", "INBOX").CombinedOutput()
		if err != nil {
			f.l.complain("rookeryctl mailbox status: %v: %s", err, out)
		}
		f.pause(2 * time.Second)
	}
}
