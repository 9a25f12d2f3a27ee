package settings

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"rookery/internal/e2e/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// rig is a server whose settings are changed one by one.
type rig struct {
	*harness.Demo
	t    *testing.T
	base []string // lines that hold unless a row has another value
}

func newRig(t *testing.T) *rig {
	harness.NeedRoot(t)
	r := &rig{Demo: harness.Prepare(t), t: t, base: []string{`auth_failure_delay = "0"`, `auth_internal_failure_delay = "0"`, `auth_verbose = true`}}
	flags := []string{"--users", "3", "--empty"}
	r.Write(flags...)
	r.moreUsers()
	r.moreCertificates()
	r.configure(nil)
	r.Start(flags...)
	return r
}

// moreUsers adds users whose entries are special, with u1's uid and home.
func (r *rig) moreUsers() {
	file := filepath.Join(r.Dir, "users")
	text := read(file)
	first, _, _ := strings.Cut(text, "\n")
	_, rest, _ := strings.Cut(first, "{PLAIN}pass")
	for _, u := range []string{"weak:{PLAIN-MD5}1a1dc91c907325c69271ddf0c944bc72", "plain:pass", "what:{WHAT}pass"} {
		name, password, _ := strings.Cut(u, ":")
		text += name + "@example.test:" + password + rest + "\n"
	}
	text += strings.Replace(first, "u1@example.test", "u1@other.test", 1) + "\n"
	r.must(os.WriteFile(file, []byte(text), 0o640))
	// Databases of the tests' own: the same owner and mode.
	r.writeLike(file, "second", "u1@example.test:{PLAIN}second"+rest+"\nwhat@example.test:{PLAIN}second"+rest+"\nu9@example.test:{PLAIN}pass"+rest+"\n")
	r.writeLike(file, "denied", "u1@example.test\n")
	r.writeLike(file, "masters", "admin:{PLAIN}adminpass\n")
	for home, id := range map[string][2]int{"static": {58901, 58901}, "bare": {58903, 58903}, "bare2": {58903, 58904}, "new": {58905, 58905}, "58999": {58999, 58999}} {
		dir := r.path("mail/" + home)
		r.must(os.Mkdir(dir, 0o700))
		r.must(os.Chown(dir, id[0], id[1]))
	}
	r.writeLike(file, "bare", "u1:{PLAIN}bare"+rest+"\n")
}

func (r *rig) writeLike(model, name, text string) {
	info, err := os.Stat(model)
	r.must(err)
	uid, gid := owner(info)
	path := filepath.Join(r.Dir, name)
	r.must(os.WriteFile(path, []byte(text), 0o640))
	r.must(os.Chmod(path, 0o640))
	r.must(os.Chown(path, uid, gid))
}

// path is a file of the demo's.
func (r *rig) path(name string) string { return filepath.Join(r.Dir, name) }

