package authd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rookery/authd/internal/passhash"
	"rookery/authd/internal/signer"
	"rookery/internal/child"
	"rookery/internal/child/spawn"
	"rookery/internal/ipc"
	"rookery/internal/ipc/authmsg"
	"rookery/internal/ipc/logmsg"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/secret"
	"rookery/internal/settings"
)

// process is the real program in its real sandbox.
type process struct {
	rig
	child *spawn.Child
	out   chan string
	logc  *ipc.Conn
}

func startProcess(t *testing.T, users string, change func(*settings.Set)) *process {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: chroot and another uid")
	}
	dir, err := os.MkdirTemp("", "authd-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, sub := range []string{"", "db", "root"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "rookery-authd"), "rookery/cmd/rookery-authd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := &process{rig: rig{t: t, dir: filepath.Join(dir, "db"), log: &logLines{}, set: settings.New()}, out: make(chan string, 1)}
	p.publish("users", users)
	p.set.PutRow("passdb", settings.Row{Name: "users", Values: map[string]any{"driver": "passwd-file", "passwd_file_path": p.template("users")}})
	p.set.PutRow("userdb", settings.Row{Name: "users", Values: map[string]any{"driver": "passwd-file", "passwd_file_path": p.template("users")}})
	settings.AuthFailureDelay.Put(p.set, 0)
	settings.AuthVerbose.Put(p.set, true)
	if change != nil {
		change(p.set)
	}
	p.start(dir)
	return p
}

// publish replaces a file that authd's uid may read.
func (p *process) publish(name, text string) {
	p.t.Helper()
	p.write(name, text)
	if err := os.Chmod(filepath.Join(p.dir, name), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) start(dir string) {
	t := p.t
	t.Helper()
	if err := spawn.Prepare(); err != nil {
		t.Fatal(err)
	}
	program, err := spawn.Open(dir, "rookery-authd")
	if err != nil {
		t.Fatal(err)
	}
	forker, err := spawn.NewForker(false)
	if err != nil {
		t.Fatal(err)
	}
	info := child.Info{Strict: true, Settings: p.set.ForRole(settings.RoleAuthd)}
	memfd, err := child.Seal("settings", info.Encode())
	if err != nil {
		t.Fatal(err)
	}
	root, err := unix.Open(filepath.Join(dir, "root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctl, ctlTheirs := pair(t)
	logEnd, logTheirs := pair(t)
	p.child, err = forker.Start(spawn.Spec{Program: program, Files: []int{ctlTheirs, int(memfd.Fd()), logTheirs, root},
		Env: spawn.Environment(2, 0, ""), Cred: &spawn.Cred{UID: 65533, GID: 65533}, PID: true, Net: true, Chroot: true})
	for _, fd := range []int{ctlTheirs, logTheirs, root} {
		unix.Close(fd)
	}
	memfd.Close()
	program.Close()
	if err != nil {
		t.Fatal(err)
	}
	go func() { b, _ := io.ReadAll(p.child.Stderr); p.out <- string(b) }()
	if p.logc, err = ipc.NewConn(logEnd, logmsg.Protocol, ipc.FromServer); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			m, _, err := p.logc.Recv()
			if err != nil {
				return
			}
			p.log.SendEvent(m.(*logmsg.Event))
		}
	}()
	if p.master, err = ipc.NewConn(ctl, redeemmsg.Protocol, ipc.FromServer); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.end(); forker.Close() })
	if _, ok := p.recv(p.master).(*redeemmsg.Ready); !ok {
		t.Fatal("not ready")
	}
	p.login = p.attach(1, "login")
	p.recv(p.login)
}

