package sasl

import (
	"bytes"
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strings"

	"rookery/authd/internal/passhash"
)

const (
	maxClientNonce = 256
	maxExtensions  = 16
)

// scram is RFC 5802 and RFC 7677 without channel binding: gs2 flags "n" and
// "y" pass ("y" is the truth: no -PLUS is offered), "p" is refused.
type scram struct {
	name  string
	hash  func() hash.Hash
	nonce []byte // ours

	step             int
	gs2              string // the header with both commas
	authcid, authzid string
	clientBare       string
	bothNonces       string
	serverFirst      string
	cred             Credentials
}

// The machine's steps.
const (
	scramEnded = iota
	scramFirst
	scramLookup
	scramFinal
	scramConfirm
)

func newSCRAM(name string, nonce []byte) *scram {
	h, err := passhash.SCRAMHash(name)
	if err != nil {
		panic("sasl: " + err.Error()) // the table above names only what exists
	}
	return &scram{name: name, hash: h, nonce: nonce}
}

func (s *scram) Start(has bool, initial []byte) Action {
	s.step = scramFirst
	if !has {
		return Action{Kind: Challenge}
	}
	return s.Next(initial)
}

func (s *scram) Next(response []byte) Action {
	step := s.step
	s.step = scramEnded
	if len(response) > MaxResponse {
		return malformed("response of %d bytes", len(response))
	}
	switch step {
	case scramFirst:
		if err := s.clientFirst(string(response)); err != nil {
			return malformed("%v", err)
		}
		s.step = scramLookup
		return Action{Kind: Lookup, Authcid: s.authcid, Authzid: s.authzid}
	case scramFinal:
		return s.clientFinal(string(response))
	case scramConfirm:
		if len(response) != 0 {
			return malformed("data after the server's proof")
		}
		return Action{Kind: Accept, Authcid: s.authcid, Authzid: s.authzid}
	}
	return malformed("response after the end")
}

// clientFirst reads, RFC 5802 §7,
//
//	client-first-message = gs2-cbind-flag "," [authzid] "," [reserved-mext ","] username "," nonce ["," extensions]
func (s *scram) clientFirst(msg string) error {
	if len(s.nonce) < 16 {
		return errors.New("no server nonce")
	}
	flag, rest, ok := strings.Cut(msg, ",")
	authz, bare, ok2 := strings.Cut(rest, ",")
	switch {
	case !ok || !ok2:
		return errors.New("no gs2 header")
	case strings.HasPrefix(flag, "p="):
		return errors.New("channel binding is not supported")
	case flag != "n" && flag != "y":
		return errors.New("bad gs2 flag")
	}
	if authz != "" {
		name, ok := strings.CutPrefix(authz, "a=")
		if !ok {
			return errors.New("bad authorization identity")
		}
		var err error
		if s.authzid, err = saslName(name); err != nil {
			return fmt.Errorf("authorization identity: %w", err)
		}
	}
	s.gs2, s.clientBare = flag+","+authz+",", bare
	attrs, err := attributes(bare)
	if err != nil {
		return err
	}
	if len(attrs) < 2 || attrs[0].key != 'n' || attrs[1].key != 'r' {
		return errors.New("need n= and r= in this order")
	}
	if s.authcid, err = saslName(attrs[0].value); err != nil {
		return err
	}
	if !printableNonce(attrs[1].value) {
		return errors.New("bad nonce")
	}
	s.bothNonces = attrs[1].value + string(s.nonce)
	return nil
}

type attribute struct {
	key   byte
	value string
}

// attributes splits attr-val *("," attr-val). "m" is refused: a mandatory
// extension that this server cannot know (RFC 5802 §5.1).
func attributes(s string) ([]attribute, error) {
	var out []attribute
	for part := range strings.SplitSeq(s, ",") {
		if len(part) < 2 || part[1] != '=' || !isAlpha(part[0]) {
			return nil, errors.New("bad attribute")
		}
		if part[0] == 'm' {
			return nil, errors.New("mandatory extension is not supported")
		}
		if strings.IndexByte(part, 0) >= 0 {
			return nil, errors.New("NUL in attribute")
		}
		if len(out) == maxExtensions {
			return nil, errors.New("too many attributes")
		}
		out = append(out, attribute{part[0], part[2:]})
	}
	return out, nil
}

