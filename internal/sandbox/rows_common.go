package sandbox

import "golang.org/x/sys/unix"

// runtimeRows are what every Go program asks for, whatever it does. pid is the
// process's own, in its own pid namespace.
func runtimeRows(pid int) []row {
	return []row{
		{name: "read", nr: unix.SYS_READ, why: "from descriptors that are held"},
		{name: "write", nr: unix.SYS_WRITE, why: "to descriptors that are held; panics print by it"},
		{name: "readv", nr: unix.SYS_READV, why: "from descriptors that are held, in one call"},
		{name: "writev", nr: unix.SYS_WRITEV, why: "as write; net.Buffers"},
		{name: "pread64", nr: unix.SYS_PREAD64, why: "as read; the runtime rereads its cgroup files by it unless GODEBUG forbids that, half a minute after start"},
		{name: "close", nr: unix.SYS_CLOSE, why: "gives up a descriptor"},
		{name: "fstat", nr: unix.SYS_FSTAT, why: "os.File and net ask what a held descriptor is"},
		{name: "lseek", nr: unix.SYS_LSEEK, why: "moves in a held file (settings, log files)"},
		{name: "fcntl", nr: unix.SYS_FCNTL, when: []cond{is(1, unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL, unix.F_DUPFD_CLOEXEC, unix.F_GET_SEALS)},
			why: "non-blocking mode, copies for net.FileConn, seals of the settings; never SETOWN (signals to others), NOTIFY or leases"},

		{name: "futex", nr: unix.SYS_FUTEX, why: "locks and sleeping threads"},
		{name: "epoll_pwait", nr: unix.SYS_EPOLL_PWAIT, why: "the network poller"},
		{name: "epoll_ctl", nr: unix.SYS_EPOLL_CTL, why: "the network poller"},
		{name: "epoll_create1", nr: unix.SYS_EPOLL_CREATE1, why: "the network poller starts with the first descriptor or timer"},
		{name: "eventfd2", nr: unix.SYS_EVENTFD2, why: "wakes the network poller"},
		{name: "nanosleep", nr: unix.SYS_NANOSLEEP, why: "the monitor thread's rest"},
		{name: "clock_gettime", nr: unix.SYS_CLOCK_GETTIME, why: "the clock, where the vDSO cannot read it (some virtual machines)"},
		{name: "restart_syscall", nr: unix.SYS_RESTART_SYSCALL, why: "the kernel goes on with a sleep after SIGSTOP by it"},
		{name: "sched_yield", nr: unix.SYS_SCHED_YIELD, why: "spinning threads"},
		{name: "sched_getaffinity", nr: unix.SYS_SCHED_GETAFFINITY, when: []cond{is(0, 0)},
			why: "GOMAXPROCS follows the machine unless GODEBUG forbids that; of the calling thread only"},

		{name: "mmap", nr: unix.SYS_MMAP, when: []cond{no(2, unix.PROT_EXEC), no(3, unix.MAP_SHARED)},
			why: "heap and stacks; never executable, so that no new code comes in"},
		{name: "munmap", nr: unix.SYS_MUNMAP, why: "gives memory back"},
		{name: "mprotect", nr: unix.SYS_MPROTECT, when: []cond{no(2, unix.PROT_EXEC)}, why: "guard pages; never executable"},
		{name: "madvise", nr: unix.SYS_MADVISE, why: "gives memory back, huge pages"},
		{name: "prctl", nr: unix.SYS_PRCTL, when: []cond{is(0, unix.PR_SET_VMA), is(1, unix.PR_SET_VMA_ANON_NAME)},
			why: "the runtime names its memory for /proc"},

		{name: "clone", nr: unix.SYS_CLONE, when: []cond{isWide(0, threadFlags)},
			why: "threads, with the runtime's flags to the bit: no process, no namespace"},
		{name: "clone3", nr: unix.SYS_CLONE3, deny: true, why: "its flags lie in memory that a filter cannot read; ENOSYS leads to clone"},
		{name: "getpid", nr: unix.SYS_GETPID, why: "own number"},
		{name: "gettid", nr: unix.SYS_GETTID, why: "own number"},
		{name: "getppid", nr: unix.SYS_GETPPID, why: "own number"},
		{name: "getuid", nr: unix.SYS_GETUID, why: "own number"},
		{name: "geteuid", nr: unix.SYS_GETEUID, why: "own number"},
		{name: "getgid", nr: unix.SYS_GETGID, why: "own number"},
		{name: "getegid", nr: unix.SYS_GETEGID, why: "own number"},
		{name: "tgkill", nr: unix.SYS_TGKILL, when: []cond{is(0, uint32(pid))},
			why: "the runtime preempts and ends its own threads; the number is this process's own"},
		{name: "rt_sigaction", nr: unix.SYS_RT_SIGACTION, why: "signal handlers"},
		{name: "rt_sigprocmask", nr: unix.SYS_RT_SIGPROCMASK, why: "signal masks around clone and exit; a refusal here ends in a segfault"},
		{name: "rt_sigreturn", nr: unix.SYS_RT_SIGRETURN, why: "the end of every handler"},
		{name: "sigaltstack", nr: unix.SYS_SIGALTSTACK, why: "each thread's signal stack"},
		{name: "exit", nr: unix.SYS_EXIT, why: "a thread ends"},
		{name: "exit_group", nr: unix.SYS_EXIT_GROUP, why: "the process ends"},
		{name: "getrandom", nr: unix.SYS_GETRANDOM, why: "crypto/rand and hash seeds, where the vDSO does not give them"},
		{name: "uname", nr: unix.SYS_UNAME, why: "os and net ask for the kernel's version before they use a newer call"},
	}
}

