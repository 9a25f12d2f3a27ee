// Package tlsserver makes the TLS configuration of a login process:
// certificates by SNI that can be replaced while handshakes go on, tickets for
// TLS 1.3 alone, and a key that is somewhere else.
//
// login uses it. It must never hold a private key: a Signer makes signatures,
// and it is shown the whole message, not a hash.
package tlsserver

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"rookery/internal/ipc/handoffmsg"
)

// Signer makes the signature of a handshake with a key that spki names: the
// SHA-256 of its SubjectPublicKeyInfo. content is the message that is signed.
// It is called by several goroutines.
type Signer interface {
	Sign(spki [32]byte, scheme tls.SignatureScheme, content []byte) ([]byte, error)
}

// Options are the settings.
type Options struct {
	MinVersion uint16        // tls.VersionTLS12 or tls.VersionTLS13
	Ciphers    []uint16      // of TLS 1.2; empty for the library's
	Curves     []tls.CurveID // empty for the library's
	Tickets    bool          // TLS 1.3 session tickets, once there are keys
}

// Server is the TLS side of one process. Its methods may be called by several
// goroutines.
type Server struct {
	options Options
	signer  Signer
	certs   atomic.Pointer[certSet]
	configs atomic.Pointer[configs]

	mu   sync.Mutex
	next *certSet // being filled
}

// certSet is looked at, never changed, once it is in use: what a stranger asks
// for by SNI leaves no trace in it.
type certSet struct {
	byName map[string][]*tls.Certificate // lower case; "*.example.org" for a wildcard
	usual  []*tls.Certificate
	n      int
}

// configs are by service.
type configs map[string]*tls.Config

// New makes a Server without certificates.
func New(o Options, signer Signer) *Server {
	s := &Server{options: o, signer: signer}
	s.certs.Store(&certSet{})
	s.build(nil)
	return s
}

// Ready reports whether there is a certificate.
func (s *Server) Ready() bool { return s.certs.Load().n > 0 }

// Config is for one handshake of a service: "imap" or "pop3", which is also
// the ALPN name (RFC 7301's registry).
func (s *Server) Config(service string) *tls.Config { return (*s.configs.Load())[service] }

// AddCertificate adds to the set that Use puts into use.
func (s *Server) AddCertificate(m *handoffmsg.Certificate) error {
	if len(m.Chain) == 0 {
		return errors.New("a certificate without a chain")
	}
	leaf, err := x509.ParseCertificate(m.Chain[0])
	if err != nil {
		return fmt.Errorf("certificate %q: %w", m.Name, err)
	}
	key := &remoteKey{signer: s.signer, spki: m.SPKI, public: leaf.PublicKey}
	if !key.fits(m.KeyType) {
		return fmt.Errorf("certificate %q: its key is of another type than announced", m.Name)
	}
	c := &tls.Certificate{Certificate: m.Chain, PrivateKey: key, Leaf: leaf}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = &certSet{byName: map[string][]*tls.Certificate{}}
	}
	s.next.n++
	if len(m.Names) == 0 {
		s.next.usual = append(s.next.usual, c)
	}
	for _, name := range m.Names {
		name = strings.ToLower(name)
		s.next.byName[name] = append(s.next.byName[name], c)
	}
	return nil
}

// Use replaces the certificates by those added since the last call. Handshakes
// under way end with the old ones. count is how many there should be.
func (s *Server) Use(count uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.next
	s.next = nil
	if set == nil {
		set = &certSet{}
	}
	if uint32(set.n) != count {
		return fmt.Errorf("%d certificates came, %d were announced", set.n, count)
	}
	s.certs.Store(set)
	return nil
}

// SetTicketKeys replaces the keys of session tickets; the first encrypts.
// None: no tickets.
func (s *Server) SetTicketKeys(keys [][handoffmsg.TicketKey]byte) { s.build(keys) }

func (s *Server) build(keys [][handoffmsg.TicketKey]byte) {
	all := configs{}
	for _, service := range []string{"imap", "pop3"} {
		plain := s.base(service)
		plain.SessionTicketsDisabled = true
		if len(keys) == 0 || !s.options.Tickets {
			all[service] = plain
			continue
		}
		outer, tickets := s.base(service), s.base(service)
		tickets.SetSessionTicketKeys(keys)
		outer.SessionTicketsDisabled = true
		// A TLS 1.2 ticket's key would open recorded sessions: none there.
		outer.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if slices.Contains(hello.SupportedVersions, tls.VersionTLS13) {
				return tickets, nil
			}
			return plain, nil
		}
		all[service] = outer
	}
	s.configs.Store(&all)
}

