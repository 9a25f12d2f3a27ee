package passhash

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"time"

	gocrypt "github.com/go-crypt/x/crypt"
	"github.com/go-crypt/x/yescrypt"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"
)

// crypt(3) strings. The text's own prefix decides the method, whatever name of
// the family stands before it, as crypt(3) itself does.

const (
	cryptAlphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

	shaRoundsDefault = 5000      // crypt(5)
	shaRoundsMin     = 1000      // lower values are raised to it
	shaRoundsMax     = 999999999 // higher ones lowered
	bcryptDefault    = 10
	bcryptPassword   = 72 // bytes after these never counted in any implementation
)

type cryptMethod struct {
	prefix string
	weak   bool
	crypt  func(password, setting []byte) ([]byte, error)
	cost   func(setting []byte) Cost
}

func cryptMethods() []cryptMethod {
	return []cryptMethod{
		{"$2a$", false, cryptBcrypt, costBcrypt},
		{"$2b$", false, cryptBcrypt, costBcrypt},
		{"$2y$", false, cryptBcrypt, costBcrypt},
		{"$5$", false, cryptSHA("$5$", sha256.New, 43), costSHACrypt},
		{"$6$", false, cryptSHA("$6$", sha512.New, 86), costSHACrypt},
		{"$y$", false, cryptYescrypt, costYescrypt},
		{"$7$", false, cryptScrypt, costScrypt},
		{"$1$", true, cryptMD5, func([]byte) Cost { return Cost{CPU: 300 * time.Microsecond} }},
		{"$sha1$", true, cryptSHA1, costSHA1Crypt},
	}
}

func findCrypt(setting []byte) (cryptMethod, error) {
	for _, m := range cryptMethods() {
		if bytes.HasPrefix(setting, []byte(m.prefix)) {
			return m, nil
		}
	}
	if len(setting) == 13 && onlyAlphabet(setting) {
		return cryptMethod{"", true, cryptDES, func([]byte) Cost { return Cost{CPU: 100 * time.Microsecond} }}, nil
	}
	if bytes.HasPrefix(setting, []byte("$")) {
		end := bytes.IndexByte(setting[1:], '$')
		if end > 0 && end < 16 {
			return cryptMethod{}, fmt.Errorf("%w: crypt(3) method %q is not built in", ErrMalformed, setting[:end+2])
		}
	}
	return cryptMethod{}, fmt.Errorf("%w: no crypt(3) string; a cleartext password is written {PLAIN}…", ErrMalformed)
}

func onlyAlphabet(b []byte) bool {
	for _, c := range b {
		if strings.IndexByte(cryptAlphabet, c) < 0 {
			return false
		}
	}
	return true
}

func checkCrypt(raw []byte, allowWeak bool) error {
	m, err := findCrypt(raw)
	if err != nil {
		return err
	}
	if m.weak && !allowWeak {
		name := m.prefix
		if name == "" {
			name = "DES"
		}
		return fmt.Errorf("%w crypt method %s (auth_allow_weak_schemes is false)", ErrWeakScheme, name)
	}
	return nil
}

