package attack

import "golang.org/x/sys/unix"

// call is a system call that no role has. Its arguments make it fail at once
// where it gets through (bad addresses, sizes, descriptors), so that trying it
// unguarded changes nothing.
type call struct {
	name string
	nr   uintptr
	args []uintptr
}

const (
	bad   = ^uintptr(0) // as a descriptor, a pid or a command
	null  = uintptr(8)  // an address that is never mapped
	noCmd = uintptr(0x7fff)
)

// surfaceAttempts are calls into parts of the kernel that we never need. One
// has come through when the kernel has looked at it, whatever it says.
func surfaceAttempts() []Attempt {
	var list []Attempt
	for _, c := range append(surface, surfaceArch...) {
		list = append(list, Attempt{"call " + c.name, Seccomp, func(*Env) error {
			if err := sys(c.nr, c.args...); err == Trapped {
				return err
			}
			return nil
		}})
	}
	return list
}

var surface = []call{
	{"execve", unix.SYS_EXECVE, []uintptr{null, 0, 0}},
	{"execveat", unix.SYS_EXECVEAT, []uintptr{bad, null, 0, 0, unix.AT_EMPTY_PATH}},
	{"ptrace", unix.SYS_PTRACE, []uintptr{noCmd, bad}},
	{"unshare", unix.SYS_UNSHARE, []uintptr{1}},
	{"setns", unix.SYS_SETNS, []uintptr{bad, 0}},
	{"mount", unix.SYS_MOUNT, []uintptr{null, null, null, 0, 0}},
	{"umount2", unix.SYS_UMOUNT2, []uintptr{null, 0}},
	{"pivot_root", unix.SYS_PIVOT_ROOT, []uintptr{null, null}},
	{"open_tree", unix.SYS_OPEN_TREE, []uintptr{bad, null, 0}},
	{"move_mount", unix.SYS_MOVE_MOUNT, []uintptr{bad, null, bad, null, 0}},
	{"fsopen", unix.SYS_FSOPEN, []uintptr{null, 0}},
	{"chroot", unix.SYS_CHROOT, []uintptr{null}},
	{"fchdir", unix.SYS_FCHDIR, []uintptr{bad}},
	{"chdir", unix.SYS_CHDIR, []uintptr{null}},
	{"socket", unix.SYS_SOCKET, []uintptr{noCmd, 0, 0}},
	{"connect", unix.SYS_CONNECT, []uintptr{bad, null, 0}},
	{"bind", unix.SYS_BIND, []uintptr{bad, null, 0}},
	{"listen", unix.SYS_LISTEN, []uintptr{bad, 0}},
	{"sendto", unix.SYS_SENDTO, []uintptr{bad, null, 0, 0, null, 0}},
	{"sendmmsg", unix.SYS_SENDMMSG, []uintptr{bad, null, 0, 0}},
	{"recvmmsg", unix.SYS_RECVMMSG, []uintptr{bad, null, 0, 0, 0}},
	{"accept", unix.SYS_ACCEPT, []uintptr{bad, 0, 0}},
	{"ioctl", unix.SYS_IOCTL, []uintptr{bad, noCmd, 0}},
	{"userfaultfd", unix.SYS_USERFAULTFD, []uintptr{noCmd}},
	{"io_uring_setup", unix.SYS_IO_URING_SETUP, []uintptr{1, null}},
	{"io_uring_enter", unix.SYS_IO_URING_ENTER, []uintptr{bad, 0, 0, 0, 0}},
	{"io_setup", unix.SYS_IO_SETUP, []uintptr{0, null}},
	{"bpf", unix.SYS_BPF, []uintptr{noCmd, null, 0}},
	{"perf_event_open", unix.SYS_PERF_EVENT_OPEN, []uintptr{null, 0, bad, bad, 0}},
	{"keyctl", unix.SYS_KEYCTL, []uintptr{noCmd}},
	{"add_key", unix.SYS_ADD_KEY, []uintptr{null, null, 0, 0, 0}},
	{"request_key", unix.SYS_REQUEST_KEY, []uintptr{null, null, 0, 0}},
	{"seccomp", unix.SYS_SECCOMP, []uintptr{noCmd, 0, 0}},
	{"landlock_create_ruleset", unix.SYS_LANDLOCK_CREATE_RULESET, []uintptr{null, 8, 0}},
	{"landlock_restrict_self", unix.SYS_LANDLOCK_RESTRICT_SELF, []uintptr{bad, 0}},
	{"open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, []uintptr{bad, null, 0}},
	{"fanotify_init", unix.SYS_FANOTIFY_INIT, []uintptr{noCmd, 0}},
	{"memfd_create", unix.SYS_MEMFD_CREATE, []uintptr{null, 0}},
	{"memfd_secret", unix.SYS_MEMFD_SECRET, []uintptr{noCmd}},
	{"shmget", unix.SYS_SHMGET, []uintptr{1, 0, 0}},
	{"semget", unix.SYS_SEMGET, []uintptr{1, 0, 0}},
	{"msgget", unix.SYS_MSGGET, []uintptr{1, 0}},
	{"mq_open", unix.SYS_MQ_OPEN, []uintptr{null, 0, 0, 0}},
	{"pidfd_open", unix.SYS_PIDFD_OPEN, []uintptr{bad, 0}},
	{"pidfd_getfd", unix.SYS_PIDFD_GETFD, []uintptr{bad, 0, 0}},
	{"process_vm_writev", unix.SYS_PROCESS_VM_WRITEV, []uintptr{bad, 0, 0, 0, 0, 0}},
	{"process_madvise", unix.SYS_PROCESS_MADVISE, []uintptr{bad, 0, 0, 0, 0}},
	{"kcmp", unix.SYS_KCMP, []uintptr{bad, bad, 0, 0, 0}},
	{"move_pages", unix.SYS_MOVE_PAGES, []uintptr{bad, 0, 0, 0, 0, 0}},
	{"prlimit64", unix.SYS_PRLIMIT64, []uintptr{bad, 0, 0, 0}},
	{"setrlimit", unix.SYS_SETRLIMIT, []uintptr{noCmd, null}},
	{"sched_setscheduler", unix.SYS_SCHED_SETSCHEDULER, []uintptr{bad, 0, null}},
	{"ioprio_set", unix.SYS_IOPRIO_SET, []uintptr{noCmd, 0, 0}},
	{"personality", unix.SYS_PERSONALITY, []uintptr{0xffffffff}},
	{"capset", unix.SYS_CAPSET, []uintptr{null, null}},
	{"setuid", unix.SYS_SETUID, []uintptr{bad}},
	{"setgid", unix.SYS_SETGID, []uintptr{bad}},
	{"setresuid", unix.SYS_SETRESUID, []uintptr{0, 0, 0}},
	{"setgroups", unix.SYS_SETGROUPS, []uintptr{1, null}},
	{"setpgid", unix.SYS_SETPGID, []uintptr{bad, bad}},
	{"prctl(PR_SET_PTRACER)", unix.SYS_PRCTL, []uintptr{unix.PR_SET_PTRACER, 0}},
	{"prctl(PR_SET_MM)", unix.SYS_PRCTL, []uintptr{unix.PR_SET_MM, bad, 0, 0, 0}},
	{"prctl(PR_SET_SECCOMP)", unix.SYS_PRCTL, []uintptr{unix.PR_SET_SECCOMP, bad, 0}},
	{"prctl(PR_CAP_AMBIENT)", unix.SYS_PRCTL, []uintptr{unix.PR_CAP_AMBIENT, bad, 0, 0, 0}},
	{"reboot", unix.SYS_REBOOT, []uintptr{0, 0, 0, 0}},
	{"init_module", unix.SYS_INIT_MODULE, []uintptr{null, 0, null}},
	{"kexec_load", unix.SYS_KEXEC_LOAD, []uintptr{0, noCmd, null, bad}},
	{"syslog", unix.SYS_SYSLOG, []uintptr{noCmd, 0, 0}},
	{"quotactl", unix.SYS_QUOTACTL, []uintptr{bad, null, 0, null}},
	{"clock_settime", unix.SYS_CLOCK_SETTIME, []uintptr{bad, null}},
	{"vmsplice", unix.SYS_VMSPLICE, []uintptr{bad, null, 1, 0}},
	{"remap_file_pages", unix.SYS_REMAP_FILE_PAGES, []uintptr{1, 0, 1, 0, 0}},
	{"pkey_mprotect", unix.SYS_PKEY_MPROTECT, []uintptr{1, 0, 0, 0}},
	{"mremap", unix.SYS_MREMAP, []uintptr{1, 0, 0, 0, 0}},
	{"mknodat", unix.SYS_MKNODAT, []uintptr{bad, null, 0, 0}},
	{"fchmod", unix.SYS_FCHMOD, []uintptr{bad, 0}},
	{"fchown", unix.SYS_FCHOWN, []uintptr{bad, 0, 0}},
	{"fsetxattr", unix.SYS_FSETXATTR, []uintptr{bad, null, 0, 0, 0}},
	{"timer_create", unix.SYS_TIMER_CREATE, []uintptr{bad, null, null}},
	{"rt_sigqueueinfo", unix.SYS_RT_SIGQUEUEINFO, []uintptr{bad, 0, null}},
	{"lookup_dcookie", unix.SYS_LOOKUP_DCOOKIE, []uintptr{0, 0, 0}},
	{"a number beyond all calls", 4095, nil},
}
