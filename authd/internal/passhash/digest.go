package passhash

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"

	//lint:ignore SA1019 it is what old databases hold
	"golang.org/x/crypto/md4" // PLAIN-MD4 of old databases; behind auth_allow_weak_schemes
)

func newMD4() hash.Hash { return md4.New() }

func verifyPlain(raw []byte, _ string, password []byte) (bool, error) {
	return equal(raw, password), nil
}

func genPlain(g Gen) ([]byte, error) { return bytes.Clone(g.Password), nil }

// splitTrunc reads PLAIN-TRUNC: digits, "-", text.
func splitTrunc(raw []byte) (n int, text []byte, err error) {
	num, text, ok := bytes.Cut(raw, []byte("-"))
	n, convErr := strconv.Atoi(string(num))
	if !ok || convErr != nil || n < 1 || n > MaxPassword {
		return 0, nil, fmt.Errorf("%w: need N-text", ErrMalformed)
	}
	return n, text, nil
}

func checkTrunc(raw []byte, _ bool) error {
	_, _, err := splitTrunc(raw)
	return err
}

func verifyTrunc(raw []byte, _ string, password []byte) (bool, error) {
	n, text, err := splitTrunc(raw)
	if err != nil {
		return false, err
	}
	return equal(text[:min(n, len(text))], password[:min(n, len(password))]), nil
}

// digestVerify serves H(password) and H(password + salt) + salt alike: the
// salt is what follows the digest, of any length.
func digestVerify(newHash func() hash.Hash) func([]byte, string, []byte) (bool, error) {
	return func(raw []byte, _ string, password []byte) (bool, error) {
		h := newHash()
		if len(raw) < h.Size() {
			return false, ErrMalformed
		}
		h.Write(password)
		h.Write(raw[h.Size():])
		return equal(h.Sum(nil), raw[:h.Size()]), nil
	}
}

func digestGen(newHash func() hash.Hash, saltLen int) func(Gen) ([]byte, error) {
	return func(g Gen) ([]byte, error) {
		salt := make([]byte, saltLen)
		if _, err := io.ReadFull(g.Rand, salt); err != nil {
			return nil, err
		}
		h := newHash()
		h.Write(g.Password)
		h.Write(salt)
		return append(h.Sum(nil), salt...), nil
	}
}

func checkSalted(size int) func([]byte, bool) error {
	return func(raw []byte, _ bool) error {
		if len(raw) < size {
			return fmt.Errorf("%w: %d bytes, need %d and salt", ErrMalformed, len(raw), size)
		}
		return nil
	}
}

// DIGEST-MD5 stores MD5(user:realm:password); user and realm are the name's
// two sides of "@" (RFC 2831 §2.1.2.1: the same "username:realm:passwd").
func digestMD5(user string, password []byte) []byte {
	name, realm, _ := strings.Cut(user, "@")
	h := md5.New()
	io.WriteString(h, name+":"+realm+":")
	h.Write(password)
	return h.Sum(nil)
}

func verifyDigestMD5(raw []byte, user string, password []byte) (bool, error) {
	return equal(digestMD5(user, password), raw), nil
}

func genDigestMD5(g Gen) ([]byte, error) {
	if g.User == "" {
		return nil, fmt.Errorf("scheme DIGEST-MD5 needs the user's name")
	}
	return digestMD5(g.User, g.Password), nil
}