// moreCertificates makes pairs beside the demo's: ecdsa.pem and rsa.pem, each
// with its key.
func (r *rig) moreCertificates() {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	r.must(err)
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	r.must(err)
	for _, k := range []struct {
		name   string
		key    any
		public any
	}{{"ecdsa", ec, &ec.PublicKey}, {"rsa", rs, &rs.PublicKey}} {
		cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the " + k.name + " one"}, DNSNames: []string{"localhost"},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(5, 0, 0)}
		der, err := x509.CreateCertificate(rand.Reader, cert, cert, k.public, k.key)
		r.must(err)
		pkcs, err := x509.MarshalPKCS8PrivateKey(k.key)
		r.must(err)
		r.must(os.WriteFile(r.path(k.name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
		r.must(os.WriteFile(r.path(k.name+"-key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs}), 0o600))
	}
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

var settingName = regexp.MustCompile(`^[a-z0-9_]+ = `)

// configure writes lines before which the base's stand, but for what they set
// themselves. DIR stands for the demo's folder.
func (r *rig) configure(lines []string) {
	var all []string
	for _, b := range r.base {
		name := settingName.FindString(b)
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, name) }) {
			all = append(all, b)
		}
	}
	for _, l := range lines {
		all = append(all, strings.NewReplacer("DIR", r.Dir, "PORT", strconv.Itoa(r.Base+111)).Replace(l))
	}
	r.Set(all...)
}

func read(path string) string {
	data, _ := os.ReadFile(path)
	return string(data)
}

// conn is a connection that never fails the test: what it reads tells.
type conn struct {
	net.Conn
	r   *bufio.Reader
	tag int
}

func (r *rig) open(addr string, conf *tls.Config) *conn { return openFrom("127.0.0.1", addr, conf) }

func openFrom(from, addr string, conf *tls.Config) *conn {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	network := "tcp"
	if strings.HasPrefix(addr, "/") {
		d.LocalAddr, network = nil, "unix"
	}
	c, err := d.Dial(network, addr)
	if err != nil {
		return &conn{}
	}
	c.SetDeadline(time.Now().Add(15 * time.Second))
	if conf != nil {
		c = tls.Client(c, conf)
	}
	return &conn{Conn: c, r: bufio.NewReader(c)}
}

func (c *conn) close() {
	if c.Conn != nil {
		c.Conn.Close()
	}
}

// line gives one line, "closed" at the end.
func (c *conn) line() string {
	if c.Conn == nil {
		return "refused"
	}
	line, err := c.r.ReadString('\n')
	if err != nil && line == "" {
		return "closed"
	}
	return strings.TrimRight(line, "\r\n")
}

func (c *conn) write(text string) {
	if c.Conn != nil {
		io.WriteString(c.Conn, text)
	}
}

// imap sends a command and gives all lines of its answer, without the tag.
func (c *conn) imap(command string) string {
	c.tag++
	tag := "t" + strconv.Itoa(c.tag) + " "
	c.write(tag + command + "\r\n")
	var all []string
	for {
		line := c.line()
		if line == "closed" || line == "refused" || strings.HasPrefix(line, tag) || strings.HasPrefix(line, "+ ") {
			return strings.Join(append(all, strings.TrimPrefix(line, tag)), "\n")
		}
		all = append(all, line)
	}
}

// pop sends a command and gives the first line of the answer.
func (c *conn) pop(command string) string {
	c.write(command + "\r\n")
	return c.line()
}

// popLines is pop with the lines up to the dot.
func (c *conn) popLines(command string) string {
	all := []string{c.pop(command)}
	for strings.HasPrefix(all[0], "+OK") {
		line := c.line()
		all = append(all, line)
		if line == "." || line == "closed" {
			break
		}
	}
	return strings.Join(all, "\n")
}

// imap runs commands in one connection, greeting first, and gives the last answer.
func (r *rig) imap(commands ...string) string {
	c := r.open(r.Addr("imap"), nil)
	defer c.close()
	answer := c.line()
	for _, command := range commands {
		answer = c.imap(command)
	}
	return answer
}

const loginU1 = "LOGIN u1 pass"

// procs lists the processes of this server that run a program.
func (r *rig) procs(program string) []int {
	comm := program[:min(len(program), 15)]
	var found []int
	list := []int{r.PID()}
	for i := 0; i < len(list); i++ {
		children, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", list[i]))
		for _, c := range children {
			for _, f := range strings.Fields(read(c)) {
				if pid, err := strconv.Atoi(f); err == nil && !slices.Contains(list, pid) {
					list = append(list, pid)
				}
			}
		}
		if strings.TrimSpace(read(fmt.Sprintf("/proc/%d/comm", list[i]))) == comm {
			found = append(found, list[i])
		}
	}
	slices.Sort(found)
	return found
}

// session logs in by IMAP and gives the worker's process too, as login's line
// has it; 0 if there is none.
func (r *rig) session(login string) (c *conn, pid int, answer string) {
	c = r.open(r.Addr("imap"), nil)
	c.line()
	line := r.logged(`mpid=\d+`, func() { answer = c.imap(login) })
	fmt.Sscanf(line, "mpid=%d", &pid)
	return c, pid, answer
}

// field gives a field of /proc/PID/status.
func field(pid int, name string) string {
	for line := range strings.Lines(read(fmt.Sprintf("/proc/%d/status", pid))) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.Join(strings.Fields(v), " ")
		}
	}
	return "no " + name
}

// status gives a field of /proc/PID/status of the newest process of a program.
func (r *rig) status(program, name string) string {
	pids := r.procs(program)
	if len(pids) == 0 {
		return "no " + program
	}
	return field(pids[len(pids)-1], name)
}

// logged runs f and gives what was logged meanwhile, once it matches.
func (r *rig) logged(pattern string, f func()) string {
	before := len(r.Log())
	f()
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if m := re.FindString(r.Log()[before:]); m != "" {
			return m
		}
	}
	return "nothing like it"
}

// which tells which of some files of a user's home are there.
func (r *rig) which(user int, names ...string) string {
	var there []string
	for _, n := range names {
		if _, err := os.Lstat(filepath.Join(filepath.Dir(r.Maildir(user)), n)); err == nil {
			there = append(there, n)
		}
	}
	return strings.Join(there, " ")
}

// fast tells whether f takes less than 0.7 seconds.
func fast(f func()) string {
	began := time.Now()
	f()
	if time.Since(began) < 700*time.Millisecond {
		return "fast"
	}
	return "slow"
}

// mode gives a file's permission bits in octal.
func mode(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "none"
	}
	return fmt.Sprintf("%o", info.Mode().Perm())
}
