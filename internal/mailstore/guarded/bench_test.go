package guarded_test

import (
	"fmt"
	"os"
	"testing"

	"rookery/internal/acl"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/guarded"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// What the guard costs its owner, on a real directory, and a grantee.
func BenchmarkGuard(b *testing.B) {
	dir, err := os.MkdirTemp(os.Getenv("ROOKERY_BENCH_DIR"), "guarded-bench")
	must(b, err)
	b.Cleanup(func() { os.RemoveAll(dir) })
	disk, err := vfs.OpenRoot(dir)
	must(b, err)
	must(b, disk.Mkdir("Maildir", 0o700))
	inner, err := maildir.Open(maildir.Options{FS: disk, MailPath: "Maildir", Host: "bench.example"})
	must(b, err)
	defer inner.Close()
	for i := range 200 {
		name := fmt.Sprintf("Box%d", i)
		create(b, inner, name)
		give(b, inner, name, "user=bob lrswipkxtea")
	}
	add(b, inner, "Box0", mailstore.AppendMeta{}, "one\r\n", "two\r\n")
	bob, _ := guarded.Wrap(inner, guarded.Options{Who: acl.Who{User: "bob"}, Owner: "ann"})
	ann, _ := guarded.Wrap(inner, guarded.Options{Who: acl.Who{User: "ann", Owner: true}, Owner: "ann"})
	for _, s := range []struct {
		name  string
		store mailstore.Store
	}{{"plain", inner}, {"owner", ann}, {"grantee", bob}} {
		b.Run(s.name+"/status", func(b *testing.B) {
			for b.Loop() {
				if _, err := s.store.Status("Box7", mailstore.StatusWant{}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(s.name+"/open", func(b *testing.B) {
			for b.Loop() {
				mb, _, err := mailstore.Look(s.store, "Box0")
				must(b, err)
				mb.Close()
			}
		})
		b.Run(s.name+"/store", func(b *testing.B) {
			mb, _, err := mailstore.Look(s.store, "Box0")
			must(b, err)
			defer mb.Close()
			op := mailstore.AddFlags
			for b.Loop() {
				if _, err := mb.Store(mailstore.FlagChange{UIDs: numset.Of(1), Op: op, Flags: mailstore.Flagged}); err != nil {
					b.Fatal(err)
				}
				op = mailstore.AddFlags + mailstore.RemoveFlags - op
			}
		})
		b.Run(s.name+"/list", func(b *testing.B) {
			for b.Loop() {
				if _, err := s.store.List(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
