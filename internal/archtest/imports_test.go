package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"sort"
	"strings"
	"testing"
)

// pkg is what go list tells of a package.
type pkg struct {
	ImportPath string
	Dir        string
	Imports    []string
	Deps       []string
	GoFiles    []string
	Doc        string
	Name       string
	Standard   bool
}

// packages lists every package of the module, without tests.
func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,Deps,GoFiles,Doc,Name", "rookery/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []pkg
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// matches reports whether an import path is named by a pattern: a path, or one
// that ends in "/..." for a tree.
func matches(pattern, importPath string) bool {
	if tree, ok := strings.CutSuffix(pattern, "/..."); ok {
		return importPath == tree || strings.HasPrefix(importPath, tree+"/")
	}
	ok, _ := path.Match(pattern, importPath)
	return ok
}

func matchesAny(patterns []string, importPath string) bool {
	for _, p := range patterns {
		if matches(p, importPath) {
			return true
		}
	}
	return false
}

// mayImport says which of our own packages a package may import directly. A
// package that no row names may import anything that the rules below let it.
var mayImport = []struct {
	who, may []string
}{
	// floor 0: nothing of ours below
	{[]string{"rookery/internal/abnf", "rookery/internal/errkind", "rookery/internal/numset", "rookery/internal/secret", "rookery/internal/buildid", "rookery/internal/crc32c", "rookery/internal/saslprep", "rookery/internal/inflate"}, nil},
	// floor 1, pure
	{[]string{"rookery/internal/imapwire", "rookery/internal/pop3wire", "rookery/internal/imapname", "rookery/internal/message/..."},
		[]string{"rookery/internal/abnf", "rookery/internal/errkind", "rookery/internal/numset", "rookery/internal/imapname", "rookery/internal/imapname/...",
			"rookery/internal/mutf7", "rookery/internal/message/..."}},
	{[]string{"rookery/internal/acl"}, []string{"rookery/internal/errkind", "rookery/internal/saslprep"}},
	// floor 1, the system's edges
	{[]string{"rookery/internal/ipc/..."}, []string{"rookery/internal/errkind", "rookery/internal/secret", "rookery/internal/buildid", "rookery/internal/ipc/..."}},
	{[]string{"rookery/internal/vfs/..."}, []string{"rookery/internal/errkind", "rookery/internal/vfs/..."}},
	{[]string{"rookery/internal/sandbox"}, []string{"rookery/internal/errkind", "rookery/internal/sandbox/..."}},
	{[]string{"rookery/internal/settings"}, []string{"rookery/internal/errkind", "rookery/internal/secret", "rookery/internal/abnf"}},
	{[]string{"rookery/internal/maillog/..."}, []string{"rookery/internal/errkind", "rookery/internal/ipc", "rookery/internal/ipc/logmsg", "rookery/internal/maillog/..."}},
}

func TestMayImport(t *testing.T) {
	for _, p := range packages(t) {
		for _, rule := range mayImport {
			if !matchesAny(rule.who, p.ImportPath) {
				continue
			}
			for _, imp := range p.Imports {
				if strings.HasPrefix(imp, "rookery/") && !matchesAny(rule.may, imp) {
					t.Errorf("%s imports %s", p.ImportPath, imp)
				}
			}
		}
	}
}

// mustNever says what a program or package must never reach, through whomever.
// A row may never be removed to mend a build.
var mustNever = []struct {
	who   []string
	never []string
	why   string
}{
	{[]string{"rookery/login", "rookery/cmd/rookery-login"},
		[]string{"rookery/internal/mailstore/...", "rookery/internal/message/...", "rookery/internal/confload", "github.com/BurntSushi/toml/...", "os/exec", "os/user", "plugin",
			"golang.org/x/crypto/...", "rookery/authd/...", "rookery/master/...", "database/sql"},
		"it meets strangers"},
	{[]string{"rookery/authd", "rookery/cmd/rookery-authd"},
		[]string{"rookery/internal/imapwire", "rookery/internal/pop3wire", "rookery/internal/mailstore/...", "rookery/internal/message/...", "rookery/login/...",
			"github.com/BurntSushi/toml/...", "os/exec"},
		"it holds the secrets"},
	{[]string{"rookery/imapworker", "rookery/pop3worker", "rookery/mailtool", "rookery/cmd/rookery-imapworker", "rookery/cmd/rookery-pop3worker", "rookery/cmd/rookery-mailtool"},
		[]string{"rookery/authd/...", "rookery/login/...", "rookery/master/...", "rookery/internal/confload", "github.com/BurntSushi/toml/...", "golang.org/x/crypto/...", "crypto/tls", "os/exec"},
		"it serves one user and needs no secret"},
	{[]string{"rookery/master", "rookery/cmd/rookery"},
		[]string{"rookery/internal/imapwire", "rookery/internal/pop3wire", "rookery/internal/message/...", "rookery/internal/mailstore/...", "crypto/tls", "net/http", "rookery/authd/...", "rookery/login/..."},
		"it is root"},
	{[]string{"rookery/logd", "rookery/cmd/rookery-logd"},
		[]string{"rookery/internal/imapwire", "rookery/internal/pop3wire", "rookery/internal/mailstore/...", "rookery/internal/message/...", "github.com/BurntSushi/toml/...", "crypto/tls", "os/exec", "net/http"},
		"it reads what everybody writes"},
	{[]string{"rookery/internal/imapwire", "rookery/internal/pop3wire", "rookery/internal/imapname", "rookery/internal/message/...", "rookery/internal/numset", "rookery/internal/abnf", "rookery/internal/acl"},
		[]string{"net", "net/mail", "net/textproto", "mime/multipart", "os/exec", "golang.org/x/sys/unix"},
		"it is pure"},
	{[]string{"rookery/cmd/rookery-*"}, []string{"github.com/spf13/cobra", "github.com/schollz/progressbar/v3"}, "a server needs no command line parser"},
}

