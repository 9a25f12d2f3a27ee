package settings

import (
	"fmt"
	"strconv"
	"time"
)

const fileMail = "10-mail"

var mailVars = []string{"user", "home", "protocol"}

// The settings of the mail store.
var (
	MailDriver = enum("mail_driver", "maildir", RoleMaster|RoleAuthd|RoleWorkers, fileMail,
		`The format of the mail store. "maildir": a file for each message, in Maildir++ folders. "pack": messages one behind the other in large files, the fastest to write; only Rookery reads it (docs/pack.md). "mbox": a file for each folder, as Unix has always had it (docs/mbox.md).`,
		words("maildir", "pack", "mbox"), perUser())

	MailHome = template("mail_home", "", []string{"user"}, RoleMaster|RoleAuthd, fileMail,
		`Home of users whose userdb gives none, such as "/srv/mail/%{user | domain}/%{user | username}".`, paths())

	MailPath = template("mail_path", "~/Maildir", mailVars, RoleMaster|RoleAuthd|RoleWorkers, fileMail,
		`Where a user's mail lies. "~/" at the start is the home.`, paths(), perUser())

	MailInboxPath = template("mail_inbox_path", "", mailVars, RoleMaster|RoleAuthd|RoleWorkers, fileMail,
		`Where INBOX lies, if not in mail_path itself. With mail_driver = "mbox" it is a file, such as "/var/mail/%{user}"; empty: "inbox" in mail_path.`, paths(), perUser())

	MailControlPath = template("mail_control_path", "", mailVars, RoleMaster|RoleAuthd|RoleWorkers, fileMail,
		`Where control files lie (UIDs, keywords, subscriptions), if not beside the mail. They must not be lost.`, paths(), perUser())

	MailIndexPath = template("mail_index_path", "", mailVars, RoleMaster|RoleAuthd|RoleWorkers, fileMail,
		`Where index files lie, if not beside the mail. They can be deleted at any moment and are made again.`, paths(), perUser())

	MailAltPath = template("mail_alt_path", "", mailVars, RoleMaster|RoleAuthd|RoleWorkers, fileMail,
		`Where old mail may lie, on cheaper disks, with mail_driver = "pack": "rookeryctl purge" moves packed files there whose newest message is older than 30 days. It has to be there.`, paths(), perUser())

	MailCompressWriteMethod = enum("mail_compress_write_method", "", RoleWorkers, fileMail,
		`How new messages are compressed on disk, with mail_driver "maildir" and "pack". Empty: not at all. Compressed ones are read whatever stands here; in a Maildir also those that Dovecot's zlib plugin or an administrator wrote (zstd, gzip, bzip2, lz4, xz). Quota counts the sizes that the user sees. Other programs that read a Maildir's files themselves see compressed ones as they are stored.`, words("", "zstd"))

	MailUID = str("mail_uid", "", RoleMaster|RoleAuthd, fileMail,
		`User id, as a number or a name, of users whose userdb gives none.`)

	MailGID = str("mail_gid", "", RoleMaster|RoleAuthd, fileMail,
		`Group id, as a number or a name, of users whose userdb gives none.`)

	MailAccessGroups = list("mail_access_groups", []string{}, RoleMaster, fileMail,
		`Supplementary groups of every mail process, by name, for shared folders.`,
		danger("Each user's mail process can then do all that these groups may."))

	FirstValidUID = integer("first_valid_uid", 500, RoleMaster|RoleAuthd, fileMail,
		`The smallest user id that may have mail; system users are below. 0 is refused whatever stands here.`, limits(1, 1<<32-2))

	LastValidUID = integer("last_valid_uid", 0, RoleMaster|RoleAuthd, fileMail,
		`The largest user id that may have mail. 0 for no limit.`, limits(1, 1<<32-2), unlimited())

	FirstValidGID = integer("first_valid_gid", 1, RoleMaster|RoleAuthd, fileMail,
		`The smallest primary group id that a user with mail may have.`, limits(1, 1<<32-2))

	LastValidGID = integer("last_valid_gid", 0, RoleMaster|RoleAuthd, fileMail,
		`The largest primary group id that a user with mail may have. 0 for no limit.`, limits(1, 1<<32-2), unlimited())

	MailSharedUIDUnprotected = boolean("mail_shared_uid_unprotected", false, RoleMaster, fileMail,
		`Start even where this system cannot keep users of one user id apart (no Landlock, no seccomp, or no process namespaces).`,
		danger("A user's mail process that has been taken over then reaches the mail of all users of that user id."))

	MailFsync = enum("mail_fsync", "optimized", RoleWorkers, fileMail,
		`"optimized": a new message, its UID and folder changes are on disk before they are answered; a power cut may take back flag changes and deletions that the system has not written yet. "always": those too are on disk before they are answered. "never": nothing is put on disk before the system does it by itself; a power cut takes mail that was answered.`,
		words("optimized", "always", "never"), danger(`"never" loses mail in a power cut.`))

	MailMaxKeywordLength = integer("mail_max_keyword_length", 50, RoleWorkers, fileMail,
		`The longest keyword that a client may set.`, limits(1, 1000), unit("bytes"))

	MailMaxLockTimeout = duration("mail_max_lock_timeout", 2*time.Minute, RoleWorkers, fileMail,
		`How long a command waits for a lock that another program holds.`, spanDuration(time.Second, time.Hour))

	MailMaxMessageSize = size("mail_max_message_size", 128<<20, RoleWorkers, fileMail,
		`The largest message that a client may store; a larger one is refused before it is sent.`, limits(1<<10, 1<<40), unlimited())

	MailboxListLayout = enum("mailbox_list_layout", "maildir++", RoleWorkers, fileMail,
		`How folders lie on disk. "maildir++": one folder beside the other, ".parent.child"; "fs": one inside the other, "parent/child".`, words("maildir++", "fs"))
)

