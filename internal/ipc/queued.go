package ipc

// Queued gives how many packets wait here because the peer's socket is full: a peer
// that reads has few. It is for who gives a peer fewer than MaxQueue.
func (c *Conn) Queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue)
}
