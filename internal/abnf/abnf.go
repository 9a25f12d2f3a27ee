// Package abnf has the byte classes of the protocols' grammars: one class per
// rule of their ABNF, the rule quoted beside it.
//
// Everybody may use it. It must never hold more than sets of bytes: what a
// token means is for the wire packages.
//
// The classes are values that nobody changes after the program's start.
package abnf

// Class is a set of byte values. The zero value is empty; a Class is compared
// with == and copied freely.
type Class [4]uint64

// Bytes makes the class of the bytes of s.
func Bytes(s string) Class {
	var c Class
	for i := 0; i < len(s); i++ {
		c[s[i]>>6] |= 1 << (s[i] & 63)
	}
	return c
}

// Range makes the class of the bytes from first to last, both included. A
// range whose last is below its first is empty.
func Range(first, last byte) Class {
	var c Class
	for b := int(first); b <= int(last); b++ {
		c[b>>6] |= 1 << (b & 63)
	}
	return c
}

// Has reports whether b is in the class.
func (c *Class) Has(b byte) bool { return c[b>>6]&(1<<(b&63)) != 0 }

// Plus is the union with other.
func (c Class) Plus(other Class) Class {
	for i := range c {
		c[i] |= other[i]
	}
	return c
}

// Minus is the class without the bytes of other.
func (c Class) Minus(other Class) Class {
	for i := range c {
		c[i] &^= other[i]
	}
	return c
}

// Span is the number of bytes at the start of p that are in the class.
func (c *Class) Span(p []byte) int {
	for i, b := range p {
		if !c.Has(b) {
			return i
		}
	}
	return len(p)
}

// All reports whether every byte of s is in the class; it is true of "".
func (c *Class) All(s string) bool {
	for i := 0; i < len(s); i++ {
		if !c.Has(s[i]) {
			return false
		}
	}
	return true
}
