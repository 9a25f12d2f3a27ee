package tlsserver

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rookery/internal/ipc"
	"rookery/internal/ipc/handoffmsg"
	"rookery/login/internal/sock"
)

// keys stands for authd.
type keys struct {
	mu     sync.Mutex
	byName map[[32]byte]crypto.Signer
	seen   []tls.SignatureScheme
}

func (k *keys) Sign(spki [32]byte, scheme tls.SignatureScheme, content []byte) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := k.byName[spki]
	if key == nil {
		return nil, errors.New("no such key")
	}
	k.seen = append(k.seen, scheme)
	opts := map[tls.SignatureScheme]crypto.SignerOpts{
		tls.PSSWithSHA256: &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}, tls.PKCS1WithSHA256: crypto.SHA256,
		tls.PSSWithSHA384:   &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA384},
		tls.PSSWithSHA512:   &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA512},
		tls.PKCS1WithSHA384: crypto.SHA384, tls.PKCS1WithSHA512: crypto.SHA512,
		tls.ECDSAWithP256AndSHA256: crypto.SHA256, tls.ECDSAWithP384AndSHA384: crypto.SHA384, tls.ECDSAWithP521AndSHA512: crypto.SHA512,
		tls.Ed25519: crypto.Hash(0),
	}[scheme]
	return crypto.SignMessage(key, rand.Reader, content, opts)
}

func (k *keys) add(t testing.TB, key crypto.Signer, keyType uint8, cn string, names ...string) *handoffmsg.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	template.Subject.CommonName = cn
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(spki)
	k.mu.Lock()
	k.byName[sum] = key
	k.mu.Unlock()
	return &handoffmsg.Certificate{Name: cn, Names: names, SPKI: sum, KeyType: keyType, Chain: [][]byte{der}}
}

func newKeys() *keys { return &keys{byName: map[[32]byte]crypto.Signer{}} }

func ecKey(t testing.TB, c elliptic.Curve) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func use(t testing.TB, s *Server, certs ...*handoffmsg.Certificate) {
	t.Helper()
	for _, c := range certs {
		if err := s.AddCertificate(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Use(uint32(len(certs))); err != nil {
		t.Fatal(err)
	}
}

// shake does a handshake and one byte each way, which brings the tickets.
func shake(s *Server, service string, client *tls.Config) (tls.ConnectionState, error) {
	x, y, err := ipc.StreamPair()
	if err != nil {
		return tls.ConnectionState{}, err
	}
	a, errA := sock.New(x, netip.AddrPort{}, netip.AddrPort{})
	b, errB := sock.New(y, netip.AddrPort{}, netip.AddrPort{})
	if errA != nil || errB != nil {
		return tls.ConnectionState{}, errors.Join(errA, errB)
	}
	defer a.Close()
	defer b.Close()
	client = client.Clone()
	client.InsecureSkipVerify = true
	done := make(chan error, 1)
	go func() {
		server := tls.Server(b, s.Config(service))
		err := server.Handshake()
		if err == nil {
			_, err = server.Write([]byte("x"))
		} else {
			b.Close()
		}
		done <- err
	}()
	c := tls.Client(a, client)
	err = c.Handshake()
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	a.Close()
	if serverErr := <-done; serverErr != nil {
		err = serverErr
	}
	return c.ConnectionState(), err
}

func TestEveryKindOfKeyAndVersion(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name         string
		key          crypto.Signer
		keyType      uint8
		tls13, tls12 tls.SignatureScheme
	}{
		{"rsa", rsaKey, 1, tls.PSSWithSHA256, tls.PSSWithSHA256},
		{"p256", ecKey(t, elliptic.P256()), 2, tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP256AndSHA256},
		{"p384", ecKey(t, elliptic.P384()), 2, tls.ECDSAWithP384AndSHA384, tls.ECDSAWithP384AndSHA384},
		{"ed25519", edKey, 3, tls.Ed25519, tls.Ed25519},
	} {
		k := newKeys()
		s := New(Options{MinVersion: tls.VersionTLS12}, k)
		use(t, s, k.add(t, test.key, test.keyType, test.name))
		for version, want := range map[uint16]tls.SignatureScheme{tls.VersionTLS13: test.tls13, tls.VersionTLS12: test.tls12} {
			k.seen = nil
			st, err := shake(s, "imap", &tls.Config{MinVersion: version, MaxVersion: version})
			if err != nil || st.Version != version || len(k.seen) != 1 {
				t.Errorf("%s, %x: %v, %v", test.name, version, err, k.seen)
			} else if version == tls.VersionTLS13 && k.seen[0] != want {
				t.Errorf("%s: signed as %v, want %v", test.name, k.seen[0], want)
			}
		}
		if _, err := shake(s, "imap", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
			t.Errorf("%s: TLS 1.1 was accepted", test.name)
		}
	}
}

func TestOptions(t *testing.T) {
	k := newKeys()
	s := New(Options{MinVersion: tls.VersionTLS13}, k)
	cert := k.add(t, ecKey(t, elliptic.P256()), 2, "x")
	use(t, s, cert)
	if _, err := shake(s, "imap", &tls.Config{MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("ssl_min_protocol was not kept")
	}
	s = New(Options{MinVersion: tls.VersionTLS12, Ciphers: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}, Curves: []tls.CurveID{tls.CurveP384}}, k)
	use(t, s, cert)
	st, err := shake(s, "imap", &tls.Config{MaxVersion: tls.VersionTLS12})
	if err != nil || st.CipherSuite != tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 {
		t.Error("ssl_cipher_list was not kept", err, st.CipherSuite)
	}
	if _, err := shake(s, "imap", &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519}}); err == nil {
		t.Error("ssl_curve_list was not kept")
	}
}

