package signer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

// MaxPEM bounds a certificate or key file, in bytes.
const MaxPEM = 1 << 20

const maxChain = 16

// The types of keys, as the channels number them.
const (
	KeyRSA     = 1
	KeyECDSA   = 2
	KeyEd25519 = 3
)

// Pair is a certificate chain and its key.
type Pair struct {
	SPKI     SPKI
	Type     uint8
	NotAfter time.Time
	Subject  string // for the log
	Names    []string
	Chain    [][]byte // DER, leaf first
	Key      crypto.Signer
}

// ParsePair reads a PEM chain and a PEM key and checks that they fit each
// other. The error says what to mend and never holds a part of the key.
func ParsePair(certPEM, keyPEM []byte) (Pair, error) {
	if len(certPEM) > MaxPEM || len(keyPEM) > MaxPEM {
		return Pair{}, fmt.Errorf("certificate or key file is larger than %d bytes", MaxPEM)
	}
	var p Pair
	leaf, err := p.readChain(certPEM)
	if err != nil {
		return Pair{}, err
	}
	if p.Key, err = parseKey(keyPEM); err != nil {
		return Pair{}, err
	}
	pub, ok := p.Key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !pub.Equal(leaf.PublicKey) {
		return Pair{}, errors.New("the key does not belong to the certificate (the server's own certificate must be the first in its file)")
	}
	switch k := p.Key.Public().(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < MinRSABits {
			return Pair{}, fmt.Errorf("the RSA key has %d bits, at least %d are needed", k.N.BitLen(), MinRSABits)
		}
		p.Type = KeyRSA
	case *ecdsa.PublicKey:
		p.Type = KeyECDSA
	case ed25519.PublicKey:
		p.Type = KeyEd25519
	}
	p.SPKI, p.NotAfter = Name(leaf.RawSubjectPublicKeyInfo), leaf.NotAfter
	p.Subject, p.Names = subject(leaf), leaf.DNSNames
	return p, nil
}

func subject(leaf *x509.Certificate) string {
	s := leaf.Subject.String()
	if len(leaf.DNSNames) > 0 {
		s = strings.TrimSpace(s + " (" + strings.Join(leaf.DNSNames, ", ") + ")")
	}
	if len(s) > 512 {
		s = s[:512]
	}
	return strings.ToValidUTF8(s, "?")
}

func (p *Pair) readChain(text []byte) (leaf *x509.Certificate, err error) {
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue // a file may hold the key too
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the file: %w", len(p.Chain)+1, err)
		}
		if leaf == nil {
			leaf = cert
		}
		if p.Chain = append(p.Chain, block.Bytes); len(p.Chain) > maxChain {
			return nil, fmt.Errorf("more than %d certificates in the file", maxChain)
		}
	}
	if leaf == nil {
		return nil, errors.New("no certificate in PEM form in the certificate file")
	}
	return leaf, nil
}

func parseKey(text []byte) (crypto.Signer, error) {
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New("no private key in PEM form in the key file")
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return nil, errors.New("the private key is encrypted; write it without a passphrase (openssl pkey -in … -out …)")
		}
		if block.Type != "PRIVATE KEY" && !strings.HasSuffix(block.Type, " PRIVATE KEY") {
			continue // EC PARAMETERS, certificates
		}
		key, err := parseDER(block)
		clear(block.Bytes)
		return key, err
	}
}

func parseDER(block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, errors.New("the private key cannot be read (PKCS #8, PKCS #1 and SEC 1 are known)")
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return k, nil
	case *ecdsa.PrivateKey:
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	}
	return nil, fmt.Errorf("private keys of type %T cannot sign TLS handshakes", key)
}
