package quota_test

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/mailstore/quota"
	"rookery/internal/mailstore/storetest"
	"rookery/internal/vfs"
)

// openMaildir opens a Maildir++ store with limits around it, as a process of its own.
func openMaildir(disk vfs.FS, opt quota.Options) (*quota.Store, error) {
	inner, err := maildir.Open(maildir.Options{FS: disk, MailPath: "Maildir", Host: "test.example", LockWait: 20e9})
	if err != nil {
		return nil, err
	}
	opt.FS, opt.Dir = disk, "Maildir"
	return quota.Wrap(inner, opt), nil
}

// The wrapper keeps the rules of a driver.
func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Harness {
		return storetest.Harness{
			Sampled: os.Getenv("ROOKERY_SOAK") == "", // maildir below it is tested whole
			DropIndex: func(disk vfs.FS) error { // whatever is lost of the count is counted again
				for _, name := range []string{"rookery-quota", "maildirsize"} {
					if err := disk.Remove("Maildir/" + name); err != nil && !errors.Is(err, fs.ErrNotExist) {
						return err
					}
				}
				return nil
			},
			Open: func(disk vfs.FS) (mailstore.Store, error) {
				return openMaildir(disk, quota.Options{Limits: quota.Limits{Octets: 1 << 30, Messages: 1 << 20}, SizeFile: "Maildir/maildirsize"})
			}}
	})
}
