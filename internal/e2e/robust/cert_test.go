package robust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

// pair is a certificate and its key, both PEM.
type pair struct{ cert, key []byte }

// newPair makes a self-signed certificate with this serial number.
func newPair(t *testing.T, serial int64) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: fmt.Sprintf("pair %d", serial)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Date(2040, 1, int(serial%28)+1, 12, 0, 0, 0, time.UTC), DNSNames: []string{"localhost"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	return pair{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put replaces a file as certbot and its like do: written beside, then renamed.
func put(t *testing.T, path string, text []byte, mode os.FileMode) {
	t.Helper()
	must(t, os.WriteFile(path+".new", text, mode))
	must(t, os.Rename(path+".new", path))
}

// handshake does one and gives the serial number of the certificate.
func handshake(d *harness.Demo, service string) (int64, error) {
	conn, err := net.DialTimeout("tcp", d.Addr(service), harness.Timeout)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(harness.Timeout))
	c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"})
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	buf := make([]byte, 200) // the greeting: the other end is done too
	if _, err := c.Read(buf); err != nil {
		return 0, err
	}
	serial := c.ConnectionState().PeerCertificates[0].SerialNumber
	if !serial.IsInt64() {
		return 0, nil // the demo's own
	}
	return serial.Int64(), nil
}

// TestCertificateUnderLoad: certificate and key are replaced again and again,
// also by a pair that does not fit, while clients come. No handshake fails, and
// the new certificate is seen in the end.
func TestCertificateUnderLoad(t *testing.T) {
	d := harness.Start(t, "--users", "1", "--empty")
	certFile, keyFile := d.Cert(), filepath.Join(d.Dir, "tls", "key.pem")
	ended := make(chan struct{})
	var load sync.WaitGroup
	var done atomic.Int64
	for i := range 6 {
		load.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
				}
				if _, err := handshake(d, []string{"imaps", "pop3s"}[i%2]); err != nil {
					t.Errorf("handshake %d: %v", done.Load(), err)
					return
				}
				done.Add(1)
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	seen := func(serial int64) {
		t.Helper()
		d.Eventually(fmt.Sprintf("certificate %d is shown", serial), func() bool {
			for range 4 { // every login process
				if got, err := handshake(d, "imaps"); err != nil || got != serial {
					return false
				}
			}
			return true
		})
	}
	for serial := int64(1); serial <= 4; serial++ {
		p := newPair(t, serial)
		if serial%2 == 0 { // the other order
			put(t, keyFile, p.key, 0o600)
			put(t, certFile, p.cert, 0o644)
		} else {
			put(t, certFile, p.cert, 0o644)
			time.Sleep(300 * time.Millisecond) // seen half done
			put(t, keyFile, p.key, 0o600)
		}
		seen(serial)
		d.WaitLog(fmt.Sprintf("CN=pair %d (localhost), valid until 2040-01-%02d 12:00:00 UTC", serial, serial+1))
	}
	// A pair that does not fit: the old one stays, and the log says why.
	broken := newPair(t, 9)
	put(t, certFile, broken.cert, 0o644)
	d.WaitLog("the old ones stay in use")
	seen(4)
	put(t, certFile, []byte("-----BEGIN NONSENSE-----\n"), 0o644)
	seen(4)
	must(t, os.Remove(keyFile))
	seen(4)
	// Through a link, whose target changes.
	last := newPair(t, 5)
	live := filepath.Join(d.Dir, "tls", "live")
	must(t, os.Mkdir(live, 0o700))
	must(t, os.WriteFile(filepath.Join(live, "k"), last.key, 0o600))
	must(t, os.WriteFile(filepath.Join(live, "c"), last.cert, 0o644))
	must(t, os.Remove(certFile))
	must(t, os.Symlink("live/k", keyFile))
	must(t, os.Symlink("live/c", certFile))
	seen(5)
	last = newPair(t, 6)
	put(t, filepath.Join(live, "k"), last.key, 0o600)
	put(t, filepath.Join(live, "c"), last.cert, 0o644)
	seen(6)
	close(ended)
	load.Wait()
	t.Logf("%d handshakes", done.Load())
	if done.Load() < 50 {
		t.Error("too few handshakes to prove anything")
	}
	d.NoCrash(t)
}

// TestAuthdAnewWithGoodPair: the next authd gets the keys too.
func TestAuthdAnewWithGoodPair(t *testing.T) {
	d := harness.Start(t, "--users", "1", "--empty")
	p := newPair(t, 3)
	put(t, d.Cert(), p.cert, 0o644)
	put(t, filepath.Join(d.Dir, "tls", "key.pem"), p.key, 0o600)
	d.WaitLog("CN=pair 3")
	anew := func() {
		t.Helper()
		must(t, syscall.Kill(d.Status().Of("authd")[0].PID, syscall.SIGKILL))
		d.Eventually("TLS works with the next authd", func() bool { got, err := handshake(d, "imaps"); return err == nil && got == 3 })
	}
	anew()
	// Half of a new pair is on disk when authd dies: the next one gets the pair
	// that is in use.
	put(t, d.Cert(), newPair(t, 4).cert, 0o644)
	d.WaitLog("the old ones stay in use")
	anew()
	anew()
	must(t, os.Remove(filepath.Join(d.Dir, "tls", "key.pem")))
	anew()
}

// counting is a cache that counts the tickets that a server sent.
type counting struct{ n int }

func (*counting) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (c *counting) Put(_ string, s *tls.ClientSessionState) {
	if s != nil {
		c.n++
	}
}

// tickets connects with TLS and counts the tickets it gets.
func tickets(t *testing.T, d *harness.Demo) int {
	t.Helper()
	conf, err := d.TLS()
	must(t, err)
	cache := &counting{}
	conf.ClientSessionCache = cache
	c, err := tls.Dial("tcp", d.Addr("imaps"), conf)
	must(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(harness.Timeout))
	_, err = c.Read(make([]byte, 200)) // tickets come before the greeting
	must(t, err)
	return cache.n
}

// TestTickets: without high security there are some, or its test shows nothing.
func TestTickets(t *testing.T) {
	d := harness.Start(t, "--users", "1", "--empty")
	if tickets(t, d) == 0 {
		t.Error("no session ticket")
	}
}
