package compress

import (
	"bytes"
	"io"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// One Codec serves many messages at once, one Body many readers.
func TestAtOnce(t *testing.T) {
	var c Codec
	plain := lines()
	b := pipe(t, plain, func(w io.Writer) (io.WriteCloser, error) { return c.NewWriter(w), nil })
	shared, err := c.Open(bytes.NewReader(b), int64(len(b)), -1)
	must(t, err)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			readAround(t, shared, plain)
			own, err := c.Open(bytes.NewReader(b), int64(len(b)), -1)
			if err != nil {
				t.Error(err)
				return
			}
			readAround(t, own, plain)
			own.Close()
			var out bytes.Buffer
			w := c.NewWriter(&out)
			w.Write(plain)
			if w.Close(); !bytes.Equal(out.Bytes(), b) {
				t.Error("written as something else")
			}
		})
	}
	wg.Wait()
}
