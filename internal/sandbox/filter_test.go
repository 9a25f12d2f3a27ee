// Race-detector builds have more rows.

//go:build !race

package sandbox_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"rookery/internal/sandbox"
)

var update = flag.Bool("update", false, "rewrite golden files")

var allRoles = []sandbox.Role{sandbox.Login, sandbox.Authd, sandbox.Logd, sandbox.IMAPWorker, sandbox.POP3Worker, sandbox.MailTool, sandbox.Dotlock}

// TestTables is the list of calls that each role may make, as a golden file:
// whoever widens a table sees the difference in a review.
func TestTables(t *testing.T) {
	var b strings.Builder
	for _, role := range allRoles {
		writeTable(t, &b, role.String(), role, sandbox.Options{}, 2)
	}
	writeTable(t, &b, "imapworker, private uid", sandbox.IMAPWorker, sandbox.Options{PrivateUID: true}, 2)
	writeTable(t, &b, "imapworker, a waiting spare", sandbox.IMAPWorker, sandbox.Options{}, 1)
	name := filepath.Join("testdata", "tables.txt")
	if *update {
		if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the tables differ from %s; if that is meant, run with -update\n%s", name, b.String())
	}
}

func writeTable(t *testing.T, b *strings.Builder, title string, role sandbox.Role, o sandbox.Options, stage int) {
	t.Helper()
	rows, err := sandbox.TableOf(role, o, 1, stage)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(b, "%s:\n", title)
	var names []string
	for _, r := range rows {
		if len(r.Why) < 9 {
			t.Errorf("%s: the row %s has no reason", title, r.Name)
		}
		switch {
		case r.Deny:
			r.Name += " (ENOSYS)"
		case r.Args:
			r.Name += " (arguments)"
		}
		names = append(names, r.Name)
	}
	slices.Sort(names)
	for _, n := range names {
		fmt.Fprintf(b, "\t%s\n", n)
	}
}

// TestFilterIsTheTable runs every number through every role's program: what is
// on no row is trapped, what is on a row without conditions passes.
func TestFilterIsTheTable(t *testing.T) {
	for _, role := range allRoles {
		for stage := 1; stage <= 2; stage++ {
			rows, err := sandbox.TableOf(role, sandbox.Options{}, 1, stage)
			if err != nil {
				t.Fatal(err)
			}
			f, err := sandbox.NewFilter(role, sandbox.Options{}, 1, stage)
			if err != nil {
				t.Fatal(err)
			}
			want := map[uint32]uint32{}
			conditional := map[uint32]bool{}
			for _, r := range rows {
				switch {
				case r.Args:
					conditional[r.NR] = true
				case r.Deny:
					want[r.NR] = sandbox.NoSys
				default:
					want[r.NR] = sandbox.Allow
				}
			}
			for nr := range uint32(1000) {
				expect, ok := want[nr]
				if !ok {
					expect = sandbox.Trap
				}
				if got := f.Verdict(sandbox.Arch, nr); got != expect && (ok || !conditional[nr]) {
					t.Errorf("%v, stage %d: call %d gives %#x, want %#x", role, stage, nr, got, expect)
				}
			}
			for _, nr := range []uint32{0x40000000, 0x40000000 | unix.SYS_READ, 0xffffffff} {
				if got := f.Verdict(sandbox.Arch, nr); got != sandbox.Kill {
					t.Errorf("%v: call %#x gives %#x, want the end", role, nr, got)
				}
			}
			if got := f.Verdict(unix.AUDIT_ARCH_I386, unix.SYS_READ); got != sandbox.Kill {
				t.Errorf("%v: a 32-bit call gives %#x, want the end", role, got)
			}
		}
	}
}

