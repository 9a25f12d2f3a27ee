package passhash

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"golang.org/x/crypto/argon2"
)

const (
	argonMemory  = 64 << 10 // KiB
	argonTime    = 3
	argonMaxMem  = 4 << 20 // KiB; 4 GiB
	argonMaxTime = 1 << 12

	pbkdf2Rounds    = 5000
	pbkdf2MaxRounds = 1 << 26
)

// argonSecret is a PHC string: $argon2id$v=19$m=65536,t=3,p=1$salt$hash.
type argonSecret struct {
	kind       string
	mem, time  uint32
	threads    uint8
	salt, hash []byte
}

func parseArgon(raw []byte) (a argonSecret, err error) {
	bad := func(what string) (argonSecret, error) {
		return argonSecret{}, fmt.Errorf("%w: Argon2 string has bad %s", ErrMalformed, what)
	}
	f := bytes.Split(raw, []byte("$"))
	if len(f) != 6 || len(f[0]) != 0 {
		return bad("form")
	}
	a.kind = string(f[1])
	if a.kind != "argon2i" && a.kind != "argon2id" {
		return bad("kind")
	}
	if string(f[2]) != "v=19" {
		return bad("version (19 is supported)")
	}
	params := bytes.Split(f[3], []byte(","))
	if len(params) != 3 {
		return bad("parameters")
	}
	for i, p := range []struct {
		key string
		max uint64
		set func(uint64)
	}{
		{"m=", argonMaxMem, func(v uint64) { a.mem = uint32(v) }},
		{"t=", argonMaxTime, func(v uint64) { a.time = uint32(v) }},
		{"p=", 64, func(v uint64) { a.threads = uint8(v) }},
	} {
		text, ok := bytes.CutPrefix(params[i], []byte(p.key))
		v, convErr := strconv.ParseUint(string(text), 10, 32)
		if !ok || convErr != nil || v < 1 || v > p.max {
			return bad("parameter " + p.key)
		}
		p.set(v)
	}
	if a.salt, err = base64.RawStdEncoding.DecodeString(string(f[4])); err != nil || len(a.salt) < 8 {
		return bad("salt")
	}
	if a.hash, err = base64.RawStdEncoding.DecodeString(string(f[5])); err != nil || len(a.hash) < 4 || len(a.hash) > 512 {
		return bad("hash")
	}
	return a, nil
}

func (a argonSecret) key(password []byte, n int) []byte {
	if a.kind == "argon2i" {
		return argon2.Key(password, a.salt, a.time, a.mem, a.threads, uint32(n))
	}
	return argon2.IDKey(password, a.salt, a.time, a.mem, a.threads, uint32(n))
}

func checkArgon(raw []byte, _ bool) error {
	_, err := parseArgon(raw)
	return err
}

func verifyArgon(raw []byte, _ string, password []byte) (bool, error) {
	a, err := parseArgon(raw)
	if err != nil {
		return false, err
	}
	return equal(a.key(password, len(a.hash)), a.hash), nil
}

func costArgon(raw []byte) Cost {
	a, err := parseArgon(raw)
	if err != nil {
		return Cost{}
	}
	mem := int64(a.mem) << 10
	return Cost{CPU: time.Duration(mem) * time.Duration(a.time) * 6 / 10, Memory: mem}
}

func genArgon(kind string) func(Gen) ([]byte, error) {
	return func(g Gen) ([]byte, error) {
		a := argonSecret{kind: kind, mem: argonMemory, time: argonTime, threads: 1, salt: make([]byte, 16)}
		if g.Rounds != 0 {
			if g.Rounds < 1 || g.Rounds > argonMaxTime {
				return nil, fmt.Errorf("rounds are 1 to %d", argonMaxTime)
			}
			a.time = uint32(g.Rounds)
		}
		if _, err := io.ReadFull(g.Rand, a.salt); err != nil {
			return nil, err
		}
		enc := base64.RawStdEncoding.EncodeToString
		return fmt.Appendf(nil, "$%s$v=19$m=%d,t=%d,p=%d$%s$%s", kind, a.mem, a.time, a.threads,
			enc(a.salt), enc(a.key(g.Password, 32))), nil
	}
}

// parsePBKDF2 reads Dovecot's own form $1$salt$rounds$hex: the salt's text
// itself is the salt, the key 20 bytes of PBKDF2 with HMAC-SHA-1.
func parsePBKDF2(raw []byte) (salt []byte, rounds int, key []byte, err error) {
	f := bytes.Split(raw, []byte("$"))
	if len(f) != 5 || len(f[0]) != 0 || string(f[1]) != "1" {
		return nil, 0, nil, fmt.Errorf("%w: need $1$salt$rounds$hex", ErrMalformed)
	}
	rounds, err = strconv.Atoi(string(f[3]))
	if err != nil || rounds < 1 || rounds > pbkdf2MaxRounds {
		return nil, 0, nil, fmt.Errorf("%w: PBKDF2 rounds must be 1 to %d", ErrMalformed, pbkdf2MaxRounds)
	}
	key, err = hex.DecodeString(string(f[4]))
	if err != nil || len(key) != sha1.Size {
		return nil, 0, nil, fmt.Errorf("%w: PBKDF2 hash must be %d hex digits", ErrMalformed, 2*sha1.Size)
	}
	return f[2], rounds, key, nil
}

func checkPBKDF2(raw []byte, _ bool) error {
	_, _, _, err := parsePBKDF2(raw)
	return err
}

func verifyPBKDF2(raw []byte, _ string, password []byte) (bool, error) {
	salt, rounds, key, err := parsePBKDF2(raw)
	if err != nil {
		return false, err
	}
	got, err := pbkdf2.Key(sha1.New, string(password), salt, rounds, sha1.Size)
	if err != nil {
		return false, errors.Join(ErrMalformed, err)
	}
	return equal(got, key), nil
}

func costPBKDF2(raw []byte) Cost {
	_, rounds, _, err := parsePBKDF2(raw)
	if err != nil {
		return Cost{}
	}
	return Cost{CPU: time.Duration(rounds) * 300 * time.Nanosecond}
}

func genPBKDF2(g Gen) ([]byte, error) {
	rounds := g.Rounds
	if rounds == 0 {
		rounds = pbkdf2Rounds
	}
	if rounds < 1 || rounds > pbkdf2MaxRounds {
		return nil, fmt.Errorf("rounds are 1 to %d", pbkdf2MaxRounds)
	}
	salt, err := cryptSalt(g.Rand, 16)
	if err != nil {
		return nil, err
	}
	key, err := pbkdf2.Key(sha1.New, string(g.Password), salt, rounds, sha1.Size)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "$1$%s$%d$%x", salt, rounds, key), nil
}
