// Package policy is what master checks by itself of a user that authd names:
// uid, gid and groups, directories, limits. A taken-over authd must mean
// neither root nor the group shadow.
//
// It is pure: settings, /etc/passwd and /etc/group come as arguments.
package policy

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"

	"rookery/internal/errkind"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/settings"
	"rookery/master/internal/handover"
	"rookery/master/internal/idents"
)

// Policy is one generation of settings.
type Policy struct {
	Set    *settings.Set
	Idents *idents.DB
	// OneUID, if not 0, is the uid of this process, which is not root: all
	// users' workers run under it.
	OneUID uint32
	// Services are whom the server's own processes run as: no user is one.
	Services []idents.User

	mu     sync.Mutex
	prints map[settings.Role][32]byte // fingerprints of Set, which never changes
}

// Identity is whom a worker runs as.
type Identity struct {
	UID, GID uint32
	Groups   []uint32
	// System: /etc/passwd has this name with this uid.
	System bool
}

// Refusal is why a user gets no worker: the client is told to ask the
// administrator, who reads the reason in the log.
type Refusal struct{ Reason string }

func (r *Refusal) Error() string { return r.Reason }

func refuse(format string, args ...any) error { return &Refusal{fmt.Sprintf(format, args...)} }

// Identify checks uid, gid and groups.
func (p *Policy) Identify(r redeemmsg.Record) (Identity, error) {
	if p.OneUID != 0 {
		return Identity{UID: p.OneUID}, nil
	}
	if err := between("uid", r.UID, settings.FirstValidUID, settings.LastValidUID, p.Set); err != nil {
		return Identity{}, err
	}
	if err := between("gid", r.GID, settings.FirstValidGID, settings.LastValidGID, p.Set); err != nil {
		return Identity{}, err
	}
	if err := p.reserved(r); err != nil {
		return Identity{}, err
	}
	id := Identity{UID: r.UID, GID: r.GID}
	u, ok := p.Idents.Lookup(r.User)
	id.System = ok && u.UID == r.UID
	var groups []uint32
	if id.System {
		groups = p.Idents.Groups(r.User, r.Groups)
	}
	for _, name := range settings.MailAccessGroups.Get(p.Set) {
		gid, ok := p.Idents.Group(name)
		if !ok {
			return Identity{}, refuse("mail_access_groups names %q, which /etc/group does not have", name)
		}
		groups = append(groups, gid)
	}
	for _, g := range groups {
		if g != 0 && !slices.Contains(id.Groups, g) {
			id.Groups = append(id.Groups, g)
		}
	}
	slices.Sort(id.Groups)
	return id, nil
}

// powerful are groups that own what opens the whole system: stored passwords,
// disks, memory. No user's mail is kept under one of them.
var powerful = [...]string{"shadow", "disk", "kmem", "mem"}

// reserved refuses identities that a taken-over authd could name to reach
// secrets or the server's own processes.
func (p *Policy) reserved(r redeemmsg.Record) error {
	for _, name := range powerful {
		if gid, ok := p.Idents.Group(name); ok && gid == r.GID {
			return refuse("the userdb gives gid %d, the group %s, which is never taken", r.GID, name)
		}
	}
	for _, s := range p.Services {
		if s.UID == r.UID || s.GID == r.GID {
			return refuse("the userdb gives uid %d and gid %d; %s is a user of the server itself", r.UID, r.GID, s.Name)
		}
	}
	return nil
}

func between(what string, n uint32, first, last settings.Key[int64], set *settings.Set) error {
	low, high := first.Get(set), last.Get(set)
	switch {
	case n == 0 || n == 1<<32-1:
		return refuse("the userdb gives %s %d, which is never taken", what, n)
	case int64(n) < low:
		return refuse("the userdb gives %s %d, below %s (%d)", what, n, first.Name(), low)
	case high != 0 && int64(n) > high:
		return refuse("the userdb gives %s %d, above %s (%d)", what, n, last.Name(), high)
	}
	return nil
}

// Grant turns a redeemed record into what the table of hand-overs needs.
func (p *Policy) Grant(service string, r redeemmsg.Record) (handover.Grant, error) {
	set, err := p.userSet(r)
	if err != nil {
		return handover.Grant{}, err
	}
	hash, err := p.hash(service, r)
	if err != nil {
		return handover.Grant{}, err
	}
	return handover.Grant{Key: handover.Key{Service: service, User: r.User, Hash: hash}, Record: r,
		MaxIP:     int(settings.MailMaxUserIPConnections.Get(set)),
		MaxUser:   int(settings.MailMaxUserConnections.Get(set)),
		MaxVisits: int(settings.MailMaxGuestConnections.Get(set)), MaxGuests: int(settings.MailMaxGuests.Get(set)),
		NoIP: exempt(settings.LimitsExemptNetworks.Get(p.Set), r.Remote.Addr())}, nil
}

