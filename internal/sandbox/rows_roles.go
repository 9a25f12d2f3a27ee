package sandbox

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// rowsOf is the whole table of a role.
func rowsOf(role Role, o Options, pid int) ([]row, error) {
	rows := append(runtimeRows(pid), channelRows()...)
	switch role {
	case Login:
		rows = append(append(rows, streamRows()...), loginRows()...)
	case Authd:
		rows = append(rows, authdRows()...)
	case Logd:
		rows = append(rows, logdRows()...)
	case IMAPWorker, POP3Worker:
		rows = append(append(rows, streamRows()...), workerRows()...)
		if o.PrivateUID {
			rows = append(rows, watchRows()...)
		}
	case MailTool: // a worker without a client's stream
		rows = append(rows, workerRows()...)
		if o.PrivateUID {
			rows = append(rows, watchRows()...)
		}
	case Dotlock:
		rows = append(rows, dotlockRows()...)
	default:
		return nil, fmt.Errorf("sandbox: no table for the role %v", role)
	}
	return append(rows, raceRows()...), nil
}

func loginRows() []row {
	return []row{
		{name: "accept4", nr: unix.SYS_ACCEPT4, why: "strangers, on the listeners that master opened"},
		{name: "socketpair", nr: unix.SYS_SOCKETPAIR, when: []cond{is(0, unix.AF_UNIX)},
			why: "envelopes for master, and the stream between a TLS client and its worker"},
	}
}

func authdRows() []row {
	return []row{
		{name: "openat", nr: unix.SYS_OPENAT, when: []cond{only(2, readOnlyOpen)},
			why: "passwd-files, for reading; Landlock says which"},
		{name: "newfstatat", nr: sysNewfstatat, why: "whether a passwd-file has changed"},
		{name: "pwrite64", nr: unix.SYS_PWRITE64, why: "the list of shares, in two files that master opened; no other is open for writing"},
		{name: "fdatasync", nr: unix.SYS_FDATASYNC, why: "what the list of shares has is on disk"},
		{name: "ftruncate", nr: unix.SYS_FTRUNCATE, why: "a record of the list of shares that was not finished, and a file of it before it is written anew"},
	}
}

// readOnlyOpen are the flags that an open for reading may have.
const readOnlyOpen = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_DIRECTORY | unix.O_NOCTTY | oLargefile

// dotlockRows are what it takes to open one mbox and to make and remove its
// lock file.
func dotlockRows() []row {
	return []row{
		{name: "openat", nr: unix.SYS_OPENAT, why: "the mbox and its lock file, beneath the one directory"},
		{name: "newfstatat", nr: sysNewfstatat, why: "whether the mbox has changed; how old a lock file is"},
		{name: "renameat", nr: unix.SYS_RENAMEAT, why: "a dead program's lock file is put aside before it is removed"},
		{name: "renameat2", nr: unix.SYS_RENAMEAT2, when: []cond{is(4, unix.RENAME_NOREPLACE)}, why: "and put back if it was not that one"},
		{name: "unlinkat", nr: unix.SYS_UNLINKAT, why: "the lock file"},
	}
}

func logdRows() []row {
	return []row{
		{name: "fsync", nr: unix.SYS_FSYNC, why: "log files that are held, before they are reopened or at the end"},
		{name: "fdatasync", nr: unix.SYS_FDATASYNC, why: "log files that are held"},
	}
}

// workerRows are the file calls of a process that holds one user's mail.
// Where files lie is Landlock's part (and the chroot's). None of these changes
// mode, owner, attributes or times by a path: such calls pass Landlock.
func workerRows() []row {
	return append(fileRows(), []row{
		{name: "mmap", nr: unix.SYS_MMAP, when: []cond{is(2, unix.PROT_READ), is(3, unix.MAP_SHARED, unix.MAP_SHARED|unix.MAP_POPULATE)},
			why: "index snapshots, for reading"},
		{name: "fcntl", nr: unix.SYS_FCNTL, when: []cond{is(1, unix.F_OFD_GETLK, unix.F_OFD_SETLK, unix.F_OFD_SETLKW, unix.F_GETLK, unix.F_SETLK, unix.F_SETLKW,
			unix.F_GETPIPE_SZ, unix.F_SETPIPE_SZ)},
			why: "locks on held files; the size of splice's pipes"},
		{name: "flock", nr: unix.SYS_FLOCK, why: "locks on held files that other mail programs know"},
		{name: "sendfile", nr: unix.SYS_SENDFILE, why: "a message's body from file to client without a copy"},
		{name: "splice", nr: unix.SYS_SPLICE, why: "as sendfile, from stream to file"},
		{name: "tee", nr: unix.SYS_TEE, deny: true, why: "never used; a plain copy takes its place"},
		{name: "pipe2", nr: unix.SYS_PIPE2, why: "splice goes through a pipe"},
		{name: "copy_file_range", nr: unix.SYS_COPY_FILE_RANGE, why: "COPY between held files"},
		{name: "pwrite64", nr: unix.SYS_PWRITE64, why: "held files"},
		{name: "pwritev", nr: unix.SYS_PWRITEV, why: "held files"},
		{name: "preadv", nr: unix.SYS_PREADV, why: "held files"},
		{name: "fsync", nr: unix.SYS_FSYNC, why: "what was answered is on disk"},
		{name: "fdatasync", nr: unix.SYS_FDATASYNC, why: "what was answered is on disk"},
		{name: "sync_file_range", nr: unix.SYS_SYNC_FILE_RANGE, why: "starts the writing of many files before they are synced one by one"},
		{name: "ftruncate", nr: unix.SYS_FTRUNCATE, why: "of files held open for writing; never by path"},
		{name: "fallocate", nr: unix.SYS_FALLOCATE, why: "the journal's space, beforehand"},
		{name: "fadvise64", nr: unix.SYS_FADVISE64, why: "reading ahead when many messages are fetched"},
		{name: "utimensat", nr: unix.SYS_UTIMENSAT, when: []cond{isWide(1, 0)},
			why: "futimens: a message's INTERNALDATE is its file's mtime; without a path, since the path form passes Landlock"},
		{name: "fstatfs", nr: unix.SYS_FSTATFS, why: "free space, and whether a held directory lies on a network file system"},
	}...)
}