func isAlpha(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// saslName undoes =2C and =3D; any other "=" is an error (RFC 5802 §5.1, "n").
func saslName(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '=':
			b.WriteByte(s[i])
			continue
		case strings.HasPrefix(s[i:], "=2C"):
			b.WriteByte(',')
		case strings.HasPrefix(s[i:], "=3D"):
			b.WriteByte('=')
		default:
			return "", errors.New("bad = in name")
		}
		i += 2
	}
	return b.String(), goodName([]byte(b.String()))
}

// printable = %x21-2B / %x2D-7E
func printableNonce(s string) bool {
	if s == "" || len(s) > maxClientNonce {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < 0x21 || s[i] > 0x7e || s[i] == ',' {
			return false
		}
	}
	return true
}

func (s *scram) Credentials(c Credentials) Action {
	if s.step != scramLookup {
		s.step = scramEnded
		return malformed("credentials not asked for")
	}
	s.cred = c
	s.serverFirst = fmt.Sprintf("r=%s,s=%s,i=%d", s.bothNonces, base64.StdEncoding.EncodeToString(c.SCRAM.Salt), c.SCRAM.Iterations)
	s.step = scramFinal
	return Action{Kind: Challenge, Data: []byte(s.serverFirst)}
}

// clientFinal reads, RFC 5802 §7,
//
//	client-final-message = channel-binding "," nonce ["," extensions] "," proof
func (s *scram) clientFinal(msg string) Action {
	at := strings.LastIndex(msg, ",p=")
	if at < 0 {
		return malformed("no proof")
	}
	withoutProof := msg[:at]
	attrs, err := attributes(withoutProof)
	if err != nil {
		return malformed("%v", err)
	}
	if len(attrs) < 2 || attrs[0].key != 'c' || attrs[1].key != 'r' {
		return malformed("need c= and r= in this order")
	}
	// §6: MUST always validate c=, which here is the gs2 header alone.
	if attrs[0].value != base64.StdEncoding.EncodeToString([]byte(s.gs2)) {
		return malformed("channel binding does not match the header")
	}
	if attrs[1].value != s.bothNonces {
		return malformed("nonce is not this exchange's")
	}
	proof, err := base64.StdEncoding.Strict().DecodeString(msg[at+3:])
	if err != nil || len(proof) != s.hash().Size() {
		return malformed("bad proof encoding")
	}
	authMessage := s.clientBare + "," + s.serverFirst + "," + withoutProof
	key := s.mac(s.cred.SCRAM.StoredKey, authMessage)
	for i := range key {
		key[i] ^= proof[i] // ClientKey := ClientProof XOR ClientSignature, §3
	}
	h := s.hash()
	h.Write(key)
	a := proved(s.cred.Known, s.cred.SCRAM.StoredKey, h.Sum(nil), s.authcid, s.authzid)
	if a.Kind != Accept {
		return a
	}
	// The proof goes out as a challenge: IMAP and POP3 have no data beside their OK.
	s.step = scramConfirm
	final := "v=" + base64.StdEncoding.EncodeToString(s.mac(s.cred.SCRAM.ServerKey, authMessage))
	return Action{Kind: Challenge, Data: []byte(final), Authcid: s.authcid, Authzid: s.authzid}
}

func (s *scram) mac(key []byte, text string) []byte {
	m := hmac.New(s.hash, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// FakeSCRAM makes up a verifier for a user who does not exist: the salt is the
// same at every try, as a real one would be (HMAC of the name under a key that
// only this process has), and no proof fits it.
func FakeSCRAM(mech, user string, key []byte, iterations int) (passhash.SCRAM, error) {
	newHash, err := passhash.SCRAMHash(mech)
	if err != nil {
		return passhash.SCRAM{}, err
	}
	derive := func(label string) []byte {
		m := hmac.New(newHash, key)
		m.Write([]byte(label + "\x00" + user))
		return m.Sum(nil)
	}
	return passhash.SCRAM{Iterations: iterations, Salt: Salt(user, key), StoredKey: derive("stored"), ServerKey: derive("server")}, nil
}

// Salt is the salt of a user whose verifier is not stored but derived from a
// cleartext secret, and of one who does not exist.
func Salt(user string, key []byte) []byte {
	h, err := passhash.SCRAMHash("SCRAM-SHA-256")
	if err != nil {
		panic("sasl: " + err.Error())
	}
	m := hmac.New(h, key)
	m.Write([]byte("salt\x00" + user))
	return bytes.Clone(m.Sum(nil)[:16])
}
