package ipc

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/secret"
)

// Codec writes a message's fields into a packet or reads them out of one. A
// message's Fields method names each field once, so the two ends cannot differ.
// The first error sticks; later fields are left alone.
type Codec struct {
	buf     []byte
	reading bool
	err     error
}

// Reading reports whether fields are being read; a message may then check them.
func (c *Codec) Reading() bool { return c.reading }

// Failed reports whether an earlier field was not lawful: a list need not be read on.
func (c *Codec) Failed() bool { return c.err != nil }

// Fail records that the message is not lawful.
func (c *Codec) Fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

func (c *Codec) take(n int) []byte {
	if c.err != nil {
		return nil
	}
	if len(c.buf) < n {
		c.Fail("field of %d bytes, %d are left", n, len(c.buf))
		return nil
	}
	b := c.buf[:n]
	c.buf = c.buf[n:]
	return b
}

// U8 is one byte.
func (c *Codec) U8(p *uint8) {
	if !c.reading {
		c.buf = append(c.buf, *p)
	} else if b := c.take(1); b != nil {
		*p = b[0]
	}
}

// Bool is one byte, 0 or 1.
func (c *Codec) Bool(p *bool) {
	var v uint8
	if *p {
		v = 1
	}
	c.U8(&v)
	if c.reading && c.err == nil {
		if v > 1 {
			c.Fail("a boolean is %d", v)
		}
		*p = v == 1
	}
}

// Kind is an error's kind; one that this build does not know is refused.
func (c *Codec) Kind(p *errkind.Kind) {
	v := uint8(*p)
	c.U8(&v)
	if c.reading && c.err == nil {
		if *p = errkind.Kind(v); !p.Valid() {
			c.Fail("unknown error kind %d", v)
		}
	}
}

// U16 is two bytes, big-endian.
func (c *Codec) U16(p *uint16) {
	if !c.reading {
		c.buf = binary.BigEndian.AppendUint16(c.buf, *p)
	} else if b := c.take(2); b != nil {
		*p = binary.BigEndian.Uint16(b)
	}
}

// U32 is four bytes, big-endian.
func (c *Codec) U32(p *uint32) {
	if !c.reading {
		c.buf = binary.BigEndian.AppendUint32(c.buf, *p)
	} else if b := c.take(4); b != nil {
		*p = binary.BigEndian.Uint32(b)
	}
}

// U64 is eight bytes, big-endian.
func (c *Codec) U64(p *uint64) {
	if !c.reading {
		c.buf = binary.BigEndian.AppendUint64(c.buf, *p)
	} else if b := c.take(8); b != nil {
		*p = binary.BigEndian.Uint64(b)
	}
}

// I64 is eight bytes, big-endian, two's complement.
func (c *Codec) I64(p *int64) {
	v := uint64(*p)
	c.U64(&v)
	if c.reading && c.err == nil {
		*p = int64(v)
	}
}

// Duration is nanoseconds.
func (c *Codec) Duration(p *time.Duration) {
	v := int64(*p)
	c.I64(&v)
	if c.reading && c.err == nil {
		*p = time.Duration(v)
	}
}

// Time is Unix nanoseconds in UTC; the zero time is 0.
func (c *Codec) Time(p *time.Time) {
	var v int64
	if !p.IsZero() {
		v = p.UnixNano()
	}
	c.I64(&v)
	if c.reading && c.err == nil {
		if v == 0 {
			*p = time.Time{}
		} else {
			*p = time.Unix(0, v).UTC()
		}
	}
}

// Fixed is exactly len(p) bytes.
func (c *Codec) Fixed(p []byte) {
	if !c.reading {
		c.buf = append(c.buf, p...)
	} else if b := c.take(len(p)); b != nil {
		copy(p, b)
	}
}

// Bytes is at most limit bytes. Nothing read aliases the packet; empty reads as nil.
func (c *Codec) Bytes(p *[]byte, limit int) {
	n := uint32(len(*p))
	if !c.reading && len(*p) > limit {
		c.Fail("a field has %d bytes, its limit is %d", len(*p), limit)
		return
	}
	c.U32(&n)
	if !c.reading {
		c.buf = append(c.buf, *p...)
		return
	}
	if c.err == nil && int64(n) > int64(limit) {
		c.Fail("a field has %d bytes, its limit is %d", n, limit)
	}
	if b := c.take(int(n)); len(b) > 0 {
		*p = append([]byte(nil), b...)
	}
}

// String is at most limit bytes.
func (c *Codec) String(p *string, limit int) {
	var b []byte
	if !c.reading {
		b = []byte(*p)
	}
	c.Bytes(&b, limit)
	if c.reading && c.err == nil {
		*p = string(b)
	}
}

// Secret is at most limit bytes that must not be printed.
func (c *Codec) Secret(p *secret.Bytes, limit int) {
	b := p.Reveal()
	if c.reading {
		b = nil
	}
	c.Bytes(&b, limit)
	if c.reading && c.err == nil {
		*p = secret.New(b)
	}
}

// Strings is at most count strings of at most limit bytes.
func (c *Codec) Strings(p *[]string, count, limit int) {
	n := c.Count(len(*p), count)
	if c.reading && c.err == nil {
		*p = nil
		if n > 0 {
			*p = make([]string, n)
		}
	}
	for i := 0; i < n && c.err == nil; i++ {
		c.String(&(*p)[i], limit)
	}
}

// ByteStrings is at most count byte strings of at most limit bytes each.
func (c *Codec) ByteStrings(p *[][]byte, count, limit int) {
	n := c.Count(len(*p), count)
	if c.reading && c.err == nil {
		*p = nil
		if n > 0 {
			*p = make([][]byte, n)
		}
	}
	for i := 0; i < n && c.err == nil; i++ {
		c.Bytes(&(*p)[i], limit)
	}
}

// Limits of a certificate chain: certificates, and bytes of one in DER.
const (
	MaxChain       = 16
	MaxCertificate = 64 << 10
)

// Chain is a certificate chain in DER, leaf first: authd parses it, login shows it.
func (c *Codec) Chain(p *[][]byte) { c.ByteStrings(p, MaxChain, MaxCertificate) }

// maxFilter bounds log_debug's filter, in bytes.
const maxFilter = 4 << 10

// Filter is log_debug's, as master tells it to its children.
func (c *Codec) Filter(p *string) { c.String(p, maxFilter) }

// Count begins a list of n items (its length now, when writing) and gives the
// number that follows; more than limit is refused.
func (c *Codec) Count(n, limit int) int {
	v := uint32(n)
	if !c.reading && n > limit {
		c.Fail("a list has %d items, its limit is %d", n, limit)
		return 0
	}
	c.U32(&v)
	if c.err != nil {
		return 0
	}
	if int64(v) > int64(limit) {
		c.Fail("a list has %d items, its limit is %d", v, limit)
		return 0
	}
	return int(v)
}

// Addr is an address and port; the zero value stands for none (a Unix socket).
func (c *Codec) Addr(p *netip.AddrPort) {
	var b []byte
	if !c.reading && p.IsValid() {
		b, _ = p.MarshalBinary()
	}
	c.Bytes(&b, 64)
	if c.reading && c.err == nil {
		*p = netip.AddrPort{}
		if len(b) > 0 {
			if err := p.UnmarshalBinary(b); err != nil || !p.IsValid() {
				c.Fail("%d bytes that are no address", len(b))
			}
		}
	}
}
