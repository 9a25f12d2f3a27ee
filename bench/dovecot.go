package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// dovecotConf is Dovecot 2.3's configuration: as Debian ships it, but for
// ports, paths and users, and limits that the benchmark would run into.
// %[1]s folder, %[2]s users file, %[3]s certificate, %[4]s key, then the ports
// of imap, imaps, pop3, pop3s, what the mode adds, name, mail_location, and
// further lines.
const dovecotConf = `base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/dovecot.log
instance_name = rookery-bench-%[10]s
protocols = imap pop3
listen = 127.0.0.1
ssl = yes
ssl_cert = <%[3]s
ssl_key = <%[4]s
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_cache_size = 0
mail_location = %[11]s
%[12]smail_max_userip_connections = 100000
default_process_limit = 2000
default_client_limit = 4000
default_vsz_limit = 4G
namespace inbox {
  inbox = yes
}
passdb {
  driver = passwd-file
  args = scheme=PLAIN username_format=%%u %[2]s
}
userdb {
  driver = passwd-file
  args = username_format=%%u %[2]s
}
service anvil {
  client_limit = 8000
}
service auth {
  client_limit = 16000
}
service stats {
  client_limit = 8000
}
service imap {
  process_limit = 4000
}
service pop3 {
  process_limit = 4000
}
service imap-login {
  inet_listener imap {
    port = %[5]d
  }
  inet_listener imaps {
    port = %[6]d
    ssl = yes
  }
%[9]s}
service pop3-login {
  inet_listener pop3 {
    port = %[7]d
  }
  inet_listener pop3s {
    port = %[8]d
    ssl = yes
  }
%[9]s}
`

// highPerformance is what Dovecot's manual calls so: login processes that
// serve many connections and are there before they are asked for.
const highPerformance = "  service_count = 0\n  process_min_avail = 2\n"

// dovecotRun is what one instance has of its own.
type dovecotRun struct {
	name, title string
	mode        string // "" or highPerformance
	dir         string // gets its configuration, sockets and log
	share       string // has users, certificate and key
	base        int    // of its ports
	location    string // mail_location
	more        string // further lines
}

// prepareDovecot writes the configuration of one instance.
func prepareDovecot(d dovecotRun) (*server, error) {
	for _, sub := range []string{"", "run", "state"} {
		if err := os.Mkdir(filepath.Join(d.dir, sub), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, err
		}
	}
	ports := portsFrom(d.base)
	conf := fmt.Sprintf(dovecotConf, d.dir, filepath.Join(d.share, "users"), filepath.Join(d.share, "cert.pem"), filepath.Join(d.share, "key.pem"),
		ports["imap"], ports["imaps"], ports["pop3"], ports["pop3s"], d.mode, d.name, d.location, d.more)
	file := filepath.Join(d.dir, "dovecot.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		return nil, err
	}
	if err := checkDovecot(file, d.mode); err != nil {
		return nil, err
	}
	return &server{
		name: d.name, title: d.title, ports: ports, logFile: filepath.Join(d.dir, "dovecot.log"),
		command: func() *exec.Cmd { return exec.Command("/usr/sbin/dovecot", "-F", "-c", file) },
	}, nil
}

// checkDovecot has doveconf read the file: it must take it without a warning
// and show what the comparison rests on.
func checkDovecot(file, mode string) error {
	out, err := exec.Command("doveconf", "-n", "-c", file).CombinedOutput()
	text := string(out)
	if err != nil || strings.Contains(text, "Warning:") || strings.Contains(text, "Error:") {
		return fmt.Errorf("doveconf -n: %v\n%s", err, text)
	}
	if !strings.HasPrefix(text, "# 2.3.") {
		first, _, _ := strings.Cut(text, "\n")
		return fmt.Errorf("this benchmark configures Dovecot 2.3 (Debian 12); here is %q", first)
	}
	login, err := exec.Command("doveconf", "-h", "-c", file, "service/imap-login/service_count", "service/pop3-login/service_count", "auth_cache_size").CombinedOutput()
	if err != nil {
		return fmt.Errorf("doveconf: %w\n%s", err, login)
	}
	want := "1 1 0"
	if mode != "" {
		want = "0 0 0"
	}
	if got := strings.Join(strings.Fields(string(login)), " "); got != want {
		return fmt.Errorf("doveconf: service counts and auth cache are %q, not %q", got, want)
	}
	return nil
}

// dovecotVersion is what the table names.
func dovecotVersion() string {
	out, err := exec.Command("dovecot", "--version").Output()
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(out))
}

// shareUsers makes what instances have in common: the same names, ids and
// passwords as Rookery's users, with homes in a folder mail, and a key.
func shareUsers(dir, mail string, users []user) error {
	for _, path := range []string{dir, mail} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
	}
	var b strings.Builder
	for _, u := range users {
		u.home = filepath.Join(mail, u.name)
		b.WriteString(u.line())
	}
	if err := os.WriteFile(filepath.Join(dir, "users"), []byte(b.String()), 0o644); err != nil {
		return err
	}
	return writeKeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
}

// writeKeyPair makes a self-signed ECDSA P-256 certificate, as the demo's.
func writeKeyPair(certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o644); err != nil {
		return err
	}
	return os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}