func verifyCrypt(raw []byte, _ string, password []byte) (bool, error) {
	m, err := findCrypt(raw)
	if err != nil {
		return false, err
	}
	// crypt(3) reads a C string; a NUL can't be part of a password.
	if bytes.IndexByte(password, 0) >= 0 {
		return false, nil
	}
	got, err := m.crypt(password, raw)
	if err != nil {
		return false, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	return equal(got, raw), nil
}

func costCrypt(raw []byte) Cost {
	m, err := findCrypt(raw)
	if err != nil {
		return Cost{}
	}
	return m.cost(raw)
}

// cryptBcrypt gives setting itself where the password fits, else another text:
// the library compares by itself.
func cryptBcrypt(password, setting []byte) ([]byte, error) {
	if len(setting) != 60 {
		return nil, errors.New("bcrypt string must have 60 characters")
	}
	err := bcrypt.CompareHashAndPassword(setting, password[:min(len(password), bcryptPassword)])
	if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return setting, nil
}

func costBcrypt(setting []byte) Cost {
	n, err := bcrypt.Cost(setting)
	if err != nil {
		return Cost{CPU: time.Millisecond}
	}
	return Cost{CPU: 70 * time.Microsecond << min(n, 31)}
}

func genBcrypt(g Gen) ([]byte, error) {
	rounds := g.Rounds
	if rounds == 0 {
		rounds = bcryptDefault
	}
	if rounds < bcrypt.MinCost || rounds > bcrypt.MaxCost {
		return nil, fmt.Errorf("bcrypt rounds are %d to %d", bcrypt.MinCost, bcrypt.MaxCost)
	}
	out, err := bcrypt.GenerateFromPassword(g.Password[:min(len(g.Password), bcryptPassword)], rounds)
	if err != nil {
		return nil, err
	}
	out[2] = 'y' // the same algorithm; the letter that Dovecot and crypt(5) prefer
	return out, nil
}

// shaSetting reads "$5$[rounds=N$]salt[$hash]".
func shaSetting(setting []byte) (rounds int, explicit bool, salt []byte, err error) {
	rest := setting[3:]
	rounds = shaRoundsDefault
	if after, ok := bytes.CutPrefix(rest, []byte("rounds=")); ok {
		num, tail, found := bytes.Cut(after, []byte("$"))
		n, convErr := strconv.ParseUint(string(num), 10, 32)
		if !found || convErr != nil {
			return 0, false, nil, errors.New("bad rounds=")
		}
		rounds, explicit, rest = min(max(int(n), shaRoundsMin), shaRoundsMax), true, tail
	}
	salt, _, _ = bytes.Cut(rest, []byte("$"))
	if len(salt) > 16 {
		salt = salt[:16]
	}
	return rounds, explicit, salt, nil
}

func cryptSHA(prefix string, newHash func() hash.Hash, hashLen int) func(password, setting []byte) ([]byte, error) {
	return func(password, setting []byte) ([]byte, error) {
		rounds, explicit, salt, err := shaSetting(setting)
		if err != nil {
			return nil, err
		}
		out := []byte(prefix)
		if explicit {
			out = fmt.Appendf(out, "rounds=%d$", rounds)
		}
		out = append(append(out, salt...), '$')
		key := gocrypt.KeySHACrypt(newHash, password, salt, rounds)
		if len(key) != hashLen {
			return nil, errors.New("unexpected key length")
		}
		return append(out, key...), nil
	}
}

func costSHACrypt(setting []byte) Cost {
	rounds, _, _, err := shaSetting(setting)
	if err != nil {
		return Cost{}
	}
	return Cost{CPU: time.Duration(rounds) * 700 * time.Nanosecond}
}

func cryptSalt(r io.Reader, n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	for i := range b {
		b[i] = cryptAlphabet[b[i]&63]
	}
	return b, nil
}

func genSHACrypt(prefix string) func(Gen) ([]byte, error) {
	return func(g Gen) ([]byte, error) {
		salt, err := cryptSalt(g.Rand, 16)
		if err != nil {
			return nil, err
		}
		setting := []byte(prefix)
		if g.Rounds != 0 {
			if g.Rounds < shaRoundsMin || g.Rounds > shaRoundsMax {
				return nil, fmt.Errorf("rounds are %d to %d", shaRoundsMin, shaRoundsMax)
			}
			setting = fmt.Appendf(setting, "rounds=%d$", g.Rounds)
		}
		setting = append(setting, salt...)
		m, err := findCrypt(setting)
		if err != nil {
			return nil, err
		}
		return m.crypt(g.Password, setting)
	}
}

func cryptMD5(password, setting []byte) ([]byte, error) {
	salt, _, _ := bytes.Cut(setting[3:], []byte("$"))
	if len(salt) > 8 {
		salt = salt[:8]
	}
	return fmt.Appendf(nil, "$1$%s$%s", salt, gocrypt.KeyMD5Crypt(password, salt)), nil
}

func genMD5Crypt(g Gen) ([]byte, error) {
	salt, err := cryptSalt(g.Rand, 8)
	if err != nil {
		return nil, err
	}
	return cryptMD5(g.Password, append([]byte("$1$"), salt...))
}

// sha1Setting reads "$sha1$rounds$salt[$hash]".
func sha1Setting(setting []byte) (uint32, []byte, error) {
	f := bytes.Split(setting, []byte("$"))
	if len(f) < 4 {
		return 0, nil, errors.New("need $sha1$rounds$salt$hash")
	}
	n, err := strconv.ParseUint(string(f[2]), 10, 32)
	if err != nil || n == 0 || n > 1<<26 {
		return 0, nil, errors.New("bad rounds")
	}
	return uint32(n), f[3], nil
}

func cryptSHA1(password, setting []byte) ([]byte, error) {
	rounds, salt, err := sha1Setting(setting)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "$sha1$%d$%s$%s", rounds, salt, gocrypt.KeySHA1Crypt(password, salt, rounds)), nil
}

