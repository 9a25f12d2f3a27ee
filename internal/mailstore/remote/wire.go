package remote

import (
	"encoding/binary"
	"fmt"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// coder writes the fields of a call's arguments or its answer, or reads them: each has
// one method code, which both ends use. Numbers are varints, since most are small. The
// first error sticks; fields after it are left as they are.
type coder struct {
	b       []byte
	reading bool
	err     error
}

// fields is what a coder codes.
type fields interface{ code(c *coder) }

// encode writes fields. It fails only where a text or list of our own is too long.
func encode(f fields) ([]byte, error) {
	var c coder
	f.code(&c)
	return c.b, c.err
}

// decode reads fields, which must be all there is.
func decode(b []byte, f fields) error {
	c := coder{b: b, reading: true}
	f.code(&c)
	if c.err == nil && len(c.b) > 0 {
		c.fail("%d bytes are left over", len(c.b))
	}
	return c.err
}

func (c *coder) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

func (c *coder) uvarint(p *uint64) {
	switch {
	case c.err != nil:
	case !c.reading:
		c.b = binary.AppendUvarint(c.b, *p)
	default:
		v, n := binary.Uvarint(c.b)
		if n <= 0 {
			c.fail("a number is cut")
			return
		}
		*p, c.b = v, c.b[n:]
	}
}

// num is a number of any size without a sign.
func num[T ~uint8 | ~uint16 | ~uint32 | ~uint64](c *coder, p *T) {
	v := uint64(*p)
	c.uvarint(&v)
	if c.reading && c.err == nil {
		if v > uint64(^T(0)) {
			c.fail("the number %d is too large", v)
			return
		}
		*p = T(v)
	}
}

// signed is a number with a sign.
func signed[T ~int | ~int64](c *coder, p *T) {
	v := uint64(int64(*p)<<1) ^ uint64(int64(*p)>>63)
	c.uvarint(&v)
	if c.reading && c.err == nil {
		*p = T(int64(v>>1) ^ -int64(v&1))
	}
}

// take gives the next n bytes while reading; they are the packet's.
func (c *coder) take(n uint64) []byte {
	if c.err == nil && n > uint64(len(c.b)) {
		c.fail("a field of %d bytes, %d are left", n, len(c.b))
	}
	if c.err != nil {
		return nil
	}
	b := c.b[:n]
	c.b = c.b[n:]
	return b
}

// flag is a byte, 0 or 1.
func (c *coder) flag(p *bool) {
	var v uint8
	if *p {
		v = 1
	}
	num(c, &v)
	if c.reading && c.err == nil {
		if v > 1 {
			c.fail("a boolean is %d", v)
			return
		}
		*p = v == 1
	}
}

// fixed is exactly len(p) bytes.
func (c *coder) fixed(p []byte) {
	switch {
	case c.err != nil:
	case !c.reading:
		c.b = append(c.b, p...)
	default:
		copy(p, c.take(uint64(len(p))))
	}
}

// count begins a list of n items, at most limit of at least one byte each, and gives
// how many follow.
func (c *coder) count(n, limit int) int {
	v := uint64(n)
	if !c.reading && n > limit {
		c.fail("a list has %d items, its limit is %d", n, limit)
	}
	c.uvarint(&v)
	if c.reading && c.err == nil && (v > uint64(limit) || v > uint64(len(c.b))) {
		c.fail("a list has %d items, its limit is %d, and %d bytes are left", v, limit, len(c.b))
	}
	if c.err != nil {
		return 0
	}
	return int(v)
}

// bytes is at most limit bytes; none reads as nil. What is read is a piece of what is
// decoded, which nobody else has: who keeps it for long copies it.
func (c *coder) bytes(p *[]byte, limit int) {
	n := uint64(len(*p))
	if !c.reading && len(*p) > limit {
		c.fail("a field has %d bytes, its limit is %d", n, limit)
	}
	c.uvarint(&n)
	if c.reading && c.err == nil && n > uint64(limit) {
		c.fail("a field has %d bytes, its limit is %d", n, limit)
	}
	switch {
	case c.err != nil:
	case !c.reading:
		c.b = append(c.b, *p...)
	default:
		if b := c.take(n); len(b) > 0 {
			*p = b[:n:n]
		}
	}
}

// text is at most limit bytes.
func (c *coder) text(p *string, limit int) {
	n := uint64(len(*p))
	if !c.reading && len(*p) > limit {
		c.fail("a text has %d bytes, its limit is %d", n, limit)
	}
	c.uvarint(&n)
	if c.reading && c.err == nil && n > uint64(limit) {
		c.fail("a text has %d bytes, its limit is %d", n, limit)
	}
	switch {
	case c.err != nil:
	case !c.reading:
		c.b = append(c.b, *p...)
	default:
		*p = string(c.take(n))
	}
}

// texts is a list of texts; none reads as nil.
func (c *coder) texts(p *[]string, limit, each int) {
	n := c.count(len(*p), limit)
	if c.reading && c.err == nil {
		*p = nil
		if n > 0 {
			*p = make([]string, n)
		}
	}
	for i := 0; i < n && c.err == nil; i++ {
		c.text(&(*p)[i], each)
	}
}

// set is a set of UIDs: each range as its distance from the one before, and its length.
func (c *coder) set(p *numset.Set) {
	ranges := p.Ranges()
	n := c.count(len(ranges), maxBlob/2)
	last := uint64(0)
	var out numset.Set
	for i := 0; i < n && c.err == nil; i++ {
		var gap, more uint64
		if !c.reading {
			gap, more = uint64(ranges[i].First)-last, uint64(ranges[i].Last-ranges[i].First)
		}
		c.uvarint(&gap)
		c.uvarint(&more)
		if !c.reading || c.err != nil {
			if !c.reading {
				last = uint64(ranges[i].Last)
			}
			continue
		}
		if gap > 1<<32 || more > 1<<32 || gap == 0 || i > 0 && gap == 1 || last+gap+more > 1<<32-1 {
			c.fail("a set of UIDs is not in order")
			return
		}
		out.AddRange(uint32(last+gap), uint32(last+gap+more))
		last += gap + more
	}
	if c.reading && c.err == nil {
		*p = out
	}
}

// uids is a list of ascending UIDs.
func (c *coder) uids(p *[]mailstore.UID) {
	n := c.count(len(*p), maxBlob)
	if c.reading && c.err == nil {
		*p = nil
		if n > 0 {
			*p = make([]mailstore.UID, n)
		}
	}
	last := uint64(0)
	for i := 0; i < n && c.err == nil; i++ {
		gap := uint64((*p)[i]) - last
		c.uvarint(&gap)
		if c.reading && c.err == nil && (gap == 0 || gap > 1<<32 || last+gap > 1<<32-1) {
			c.fail("a list of UIDs is not in order")
			return
		}
		last += gap
		(*p)[i] = mailstore.UID(last)
	}
}

// maxZone bounds a time zone's distance from UTC, in seconds.
const maxZone = 24 * 3600

// time is a point in time with its zone's distance from UTC. Where that is the one of
// this machine at that time, the zone is this machine's, as it is for the owner.
func (c *coder) time(p *time.Time) {
	is := !p.IsZero()
	c.flag(&is)
	if !is || c.err != nil {
		if c.reading && c.err == nil {
			*p = time.Time{}
		}
		return
	}
	sec, nsec := p.Unix(), uint32(p.Nanosecond())
	_, zone := p.Zone()
	signed(c, &sec)
	num(c, &nsec)
	signed(c, &zone)
	if !c.reading || c.err != nil {
		return
	}
	if nsec >= 1e9 || zone < -maxZone || zone > maxZone || sec < -1<<40 || sec > 1<<40 {
		c.fail("a time is out of range")
		return
	}
	t := time.Unix(sec, int64(nsec))
	switch _, local := t.Zone(); {
	case zone == local:
	case zone == 0:
		t = t.UTC()
	default:
		t = t.In(time.FixedZone("", zone))
	}
	*p = t
}

// flags are system flags, those that there are.
func (c *coder) flags(p *mailstore.Flags) {
	num(c, p)
	if c.reading && c.err == nil && *p&^mailstore.AllFlags != 0 {
		c.fail("the flags %#x are unknown", *p)
	}
}
