package quota_test

import (
	"fmt"
	"testing"

	"rookery/internal/mailstore/quota"
	"rookery/internal/vfs"
)

// BenchmarkAppend tells what the count adds to an APPEND.
func BenchmarkAppend(b *testing.B) {
	for _, limit := range []uint64{0, 1 << 40} {
		for _, size := range []string{"", "Maildir/maildirsize"} {
			if limit == 0 && size != "" {
				continue
			}
			b.Run(fmt.Sprintf("limit=%v,maildirsize=%v", limit > 0, size != ""), func(b *testing.B) {
				disk, err := vfs.OpenRoot(b.TempDir())
				if err != nil {
					b.Fatal(err)
				}
				defer disk.Close()
				s, err := openMaildir(disk, quota.Options{Limits: quota.Limits{Octets: limit}, SizeFile: size})
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				for b.Loop() {
					if _, err := add(s, "INBOX", 4096); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