func TestALPN(t *testing.T) {
	k := newKeys()
	s := New(Options{MinVersion: tls.VersionTLS12}, k)
	use(t, s, k.add(t, ecKey(t, elliptic.P256()), 2, "x"))
	for _, test := range []struct {
		service string
		offer   []string
		ok      bool
	}{
		{"imap", nil, true}, {"imap", []string{"imap"}, true}, {"imap", []string{"h2", "imap"}, true},
		{"imap", []string{"pop3"}, false}, {"imap", []string{"http/1.1"}, false}, {"pop3", []string{"pop3"}, true}, {"pop3", []string{"imap"}, false},
	} {
		st, err := shake(s, test.service, &tls.Config{NextProtos: test.offer})
		if (err == nil) != test.ok || test.ok && test.offer != nil && st.NegotiatedProtocol != test.service {
			t.Errorf("%s asked for %v: %v, %q", test.service, test.offer, err, st.NegotiatedProtocol)
		}
	}
}

func TestSNI(t *testing.T) {
	k := newKeys()
	s := New(Options{MinVersion: tls.VersionTLS12}, k)
	if _, err := shake(s, "imap", &tls.Config{}); !errors.Is(err, ErrNoCertificate) || s.Ready() {
		t.Error("without certificates:", err)
	}
	ec := func() crypto.Signer { return ecKey(t, elliptic.P256()) }
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	use(t, s, k.add(t, ec(), 2, "usual"), k.add(t, rsaKey, 1, "usual-rsa"),
		k.add(t, ec(), 2, "one", "Mail.example.org", "other.example.org"), k.add(t, ec(), 2, "wild", "*.example.org"))
	for _, test := range []struct{ name, want string }{
		{"", "usual"}, {"mail.example.org", "one"}, {"MAIL.example.ORG", "one"}, {"other.example.org", "one"},
		{"x.example.org", "wild"}, {"a.b.example.org", "usual"}, {"example.org", "usual"}, {"elsewhere.test", "usual"},
	} {
		st, err := shake(s, "imap", &tls.Config{ServerName: test.name})
		if err != nil || st.PeerCertificates[0].Subject.CommonName != test.want {
			t.Errorf("%q: %v, %v", test.name, err, st.PeerCertificates)
		}
	}
	st, err := shake(s, "imap", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}})
	if err != nil || st.PeerCertificates[0].Subject.CommonName != "usual-rsa" {
		t.Error("a client that knows RSA alone:", err)
	}
}