func exempt(nets []netip.Prefix, addr netip.Addr) bool {
	addr = addr.Unmap()
	return !addr.IsValid() || slices.ContainsFunc(nets, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// userSet is Set with the user's own settings; only to be read.
func (p *Policy) userSet(r redeemmsg.Record) (*settings.Set, error) {
	if len(r.Fields) == 0 {
		return p.Set, nil
	}
	fields := make(map[string]string, len(r.Fields))
	for _, f := range r.Fields {
		name, value, _ := strings.Cut(f, "=")
		fields[name] = value
	}
	set, err := p.Set.WithUser(fields)
	if err != nil {
		return nil, refuse("the userdb's fields: %v", err)
	}
	return set, nil
}

// hash covers every redeemed field but those of one session, and the settings
// that the worker gets.
func (p *Policy) hash(service string, r redeemmsg.Record) ([32]byte, error) {
	r.Mech, r.Remote, r.Local, r.TLS = "", netip.AddrPort{}, netip.AddrPort{}, false
	b, err := redeemmsg.Protocol.Encode(&redeemmsg.Redeemed{Record: r})
	if err != nil {
		return [32]byte{}, refuse("the userdb's record: %v", err)
	}
	h := sha256.New()
	h.Write(b)
	generation := p.fingerprint(SettingsRole(service))
	h.Write(generation[:])
	return [32]byte(h.Sum(nil)), nil
}

// fingerprint is that of the settings of a role. It is asked for at every login
// and goes over all settings: it is made once.
func (p *Policy) fingerprint(role settings.Role) [32]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	print, ok := p.prints[role]
	if !ok {
		if p.prints == nil {
			p.prints = map[settings.Role][32]byte{}
		}
		print = p.Set.Fingerprint(role)
		p.prints[role] = print
	}
	return print
}

// SettingsRole is the receiver of a service's settings.
func SettingsRole(service string) settings.Role {
	if service == "pop3" {
		return settings.RolePOP3
	}
	return settings.RoleIMAP
}

// Dirs are the places where a user's mail lies.
type Dirs struct {
	Make  []string // made if missing, by the user
	Also  []string // used if there
	Home  string   // "" if none; a common top for the chroot
	Inbox string   // an mbox that lies outside mail_path; "" if none
}

// Dirs expands the paths of one user.
func (p *Policy) Dirs(service string, r redeemmsg.Record) (Dirs, error) {
	set, err := p.userSet(r)
	if err != nil {
		return Dirs{}, err
	}
	vars := settings.Vars{"user": r.User, "home": r.Home, "protocol": service}
	var d Dirs
	if r.Home != "" {
		if !path.IsAbs(r.Home) || slices.Contains(strings.Split(r.Home, "/"), "..") {
			return d, refuse("the userdb gives the home %q, which is not an absolute path", r.Home)
		}
		d.Home = path.Clean(r.Home)
	}
	add := func(to *[]string, name string, t settings.Template) error {
		dir, err := t.ExpandPath(vars)
		if err != nil {
			return refuse("%s: %v", name, err)
		}
		if dir == "/" {
			return refuse("%s of %s is /", name, r.User)
		}
		if dir != "" && !slices.Contains(*to, dir) {
			*to = append(*to, dir)
		}
		return nil
	}
	inbox := set.InboxSpace()
	if err := p.spaceDirs(&d, set, inbox, vars, add); err != nil {
		return d, err
	}
	for _, ns := range set.Namespaces() {
		if ns.Name == inbox.Name {
			continue
		}
		if ns.MailPath.Empty() {
			return d, refuse("namespace %s has no mail_path: there is no place for its mail", ns.Name)
		}
		if err := p.spaceDirs(&d, set, ns, vars, add); err != nil {
			return d, err
		}
	}
	if len(d.Make) == 0 {
		return d, refuse("mail_path is empty: there is no place for mail")
	}
	return d, add(&d.Also, settings.RawlogDir.Name(), settings.RawlogDir.Get(set))
}

// spaceDirs adds the places of one namespace.
func (p *Policy) spaceDirs(d *Dirs, set *settings.Set, ns settings.Namespace, vars settings.Vars, add func(*[]string, string, settings.Template) error) error {
	mail := ""
	for _, t := range set.SpaceTemplates(ns) {
		name := t.Name
		if t.Own {
			name = "the " + t.Name + " of namespace " + ns.Name
		}
		if t.Name == settings.MailInboxPath.Name() && set.SpaceDriver(ns) == "mbox" {
			inbox, err := t.ExpandPath(vars)
			if err != nil {
				return refuse("%s: %v", name, err)
			}
			// A file: below mail_path the worker opens it, elsewhere rookery-dotlock.
			if inbox != "" && !strings.HasPrefix(inbox, mail+"/") {
				if dir := path.Dir(inbox); dir == "/" || dir == "." {
					return refuse("%s of %s is %s, which is in no directory of mailboxes", name, vars["user"], inbox)
				}
				d.Inbox = inbox
			}
			continue
		}
		if err := add(&d.Make, name, t.Template); err != nil {
			return err
		}
		if t.Name == settings.MailPath.Name() {
			mail, _ = t.ExpandPath(vars) // add has looked at the error
		}
	}
	return nil
}

// Root is a directory that a worker may use.
type Root struct {
	Path   string
	Chroot bool
}

// Roots drops directories that lie below others and finds the one below which
// all lie: the worker chroots there. Without one among them it is the home, if
// all lie below that; else there is none.
func Roots(dirs []string, home string) []Root {
	sorted := slices.Clone(dirs)
	slices.Sort(sorted)
	var tops []Root
	for _, d := range slices.Compact(sorted) {
		if !slices.ContainsFunc(tops, func(t Root) bool { return below(d, t.Path) }) {
			tops = append(tops, Root{Path: d})
		}
	}
	if len(tops) == 1 {
		tops[0].Chroot = true
		return tops
	}
	if home != "" && home != "/" && !slices.ContainsFunc(tops, func(t Root) bool { return !below(t.Path, home) }) {
		return append([]Root{{home, true}}, tops...)
	}
	return tops
}

func below(p, top string) bool {
	return p == top || strings.HasPrefix(p, strings.TrimSuffix(top, "/")+"/")
}

// Kind is how a refusal is told to the client.
const Kind = errkind.ContactAdmin
