package passhash

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"encoding"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"time"

	"rookery/internal/saslprep"
)

const (
	scramRounds    = 4096 // RFC 5802 §5.1 asks for at least this
	scramMaxRounds = 1 << 24
	scramSalt      = 16
)

// SCRAM is the verifier of RFC 5802 §3: who holds it can check a client and
// prove himself to it, but cannot log in elsewhere with it.
type SCRAM struct {
	Iterations           int
	Salt                 []byte
	StoredKey, ServerKey []byte
}

// NewSCRAM derives a verifier from a password. name is "SCRAM-SHA-1" or
// "SCRAM-SHA-256"; iterations 0 is the default.
func NewSCRAM(name string, password, salt []byte, iterations int) (SCRAM, error) {
	newHash, err := SCRAMHash(name)
	if err != nil {
		return SCRAM{}, err
	}
	if iterations == 0 {
		iterations = scramRounds
	}
	return deriveSCRAM(newHash, password, salt, iterations)
}

// SCRAMHash gives the hash function of a SCRAM mechanism.
func SCRAMHash(name string) (func() hash.Hash, error) {
	switch name {
	case "SCRAM-SHA-1":
		return sha1.New, nil
	case "SCRAM-SHA-256":
		return sha256.New, nil
	}
	return nil, fmt.Errorf("%w %s", ErrUnknownScheme, clip(name))
}

func deriveSCRAM(newHash func() hash.Hash, password, salt []byte, iterations int) (SCRAM, error) {
	size := newHash().Size()
	// RFC 5802 §3: Normalize(password). What cannot be prepared is hashed as it came.
	text := string(password)
	if prepared, err := saslprep.Prepare(text); err == nil {
		text = prepared
	}
	salted, err := pbkdf2.Key(newHash, text, salt, iterations, size)
	if err != nil {
		return SCRAM{}, err
	}
	mac := func(text string) []byte {
		m := hmac.New(newHash, salted)
		io.WriteString(m, text)
		return m.Sum(nil)
	}
	h := newHash()
	h.Write(mac("Client Key"))
	return SCRAM{iterations, salt, h.Sum(nil), mac("Server Key")}, nil
}

func parseSCRAM(raw []byte, size int) (v SCRAM, err error) {
	f := bytes.Split(raw, []byte(","))
	if len(f) != 4 {
		return v, fmt.Errorf("%w: need iterations,salt,StoredKey,ServerKey", ErrMalformed)
	}
	v.Iterations, err = strconv.Atoi(string(f[0]))
	if err != nil || v.Iterations < 1 || v.Iterations > scramMaxRounds {
		return v, fmt.Errorf("%w: SCRAM iterations must be 1 to %d", ErrMalformed, scramMaxRounds)
	}
	for i, dst := range []*[]byte{&v.Salt, &v.StoredKey, &v.ServerKey} {
		if *dst, err = base64.StdEncoding.DecodeString(string(f[i+1])); err != nil || len(*dst) == 0 {
			return v, fmt.Errorf("%w: SCRAM verifier has bad base64", ErrMalformed)
		}
	}
	if len(v.StoredKey) != size || len(v.ServerKey) != size || len(v.Salt) > 256 {
		return v, fmt.Errorf("%w: SCRAM verifier has keys of a wrong length", ErrMalformed)
	}
	return v, nil
}

func checkSCRAM(size int) func([]byte, bool) error {
	return func(raw []byte, _ bool) error {
		_, err := parseSCRAM(raw, size)
		return err
	}
}

func verifySCRAM(newHash func() hash.Hash) func([]byte, string, []byte) (bool, error) {
	return func(raw []byte, _ string, password []byte) (bool, error) {
		v, err := parseSCRAM(raw, newHash().Size())
		if err != nil {
			return false, err
		}
		got, err := deriveSCRAM(newHash, password, v.Salt, v.Iterations)
		if err != nil {
			return false, errors.Join(ErrMalformed, err)
		}
		return equal(got.StoredKey, v.StoredKey) && equal(got.ServerKey, v.ServerKey), nil
	}
}

func costSCRAM(raw []byte) Cost {
	num, _, _ := bytes.Cut(raw, []byte(","))
	n, err := strconv.Atoi(string(num))
	if err != nil {
		return Cost{}
	}
	return SCRAMCost(n)
}