// What strangers ask for must leave nothing behind (random SNI).
func TestRandomSNIHoldsNothing(t *testing.T) {
	k := newKeys()
	s := New(Options{MinVersion: tls.VersionTLS12, Tickets: true}, k)
	use(t, s, k.add(t, ecKey(t, elliptic.P256()), 2, "usual"))
	s.SetTicketKeys([][32]byte{{1}})
	set := s.certs.Load()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 50_000 {
		set.find(strings.Repeat("x", i%200) + ".example.org")
	}
	for i := range 200 {
		shake(s, "imap", &tls.Config{ServerName: strings.Repeat("x", 1+i%60) + ".test"})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if len(set.byName) != 0 || int64(after.HeapAlloc)-int64(before.HeapAlloc) > 1<<20 {
		t.Errorf("%d names, %d bytes more", len(set.byName), int64(after.HeapAlloc)-int64(before.HeapAlloc))
	}
}

func TestTicketsAreForTLS13Alone(t *testing.T) {
	k := newKeys()
	cert := k.add(t, ecKey(t, elliptic.P256()), 2, "x")
	make := func(tickets bool, keys ...[32]byte) *Server {
		s := New(Options{MinVersion: tls.VersionTLS12, Tickets: tickets}, k)
		use(t, s, cert)
		s.SetTicketKeys(keys)
		return s
	}
	resumes := func(first, second *Server, version uint16) bool {
		client := &tls.Config{ServerName: "x", MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
		if _, err := shake(first, "imap", client); err != nil {
			t.Fatal(err)
		}
		st, err := shake(second, "imap", client)
		if err != nil {
			t.Fatal(err)
		}
		return st.DidResume
	}
	one, other := make(true, [32]byte{1}), make(true, [32]byte{9}, [32]byte{1})
	if !resumes(one, other, tls.VersionTLS13) {
		t.Error("another process with the key cannot resume")
	}
	if resumes(one, make(true, [32]byte{9}), tls.VersionTLS13) {
		t.Error("a session was resumed without its key")
	}
	if resumes(one, one, tls.VersionTLS12) {
		t.Error("TLS 1.2 got a ticket")
	}
	if resumes(make(true), one, tls.VersionTLS13) || resumes(one, make(true), tls.VersionTLS13) {
		t.Error("a ticket without keys")
	}
	if resumes(make(false, [32]byte{1}), one, tls.VersionTLS13) {
		t.Error("a ticket though they are off")
	}
}

// Certificates are replaced under load: no handshake fails.
func TestReplaceUnderLoad(t *testing.T) {
	k := newKeys()
	s := New(Options{MinVersion: tls.VersionTLS12, Tickets: true}, k)
	certs := []*handoffmsg.Certificate{k.add(t, ecKey(t, elliptic.P256()), 2, "old"), k.add(t, ecKey(t, elliptic.P256()), 2, "new")}
	use(t, s, certs[0])
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; !stop.Load(); i++ {
			if err := s.AddCertificate(certs[i%2]); err != nil {
				t.Error(err)
			}
			if err := s.Use(1); err != nil {
				t.Error(err)
			}
			s.SetTicketKeys([][32]byte{{byte(i)}})
		}
	})
	for range 300 {
		if _, err := shake(s, "imap", &tls.Config{}); err != nil {
			t.Error(err)
		}
	}
	stop.Store(true)
	wg.Wait()
}

func TestBadCertificates(t *testing.T) {
	k := newKeys()
	s := New(Options{MinVersion: tls.VersionTLS12}, k)
	good := k.add(t, ecKey(t, elliptic.P256()), 2, "x")
	for name, m := range map[string]*handoffmsg.Certificate{
		"no chain": {KeyType: 2}, "garbage": {KeyType: 2, Chain: [][]byte{{1, 2, 3}}}, "other type": {KeyType: 1, Chain: good.Chain},
	} {
		if s.AddCertificate(m) == nil {
			t.Error(name)
		}
	}
	use(t, s, good)
	s.AddCertificate(good)
	if s.Use(2) == nil || !s.Ready() {
		t.Error("a set that is not complete was taken, or the old one lost")
	}
	key := s.certs.Load().usual[0].PrivateKey.(crypto.Signer)
	if _, err := key.Sign(rand.Reader, make([]byte, 32), crypto.SHA256); err == nil {
		t.Error("a hash was signed")
	}
}