// fileRows are the calls that name files.
func fileRows() []row {
	return []row{
		{name: "openat", nr: unix.SYS_OPENAT, why: "the user's files; Landlock says where"},
		{name: "openat2", nr: unix.SYS_OPENAT2, why: "the same, without following links"},
		{name: "newfstatat", nr: sysNewfstatat, why: "size and times; Landlock does not stop it, the chroot does"},
		{name: "getdents64", nr: unix.SYS_GETDENTS64, why: "lists held directories"},
		{name: "renameat", nr: unix.SYS_RENAMEAT, why: "flags are a file's name"},
		{name: "renameat2", nr: unix.SYS_RENAMEAT2, when: []cond{is(4, 0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE)},
			why: "the same, without replacing; not RENAME_WHITEOUT, which makes a device"},
		{name: "linkat", nr: unix.SYS_LINKAT, when: []cond{is(4, 0, unix.AT_EMPTY_PATH)},
			why: "a finished message into place; never following a link"},
		{name: "unlinkat", nr: unix.SYS_UNLINKAT, why: "expunge; folders are removed"},
		{name: "mkdirat", nr: unix.SYS_MKDIRAT, why: "folders are made"},
		{name: "faccessat2", nr: unix.SYS_FACCESSAT2, deny: true, why: "nothing asks before it does; Go only probes for it"},
	}
}

// watchRows are for private uids only: a watch shows the names of files that
// Landlock hides, and the instances are counted per uid.
func watchRows() []row {
	return []row{
		{name: "inotify_init1", nr: unix.SYS_INOTIFY_INIT1, why: "other programs' changes to the user's mail"},
		{name: "inotify_add_watch", nr: unix.SYS_INOTIFY_ADD_WATCH, why: "the same; only where the uid is the user's own"},
		{name: "inotify_rm_watch", nr: unix.SYS_INOTIFY_RM_WATCH, why: "a folder is no longer selected"},
	}
}

// stageOneRows are what a spare worker still needs to take its user's rules;
// the second filter takes them away.
func stageOneRows() []row {
	return []row{
		{name: "landlock_create_ruleset", nr: unix.SYS_LANDLOCK_CREATE_RULESET, why: "the user's rules"},
		{name: "landlock_add_rule", nr: unix.SYS_LANDLOCK_ADD_RULE, why: "the user's rules"},
		{name: "landlock_restrict_self", nr: unix.SYS_LANDLOCK_RESTRICT_SELF, why: "the user's rules"},
		{name: "seccomp", nr: unix.SYS_SECCOMP, when: []cond{is(0, unix.SECCOMP_SET_MODE_FILTER)}, why: "the second filter"},
		{name: "prctl", nr: unix.SYS_PRCTL, when: []cond{is(0, unix.PR_CAP_AMBIENT, unix.PR_SET_NO_NEW_PRIVS, unix.PR_GET_NO_NEW_PRIVS, unix.PR_GET_DUMPABLE)},
			why: "the checks of the second stage"},
		{name: "capget", nr: unix.SYS_CAPGET, why: "whether the chroot can be had"},
		{name: "capset", nr: unix.SYS_CAPSET, why: "the last capability goes; none can come"},
		{name: "fchdir", nr: unix.SYS_FCHDIR, why: "into the user's top directory"},
		{name: "chroot", nr: unix.SYS_CHROOT, why: "into the user's top directory"},
	}
}
