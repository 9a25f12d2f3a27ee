package confload

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// CheckPair reports what is wrong with a certificate chain and a private key
// in PEM form, nil if they belong together. The key is not kept.
func CheckPair(certPEM, keyPEM []byte) error {
	certDER := firstBlock(certPEM, "CERTIFICATE")
	if certDER == nil {
		return errors.New("the first holds no certificate in PEM form")
	}
	cert, err := x509.ParseCertificate(certDER.Bytes)
	if err != nil {
		return fmt.Errorf("the certificate cannot be read (%w)", err)
	}
	keyDER := firstBlock(keyPEM, "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
	switch {
	case keyDER == nil:
		return errors.New("the second holds no private key in PEM form")
	case keyDER.Type == "ENCRYPTED PRIVATE KEY" || keyDER.Headers["DEK-Info"] != "":
		return errors.New("the key has a passphrase; take it off with openssl pkey -in OLD -out NEW, and let only root read the new file")
	}
	key, err := parseKey(keyDER)
	if err != nil {
		return err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return errors.New("the key cannot sign")
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(cert.PublicKey) {
		return errors.New("the certificate is for another key; name the two files that were made together")
	}
	return nil
}

func firstBlock(text []byte, types ...string) *pem.Block {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil
		}
		for _, t := range types {
			if block.Type == t {
				return block
			}
		}
		text = rest
	}
}

func parseKey(block *pem.Block) (any, error) {
	switch block.Type {
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the key cannot be read (%w)", err)
	}
	return key, nil
}
