package held_test

import (
	"fmt"
	"io"
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/held"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// BenchmarkExpunge1000 compares an expunge of 1,000 messages with and without hold.
func BenchmarkExpunge1000(b *testing.B) {
	for _, hold := range []time.Duration{0, time.Hour} {
		b.Run(fmt.Sprint("hold=", hold), func(b *testing.B) {
			disk, err := vfs.OpenRoot(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer disk.Close()
			s, err := open(disk, held.Options{Hold: hold, MinFree: 1})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			for b.Loop() {
				b.StopTimer()
				a, err := s.Append("INBOX")
				if err != nil {
					b.Fatal(err)
				}
				for range 1000 {
					w, err := a.Add(mailstore.AppendMeta{Flags: mailstore.Deleted}, -1)
					if err != nil {
						b.Fatal(err)
					}
					io.WriteString(w, "Subject: x\r\n\r\nx\r\n")
				}
				r, err := a.Commit()
				if err != nil {
					b.Fatal(err)
				}
				mb, err := s.Open("INBOX")
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				gone, err := mb.Expunge(numset.FromSorted(r.UIDs))
				b.StopTimer()
				if err != nil || gone.Len() != 1000 {
					b.Fatal(gone, err)
				}
				mb.Close()
				b.StartTimer()
			}
		})
	}
}
