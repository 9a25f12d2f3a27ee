package remote

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/pack"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// onDisk is a store on a real directory.
func onDisk(b *testing.B) mailstore.Store {
	b.Helper()
	disk, err := vfs.OpenRoot(b.TempDir())
	must(b, err)
	s, err := pack.Open(pack.Options{FS: disk, MailPath: "mail"})
	must(b, err)
	b.Cleanup(func() { s.Close() })
	return s
}

// both runs a benchmark on a store and on the same one over a channel.
func both(b *testing.B, store mailstore.Store, run func(b *testing.B, s mailstore.Sharer)) {
	give(b, store, "INBOX", "user=bob lrswipkxtea")
	b.Run("direct", func(b *testing.B) { run(b, asGuest(b, store, "bob")) })
	b.Run("remote", func(b *testing.B) { run(b, serve(b, asGuest(b, store, "bob"), ServeOptions{}, ClientOptions{})) })
}

func fill(b *testing.B, s mailstore.Store, n int, text string) {
	b.Helper()
	texts := make([]string, 0, 1000)
	for left := n; left > 0; left -= len(texts) {
		texts = texts[:0]
		for range min(left, 1000) {
			texts = append(texts, text)
		}
		add(b, s, "INBOX", texts...)
	}
}

// The shortest call.
func BenchmarkCall(b *testing.B) {
	both(b, onDisk(b), func(b *testing.B, s mailstore.Sharer) {
		for b.Loop() {
			_, err := s.MyRights("INBOX")
			must(b, err)
		}
	})
}

// ENVELOPE of 1,000 messages whose owner has it ready.
func BenchmarkEnvelopes(b *testing.B) {
	store := onDisk(b)
	fill(b, store, 1000, "Subject: x\r\n\r\nbody\r\n")
	own := open(b, store, "INBOX")
	defer own.Close()
	own.Cached(1, "imap.envelope") // what nobody asks for is not kept
	for uid := mailstore.UID(1); uid <= 1000; uid++ {
		own.PutCached(uid, "imap.envelope", []byte(strings.Repeat("e", 300)))
	}
	both(b, store, func(b *testing.B, s mailstore.Sharer) {
		var buf []byte
		for b.Loop() {
			mb := open(b, s, "INBOX")
			cache := mailstore.Cache(mb)
			for uid := mailstore.UID(1); uid <= 1000; uid++ {
				var ok bool
				if buf, ok = cache.AppendCached(buf[:0], uid, "imap.envelope"); !ok {
					b.Fatal(uid)
				}
			}
			mb.Close()
		}
	})
}

// 1,000 small messages, read one after the other.
func BenchmarkSmallMessages(b *testing.B) {
	store := onDisk(b)
	fill(b, store, 1000, "Subject: x\r\n\r\n"+strings.Repeat("body of a small message\r\n", 80))
	both(b, store, func(b *testing.B, s mailstore.Sharer) {
		mb := open(b, s, "INBOX")
		defer mb.Close()
		for b.Loop() {
			for uid := mailstore.UID(1); uid <= 1000; uid++ {
				m, err := mb.Message(uid)
				must(b, err)
				m.Close()
			}
		}
	})
}

// A message of 1 MB.
func BenchmarkBody(b *testing.B) {
	store := onDisk(b)
	fill(b, store, 1, strings.Repeat("0123456789abcdef", 1<<16))
	both(b, store, func(b *testing.B, s mailstore.Sharer) {
		mb := open(b, s, "INBOX")
		defer mb.Close()
		buf := make([]byte, 64<<10)
		b.SetBytes(1 << 20)
		for b.Loop() {
			m, err := mb.Message(1)
			must(b, err)
			if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{io.NewSectionReader(m, 0, m.Size())}, buf); n != 1<<20 || err != nil {
				b.Fatal(n, err)
			}
			m.Close()
		}
	})
}

// One change of a mailbox of 100,000, and its new picture; and a picture from nothing.
func BenchmarkSync(b *testing.B) {
	store := onDisk(b)
	fill(b, store, 100_000, "x\r\n")
	both(b, store, func(b *testing.B, s mailstore.Sharer) {
		mb := open(b, s, "INBOX")
		defer mb.Close()
		op := mailstore.AddFlags
		b.Run("one", func(b *testing.B) {
			for b.Loop() {
				_, err := mb.Store(mailstore.FlagChange{UIDs: numset.Of(70_000), Op: op, Flags: mailstore.Flagged})
				must(b, err)
				op = mailstore.AddFlags + mailstore.RemoveFlags - op
				_, err = mb.Sync()
				must(b, err)
			}
		})
		b.Run("open", func(b *testing.B) {
			for b.Loop() {
				mb := open(b, s, "INBOX")
				if n := mb.Snapshot().Len(); n != 100_000 {
					b.Fatal(fmt.Sprint(n))
				}
				mb.Close()
			}
		})
	})
}
