package realfs

import (
	"os"
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/mailstore/mbox"
	"rookery/internal/mailstore/pack"
	"rookery/internal/vfs"
)

// driver opens a store below the directory "mail" of a disk.
type driver struct {
	name string
	open func(disk vfs.FS, always bool) (mailstore.Store, error)
}

var drivers = []driver{
	{"maildir", func(disk vfs.FS, always bool) (mailstore.Store, error) {
		return maildir.Open(maildir.Options{FS: disk, MailPath: "mail", Host: "realfs.test", SyncChanges: always})
	}},
	{"pack", func(disk vfs.FS, always bool) (mailstore.Store, error) {
		opt := pack.Options{FS: disk, MailPath: "mail", Fsync: pack.Optimized}
		if always {
			opt.Fsync = pack.Always
		}
		return pack.Open(opt)
	}},
	{"mbox", func(disk vfs.FS, always bool) (mailstore.Store, error) {
		return mbox.Open(mbox.Options{Options: engine.Options{FS: disk, ControlPath: "mail/.rookery"}, MailPath: "mail", SyncChanges: always, Zone: time.UTC})
	}},
}

// What was answered is there after a power cut on each real file system.
func TestPowerCut(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it mounts images")
	}
	for _, sys := range systems {
		for _, d := range drivers {
			for _, always := range []bool{false, true} {
				mode := "optimized"
				if always {
					mode = "always"
				}
				t.Run(sys.name+"/"+d.name+"/"+mode, func(t *testing.T) { powerCuts(t, sys, d, always) })
			}
		}
	}
}

// cut is a copy of the image and what had been answered when it was made.
type cut struct {
	after, image string
	w            *world
}

func powerCuts(t *testing.T, sys system, d driver, always bool) {
	disk := newDisk(t, sys)
	tree := openTree(t, disk.mount, "boot-1")
	must(t, tree.Mkdir("mail", 0o700))
	must(t, tree.SyncDir(""))
	store, err := d.open(tree, always)
	must(t, err)
	p := &player{t: t, store: store, w: newWorld()}
	var cuts []cut
	for _, s := range steps {
		s.do(p)
		cuts = append(cuts, cut{s.name, disk.cut(), p.w.clone()})
	}
	if wrong := compare(store, p.w, true); len(wrong) > 0 {
		t.Fatalf("without a power cut: %q", wrong)
	}
	must(t, store.Close())
	tree.Close()
	disk.unmount() // a copy of a btrfs may not be mounted beside its original
	for _, c := range cuts {
		if wrong := afterCut(t, disk, d, c, always); len(wrong) > 0 {
			t.Errorf("power cut after %s: %q", c.after, wrong)
		}
	}
}

func afterCut(t *testing.T, disk *disk, d driver, c cut, always bool) []string {
	t.Helper()
	disk.mend(c.image)
	disk.mountImage(c.image, disk.sys.again)
	defer disk.unmount()
	tree := openTree(t, disk.mount, "boot-2")
	defer tree.Close()
	store, err := d.open(tree, always)
	if err != nil {
		return []string{"open: " + err.Error()}
	}
	defer store.Close()
	return compare(store, c.w, always)
}

func openTree(t *testing.T, dir, boot string) *vfs.OS {
	t.Helper()
	tree, err := vfs.OpenRoot(dir)
	must(t, err)
	return tree.WithBootID(boot)
}
