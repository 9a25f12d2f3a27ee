package realfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// system is a way to make and mount a file system.
type system struct {
	name  string
	mkfs  []string // before the image's path
	size  int64    // octets of the image
	again string   // mount options of a copy
	check []string // what a machine runs at boot after a power cut; it mends
}

var systems = []system{
	{"ext4", []string{"mkfs.ext4", "-q", "-F"}, 48 << 20, "", nil},
	{"ext4-nojournal", []string{"mkfs.ext4", "-q", "-F", "-O", "^has_journal"}, 48 << 20, "", []string{"e2fsck", "-fy"}},
	{"xfs", []string{"mkfs.xfs", "-q", "-f"}, 320 << 20, "nouuid", nil},
	{"btrfs", []string{"mkfs.btrfs", "-q", "-f", "-M"}, 128 << 20, "", nil},
}

// disk is an image and where it is mounted.
type disk struct {
	t      *testing.T
	sys    system
	dir    string // of images
	mount  string
	copies int
}

// newDisk makes an image and mounts it.
func newDisk(t *testing.T, sys system) *disk {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "rookery-realfs-")
	if err != nil {
		t.Fatal(err)
	}
	d := &disk{t: t, sys: sys, dir: dir, mount: filepath.Join(dir, "mnt")}
	t.Cleanup(func() {
		d.unmount()
		os.RemoveAll(dir)
	})
	must(t, os.Mkdir(d.mount, 0o755))
	image := d.image("disk")
	f, err := os.Create(image)
	must(t, err)
	must(t, errors.Join(f.Truncate(sys.size), f.Close()))
	run(t, append(append([]string{}, sys.mkfs...), image)...)
	d.mountImage("disk", "")
	return d
}

func (d *disk) image(name string) string { return filepath.Join(d.dir, name+".img") }

func (d *disk) mountImage(name, options string) {
	d.t.Helper()
	if options != "" {
		options = "," + options
	}
	run(d.t, "mount", "-t", fsType(d.sys.name), "-o", "loop"+options, d.image(name), d.mount)
}

func fsType(name string) string {
	if name == "ext4-nojournal" {
		return "ext4"
	}
	return name
}

func (d *disk) unmount() {
	// A process of the test may still hold a descriptor for a moment.
	if err := unix.Unmount(d.mount, 0); err != nil && !errors.Is(err, unix.EINVAL) {
		unix.Unmount(d.mount, unix.MNT_DETACH)
	}
}

// cut copies the image as it is on the disk now, and gives the copy's name.
func (d *disk) cut() string {
	d.t.Helper()
	d.copies++
	name := fmt.Sprintf("cut%02d", d.copies)
	must(d.t, copySparse(d.image("disk"), d.image(name), d.sys.size))
	return name
}

// mend does what a machine does before it mounts a file system that was cut off.
func (d *disk) mend(name string) {
	if d.sys.check == nil {
		return
	}
	cmd := exec.Command(d.sys.check[0], append(d.sys.check[1:], d.image(name))...)
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code < 0 || code > 2 { // 1, 2: it mended something
		d.t.Errorf("%v: %v\n%s", cmd.Args, err, out)
	}
}

// copySparse copies the parts of a file that hold something.
func copySparse(from, to string, size int64) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := out.Truncate(size); err != nil {
		return err
	}
	for at := int64(0); at < size; {
		start, err := unix.Seek(int(in.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // only holes are left
		}
		if err != nil {
			return err
		}
		end, err := unix.Seek(int(in.Fd()), start, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.NewOffsetWriter(out, start), io.NewSectionReader(in, start, end-start)); err != nil {
			return err
		}
		at = end
	}
	return nil
}

func run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
