package settings

import (
	"slices"
	"time"
)

// Listener is one [[listener]].
type Listener struct {
	Name      string
	Protocol  string   // imap, imaps, pop3, pop3s
	Addresses []string // "*", "::", or IP addresses; empty with Path
	Port      int      // never 0 without Path
	Path      string   // Unix socket, or ""
	Mode      uint32
	Haproxy   bool
	Systemd   string // FileDescriptorName, or ""
}

// Ports are the protocols' own ports.
func Ports() map[string]int {
	return map[string]int{"imap": 143, "imaps": 993, "pop3": 110, "pop3s": 995}
}

// TLS reports whether a connection begins with TLS.
func (l Listener) TLS() bool { return l.Protocol == "imaps" || l.Protocol == "pop3s" }

// Service is "imap" or "pop3".
func (l Listener) Service() string { return l.Protocol[:4] }

func listenerOf(row Row) Listener {
	t := tableOf("listener")
	l := Listener{Name: row.Name, Protocol: get[string](t, row, "protocol"), Addresses: get[[]string](t, row, "address"),
		Port: int(get[int64](t, row, "port")), Path: get[string](t, row, "path"), Mode: get[uint32](t, row, "mode"),
		Haproxy: get[bool](t, row, "haproxy"), Systemd: get[string](t, row, "systemd")}
	switch {
	case l.Path != "":
		l.Addresses, l.Port = nil, 0
	case l.Port == 0:
		l.Port = Ports()[l.Protocol]
	}
	return l
}

// Database is what [[passdb]] and [[userdb]] have in common.
type Database struct {
	Name, Driver               string
	PasswdFile, UsernameFormat Template
	Fields                     Fields // may hold names that end in ":default"
	Success, Failure, Internal string // result_success, result_failure, result_internalfail
	Skip                       string
}

// Passdb is one [[passdb]].
type Passdb struct {
	Database
	DefaultScheme    string
	Deny, Master     bool
	MechanismsFilter []string
	UsernameFilter   []string
}

// Userdb is one [[userdb]].
type Userdb struct{ Database }

func databaseOf(table string, row Row) Database {
	t := tableOf(table)
	return Database{Name: row.Name, Driver: get[string](t, row, "driver"),
		PasswdFile: get[Template](t, row, "passwd_file_path"), UsernameFormat: get[Template](t, row, "username_format"),
		Fields: get[Fields](t, row, "fields"), Success: get[string](t, row, "result_success"),
		Failure: get[string](t, row, "result_failure"), Internal: get[string](t, row, "result_internalfail"),
		Skip: get[string](t, row, "skip")}
}

func passdbOf(row Row) Passdb {
	t := tableOf("passdb")
	return Passdb{Database: databaseOf("passdb", row), DefaultScheme: get[string](t, row, "default_password_scheme"),
		Deny: get[bool](t, row, "deny"), Master: get[bool](t, row, "master"),
		MechanismsFilter: get[[]string](t, row, "mechanisms_filter"), UsernameFilter: get[[]string](t, row, "username_filter")}
}

func userdbOf(row Row) Userdb { return Userdb{databaseOf("userdb", row)} }

// Namespace is one [[namespace]].
type Namespace struct {
	Name, Type, Prefix, Separator string // Type: "private", "shared", "public"
	Owner                         string // of a public one
	Inbox, Hidden, Subscriptions  bool
	List                          string // "yes", "no", "children"
	MailPath, ControlPath         Template
	IndexPath, AltPath            Template
	Driver, Layout                string // "": as the settings have it
	Mailboxes                     []Mailbox
	SeenPrivate                   bool // of a shared or public one
}

// Foreign reports whether the mail is not the user's own.
func (n Namespace) Foreign() bool { return n.Type == "shared" || n.Type == "public" }

// Mailbox is one [[namespace.mailbox]].
type Mailbox struct {
	Name       string
	Auto       string   // "no", "create", "subscribe"
	SpecialUse []string // with the backslash

	Autoexpunge            time.Duration // 0: never
	AutoexpungeMaxMails    int64         // 0: any number
	QuotaIgnore            bool
	QuotaStoragePercentage int64
	QuotaStorageExtra      int64
}

// SeparatorOrDefault is the separator, "." where none is set.
func (n Namespace) SeparatorOrDefault() string {
	if n.Separator == "" {
		return "."
	}
	return n.Separator
}

