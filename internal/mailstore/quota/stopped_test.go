package quota_test

import (
	"errors"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/quota"
	"rookery/internal/numset"
)

// What is broken off is counted as it is: nothing, and no room is kept for it.
func TestTransferStops(t *testing.T) {
	disk, _ := newDisk()
	s := start(t, disk, quota.Options{Limits: quota.Limits{Messages: 10}})
	_, err := s.Create("a", 0)
	must(t, err)
	for range 5 {
		_, err := add(s, "INBOX", 100)
		must(t, err)
	}
	mb, err := s.Open("INBOX")
	must(t, err)
	stop := errors.New("stop")
	for _, move := range []bool{false, true} {
		for at := 1; at < 6; at++ {
			asked := 0
			_, err := mailstore.Transfer{UIDs: numset.Span(1, 1<<32-1), To: "a", Move: move, Stop: func() error {
				if asked++; asked == at {
					return stop
				}
				return nil
			}}.Of(mb)
			if !errors.Is(err, mailstore.ErrStopped) || !errors.Is(err, stop) {
				t.Fatalf("broken off it is %v", err)
			}
			same(t, s)
		}
	}
	if _, err := mb.Copy(numset.Span(1, 1<<32-1), "a"); err != nil { // all ten
		t.Error(err)
	}
	same(t, s)
	must(t, mb.Close())
	must(t, s.Close())
}