func pair(t testing.TB) (ours, theirs int) {
	t.Helper()
	ours, theirs, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

// end closes master's end; authd must end by itself, in peace.
func (p *process) end() {
	p.master.Close()
	if p.login != nil {
		p.login.Close()
	}
	exit, err := p.child.Wait()
	if stderr := <-p.out; err != nil || exit.Code != 0 || exit.Signal != 0 || stderr != "" {
		p.t.Errorf("authd: %v, %v\n%s", exit, err, stderr)
	}
	p.child.Stderr.Close()
	p.logc.Close()
}

// give passes a file from master.
func (p *process) give(use, name, path string, number uint64) {
	p.t.Helper()
	f, err := os.Open(path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	if err := p.master.Send(&redeemmsg.File{Use: use, Name: name, Path: path, Pair: number}, int(f.Fd())); err != nil {
		p.t.Fatal(err)
	}
}

func hashed(t testing.TB, scheme string, rounds int) string {
	t.Helper()
	text, err := passhash.Hash(scheme, passhash.Gen{Password: []byte("pass"), Rounds: rounds, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Everything that authd does works inside the sandbox: costly hashes, replaced
// files, signing, new settings.
func TestInSandbox(t *testing.T) {
	schemes := []string{"PLAIN", "BLF-CRYPT", "SHA512-CRYPT", "ARGON2ID", "PBKDF2", "SCRAM-SHA-256"}
	var users strings.Builder
	for i, s := range schemes {
		rounds := map[string]int{"BLF-CRYPT": 4, "ARGON2ID": 1}[s]
		fmt.Fprintf(&users, "u%d:%s:1000:1000::/h::\n", i, hashed(t, s, rounds))
	}
	fmt.Fprintf(&users, "y:$y$j75$saltsaltsalt$zQziiNee/3jd.PJJvsNgy7GH5uO3HbsUNcQ3Jsopj2B:1000:1000::/h::\n")
	p := startProcess(t, users.String(), nil)
	for i := range schemes {
		for password, want := range map[string]string{"pass": fmt.Sprintf("granted u%d", i), "no": fmt.Sprintf("refused \"u%d\" authentication failed \"\"", i)} {
			if got := show(p.plain(fmt.Sprintf("u%d", i), password)); got != want {
				t.Errorf("%s: %s", schemes[i], got)
			}
		}
	}
	if got := show(p.plain("y", "correct horse")); got != "granted y" {
		t.Errorf("yescrypt: %s", got)
	}
	// A file that was replaced is seen at once; a broken line is named.
	p.publish("users", "new:{PLAIN}pass:1000:1000::/h::\nbad:x:y\n")
	g, ok := p.plain("new", "pass").(*authmsg.Granted)
	if !ok {
		t.Fatal("a replaced passwd-file is not seen")
	}
	if got := show(p.redeem(g.Ticket, 1, "imap", "s1")); got != "redeemed new 1000/1000 /h [] PLAIN" {
		t.Error(got)
	}
	p.waitForLog("bad:x:y", `users:2: user bad: uid "y" is not a number from 0 to 4294967294 (line skipped)`)
	p.sign()
	p.reload()
}

func (p *process) waitForLog(what, want string) {
	p.t.Helper()
	for range 200 {
		p.log.mu.Lock()
		all := strings.Join(p.log.lines, "\n")
		p.log.mu.Unlock()
		if strings.Contains(all, want) {
			return
		}
		time.Sleep(10 * time.Millisecond) // another process's channel: there is no event to wait for
	}
	p.t.Errorf("no line %q in the log (%s)", want, what)
}

func (p *process) sign() {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "m"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		p.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		p.t.Fatal(err)
	}
	p.write("cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	p.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	p.give("certificate", "", filepath.Join(p.dir, "cert.pem"), 3)
	p.give("key", "", filepath.Join(p.dir, "key.pem"), 3) // root's alone: authd could not open it
	checked := p.recv(p.master).(*redeemmsg.PairChecked)
	if checked.Problem != "" || checked.Pair != 3 || checked.KeyType != 2 || len(checked.Chain) != 1 {
		p.t.Fatalf("%+v", checked)
	}
	// Files that cannot be read leave nothing behind, however often they come.
	p.write("big.pem", strings.Repeat("x", signer.MaxPEM+1))
	for n := range maxHalves + 2 {
		p.give("certificate", "", filepath.Join(p.dir, "big.pem"), uint64(100+n))
		p.give("key", "", filepath.Join(p.dir, "key.pem"), uint64(100+n))
		if bad := p.recv(p.master).(*redeemmsg.PairChecked); bad.Pair != uint64(100+n) || !strings.Contains(bad.Problem, "big.pem has") {
			p.t.Fatalf("%+v", bad)
		}
	}
	content := []byte(strings.Repeat(" ", 64) + "TLS 1.3, server CertificateVerify\x00" + strings.Repeat("h", 32))
	p.send(p.login, &authmsg.Sign{ID: 1, SPKI: checked.SPKI, Scheme: 0x0403, Content: content})
	sum := sha256.Sum256(content)
	if sig := p.recv(p.login).(*authmsg.Signed).Signature; !ecdsa.VerifyASN1(&key.PublicKey, sum[:], sig) {
		p.t.Error("the signature does not verify")
	}
	p.send(p.login, &authmsg.Sign{ID: 2, SPKI: checked.SPKI, Scheme: 0x0403, Content: []byte("a contract")})
	if sig := p.recv(p.login).(*authmsg.Signed).Signature; len(sig) != 0 {
		p.t.Error("signed a contract")
	}
	p.waitForLog("refusal", "refused to sign for key")
	p.send(p.master, &redeemmsg.PairDone{Pair: 3})
	p.send(p.master, &redeemmsg.Lookup{ID: 1, User: "new"}) // the answer comes after the key is gone
	p.recv(p.master)
	p.send(p.login, &authmsg.Sign{ID: 3, SPKI: checked.SPKI, Scheme: 0x0403, Content: content})
	if sig := p.recv(p.login).(*authmsg.Signed).Signature; len(sig) != 0 {
		p.t.Error("a dropped key still signs")
	}
}

// reload moves to the system's users, whose files master passes.
func (p *process) reload() {
	p.t.Helper()
	p.write("shadow", "sys:"+strings.TrimPrefix(hashed(p.t, "SHA512-CRYPT", 1000), "{SHA512-CRYPT}")+":20000:0:99999:7:::\n"+
		"locked:!$6$x:20000:0:99999:7:::\n")
	p.write("passwd", "sys:x:1234:1235:Sys:/home/sys:/bin/sh\n")
	p.give("shadow", "sys", filepath.Join(p.dir, "shadow"), 0)
	p.give("passwd", "sys", filepath.Join(p.dir, "passwd"), 0)
	set := p.set.Clone()
	set.RemoveRow("passdb", "users")
	set.RemoveRow("userdb", "users")
	set.PutRow("passdb", settings.Row{Name: "sys", Values: map[string]any{"driver": "shadow"}})
	set.PutRow("userdb", settings.Row{Name: "sys", Values: map[string]any{"driver": "passwd"}})
	settings.AuthMechanisms.Put(set, []string{"plain"})
	memfd, err := child.Seal("settings", set.ForRole(settings.RoleAuthd))
	if err != nil {
		p.t.Fatal(err)
	}
	defer memfd.Close()
	if err := p.master.Send(&redeemmsg.Settings{Generation: 2}, int(memfd.Fd())); err != nil {
		p.t.Fatal(err)
	}
	if m := p.recv(p.master).(*redeemmsg.SettingsDone); m.Generation != 2 || m.Problem != "" {
		p.t.Fatalf("%+v", m)
	}
	if w := p.recv(p.login).(*authmsg.Welcome); len(w.Mechanisms) != 1 {
		p.t.Errorf("%+v", w)
	}
	g, ok := p.plain("sys", "pass").(*authmsg.Granted)
	if !ok {
		p.t.Fatal("a system user is refused")
	}
	if got := show(p.redeem(g.Ticket, 1, "imap", "s1")); got != "redeemed sys 1234/1235 /home/sys [] PLAIN" {
		p.t.Error(got)
	}
	if got := show(p.plain("locked", "pass")); got != `refused "locked" authentication failed ""` {
		p.t.Error(got)
	}
	p.send(p.master, &redeemmsg.Test{ID: 4, User: "sys", Password: secret.FromString("pass"), Service: "imap", Remote: netip.MustParseAddrPort("192.0.2.1:1")})
	if got := show(p.recv(p.master)); got != "redeemed sys 1234/1235 /home/sys [] PLAIN" {
		p.t.Error(got)
	}
}