func costSHA1Crypt(setting []byte) Cost {
	rounds, _, err := sha1Setting(setting)
	if err != nil {
		return Cost{}
	}
	return Cost{CPU: time.Duration(rounds) * 500 * time.Nanosecond}
}

func cryptYescrypt(password, setting []byte) ([]byte, error) { return yescrypt.Hash(password, setting) }

func costYescrypt(setting []byte) Cost {
	if len(setting) < 6 {
		return Cost{}
	}
	ln, r := strings.IndexByte(cryptAlphabet, setting[4])+1, strings.IndexByte(cryptAlphabet, setting[5])+1
	mem := int64(128*r) << min(ln, 24)
	return Cost{CPU: time.Duration(mem) * 6, Memory: mem}
}

// scryptSetting reads "$7$" N r p salt: N one digit of log2, r and p five
// digits each, low digits first, all in crypt(3)'s alphabet (crypt(5)).
func scryptSetting(setting []byte) (logN, r, p int, salt []byte, err error) {
	if len(setting) < 14 {
		return 0, 0, 0, nil, errors.New("$7$ string too short")
	}
	number := func(b []byte) int {
		n := 0
		for i := len(b) - 1; i >= 0; i-- {
			d := strings.IndexByte(cryptAlphabet, b[i])
			if d < 0 {
				return -1
			}
			n = n<<6 | d
		}
		return n
	}
	logN, r, p = number(setting[3:4]), number(setting[4:9]), number(setting[9:14])
	if logN < 1 || logN > 24 || r < 1 || p < 1 || r > 1<<10 || p > 1<<10 || r*p > 1<<14 {
		return 0, 0, 0, nil, errors.New("$7$ parameters out of range")
	}
	salt = setting[14:]
	if i := bytes.LastIndexByte(salt, '$'); i >= 0 {
		salt = salt[:i]
	}
	return logN, r, p, salt, nil
}

func cryptScrypt(password, setting []byte) ([]byte, error) {
	logN, r, p, salt, err := scryptSetting(setting)
	if err != nil {
		return nil, err
	}
	key, err := scrypt.Key(password, salt, 1<<logN, r, p, 32)
	if err != nil {
		return nil, err
	}
	out := append(bytes.Clone(setting[:14+len(salt)]), '$')
	return append(out, yescrypt.Encode64(key)...), nil
}

func costScrypt(setting []byte) Cost {
	logN, r, p, _, err := scryptSetting(setting)
	if err != nil {
		return Cost{}
	}
	mem := int64(128*r) << logN
	return Cost{CPU: time.Duration(mem*int64(p)) * 4, Memory: mem}
}
