package signer

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

func newKey(t testing.TB, kind string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch kind {
	case "rsa":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "p256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "p384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func selfSigned(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail.example.test"},
		DNSNames: []string{"mail.example.test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func pkcs8(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// remote is the key as a login process has it: a name and a way to ask.
type remote struct {
	keys *Keys
	id   SPKI
	pub  crypto.PublicKey
	last []byte
}

func (r *remote) Public() crypto.PublicKey { return r.pub }

func (r *remote) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("asked to sign a digest")
}

func (r *remote) SignMessage(_ io.Reader, msg []byte, opts crypto.SignerOpts) ([]byte, error) {
	r.last = bytes.Clone(msg)
	return r.keys.Sign(r.id, schemeFor(r.pub, opts), msg)
}

func schemeFor(pub crypto.PublicKey, opts crypto.SignerOpts) uint16 {
	low := map[crypto.Hash]uint16{crypto.SHA256: 4, crypto.SHA384: 5, crypto.SHA512: 6}[opts.HashFunc()]
	switch pub.(type) {
	case *rsa.PublicKey:
		if _, ok := opts.(*rsa.PSSOptions); ok {
			return 0x0800 + low
		}
		return low<<8 + 1
	case *ecdsa.PublicKey:
		return low<<8 + 3
	}
	return 0x0807
}

// Real handshakes of crypto/tls in both versions with each kind of key.
func TestHandshakes(t *testing.T) {
	for _, kind := range []string{"rsa", "p256", "p384", "ed25519"} {
		key := newKey(t, kind)
		pair, err := ParsePair(selfSigned(t, key), pkcs8(t, key))
		if err != nil {
			t.Fatal(err)
		}
		keys := NewKeys()
		if err := keys.Add(1, pair.SPKI, pair.Key); err != nil {
			t.Fatal(err)
		}
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for _, curve := range []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521, tls.X25519MLKEM768} {
				if version == tls.VersionTLS12 && curve == tls.X25519MLKEM768 {
					continue
				}
				r := &remote{keys: keys, id: pair.SPKI, pub: key.Public()}
				if err := handshake(t, pair, r, version, curve); err != nil {
					t.Errorf("%s %s %v: %v", kind, tls.VersionName(version), curve, err)
				}
				if r.last == nil {
					t.Errorf("%s: the key was not asked", kind)
				}
			}
		}
	}
}

func handshake(t *testing.T, pair Pair, key crypto.Signer, version uint16, curve tls.CurveID) error {
	t.Helper()
	server, client := net.Pipe()
	defer server.Close()
	defer client.Close()
	roots := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(pair.Chain[0])
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(leaf)
	done := make(chan error, 1)
	go func() {
		c := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{{Certificate: pair.Chain, PrivateKey: key}}, MinVersion: version, MaxVersion: version, SessionTicketsDisabled: true})
		done <- c.Handshake()
	}()
	c := tls.Client(client, &tls.Config{RootCAs: roots, ServerName: "mail.example.test", CurvePreferences: []tls.CurveID{curve}, MinVersion: version, MaxVersion: version})
	if err := c.Handshake(); err != nil {
		server.Close()
		return fmt.Errorf("client: %w; server: %v", err, <-done)
	}
	return <-done
}

func content13(n int) []byte {
	return append([]byte(strings.Repeat(" ", 64)+context13), make([]byte, n)...)
}

func content12(curveType byte, group uint16, point []byte) []byte {
	return append(append(make([]byte, 64), curveType, byte(group>>8), byte(group), byte(len(point))), point...)
}

