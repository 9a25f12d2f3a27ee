package login

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"rookery/internal/ipc"
	"rookery/internal/ipc/envelopemsg"
	"rookery/internal/ipc/handoffmsg"
)

// BenchmarkPlainLogin is a whole login without TLS: connect, LOGIN, hand-over.
func BenchmarkPlainLogin(b *testing.B) {
	r := start(b, options{config: func(c *config) { c.perAddress = 0 }}, func(r *rig) {
		r.take = func(m *handoffmsg.Request, fd int) {
			r.wg.Go(func() {
				env, err := ipc.NewConn(fd, envelopemsg.Protocol, ipc.FromServer)
				if err != nil {
					return
				}
				env.Send(&envelopemsg.Accept{}, -1)
				if _, stream, err := env.Recv(); err == nil {
					unix.Write(stream, []byte("a OK\r\n"))
					unix.Close(stream)
				}
				r.master.Send(&handoffmsg.Done{ID: m.ID, PID: 1}, -1)
				env.Close()
			})
		}
	})
	buf := make([]byte, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		c, err := net.Dial("tcp", r.addr["imap"])
		if err != nil {
			b.Fatal(err)
		}
		c.Read(buf)
		c.Write([]byte("a LOGIN ann pass\r\n"))
		c.Read(buf)
		c.Close()
	}
}
