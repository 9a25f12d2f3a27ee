// Package signer holds the TLS private keys and signs handshakes with them,
// and nothing else.
//
// Only authd uses it. A login process sends the content that is to be signed,
// not its hash: the package recognises the two forms that a TLS server signs
// (RFC 8446 §4.4.3, RFC 8422 §5.4) byte for byte and hashes them itself. So a
// login process that was taken over can make a key sign handshakes while it is
// held, and no certificate request, no token and no client's handshake. There
// is no decryption at all. It must never import crypto/tls.
package signer

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
)

// MinRSABits is the smallest RSA key that is taken.
const MinRSABits = 2048

// maxKeys bounds how many keys are held: certificates times reloads whose old
// chains are still in use.
const maxKeys = 4096

// Why a signature is refused.
var (
	ErrNoKey   = errors.New("no such key")
	ErrContent = errors.New("the content is neither a TLS 1.3 server CertificateVerify nor a TLS 1.2 ServerKeyExchange")
	ErrScheme  = errors.New("the signature scheme does not fit the key or the content")
)

// SPKI names a key: SHA-256 of its SubjectPublicKeyInfo.
type SPKI [32]byte

// Keys is the set of keys. It is safe for concurrent use.
type Keys struct {
	mu    sync.RWMutex
	keys  map[SPKI]crypto.Signer
	pairs map[uint64]SPKI
}

// NewKeys makes an empty set.
func NewKeys() *Keys { return &Keys{keys: map[SPKI]crypto.Signer{}, pairs: map[uint64]SPKI{}} }

// Add takes a key under the number of its pair. A key that several pairs name
// stays until the last of them is dropped.
func (k *Keys) Add(pair uint64, id SPKI, key crypto.Signer) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.pairs) >= maxKeys {
		return fmt.Errorf("more than %d keys are held", maxKeys)
	}
	k.keys[id] = key
	k.pairs[pair] = id
	return nil
}

// Drop forgets a pair, and its key where no other pair has it.
func (k *Keys) Drop(pair uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	id, ok := k.pairs[pair]
	delete(k.pairs, pair)
	for _, other := range k.pairs {
		ok = ok && other != id
	}
	if ok {
		delete(k.keys, id)
	}
}

// Sign signs content, a handshake message, with the key of that name in the
// TLS SignatureScheme given.
func (k *Keys) Sign(id SPKI, scheme uint16, content []byte) ([]byte, error) {
	version := recognise(content)
	if version == 0 {
		return nil, ErrContent
	}
	k.mu.RLock()
	key := k.keys[id]
	k.mu.RUnlock()
	if key == nil {
		return nil, ErrNoKey
	}
	s, ok := findScheme(scheme)
	if !ok || !s.fits(key.Public(), version) {
		return nil, ErrScheme
	}
	if s.hash == 0 {
		return key.Sign(rand.Reader, content, crypto.Hash(0))
	}
	h := s.hash.New()
	h.Write(content)
	var opts crypto.SignerOpts = s.hash
	if s.pss {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: s.hash}
	}
	return key.Sign(rand.Reader, h.Sum(nil), opts)
}

// The kinds of content.
const (
	tls12 = 12
	tls13 = 13
)

// RFC 8446 §4.4.3: 64 spaces, a context string, a zero byte.
const context13 = "TLS 1.3, server CertificateVerify\x00"

// recognise tells which handshake message content is; 0 if it is none.
func recognise(content []byte) int {
	spaces := bytes.Repeat([]byte{' '}, 64)
	if rest, ok := bytes.CutPrefix(content, spaces); ok {
		if hash, ok := bytes.CutPrefix(rest, []byte(context13)); ok && (len(hash) == 32 || len(hash) == 48) {
			return tls13 // the transcript's hash of SHA-256 or SHA-384, the only ones that TLS 1.3's suites have
		}
		return 0
	}
	// RFC 8422 §5.4: client random, server random (32 bytes each), then
	// ServerECDHParams: curve_type named_curve(3), NamedCurve, ECPoint<1..255>.
	if len(content) < 64+4 || content[64] != 3 || isDER(content) {
		return 0
	}
	group, point := uint16(content[65])<<8|uint16(content[66]), content[68:]
	if len(point) != int(content[67]) {
		return 0
	}
	want := map[uint16]int{23: 65, 24: 97, 25: 133, 29: 32}[group] // secp256r1, secp384r1, secp521r1, x25519
	if want == 0 || len(point) != want {
		return 0
	}
	if group != 29 && point[0] != 4 { // uncompressed, RFC 8422 §5.4.1
		return 0
	}
	return tls12
}

// isDER tells whether content, as a whole, is a DER SEQUENCE, as certificates
// and requests for them are when they are signed. The randoms are whatever a
// login process says, so a request can be made up whose subject holds what
// stands behind them; an honest handshake's randoms look so once in 2^24.
func isDER(content []byte) bool {
	if content[0] != 0x30 {
		return false
	}
	n, rest := int(content[1]), content[2:]
	switch n {
	case 0x81:
		n, rest = int(content[2]), content[3:]
	case 0x82:
		n, rest = int(content[2])<<8|int(content[3]), content[4:]
	}
	return n == len(rest)
}

type scheme struct {
	id    uint16
	hash  crypto.Hash // 0: the key hashes by itself
	pss   bool
	curve elliptic.Curve // ECDSA: the curve that TLS 1.3 binds the scheme to
	ed    bool
	only  int // the only version that has it, 0 for both
}

// RFC 8446 §4.2.3. No SHA-1: nobody needs it from a server of today.
func findScheme(id uint16) (scheme, bool) {
	for _, s := range []scheme{
		{id: 0x0804, hash: crypto.SHA256, pss: true},
		{id: 0x0805, hash: crypto.SHA384, pss: true},
		{id: 0x0806, hash: crypto.SHA512, pss: true},
		{id: 0x0401, hash: crypto.SHA256, only: tls12},
		{id: 0x0501, hash: crypto.SHA384, only: tls12},
		{id: 0x0601, hash: crypto.SHA512, only: tls12},
		{id: 0x0403, hash: crypto.SHA256, curve: elliptic.P256()},
		{id: 0x0503, hash: crypto.SHA384, curve: elliptic.P384()},
		{id: 0x0603, hash: crypto.SHA512, curve: elliptic.P521()},
		{id: 0x0807, ed: true},
	} {
		if s.id == id {
			return s, true
		}
	}
	return scheme{}, false
}

func (s scheme) fits(pub crypto.PublicKey, version int) bool {
	if s.only != 0 && s.only != version {
		return false
	}
	switch p := pub.(type) {
	case *rsa.PublicKey:
		return s.curve == nil && !s.ed
	case *ecdsa.PublicKey:
		// TLS 1.2 lets any curve go with any hash (RFC 8446 §4.2.3's last note).
		return s.curve != nil && (version == tls12 || s.curve == p.Curve)
	case ed25519.PublicKey:
		return s.ed
	}
	return false
}

// Name gives the SPKI hash of DER.
func Name(spki []byte) SPKI { return sha256.Sum256(spki) }