const fileLimits = "10-limits"

// The limits of processes and connections after login.
var (
	MailMaxUserIPConnections = integer("mail_max_userip_connections", 50, RoleMaster, fileLimits,
		`Sessions of one user from one address, for each protocol. A client beyond it reads what the limit is. 0 for no limit.`,
		limits(1, 1_000_000), unlimited(), unit("sessions"), perUser())

	MailMaxUserConnections = integer("mail_max_user_connections", 200, RoleMaster, fileLimits,
		`Sessions of one user from all addresses, for each protocol. 0 for no limit.`,
		limits(1, 1_000_000), unlimited(), unit("sessions"), perUser())

	WorkerProcessLimit = integer("worker_process_limit", 1024, RoleMaster, fileLimits,
		`Mail processes in all; there is one for each user and protocol that has a session, whatever the number of his sessions. Dovecot's service process_limit of imap and pop3.`,
		limits(1, 1_000_000), unit("processes"))

	WorkerProcessMinAvail = integer("worker_process_min_avail", 1, RoleMaster, fileLimits,
		`Mail processes that wait, already started, for the next user of a shared user id, for each protocol.`,
		limits(0, 1000), unit("processes"))

	WorkerIdleKillInterval = duration("worker_idle_kill_interval", 10*time.Second, RoleMaster|RoleWorkers, fileLimits,
		`How long a mail process stays after its last session, since clients come back.`, spanDuration(0, time.Hour))

	WorkerMemoryLimit = size("worker_memory_limit", 256<<20, RoleMaster, fileLimits,
		`Memory that a mail process tries to stay below. It is no hard limit: set that with systemd's MemoryMax.`, limits(32<<20, 1<<40))

	LimitsExemptNetworks = networks("limits_exempt_networks", nil, RoleMaster|RoleLogin|RoleAuthd, fileLimits,
		`Networks without penalty and without limits by address: mail_max_userip_connections, login_unauthenticated_userip_limit, auth_penalty.`,
		danger("Whoever sends from there can guess passwords without a penalty."))

	ShutdownTimeout = duration("shutdown_timeout", 10*time.Second, RoleMaster|RoleLogin|RoleWorkers, fileLimits,
		`How long sessions may finish what they do when the server stops; then they are told BYE and closed.`,
		spanDuration(0, 10*time.Minute))

	ReloadGenerationLimit = integer("reload_generation_limit", 8, RoleMaster, fileLimits,
		`How many generations of login processes may hold sessions; a reload that would start one more is refused until old sessions end.`,
		limits(2, 100), unit("generations"))
)

// fileMain is rookery.toml itself.
const fileMain = "rookery"

// The settings of the server as a whole.
var (
	Hostname = str("hostname", "", RoleLogin|RoleAuthd|RoleWorkers, fileMain,
		`Name of this host in greetings, APOP's timestamp and Maildir file names. Empty: the system's.`, checked(printable))

	BaseDir = pathname("base_dir", "/run/rookery", RoleMaster, fileMain,
		`Folder of the control socket and of the empty root directory of confined processes. Made at start.`, checked(notEmpty))

	StateDir = pathname("state_dir", "/var/lib/rookery", RoleMaster, fileMain,
		`Folder of what outlives a restart. Made at start.`, checked(notEmpty))

	ControlSocketPath = pathname("control_socket_path", "", RoleMaster, fileMain,
		`The socket of rookeryctl. Empty: "control" in base_dir. Only root and the user of the server can use it.`)

	LibexecDir = pathname("libexec_dir", "", RoleMaster, fileMain,
		`Folder of the server's programs. Empty: where the program rookery itself is.`)

	LoginUser = str("login_user", "rookery-login", RoleMaster, fileMain,
		`System user of the login processes. It must own nothing and be used for nothing else.`, checked(notEmpty))

	AuthUser = str("auth_user", "rookery-auth", RoleMaster, fileMain,
		`System user of the authentication process. Files that it reads must let it: passwd-files.`, checked(notEmpty))

	LogUser = str("log_user", "rookery-log", RoleMaster, fileMain,
		`System user of the logging process.`, checked(notEmpty))
)

// UIDText reports whether text is a number of a user or group id, and which.
func UIDText(text string) (uint32, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil && fmt.Sprint(n) == text
}