func namespaceOf(row Row) Namespace {
	t := tableOf("namespace")
	ns := Namespace{Name: row.Name, Type: get[string](t, row, "type"), Prefix: get[string](t, row, "prefix"),
		Separator: get[string](t, row, "separator"), Inbox: get[bool](t, row, "inbox"), Hidden: get[bool](t, row, "hidden"),
		Subscriptions: get[bool](t, row, "subscriptions"), List: get[string](t, row, "list"), MailPath: get[Template](t, row, "mail_path"),
		ControlPath: get[Template](t, row, "mail_control_path"), IndexPath: get[Template](t, row, "mail_index_path"), AltPath: get[Template](t, row, "mail_alt_path"),
		Owner: get[string](t, row, "owner"), SeenPrivate: get[string](t, row, "seen") == "private",
		Driver: get[string](t, row, "mail_driver"), Layout: get[string](t, row, "mailbox_list_layout")}
	for _, sub := range row.Sub {
		ns.Mailboxes = append(ns.Mailboxes, Mailbox{Name: sub.Name, Auto: get[string](t.Sub, sub, "auto"),
			SpecialUse:  get[[]string](t.Sub, sub, "special_use"),
			Autoexpunge: get[time.Duration](t.Sub, sub, "autoexpunge"), AutoexpungeMaxMails: get[int64](t.Sub, sub, "autoexpunge_max_mails"),
			QuotaIgnore: get[bool](t.Sub, sub, "quota_ignore"), QuotaStoragePercentage: get[int64](t.Sub, sub, "quota_storage_percentage"),
			QuotaStorageExtra: get[int64](t.Sub, sub, "quota_storage_extra")})
	}
	return ns
}

// ServerName is one [[ssl_server_name]].
type ServerName struct {
	Name                                       string
	CertFile, KeyFile, AltCertFile, AltKeyFile string
}

func serverNameOf(row Row) ServerName {
	t := tableOf("ssl_server_name")
	return ServerName{Name: row.Name, CertFile: get[string](t, row, "cert_file"), KeyFile: get[string](t, row, "key_file"),
		AltCertFile: get[string](t, row, "alt_cert_file"), AltKeyFile: get[string](t, row, "alt_key_file")}
}

func rowsOf[T any](s *Set, table string, of func(Row) T) []T {
	out := []T{}
	for _, row := range s.tables[table] {
		out = append(out, of(row))
	}
	return out
}

// Listeners lists the [[listener]] tables in order.
func (s *Set) Listeners() []Listener { return rowsOf(s, "listener", listenerOf) }

// Passdbs lists the [[passdb]] tables in order.
func (s *Set) Passdbs() []Passdb { return rowsOf(s, "passdb", passdbOf) }

// Userdbs lists the [[userdb]] tables in order.
func (s *Set) Userdbs() []Userdb { return rowsOf(s, "userdb", userdbOf) }

// ServerNames lists the [[ssl_server_name]] tables in order.
func (s *Set) ServerNames() []ServerName { return rowsOf(s, "ssl_server_name", serverNameOf) }

// Namespaces lists the [[namespace]] tables of the user's own mail in order; where
// there is none, one without a prefix that holds INBOX.
func (s *Set) Namespaces() []Namespace {
	all := rowsOf(s, "namespace", namespaceOf)
	if out := slices.DeleteFunc(all, Namespace.Foreign); len(out) > 0 {
		return out
	}
	row := Row{Name: "inbox", Values: map[string]any{"inbox": true}}
	return []Namespace{namespaceOf(row)}
}

// ForeignNamespaces lists those of other users' mail, in order.
func (s *Set) ForeignNamespaces() []Namespace {
	all := rowsOf(s, "namespace", namespaceOf)
	return slices.DeleteFunc(all, func(n Namespace) bool { return !n.Foreign() })
}

// InboxSpace is the namespace that holds INBOX, the first where none says so.
func (s *Set) InboxSpace() Namespace {
	all := s.Namespaces()
	i := max(slices.IndexFunc(all, func(n Namespace) bool { return n.Inbox }), 0)
	all[i].Inbox = true
	return all[i]
}

// SpaceDriver is the format of a namespace's mail.
func (s *Set) SpaceDriver(n Namespace) string {
	if n.Driver != "" {
		return n.Driver
	}
	return MailDriver.Get(s)
}

// tableOf makes the table's declaration anew: the package's own list cannot be
// used here, since its checks use these functions.
func tableOf(name string) *Table {
	switch name {
	case "listener":
		return listenerTable()
	case "passdb":
		return passdbTable()
	case "userdb":
		return userdbTable()
	case "namespace":
		return namespaceTable()
	case "quota_warning":
		return quotaWarningTable()
	}
	return serverNameTable()
}
