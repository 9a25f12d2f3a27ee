// Package secret holds bytes that must not be printed: passwords, SASL
// responses, keys.
//
// Formatting one with any verb, or marshalling it, shows its length only. Who
// really needs the bytes calls Reveal, which is easy to search for in review.
package secret

import (
	"crypto/subtle"
	"fmt"
)

// Bytes is a secret. The zero value is empty.
type Bytes struct{ b []byte }

// New takes ownership of b.
func New(b []byte) Bytes { return Bytes{b} }

// FromString copies s. Strings cannot be wiped: prefer New.
func FromString(s string) Bytes { return Bytes{[]byte(s)} }

// Reveal gives the bytes themselves, not a copy.
func (s Bytes) Reveal() []byte { return s.b }

// Len is the number of bytes.
func (s Bytes) Len() int { return len(s.b) }

// Wipe overwrites the bytes with zeroes.
func (s Bytes) Wipe() { clear(s.b) }

// Equal compares in constant time for equal lengths.
func (s Bytes) Equal(other Bytes) bool { return subtle.ConstantTimeCompare(s.b, other.b) == 1 }

// String never shows the content.
func (s Bytes) String() string { return fmt.Sprintf("<%d bytes>", len(s.b)) }

// GoString never shows the content.
func (s Bytes) GoString() string { return s.String() }

// Format serves every verb alike, %x and %q included.
func (s Bytes) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "<%d bytes>", len(s.b)) }

// MarshalText keeps encoders from reaching the content.
func (s Bytes) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