func (s *Server) base(service string) *tls.Config {
	return &tls.Config{
		MinVersion:       s.options.MinVersion,
		CipherSuites:     s.options.Ciphers,
		CurvePreferences: s.options.Curves,
		// With ALPN in the hello and none of these in it, the handshake ends with
		// no_application_protocol (RFC 7301 §3.2).
		NextProtos:     []string{service},
		GetCertificate: s.certificate,
		// Mail is moved in bulk; small first records only cost.
		DynamicRecordSizingDisabled: true,
	}
}

// ErrNoCertificate ends a handshake when there is none.
var ErrNoCertificate = errors.New("no certificate is loaded")

func (s *Server) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	list := s.certs.Load().find(hello.ServerName)
	if len(list) == 0 {
		return nil, ErrNoCertificate
	}
	if len(list) == 1 {
		return list[0], nil
	}
	// One that bears the name that the client asks for, else one whose kind of
	// key it can use: that the name is another is for the client to judge.
	nameless := *hello
	nameless.ServerName = ""
	for _, h := range []*tls.ClientHelloInfo{hello, &nameless} {
		for _, c := range list {
			if h.SupportsCertificate(c) == nil {
				return c, nil
			}
		}
	}
	return list[0], nil
}

// find gives the certificates for a name: its own, those of a wildcard one
// label above, the usual ones.
func (set *certSet) find(name string) []*tls.Certificate {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if list := set.byName[name]; name != "" && list != nil {
		return list
	}
	if _, rest, ok := strings.Cut(name, "."); ok {
		if list := set.byName["*."+rest]; list != nil {
			return list
		}
	}
	return set.usual
}

// remoteKey is a key whose private half authd holds. crypto/tls hands a
// crypto.MessageSigner the message itself.
type remoteKey struct {
	signer Signer
	spki   [32]byte
	public crypto.PublicKey
}

var _ crypto.MessageSigner = (*remoteKey)(nil)

func (k *remoteKey) fits(keyType uint8) bool {
	switch k.public.(type) {
	case *rsa.PublicKey:
		return keyType == 1
	case *ecdsa.PublicKey:
		return keyType == 2
	case ed25519.PublicKey:
		return keyType == 3
	}
	return false
}

// Public is for crypto.Signer.
func (k *remoteKey) Public() crypto.PublicKey { return k.public }

// Sign is for crypto.Signer. A hash is never signed: authd must see what it is.
func (k *remoteKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("only whole handshake messages are signed")
}

// SignMessage is for crypto.MessageSigner.
func (k *remoteKey) SignMessage(_ io.Reader, msg []byte, opts crypto.SignerOpts) ([]byte, error) {
	scheme, err := schemeOf(k.public, opts)
	if err != nil {
		return nil, err
	}
	return k.signer.Sign(k.spki, scheme, msg)
}

// schemeOf is the TLS SignatureScheme (RFC 8446 §4.2.3) that crypto/tls asks
// for with a key and options.
func schemeOf(public crypto.PublicKey, opts crypto.SignerOpts) (tls.SignatureScheme, error) {
	type choice struct {
		sha256, sha384, sha512 tls.SignatureScheme
	}
	var c choice
	switch public.(type) {
	case ed25519.PublicKey:
		if opts.HashFunc() == 0 {
			return tls.Ed25519, nil
		}
	case *ecdsa.PublicKey:
		c = choice{tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.ECDSAWithP521AndSHA512}
	case *rsa.PublicKey:
		c = choice{tls.PKCS1WithSHA256, tls.PKCS1WithSHA384, tls.PKCS1WithSHA512}
		if _, pss := opts.(*rsa.PSSOptions); pss {
			c = choice{tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512}
		}
	}
	var scheme tls.SignatureScheme
	switch opts.HashFunc() {
	case crypto.SHA256:
		scheme = c.sha256
	case crypto.SHA384:
		scheme = c.sha384
	case crypto.SHA512:
		scheme = c.sha512
	}
	if scheme == 0 {
		return 0, fmt.Errorf("no signature of a %T with %v", public, opts.HashFunc())
	}
	return scheme, nil
}