// channelRows are for the channels that every child has.
func channelRows() []row {
	return []row{
		{name: "recvmsg", nr: unix.SYS_RECVMSG, why: "messages and descriptors from channels"},
		{name: "sendmsg", nr: unix.SYS_SENDMSG, when: []cond{only(2, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT|unix.MSG_EOR|unix.MSG_MORE)},
			why: "messages to channels; above all not MSG_FASTOPEN, which is connect by another name on a listener that was shut down"},
		{name: "getsockopt", nr: unix.SYS_GETSOCKOPT, when: []cond{is(1, unix.SOL_SOCKET, unix.IPPROTO_TCP)},
			why: "what a received descriptor is, its pending error, SO_PEERCRED"},
		{name: "getsockname", nr: unix.SYS_GETSOCKNAME, why: "net.FileConn; the address a client came to"},
		{name: "getpeername", nr: unix.SYS_GETPEERNAME, why: "net.FileConn; the client's address"},
		{name: "shutdown", nr: unix.SYS_SHUTDOWN, when: []cond{is(1, unix.SHUT_WR)},
			why: "the end of our half of a stream; not SHUT_RD, which turns a listener into a socket that can connect, and stops it for its siblings too"},
	}
}

// streamRows are for roles that hold a client's stream.
func streamRows() []row {
	return []row{
		{name: "setsockopt", nr: unix.SYS_SETSOCKOPT, when: []cond{is(1, unix.IPPROTO_TCP),
			is(2, unix.TCP_NODELAY, unix.TCP_CORK, unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL, unix.TCP_KEEPCNT, unix.TCP_USER_TIMEOUT, unix.TCP_QUICKACK)},
			why: "delay and keep-alive of a client's connection; not TCP_ULP, TCP_REPAIR or TCP_FASTOPEN_CONNECT"},
		{name: "setsockopt", nr: unix.SYS_SETSOCKOPT, when: []cond{is(1, unix.SOL_SOCKET), is(2, unix.SO_KEEPALIVE, unix.SO_SNDBUF, unix.SO_RCVBUF)},
			why: "keep-alive and buffers of a client's connection; not SO_LINGER, which lets a close block the closer"},
	}
}
