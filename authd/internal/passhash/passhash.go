// Package passhash reads stored password secrets in Dovecot's
// {SCHEME.encoding}data form, verifies passwords against them and makes new
// ones.
//
// Only authd may use it. It knows neither databases nor protocols, keeps no
// state and does no I/O; a caller decides where and when the costly calls run
// (see Cost). An unknown, weak or damaged secret is an error and never a
// mismatch: the operator must see it, and the user must not be told that his
// password is wrong.
package passhash

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"
)

// MaxPassword bounds a password, in bytes. SHA-crypt's work grows with the
// length of the password times the rounds. RFC 4616 §2 asks for 255.
const MaxPassword = 1024

// MaxStored bounds a stored secret, in bytes.
const MaxStored = 4096

// The reasons why a stored secret cannot be used. They are the operator's
// fault, never the client's.
var (
	ErrUnknownScheme = errors.New("unknown scheme")
	ErrWeakScheme    = errors.New("weak scheme")
	ErrMalformed     = errors.New("not valid for its scheme")
)

// Cost estimates the work of one verification. The figures steer queues; they
// are not promises.
type Cost struct {
	CPU    time.Duration // on a present-day core
	Memory int64         // bytes allocated while it runs
}

type textForm uint8

const (
	encNone textForm = iota
	encBase64
	encHex
)

// scheme is one row of the table. raw is the data after decoding.
type scheme struct {
	name     string
	weak     bool
	enc      textForm
	rawLen   int    // bytes of raw where fixed, else 0
	plain    bool   // raw is the password itself
	alias    string // the row whose functions serve this name
	text     string // one line for listings
	check    func(raw []byte, allowWeak bool) error
	verify   func(raw []byte, user string, password []byte) (bool, error)
	generate func(g Gen) ([]byte, error) // nil: no new secrets of this scheme
	cost     func(raw []byte) Cost       // nil: negligible
}

// Stored is one parsed secret. The zero value matches nothing.
type Stored struct {
	scheme *scheme
	name   string // upper case, as the database wrote it
	raw    []byte
}

// Gen is what making a new secret needs.
type Gen struct {
	User     string // for schemes that hash the name too; else ignored
	Password []byte
	Rounds   int       // 0: the scheme's default. bcrypt: log2 of the rounds
	Rand     io.Reader // crypto/rand.Reader
}

// Split takes the scheme off field: "{SHA256.hex}00ff" gives "SHA256.HEX" and
// "00ff". Without a prefix the scheme is def; a bare "$1$" is MD5-CRYPT
// whatever def says, since no other scheme's text begins so.
func Split(field, def string) (name, data string) {
	if rest, ok := strings.CutPrefix(field, "{"); ok {
		if n, d, found := strings.Cut(rest, "}"); found {
			return strings.ToUpper(n), d
		}
	}
	if strings.HasPrefix(field, "$1$") {
		return "MD5-CRYPT", field
	}
	return strings.ToUpper(def), field
}

// Parse reads a stored secret. def is the scheme of a bare one
// (default_password_scheme). The error is ErrUnknownScheme, ErrWeakScheme or
// ErrMalformed with a text that never holds the secret.
func Parse(field, def string, allowWeak bool) (Stored, error) {
	if len(field) > MaxStored {
		return Stored{}, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, MaxStored)
	}
	full, data := Split(field, def)
	name, suffix, dotted := strings.Cut(full, ".")
	s := find(name)
	if s == nil {
		return Stored{}, fmt.Errorf("%w %s", ErrUnknownScheme, clip(full))
	}
	if s.weak && !allowWeak {
		return Stored{}, fmt.Errorf("%w %s (auth_allow_weak_schemes is false)", ErrWeakScheme, name)
	}
	enc := s.enc
	if dotted {
		switch suffix {
		case "HEX":
			enc = encHex
		case "B64", "BASE64":
			enc = encBase64
		default:
			return Stored{}, fmt.Errorf("%w %s: encodings are hex, b64, base64", ErrUnknownScheme, clip(full))
		}
	} else if s.rawLen > 0 && s.enc != encNone {
		// RFC-less custom of the field: a digest in hex or base64, told by its length.
		if len(data) == 2*s.rawLen {
			enc = encHex
		} else {
			enc = encBase64
		}
	}
	raw, err := decode(data, enc)
	if err != nil {
		return Stored{}, fmt.Errorf("%w %s: %v", ErrMalformed, name, err)
	}
	if s.rawLen > 0 && len(raw) != s.rawLen {
		return Stored{}, fmt.Errorf("%w %s: %d bytes, need %d", ErrMalformed, name, len(raw), s.rawLen)
	}
	if s.check != nil {
		if err := s.check(raw, allowWeak); err != nil {
			return Stored{}, fmt.Errorf("%w (scheme %s)", err, name)
		}
	}
	return Stored{scheme: s, name: name, raw: raw}, nil
}

