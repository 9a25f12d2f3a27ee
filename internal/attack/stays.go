package attack

// Stays says of each guard that stops nothing alone, because others stand
// behind it, why it stays; With names a guard without which it is what holds.
var Stays = map[Guard]struct {
	With Guard
	Why  string
}{
	Capabilities: {Seccomp, "chroot is on no table, so the one capability that was held is of no use; if a table ever lets chroot through, it is the way out"},
	Undumpable:   {LandlockFS | Chroot, "inside, the process's own files in /proc are out of reach anyway; from outside it alone stops other programs of the same uid (TestOutside)"},
	LandlockFull: {Seccomp | NetNS | PidNS, "TCP, signals and abstract sockets have no call on any table and no namespace to reach; it holds where a kernel's seccomp or namespace has a hole"},
	NetNS:        {Seccomp | LandlockFull, "no table has socket or connect; it holds if one ever does, and against all that Landlock does not rule (UDP)"},
	PidNS:        {Seccomp | LandlockFull, "no table has a call that names another process but tgkill, which is bound to the own number; it also makes the process the first of its namespace, whose end ends all"},
	IPCNS:        {Seccomp, "no table has System V calls; it costs nothing where the network namespace is shared with it"},
}
