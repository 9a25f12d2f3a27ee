package main

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/ipc"
)

// channel is one end of a channel, for packets that no codec would make.
type channel struct {
	fd    int
	needs int                    // descriptors that valid comes with
	valid func() ([]byte, error) // a message that may be sent from this end
	wrong []byte                 // one that only the other end may send
}

// floodTime bounds a flood of a peer that takes everything.
const floodTime = 3 * time.Second

// abuse breaks the channel's rules in one way. What becomes of it the test
// sees from outside: nobody but this process may suffer.
func (c channel) abuse(kind string) error {
	good, err := c.valid()
	if err != nil {
		return err
	}
	switch kind {
	case "unknown message":
		return c.send([]byte{0x77, 0x77, 1, 2, 3}, nil)
	case "bytes left over":
		// As one would name a uid, if there were a field for it.
		return c.send(append(good, 0, 0, 0, 0, 0, 0, 0, 0), c.fds(c.needs))
	case "cut short":
		return c.send(good[:len(good)/2], c.fds(c.needs))
	case "one byte":
		return c.send(good[:1], nil)
	case "nothing":
		return c.send(nil, nil)
	case "huge":
		return c.send(append(good, make([]byte, 100<<10)...), nil)
	case "noise":
		noise := make([]byte, 4096)
		for i := range noise {
			noise[i] = byte(i * 37)
		}
		return c.send(noise, nil)
	case "other side's message":
		return c.send(c.wrong, nil)
	case "no descriptor":
		return c.send(good, nil)
	case "wrong descriptor":
		return c.send(good, []int{0}) // /dev/null
	case "many descriptors":
		return c.send(good, c.fds(250))
	case "itself as descriptor":
		for range 50 {
			if err := c.send(good, []int{c.fd}); err != nil {
				return err
			}
		}
		return nil
	case "flood":
		return c.flood(good)
	case "flood of descriptors":
		end := time.Now().Add(floodTime)
		for time.Now().Before(end) {
			if err := c.send(good, c.fds(200)); err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ETOOMANYREFS) {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("no abuse is called %q", kind)
}

func (c channel) fds(n int) []int {
	fds := make([]int, n)
	for i := range fds {
		fds[i] = c.fd
	}
	return fds
}

func (c channel) send(data []byte, fds []int) error {
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	return unix.Sendmsg(c.fd, data, oob, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
}

// flood sends as fast as it goes and reads nothing.
func (c channel) flood(packet []byte) error {
	end := time.Now().Add(floodTime)
	for time.Now().Before(end) {
		if err := c.send(packet, c.fds(c.needs)); err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ETOOMANYREFS) {
			return err
		}
	}
	return nil
}

// encode makes a packet of a message, whoever may send it.
func encode(p *ipc.Protocol, m ipc.Message) []byte {
	packet, err := p.Encode(m)
	if err != nil {
		return nil
	}
	return packet
}