func clip(s string) string {
	if len(s) > 32 {
		return s[:32] + "…"
	}
	return s
}

func decode(data string, enc textForm) ([]byte, error) {
	switch enc {
	case encHex:
		b, err := hex.DecodeString(data)
		if err != nil {
			return nil, errors.New("bad hex")
		}
		return b, nil
	case encBase64:
		b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(data, "="))
		if err != nil {
			return nil, errors.New("bad base64")
		}
		return b, nil
	}
	return []byte(data), nil
}

func encode(raw []byte, enc textForm) string {
	switch enc {
	case encHex:
		return hex.EncodeToString(raw)
	case encBase64:
		return base64.StdEncoding.EncodeToString(raw)
	}
	return string(raw)
}

// Valid reports whether s came from Parse.
func (s Stored) Valid() bool { return s.scheme != nil }

// Name is the scheme's name in upper case.
func (s Stored) Name() string { return s.name }

// Plaintext gives the password itself where the scheme stores it so.
func (s Stored) Plaintext() ([]byte, bool) {
	if s.scheme == nil || !s.scheme.plain {
		return nil, false
	}
	return s.raw, true
}

// Data is the secret's text without its prefix, for auth_debug_passwords only.
func (s Stored) Data() string {
	if s.scheme == nil {
		return ""
	}
	return encode(s.raw, s.scheme.enc)
}

// Cost estimates one Verify.
func (s Stored) Cost() Cost {
	if s.scheme == nil || s.scheme.cost == nil {
		return Cost{CPU: time.Microsecond}
	}
	return s.scheme.cost(s.raw)
}

// Verify reports whether password fits. user is the full user name, which
// DIGEST-MD5 hashes too. A password over MaxPassword fits nothing. The error
// is ErrMalformed.
func (s Stored) Verify(user string, password []byte) (bool, error) {
	if s.scheme == nil || len(password) > MaxPassword {
		return false, nil
	}
	return s.scheme.verify(s.raw, user, password)
}

// Hash makes a new secret "{SCHEME}data". The scheme's name may carry an
// encoding. Schemes that cannot be made give ErrUnknownScheme.
func Hash(name string, g Gen) (string, error) {
	base, suffix, dotted := strings.Cut(strings.ToUpper(name), ".")
	s := find(base)
	if s == nil || s.generate == nil {
		return "", fmt.Errorf("%w %s", ErrUnknownScheme, clip(name))
	}
	if len(g.Password) > MaxPassword {
		return "", fmt.Errorf("password longer than %d bytes", MaxPassword)
	}
	raw, err := s.generate(g)
	if err != nil {
		return "", err
	}
	enc, label := s.enc, base
	if dotted {
		label += "." + suffix
		switch suffix {
		case "HEX":
			enc = encHex
		case "B64", "BASE64":
			enc = encBase64
		default:
			return "", fmt.Errorf("%w %s: encodings are hex, b64, base64", ErrUnknownScheme, clip(name))
		}
	}
	return "{" + label + "}" + encode(raw, enc), nil
}

// Info describes one scheme for listings.
type Info struct {
	Name     string
	Weak     bool // needs auth_allow_weak_schemes
	CanHash  bool // Hash makes secrets of it
	Describe string
}

// Schemes lists every scheme by name.
func Schemes() []Info {
	var out []Info
	for i := range schemes {
		s := &schemes[i]
		real := find(s.name)
		out = append(out, Info{s.name, real.weak, real.generate != nil, real.text})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// Known reports whether name, with or without an encoding, is a scheme.
func Known(name string) bool {
	base, _, _ := strings.Cut(strings.ToUpper(name), ".")
	return find(base) != nil
}

// Fits names a scheme under which password would match data, for the debug
// hint "try X scheme instead". Costly schemes are not tried. "" if none fits.
func Fits(data, user string, password []byte) string {
	for _, name := range []string{"PLAIN", "CRYPT", "SHA", "SSHA", "SHA256", "SSHA256", "SHA512", "SSHA512",
		"SMD5", "LDAP-MD5", "PLAIN-MD5", "PLAIN-MD4", "CRAM-MD5", "DIGEST-MD5", "PBKDF2"} {
		s, err := Parse("{"+name+"}"+data, name, true)
		if err != nil || s.Cost().CPU > 20*time.Millisecond || s.Cost().Memory > 1<<20 {
			continue
		}
		if ok, err := s.Verify(user, password); ok && err == nil {
			return name
		}
	}
	return ""
}

// equal compares in constant time, whatever the lengths.
func equal(a, b []byte) bool {
	ha, hb := sha256.Sum256(a), sha256.Sum256(b)
	return subtle.ConstantTimeCompare(ha[:], hb[:]) == 1 && len(a) == len(b)
}