func TestMustNever(t *testing.T) {
	all := packages(t)
	known := map[string]bool{}
	for _, p := range all {
		known[p.ImportPath] = true
		for _, d := range p.Deps {
			known[d] = true
		}
		for _, rule := range mustNever {
			if !matchesAny(rule.who, p.ImportPath) {
				continue
			}
			for _, dep := range p.Deps {
				if matchesAny(rule.never, dep) {
					t.Errorf("%s reaches %s, but %s", p.ImportPath, dep, rule.why)
				}
			}
		}
	}
	checkNamesExist(t, known)
}

// checkNamesExist finds rules about packages of ours that are no longer there.
func checkNamesExist(t *testing.T, known map[string]bool) {
	t.Helper()
	exists := func(pattern string) bool {
		for k := range known {
			if matches(pattern, k) {
				return true
			}
		}
		return false
	}
	for _, rule := range mustNever {
		for _, n := range append(rule.who[:len(rule.who):len(rule.who)], rule.never...) {
			if strings.HasPrefix(n, "rookery/") && !exists(n) {
				t.Errorf("a rule names %s, which is not there", n)
			}
		}
	}
}

// diskUsers may call os and unix file functions; everybody else goes through vfs.
var diskUsers = []string{"rookery/internal/vfs/...", "rookery/internal/sandbox/...", "rookery/internal/child/...", "rookery/internal/ipc/...", "rookery/internal/confload/...",
	"rookery/internal/settings/gen", "rookery/imapworker/internal/imapdoc/gen", "rookery/imapworker/internal/rfcdoc/gen", "rookery/master/...", "rookery/rookeryctl/...", "rookery/internal/e2e/...", "rookery/internal/attack/...", "rookery/bench/...", "rookery/peers/...",
	"rookery/authd/internal/dbfile", // password databases through held folders, which vfs cannot
	// for tests alone
	"rookery/internal/transcript", "rookery/imapworker/internal/sessiontest", "rookery/login/internal/prelogin/prelogintest"}

// pureOf the os package: what anyone may use of it.
var harmlessOS = map[string]bool{"ErrClosed": true, "ErrDeadlineExceeded": true, "ErrNotExist": true, "ErrExist": true, "ErrPermission": true, "ErrProcessDone": true, "Exit": true, "Args": true,
	"Stderr": true, "Stdout": true, "Stdin": true, "NewFile": true, "File": true, "Getpid": true, "Getuid": true, "Geteuid": true, "Getenv": true, "PathError": true, "FileMode": true, "Signal": true,
	"Interrupt": true, "SyscallError": true, "NewSyscallError": true, "IsNotExist": true, "IsExist": true, "IsTimeout": true, "Hostname": true, "FileInfo": true}

func TestOnlyVFSTouchesTheDisk(t *testing.T) {
	for _, p := range packages(t) {
		if matchesAny(diskUsers, p.ImportPath) || strings.HasPrefix(p.ImportPath, "rookery/tools") {
			continue
		}
		var bad []string
		for sel, where := range selectors(t, p, "os") {
			if !harmlessOS[sel] {
				bad = append(bad, where+": os."+sel)
			}
		}
		for sel, where := range selectors(t, p, "golang.org/x/sys/unix") {
			if fileCalls[sel] {
				bad = append(bad, where+": unix."+sel)
			}
		}
		sort.Strings(bad)
		for _, b := range bad {
			t.Errorf("%s: disk access outside vfs", b)
		}
	}
}

var fileCalls = map[string]bool{"Open": true, "Openat": true, "Openat2": true, "Creat": true, "Rename": true, "Renameat": true, "Renameat2": true, "Link": true, "Linkat": true, "Unlink": true,
	"Unlinkat": true, "Mkdir": true, "Mkdirat": true, "Rmdir": true, "Stat": true, "Lstat": true, "Fstatat": true, "Symlink": true, "Symlinkat": true, "Readlink": true, "Chmod": true, "Fchmod": true,
	"Chown": true, "Truncate": true, "Chdir": true, "Chroot": true, "Mount": true, "Getdents": true, "ReadDirent": true}

func TestClockOnlyOutsidePurePackages(t *testing.T) {
	pure := []string{"rookery/internal/imapwire", "rookery/internal/pop3wire", "rookery/internal/imapname", "rookery/internal/message/...", "rookery/internal/numset", "rookery/internal/abnf",
		"rookery/login/internal/preimap", "rookery/login/internal/prepop3", "rookery/imapworker/internal/session", "rookery/authd/internal/sasl"}
	for _, p := range packages(t) {
		if !matchesAny(pure, p.ImportPath) {
			continue
		}
		for sel, where := range selectors(t, p, "time") {
			if sel == "Now" || sel == "Since" || sel == "Until" || sel == "Sleep" || sel == "After" || sel == "NewTimer" || sel == "Tick" {
				t.Errorf("%s: time.%s in a pure machine", where, sel)
			}
		}
	}
}