func genSCRAM(newHash func() hash.Hash) func(Gen) ([]byte, error) {
	return func(g Gen) ([]byte, error) {
		n := g.Rounds
		if n == 0 {
			n = scramRounds
		}
		if n < scramRounds || n > scramMaxRounds {
			return nil, fmt.Errorf("rounds are %d to %d", scramRounds, scramMaxRounds)
		}
		salt := make([]byte, scramSalt)
		if _, err := io.ReadFull(g.Rand, salt); err != nil {
			return nil, err
		}
		v, err := deriveSCRAM(newHash, g.Password, salt, n)
		if err != nil {
			return nil, err
		}
		enc := base64.StdEncoding.EncodeToString
		return fmt.Appendf(nil, "%d,%s,%s,%s", n, enc(v.Salt), enc(v.StoredKey), enc(v.ServerKey)), nil
	}
}

// SCRAMCost estimates NewSCRAM.
func SCRAMCost(iterations int) Cost {
	return Cost{CPU: time.Duration(iterations) * 400 * time.Nanosecond}
}

// SCRAM gives the verifier for mechanism name: from a secret of that scheme,
// or derived from a cleartext one with the salt given, in the default rounds.
func (s Stored) SCRAM(name string, salt []byte) (SCRAM, bool) {
	if text, ok := s.Plaintext(); ok {
		v, err := NewSCRAM(name, text, salt, 0)
		return v, err == nil
	}
	if s.scheme == nil || s.scheme.name != name {
		return SCRAM{}, false
	}
	newHash, err := SCRAMHash(name)
	if err != nil {
		return SCRAM{}, false
	}
	v, err := parseSCRAM(s.raw, newHash().Size())
	return v, err == nil
}

// CRAM is the keyed state of HMAC-MD5, RFC 2195 §2's "contexts": outer state,
// then inner state, each as MD5's four words in little-endian order.
type CRAM [2 * md5.Size]byte

// NewCRAM derives the state from a password.
func NewCRAM(password []byte) CRAM {
	key := password
	if len(key) > md5.BlockSize {
		sum := md5.Sum(key)
		key = sum[:]
	}
	var c CRAM
	for i, pad := range []byte{0x5c, 0x36} {
		block := bytes.Repeat([]byte{pad}, md5.BlockSize)
		for j := range key {
			block[j] ^= key[j]
		}
		h := md5.New()
		h.Write(block)
		state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
		if err != nil {
			panic("md5 state does not marshal: " + err.Error()) // the standard library promises it
		}
		for w := range 4 {
			v := binary.BigEndian.Uint32(state[4+4*w:])
			binary.LittleEndian.PutUint32(c[i*md5.Size+4*w:], v)
		}
	}
	return c
}

// Digest is HMAC-MD5 of challenge under the state.
func (c CRAM) Digest(challenge []byte) []byte {
	inner := c.resume(1)
	inner.Write(challenge)
	outer := c.resume(0)
	outer.Write(inner.Sum(nil))
	return outer.Sum(nil)
}

func (c CRAM) resume(i int) hash.Hash {
	state := make([]byte, 0, 4+md5.Size+md5.BlockSize+8)
	state = append(state, "md5\x01"...)
	for w := range 4 {
		v := binary.LittleEndian.Uint32(c[i*md5.Size+4*w:])
		state = binary.BigEndian.AppendUint32(state, v)
	}
	state = append(state, make([]byte, md5.BlockSize)...)
	state = binary.BigEndian.AppendUint64(state, md5.BlockSize)
	h := md5.New()
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
		panic("md5 state does not unmarshal: " + err.Error()) // the standard library's format is fixed
	}
	return h
}

func verifyCRAM(raw []byte, _ string, password []byte) (bool, error) {
	c := NewCRAM(password)
	return equal(c[:], raw), nil
}

func genCRAM(g Gen) ([]byte, error) {
	c := NewCRAM(g.Password)
	return c[:], nil
}

// CRAM gives the state for CRAM-MD5: stored, or derived from cleartext.
func (s Stored) CRAM() (CRAM, bool) {
	if text, ok := s.Plaintext(); ok {
		return NewCRAM(text), true
	}
	if s.scheme == nil || (s.scheme.name != "CRAM-MD5" && s.scheme.name != "HMAC-MD5") {
		return CRAM{}, false
	}
	return CRAM(s.raw), true
}