// request is what a certificate request's key signs, made so that it reads as a
// ServerKeyExchange, too: curve, length and point stand in the subject.
func request(t *testing.T) []byte {
	key, err := x509.MarshalPKIXPublicKey(newKey(t, "p256").Public())
	if err != nil {
		t.Fatal(err)
	}
	name := slices.Concat([]byte{0x30, 64, 0x31, 62, 0x30, 60, 6, 3, 0x55, 4, 3, 12, 53}, bytes.Repeat([]byte("x"), 53))
	info := slices.Concat([]byte{0x30, 0x81, 162, 2, 1, 0}, name, key, []byte{0xa0, 0})
	copy(info[64:], []byte{3, 0, 24, 97, 4})
	whole := slices.Concat([]byte{0x30, 0x81, byte(len(info) + 12 + 11)}, info, []byte{0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2}, append([]byte{3, 9, 0, 0x30, 6}, 2, 1, 1, 2, 1, 1))
	if r, err := x509.ParseCertificateRequest(whole); err != nil || len(r.RawTBSCertificateRequest) != 64+4+97 {
		t.Fatalf("the test's request is none: %v", err)
	}
	return info
}

func TestRecognise(t *testing.T) {
	point := func(first byte, n int) []byte { p := make([]byte, n); p[0] = first; return p }
	for _, c := range []struct {
		name    string
		content []byte
		want    int
	}{
		{"1.3 SHA-256", content13(32), tls13},
		{"1.3 SHA-384", content13(48), tls13},
		{"1.3 other hash", content13(64), 0},
		{"1.3 empty", content13(0), 0},
		{"1.3 client", []byte(strings.Replace(string(content13(32)), "server", "client", 1)), 0},
		{"1.3 63 spaces", content13(32)[1:], 0},
		{"1.3 no zero", append([]byte(strings.Repeat(" ", 64)+context13[:len(context13)-1]), make([]byte, 33)...)[:128], 0},
		{"1.2 x25519", content12(3, 29, point(9, 32)), tls12},
		{"1.2 P-256", content12(3, 23, point(4, 65)), tls12},
		{"1.2 P-521", content12(3, 25, point(4, 133)), tls12},
		{"1.2 explicit curve", content12(1, 23, point(4, 65)), 0},
		{"1.2 compressed", content12(3, 23, point(2, 65)), 0},
		{"1.2 wrong length", content12(3, 23, point(4, 64)), 0},
		{"1.2 unknown curve", content12(3, 30, point(4, 56)), 0},
		{"1.2 trailing", append(content12(3, 29, point(9, 32)), 0), 0},
		{"1.2 cut", content12(3, 29, point(9, 32))[:90], 0},
		{"1.2 spaces as randoms", append([]byte(strings.Repeat(" ", 64)), content12(3, 29, point(9, 32))[64:]...), 0},
		{"1.2 that is a request", request(t), 0},
		{"empty", nil, 0},
		{"a certificate request", []byte("0\x82\x01\x00 something that a CA would sign, long enough to be a handshake message of some kind"), 0},
	} {
		if got := recognise(c.content); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	ec, rsaKey, ed := newKey(t, "p256"), newKey(t, "rsa"), newKey(t, "ed25519")
	keys := NewKeys()
	for i, k := range []crypto.Signer{ec, rsaKey, ed} {
		if err := keys.Add(uint64(i), SPKI{byte(i)}, k); err != nil {
			t.Fatal(err)
		}
	}
	ske := content12(3, 29, make([]byte, 32))
	for _, c := range []struct {
		name    string
		key     byte
		scheme  uint16
		content []byte
		want    error
	}{
		{"good", 0, 0x0403, content13(32), nil},
		{"unknown key", 9, 0x0403, content13(32), ErrNoKey},
		{"bad content", 0, 0x0403, []byte("hello"), ErrContent},
		{"a hash alone", 0, 0x0403, make([]byte, 32), ErrContent},
		{"unknown scheme", 0, 0x0203, content13(32), ErrScheme},
		{"SHA-1", 1, 0x0201, ske, ErrScheme},
		{"PKCS #1 in TLS 1.3", 1, 0x0401, content13(32), ErrScheme},
		{"PKCS #1 in TLS 1.2", 1, 0x0401, ske, nil},
		{"PSS in TLS 1.2", 1, 0x0804, ske, nil},
		{"RSA scheme, ECDSA key", 0, 0x0804, content13(32), ErrScheme},
		{"P-384 scheme, P-256 key, 1.3", 0, 0x0503, content13(32), ErrScheme},
		{"P-384 scheme, P-256 key, 1.2", 0, 0x0503, ske, nil},
		{"Ed25519", 2, 0x0807, content13(48), nil},
		{"Ed25519 scheme, RSA key", 1, 0x0807, content13(32), ErrScheme},
	} {
		sig, err := keys.Sign(SPKI{c.key}, c.scheme, c.content)
		if !errors.Is(err, c.want) || (err == nil) != (len(sig) > 0) {
			t.Errorf("%s: %d bytes, %v; want %v", c.name, len(sig), err, c.want)
		}
	}
}

func TestDrop(t *testing.T) {
	keys, k := NewKeys(), newKey(t, "p256")
	keys.Add(1, SPKI{1}, k)
	keys.Add(2, SPKI{1}, k)
	keys.Drop(1)
	if _, err := keys.Sign(SPKI{1}, 0x0403, content13(32)); err != nil {
		t.Errorf("the second pair has the key still: %v", err)
	}
	keys.Drop(2)
	keys.Drop(2)
	if _, err := keys.Sign(SPKI{1}, 0x0403, content13(32)); !errors.Is(err, ErrNoKey) {
		t.Errorf("dropped: %v", err)
	}
}

func TestParsePair(t *testing.T) {
	key, other := newKey(t, "p256"), newKey(t, "p256")
	cert, keyText := selfSigned(t, key), pkcs8(t, key)
	ecDER, _ := x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey))
	sec1 := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: ecDER})
	rsaKey := newKey(t, "rsa")
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey.(*rsa.PrivateKey))})
	for _, c := range []struct {
		name      string
		cert, key []byte
		want      string
	}{
		{"good", cert, keyText, ""},
		{"SEC 1", cert, sec1, ""},
		{"PKCS #1", selfSigned(t, rsaKey), pkcs1, ""},
		{"both in one file", slices.Concat(keyText, cert), slices.Concat(cert, keyText), ""},
		{"another's key", cert, pkcs8(t, other), "the key does not belong to the certificate (the server's own certificate must be the first in its file)"},
		{"no certificate", keyText, keyText, "no certificate in PEM form in the certificate file"},
		{"no key", cert, cert, "no private key in PEM form in the key file"},
		{"encrypted", cert, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{1}}), "the private key is encrypted; write it without a passphrase (openssl pkey -in … -out …)"},
		{"damaged key", cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}}), "the private key cannot be read (PKCS #8, PKCS #1 and SEC 1 are known)"},
		{"too large", make([]byte, MaxPEM+1), keyText, "certificate or key file is larger than 1048576 bytes"},
	} {
		p, err := ParsePair(c.cert, c.key)
		if c.want == "" {
			if err != nil || len(p.Chain) != 1 || p.NotAfter.IsZero() || p.Type == 0 || p.Subject != "CN=mail.example.test (mail.example.test)" {
				t.Errorf("%s: %+v %v", c.name, p.Subject, err)
			}
			continue
		}
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

// Whatever is signed is one of the two forms.
func FuzzSign(f *testing.F) {
	keys, k := NewKeys(), newKey(f, "ed25519")
	keys.Add(1, SPKI{1}, k)
	f.Add(content13(32))
	f.Add(content12(3, 29, make([]byte, 32)))
	f.Fuzz(func(t *testing.T, content []byte) {
		if _, err := keys.Sign(SPKI{1}, 0x0807, content); err != nil {
			return
		}
		if !bytes.HasPrefix(content, content13(0)) && (content[64] != 3 || len(content) < 100) {
			t.Errorf("signed %q", content)
		}
	})
}
