package settings

// Who is in which group, and how much of the server other users' visits may take.
var (
	ACLGroups = list("acl_groups", []string{}, RoleAuthd|RoleIMAP, fileIMAP,
		`The groups that a user is in, for access control lists ("$staff"). A userdb names them for one user in its field acl_groups, separated by commas; here they hold for every user whom no userdb field gives others.`,
		perUser())

	WorkerGuestProcessLimit = integer("worker_guest_process_limit", 256, RoleMaster, fileLimits,
		`Mail processes, beside those of worker_process_limit, that run only because other users read what their user shares: guests cannot take the places of logins. A process whose last session has ended while guests are left counts here; with one too many they are sent away.`,
		limits(1, 1_000_000), unit("processes"))

	MailMaxGuestConnections = integer("mail_max_guest_connections", 64, RoleMaster, fileLimits,
		`Other users whose shared mail the process of one user may have open at once.`,
		limits(1, 10_000), unit("users"), perUser())

	MailMaxGuests = integer("mail_max_guests", 1000, RoleMaster, fileLimits,
		`Connections of other users' processes that the process of one user, who shares mail, serves at once.`,
		limits(1, 1_000_000), unit("connections"), perUser())
)
