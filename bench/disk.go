package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// disk is where all mail lies: a journaled ext4 of its own in a file, mounted
// through a loop device, so that no server meets what the machine's own file
// system has been through (creating files soon after many deletes is slow on
// an ext4 without a journal), and so that what is written to it can be counted.
type disk struct {
	root  string // where it is mounted, or the folder that stands for it
	loop  string // "loop3"; "" without a device
	image string
	why   string // why there is no device
}

// imageSize is the most that the file system can hold; the file is sparse.
const imageSize = 40 << 30

// makeDisk makes the file system below dir. Where that cannot be, it is a
// folder there, and why says so; that is printed and stands in the table.
func makeDisk(dir string, inodes int) (*disk, error) {
	d := &disk{root: filepath.Join(dir, "fs"), image: filepath.Join(dir, "fs.img")}
	if err := os.Mkdir(d.root, 0o755); err != nil {
		return nil, err
	}
	if err := d.mount(inodes); err != nil {
		os.Remove(d.image)
		d.loop, d.image, d.why = "", "", err.Error()
		progress("no loop-mounted ext4, mail lies in a plain folder: %v", err)
	}
	return d, os.Chmod(d.root, 0o755)
}

func (d *disk) mount(inodes int) error {
	f, err := os.Create(d.image)
	if err != nil {
		return err
	}
	err = errors.Join(f.Truncate(imageSize), f.Close())
	if err != nil {
		return err
	}
	if err := tell("mkfs.ext4", "-q", "-F", "-N", strconv.Itoa(inodes), "-m", "0", "-E", "lazy_itable_init=1", d.image); err != nil {
		return err
	}
	out, err := exec.Command("losetup", "--find", "--show", "--direct-io=on", d.image).CombinedOutput()
	if err != nil {
		return fmt.Errorf("losetup: %w: %s", err, out)
	}
	device := strings.TrimSpace(string(out))
	d.loop = filepath.Base(device)
	// Without noinit_itable the kernel goes on writing empty inode tables.
	if err := tell("mount", "-o", "noinit_itable,relatime", device, d.root); err != nil {
		return errors.Join(err, tell("losetup", "-d", device))
	}
	return nil
}

// unmount takes it away; the file goes with the run's folder.
func (d *disk) unmount() {
	if d.loop == "" {
		return
	}
	for range 50 {
		err := unix.Unmount(d.root, 0)
		if err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond) // a process that has just ended lets go
	}
	if err := tell("losetup", "-d", "/dev/"+d.loop); err != nil {
		progress("%v", err)
	}
}

func tell(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// flush writes out what is still in memory, so that a measurement begins
// without another's writes and ends with all of its own.
func (d *disk) flush() error {
	f, err := os.Open(d.root)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// written is how many bytes were written to the device so far, the journal's
// included; ok is false where there is no device.
func (d *disk) written() (bytes int64, ok bool) {
	if d.loop == "" {
		return 0, false
	}
	data, err := os.ReadFile(filepath.Join("/sys/block", d.loop, "stat"))
	if err != nil {
		return 0, false
	}
	n, err := parseDeviceStat(string(data))
	return n, err == nil
}

// parseDeviceStat reads the seventh field of /sys/block/DEVICE/stat: sectors
// of 512 bytes written.
func parseDeviceStat(text string) (int64, error) {
	f := strings.Fields(text)
	if len(f) < 7 {
		return 0, fmt.Errorf("device stat %q", text)
	}
	sectors, err := strconv.ParseInt(f[6], 10, 64)
	return sectors * 512, err
}

// describe says for the table what mail lay on.
func (d *disk) describe() string {
	if d.loop == "" {
		return "a plain folder (no loop-mounted ext4: " + d.why + ")"
	}
	return "one loop-mounted ext4 with a journal"
}
