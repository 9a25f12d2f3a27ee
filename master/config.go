package master

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"rookery/internal/child"
	"rookery/internal/confload"
	"rookery/internal/settings"
	"rookery/master/internal/handover"
	"rookery/master/internal/idents"
	"rookery/master/internal/policy"
)

// config is one generation of settings, with what master derives from them.
type config struct {
	generation uint64
	set        *settings.Set
	warnings   []string
	policy     *policy.Policy
	login      idents.User
	auth       idents.User
	log        idents.User
}

// loadConfig reads the files. The error lists all that is wrong.
func loadConfig(file string, root bool) (*config, error) {
	r := confload.Load(os.DirFS("/"), file)
	if err := r.Err(); err != nil {
		return nil, err
	}
	db, err := idents.Read(os.DirFS("/"))
	if err != nil {
		return nil, err
	}
	c := &config{set: r.Set, policy: &policy.Policy{Set: r.Set, Idents: db}}
	for _, w := range r.Warnings() {
		c.warnings = append(c.warnings, w.String())
	}
	if !root {
		c.policy.OneUID = uint32(os.Geteuid())
		return c, nil
	}
	for _, who := range []struct {
		key settings.Key[string]
		to  *idents.User
	}{{settings.LoginUser, &c.login}, {settings.AuthUser, &c.auth}, {settings.LogUser, &c.log}} {
		u, err := db.UserOrNumber(who.key.Get(r.Set))
		if err == nil && (u.UID == 0 || u.GID == 0) {
			err = errors.New("it must be neither root nor in group 0")
		}
		if err != nil {
			return nil, fmt.Errorf("%s = %q: %w", who.key.Name(), who.key.Get(r.Set), err)
		}
		*who.to = u
		c.policy.Services = append(c.policy.Services, u)
	}
	return c, nil
}

// loginProcesses is how many serve all, or wait under login_high_security.
func (c *config) loginProcesses() int {
	if n := settings.LoginProcessCount.Get(c.set); n > 0 {
		return int(n)
	}
	return runtime.NumCPU()
}

func (c *config) highSecurity() bool { return settings.LoginHighSecurity.Get(c.set) }

func (c *config) limits() handover.Limits {
	return handover.Limits{
		Workers:  int(settings.WorkerProcessLimit.Get(c.set)),
		Requests: int(settings.LoginRequestLimit.Get(c.set)) * c.loginProcesses(),
		Queue:    1024,
		Guests:   int(settings.WorkerGuestProcessLimit.Get(c.set)),
	}
}

// credits is how many requests one login process may have in flight.
func (c *config) credits() int {
	if c.highSecurity() {
		return 1
	}
	return int(settings.LoginRequestLimit.Get(c.set))
}

// loginPrint changes when login processes must be started anew.
func (c *config) loginPrint(infos []child.ListenerInfo, addresses []string) [32]byte {
	fp := c.set.Fingerprint(settings.RoleLogin)
	text := fmt.Sprintf("%x %v %q %d %v %d", fp, infos, addresses, c.loginProcesses(), c.login, settings.LoginRequestLimit.Get(c.set))
	return sha256.Sum256([]byte(text))
}

func (c *config) baseDir() string { return settings.BaseDir.Get(c.set) }

func (c *config) controlPath() string {
	if p := settings.ControlSocketPath.Get(c.set); p != "" {
		return p
	}
	return filepath.Join(c.baseDir(), "control")
}

func (c *config) libexec() (string, error) {
	if d := settings.LibexecDir.Get(c.set); d != "" {
		return d, nil
	}
	exe, err := os.Executable()
	return filepath.Dir(exe), err
}

// emptyDir makes base_dir, state_dir and the empty directory that confined processes
// chroot into, and opens it.
func (c *config) emptyDir() (int, error) {
	if err := os.MkdirAll(c.baseDir(), 0o755); err != nil {
		return -1, fmt.Errorf("base_dir: %w", err)
	}
	if err := os.MkdirAll(settings.StateDir.Get(c.set), 0o700); err != nil {
		return -1, fmt.Errorf("state_dir: %w", err)
	}
	dir := filepath.Join(c.baseDir(), "empty")
	if err := os.Mkdir(dir, 0o555); err != nil && !errors.Is(err, os.ErrExist) {
		return -1, fmt.Errorf("base_dir: %w", err)
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("%s: %w", dir, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Uid != uint32(os.Geteuid()) || st.Mode&0o022 != 0 {
		unix.Close(fd)
		return -1, fmt.Errorf("%s must belong to this user alone, and nobody else may write it", dir)
	}
	names, err := os.ReadDir(dir)
	if err == nil && len(names) > 0 {
		err = fmt.Errorf("%s holds %s; it must be empty", dir, names[0].Name())
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// hostName is the hostname setting, or the system's.
func (c *config) hostName() string {
	if h := settings.Hostname.Get(c.set); h != "" {
		return h
	}
	h, err := os.Hostname()
	if err != nil || h == "" {
		return "localhost"
	}
	return strings.TrimSuffix(h, ".")
}