// TestArguments looks at each condition from both sides.
func TestArguments(t *testing.T) {
	const pid = 77
	const atCWD = uint64(0xffffffffffffff9c) // AT_FDCWD, as a register has it
	thread := uint64(0x50f00)
	if sandbox.Arch == unix.AUDIT_ARCH_X86_64 {
		thread |= unix.CLONE_SETTLS
	}
	imap, login, authd := sandbox.IMAPWorker, sandbox.Login, sandbox.Authd
	for _, c := range []struct {
		role sandbox.Role
		name string
		nr   uint32
		args []uint64
		want bool
	}{
		{login, "clone as Go does", unix.SYS_CLONE, []uint64{thread}, true},
		{login, "clone with NEWUSER", unix.SYS_CLONE, []uint64{thread | unix.CLONE_NEWUSER}, false},
		{login, "clone without THREAD", unix.SYS_CLONE, []uint64{thread &^ unix.CLONE_THREAD}, false},
		{login, "clone with an upper bit", unix.SYS_CLONE, []uint64{thread | 1<<32}, false},
		{login, "tgkill oneself", unix.SYS_TGKILL, []uint64{pid, 5, 23}, true},
		{login, "tgkill another", unix.SYS_TGKILL, []uint64{pid + 1, 5, 23}, false},
		{login, "mmap", unix.SYS_MMAP, []uint64{0, 4096, unix.PROT_READ | unix.PROT_WRITE, unix.MAP_ANON | unix.MAP_PRIVATE}, true},
		{login, "mmap executable", unix.SYS_MMAP, []uint64{0, 4096, unix.PROT_READ | unix.PROT_EXEC, unix.MAP_ANON | unix.MAP_PRIVATE}, false},
		{login, "mmap shared", unix.SYS_MMAP, []uint64{0, 4096, unix.PROT_READ, unix.MAP_SHARED}, false},
		{imap, "mmap shared", unix.SYS_MMAP, []uint64{0, 4096, unix.PROT_READ, unix.MAP_SHARED}, true},
		{imap, "mmap shared for writing", unix.SYS_MMAP, []uint64{0, 4096, unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED}, false},
		{imap, "mmap shared and executable", unix.SYS_MMAP, []uint64{0, 4096, unix.PROT_READ | unix.PROT_EXEC, unix.MAP_SHARED}, false},
		{imap, "mprotect", unix.SYS_MPROTECT, []uint64{0, 4096, unix.PROT_NONE}, true},
		{imap, "mprotect executable", unix.SYS_MPROTECT, []uint64{0, 4096, unix.PROT_EXEC}, false},
		{imap, "prctl SET_VMA", unix.SYS_PRCTL, []uint64{unix.PR_SET_VMA, unix.PR_SET_VMA_ANON_NAME}, true},
		{imap, "prctl SET_DUMPABLE", unix.SYS_PRCTL, []uint64{unix.PR_SET_DUMPABLE, unix.PR_SET_VMA_ANON_NAME}, false},
		{imap, "prctl SET_VMA of another kind", unix.SYS_PRCTL, []uint64{unix.PR_SET_VMA, 1}, false},
		{login, "sched_getaffinity", unix.SYS_SCHED_GETAFFINITY, []uint64{0}, true},
		{login, "sched_getaffinity of another", unix.SYS_SCHED_GETAFFINITY, []uint64{1}, false},
		{login, "fcntl GETFL", unix.SYS_FCNTL, []uint64{3, unix.F_GETFL}, true},
		{login, "fcntl OFD lock", unix.SYS_FCNTL, []uint64{3, unix.F_OFD_SETLK}, false},
		{imap, "fcntl OFD lock", unix.SYS_FCNTL, []uint64{3, unix.F_OFD_SETLK}, true},
		{imap, "fcntl SETOWN", unix.SYS_FCNTL, []uint64{3, unix.F_SETOWN, 1}, false},
		{imap, "fcntl NOTIFY", unix.SYS_FCNTL, []uint64{3, unix.F_NOTIFY, 1}, false},
		{imap, "fcntl SETLEASE", unix.SYS_FCNTL, []uint64{3, unix.F_SETLEASE, 1}, false},
		{login, "sendmsg", unix.SYS_SENDMSG, []uint64{3, 4096, unix.MSG_NOSIGNAL | unix.MSG_DONTWAIT}, true},
		{login, "sendmsg with FASTOPEN", unix.SYS_SENDMSG, []uint64{3, 4096, unix.MSG_NOSIGNAL | unix.MSG_FASTOPEN}, false},
		{login, "sendmsg with OOB", unix.SYS_SENDMSG, []uint64{3, 4096, unix.MSG_OOB}, false},
		{login, "shutdown for writing", unix.SYS_SHUTDOWN, []uint64{3, unix.SHUT_WR}, true},
		{login, "shutdown for reading", unix.SYS_SHUTDOWN, []uint64{3, unix.SHUT_RD}, false},
		{login, "shutdown for both", unix.SYS_SHUTDOWN, []uint64{3, unix.SHUT_RDWR}, false},
		{login, "TCP_NODELAY", unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_TCP, unix.TCP_NODELAY}, true},
		{login, "TCP_ULP", unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_TCP, unix.TCP_ULP}, false},
		{login, "TCP_FASTOPEN_CONNECT", unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT}, false},
		{login, "SO_KEEPALIVE", unix.SYS_SETSOCKOPT, []uint64{3, unix.SOL_SOCKET, unix.SO_KEEPALIVE}, true},
		{login, "SO_LINGER", unix.SYS_SETSOCKOPT, []uint64{3, unix.SOL_SOCKET, unix.SO_LINGER}, false},
		{login, "IP level", unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_IP, unix.TCP_NODELAY}, false},
		{authd, "setsockopt", unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_TCP, unix.TCP_NODELAY}, false},
		{login, "getsockopt", unix.SYS_GETSOCKOPT, []uint64{3, unix.SOL_SOCKET, unix.SO_TYPE}, true},
		{login, "getsockopt of IP", unix.SYS_GETSOCKOPT, []uint64{3, unix.IPPROTO_IP, 80}, false},
		{login, "socketpair", unix.SYS_SOCKETPAIR, []uint64{unix.AF_UNIX, unix.SOCK_STREAM}, true},
		{login, "socketpair of another family", unix.SYS_SOCKETPAIR, []uint64{unix.AF_TIPC, unix.SOCK_STREAM}, false},
		{imap, "socketpair", unix.SYS_SOCKETPAIR, []uint64{unix.AF_UNIX, unix.SOCK_STREAM}, false},
		{authd, "open for reading", unix.SYS_OPENAT, []uint64{atCWD, 4096, unix.O_RDONLY | unix.O_CLOEXEC}, true},
		{authd, "open for writing", unix.SYS_OPENAT, []uint64{atCWD, 4096, unix.O_WRONLY}, false},
		{authd, "open and create", unix.SYS_OPENAT, []uint64{atCWD, 4096, unix.O_CREAT}, false},
		{authd, "open and truncate", unix.SYS_OPENAT, []uint64{atCWD, 4096, unix.O_TRUNC}, false},
		{authd, "write a held file", unix.SYS_PWRITE64, []uint64{9, 4096, 10, 0}, true},
		{authd, "truncate by a path", unix.SYS_TRUNCATE, []uint64{4096, 0}, false},
		{authd, "open for stat", unix.SYS_OPENAT, []uint64{atCWD, 4096, unix.O_PATH}, false},
		{imap, "futimens", unix.SYS_UTIMENSAT, []uint64{9, 0, 4096, 0}, true},
		{imap, "utimensat with a path", unix.SYS_UTIMENSAT, []uint64{atCWD, 4096, 4096, 0}, false},
		{imap, "utimensat with a high path", unix.SYS_UTIMENSAT, []uint64{atCWD, 0xc000_0000_0000 &^ 0xffffffff, 4096, 0}, false},
		{imap, "linkat", unix.SYS_LINKAT, []uint64{atCWD, 4096, atCWD, 4096, 0}, true},
		{imap, "linkat through a link", unix.SYS_LINKAT, []uint64{atCWD, 4096, atCWD, 4096, unix.AT_SYMLINK_FOLLOW}, false},
		{imap, "renameat2", unix.SYS_RENAMEAT2, []uint64{atCWD, 4096, atCWD, 4096, unix.RENAME_NOREPLACE}, true},
		{imap, "renameat2 with a whiteout", unix.SYS_RENAMEAT2, []uint64{atCWD, 4096, atCWD, 4096, unix.RENAME_WHITEOUT}, false},
	} {
		f, err := sandbox.NewFilter(c.role, sandbox.Options{}, pid, 2)
		if err != nil {
			t.Fatal(err)
		}
		want := sandbox.Trap
		if c.want {
			want = sandbox.Allow
		}
		if got := f.Verdict(sandbox.Arch, c.nr, c.args...); got != want {
			t.Errorf("%v: %s gives %#x, want %#x", c.role, c.name, got, want)
		}
	}
}
