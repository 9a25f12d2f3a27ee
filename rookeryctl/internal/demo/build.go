package demo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"rookery/internal/settings/render"
	"rookery/rookeryctl/internal/control"
)

// Domain of the demo's users, and their password.
const (
	Domain   = "example.test"
	Password = "pass"
)

func address(n int) string { return fmt.Sprintf("u%d@%s", n, Domain) }

// build writes the whole configuration, the users and their mail into dir.
// programs is where rookeryctl is, for the users' own processes.
func build(dir, programs string, o *Options, now time.Time) error {
	u, err := chooseUIDs(o.Users)
	if err != nil {
		return err
	}
	m := marker{Dir: dir, BasePort: o.BasePort, Users: o.Users, Driver: o.Driver, Empty: o.Empty, NoExempt: o.NoExempt, UIDs: u}
	for _, sub := range []string{"", "conf.d", "tls", "mail", "run", "state"} {
		if err := makeDir(filepath.Join(dir, sub)); err != nil {
			return err
		}
	}
	if err := writeCertificate(filepath.Join(dir, "tls"), now); err != nil {
		return err
	}
	if err := writeUsers(dir, m); err != nil {
		return err
	}
	if err := writeConfig(dir, m); err != nil {
		return err
	}
	for n := 1; n <= o.Users; n++ {
		if err := writeMail(dir, programs, m, n); err != nil {
			return err
		}
	}
	// Last: a folder that was left half made is no demo's folder.
	return writeMarker(dir, m)
}

// makeDir makes a folder that every uid can enter, whatever the umask is.
func makeDir(path string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return control.Errorf(control.ExitCantCreate, "%v", err)
	}
	return os.Chmod(path, 0o755)
}

// writeUsers makes the passwd-file: readable for authd's group alone.
func writeUsers(dir string, m marker) error {
	var b strings.Builder
	for n := 1; n <= m.Users; n++ {
		gid := m.UIDs.user(n)
		if !m.UIDs.Separate {
			gid = os.Getegid()
		}
		fmt.Fprintf(&b, "%s:{PLAIN}%s:%d:%d::%s::\n", address(n), Password, m.UIDs.user(n), gid, home(dir, n))
	}
	name := filepath.Join(dir, "users")
	if err := os.WriteFile(name, []byte(b.String()), 0o640); err != nil {
		return err
	}
	if err := os.Chmod(name, 0o640); err != nil || !m.UIDs.Separate {
		return err
	}
	return os.Lchown(name, 0, m.UIDs.Auth)
}

func home(dir string, n int) string { return filepath.Join(dir, "mail", address(n)) }

// controlPath is where the control socket goes: in DIR/run, unless that path
// is longer than a socket's address may be.
func controlPath(dir string) (path string, err error) {
	path = filepath.Join(dir, "run", "control")
	if len(path) < 104 {
		return path, nil
	}
	parent, err := os.MkdirTemp(scratchParent, "rookery-run-")
	return filepath.Join(parent, "control"), err
}

// writeConfig renders the shipped files with the demo's values in them.
func writeConfig(dir string, m marker) error {
	socket, err := controlPath(dir)
	if err != nil {
		return err
	}
	quote := strconv.Quote
	values := map[string]string{
		"hostname":               `"localhost"`,
		"base_dir":               quote(filepath.Join(dir, "run")),
		"state_dir":              quote(filepath.Join(dir, "state")),
		"control_socket_path":    quote(socket),
		"auth_mechanisms":        `["plain", "login", "scram-sha-256", "scram-sha-1", "cram-md5", "apop"]`,
		"auth_allow_cleartext":   "true",
		"auth_default_domain":    quote(Domain),
		"log_path":               quote(filepath.Join(dir, "rookery.log")),
		"ssl_server_cert_file":   quote(filepath.Join(dir, "tls", "cert.pem")),
		"ssl_server_key_file":    quote(filepath.Join(dir, "tls", "key.pem")),
		"shutdown_timeout":       `"2 secs"`,
		"limits_exempt_networks": `["127.0.0.1/32"]`,
	}
	if m.Driver != "maildir" {
		values["mail_driver"] = quote(m.Driver)
	}
	if m.Driver == "mbox" {
		values["mail_path"] = quote("~/" + mailDir(m.Driver))
	}
	if m.NoExempt {
		delete(values, "limits_exempt_networks")
	}
	if m.UIDs.Separate {
		values["login_user"] = quote(strconv.Itoa(m.UIDs.Login))
		values["auth_user"] = quote(strconv.Itoa(m.UIDs.Auth))
		values["log_user"] = quote(strconv.Itoa(m.UIDs.Log))
	} else {
		if uid := m.UIDs.First; uid < 500 {
			values["first_valid_uid"] = strconv.Itoa(uid)
		}
	}
	custom := render.Custom{Values: values, Tables: map[string]string{
		"10-master":         listenerTables(m.BasePort),
		"11-auth-databases": databaseTables(filepath.Join(dir, "users")),
	}}
	if err := os.WriteFile(filepath.Join(dir, "rookery.toml"), []byte(render.File(render.MainFile, custom)), 0o644); err != nil {
		return err
	}
	for _, name := range render.Names() {
		if err := os.WriteFile(filepath.Join(dir, "conf.d", name+".toml"), []byte(render.File(name, custom)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func listenerTables(basePort int) string {
	var b strings.Builder
	for i, s := range services(basePort) {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "[[listener]]\nname = %q\nprotocol = %q\naddress = [\"127.0.0.1\"]\nport = %d\n", s.name, s.name, s.port)
	}
	return b.String()
}

func databaseTables(users string) string {
	var b strings.Builder
	for i, table := range []string{"passdb", "userdb"} {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "[[%s]]\nname = \"demo\"\ndriver = \"passwd-file\"\npasswd_file_path = %q\n", table, users)
	}
	return b.String()
}

// mailDir is what mail_path is called in a home.
func mailDir(driver string) string {
	if driver == "mbox" {
		return "mail"
	}
	return "Maildir"
}

// SamplesCommand is the hidden command of rookeryctl that WriteSamples runs in.
const SamplesCommand = "demo-samples"

// writeMail makes the user's home and has the user fill it: root writes
// nothing below a folder that a user owns.
func writeMail(dir, programs string, m marker, n int) error {
	path := home(dir, n)
	if err := os.Mkdir(path, 0o700); err != nil {
		return control.Errorf(control.ExitCantCreate, "%v", err)
	}
	if m.UIDs.Separate {
		if err := os.Lchown(path, m.UIDs.user(n), m.UIDs.user(n)); err != nil {
			return err
		}
	}
	if m.Empty {
		return nil
	}
	cmd := exec.Command(filepath.Join(programs, "rookeryctl"), SamplesCommand, m.Driver, filepath.Join(path, mailDir(m.Driver)), address(n))
	cmd.Dir = "/"
	cmd.Env = []string{}
	if m.UIDs.Separate {
		id := uint32(m.UIDs.user(n))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id, Groups: []uint32{}}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return control.Errorf(control.ExitCantCreate, "the sample messages of %s cannot be written as uid %d: %v: %s", address(n), m.UIDs.user(n), err, strings.TrimSpace(string(out)))
	}
	return nil
}
