package maillog

import (
	"strconv"
	"sync/atomic"

	"rookery/internal/ipc"
	"rookery/internal/ipc/logmsg"
)

// Channel sends events to logd. Sending never waits; events that logd is too
// slow for are counted, and the count is told with the next one that goes.
type Channel struct {
	conn *ipc.Conn
	lost atomic.Uint64
}

// ToChannel makes a Sender of a process's log channel.
func ToChannel(conn *ipc.Conn) *Channel { return &Channel{conn: conn} }

// SendEvent is for Logger.
func (c *Channel) SendEvent(e *logmsg.Event) {
	if lost := c.lost.Load(); lost > 0 && len(e.KV) < logmsg.MaxFields {
		e.KV = append(e.KV, logmsg.Field{Key: "lines_lost_before", Value: strconv.FormatUint(lost, 10)})
	}
	if c.conn.Send(e, -1) != nil {
		c.lost.Add(1)
		return
	}
	c.lost.Store(0)
}
