package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// resultWords are what result_success and its kin may say, as in Dovecot.
var resultWords = []string{"return-ok", "return", "return-fail", "continue", "continue-ok", "continue-fail"}

var dbVars = []string{"user", "protocol", "local_name", "local_ip", "remote_ip", "session", "mechanism", "secured", "auth_user", "original_user", "login_user", "master_user"}

// Tables lists the declarations of the arrays of tables. Callers must not
// change them.
func Tables() []*Table { return tables }

var tables = listTables()

func listTables() []*Table {
	return []*Table{listenerTable(), passdbTable(), userdbTable(), namespaceTable(), serverNameTable(), quotaWarningTable()}
}

// common are the fields that every table has.
func common(table, nameText string) []*Decl {
	return []*Decl{
		field(table, KindString, "name", "", nameText, required(), checked(notEmpty)),
		field(table, KindBool, "enabled", true, `false takes away the table of this name that an earlier file brought.`),
	}
}

func listenerTable() *Table {
	const n = "listener"
	return &Table{
		Name: n, File: "10-master", Roles: RoleMaster,
		Text: "A place where clients connect: addresses and a port, or a Unix socket.",
		Fields: append(common(n, `A name of your choice; it stands in the log as %{listener}.`),
			field(n, KindEnum, "protocol", "", `The protocol; imaps and pop3s begin with TLS.`, words("imap", "imaps", "pop3", "pop3s"), required()),
			field(n, KindStrings, "address", []string{"*", "::"}, `Addresses: "*" is every IPv4 one, "::" every IPv6 one.`),
			field(n, KindInt, "port", int64(0), `TCP port; 0: the protocol's own (143, 993, 110, 995).`, limits(0, 65535)),
			field(n, KindPath, "path", "", `A Unix socket, in place of addresses.`),
			field(n, KindMode, "mode", uint32(0o600), `File mode of the Unix socket.`),
			field(n, KindBool, "haproxy", false, `Every connection must begin with a PROXY header; see haproxy_trusted_networks.`),
			field(n, KindString, "systemd", "", `Name of the socket in systemd's socket unit (FileDescriptorName=); it is taken when systemd hands it over.`),
		),
		check: checkListener,
	}
}

func checkListener(row Row) error {
	l := listenerOf(row)
	if l.Path != "" && (row.Values["address"] != nil || row.Values["port"] != nil) {
		return errors.New(`has both "path" and an address or port; make two listeners of it`)
	}
	for _, a := range l.Addresses {
		if a != "*" {
			if _, err := parseNetwork(a); err != nil || strings.Contains(a, "/") {
				return fmt.Errorf("has the address %q; write an IP address, \"*\" or \"::\"", a)
			}
		}
	}
	if l.Path == "" && len(l.Addresses) == 0 {
		return errors.New("has no address; take the line away for all addresses")
	}
	return nil
}

func databaseFields(n string, o ...*Decl) []*Decl {
	fields := append(common(n, `A name of your choice.`), o...)
	return append(fields,
		field(n, KindTemplate, "passwd_file_path", Template{}, `File of the passwd-file driver. Its lines are user:password:uid:gid:gecos:home:shell:extra fields.`, vars(dbVars...), paths()),
		field(n, KindTemplate, "username_format", mustTemplate("%{user}", dbVars), `What is looked up, such as "%{user | username}".`, vars(dbVars...)),
		field(n, KindFields, "fields", Fields{}, `Extra fields of every user of this database, such as { "userdb_mail_path" = "~/Mail" }. They replace what the database gives; a name that ends in ":default" gives way to it.`, vars(append([]string{"home"}, dbVars...)...)),
		field(n, KindEnum, "result_success", "return-ok", `What follows when the user is found (and the password fits).`, words(resultWords...)),
		field(n, KindEnum, "result_failure", "continue", `What follows when it is not.`, words(resultWords...)),
		field(n, KindEnum, "result_internalfail", "continue", `What follows when the database cannot be asked.`, words(resultWords...)),
	)
}

func passdbTable() *Table {
	const n = "passdb"
	return &Table{
		Name: n, File: "11-auth-databases", Roles: RoleAuthd,
		Text: "A database of passwords. They are asked in order, until one knows the user.",
		Fields: databaseFields(n,
			field(n, KindEnum, "driver", "", `Where passwords are: "passwd-file" (a file of virtual users), "shadow" (the system's users), or "static": every user has the one in fields = { "password" = "{SCHEME}…" }, or, with fields = { "nopassword" = "yes" }, none at all (for users that something before this server has let in).`, words("passwd-file", "shadow", "static"), required()),
			field(n, KindString, "default_password_scheme", "CRYPT", `The scheme of stored passwords that have no {SCHEME} before them.`),
			field(n, KindBool, "deny", false, `Users in this database may not log in, whatever another one says. It must come first.`),
			field(n, KindBool, "master", false, `Its users are master users: they log in as others; see auth_master_user_separator.`),
			field(n, KindEnum, "skip", "never", `"authenticated": not asked if an earlier one succeeded; "unauthenticated": not asked if none did.`, words("never", "authenticated", "unauthenticated")),
			field(n, KindWords, "mechanisms_filter", []string{}, `Asked for these mechanisms only; empty for all.`, words(mechanismWords...)),
			field(n, KindStrings, "username_filter", []string{}, `Asked for names that fit one of these patterns (*, ?) only; "!" before one excludes.`),
		),
		check: func(row Row) error {
			db := passdbOf(row)
			if db.Driver == "passwd-file" && db.PasswdFile.Empty() {
				return errors.New(`needs passwd_file_path = "…" for its driver`)
			}
			_, password := db.Fields.Get("password")
			if _, none := db.Fields.Get("nopassword"); db.Driver == "static" && password == none {
				return errors.New(`needs fields = { "password" = "{SCHEME}…" } for its driver, or else "nopassword" = "yes"`)
			}
			if db.Driver == "static" && db.Deny {
				return errors.New("cannot be both deny and static: nobody could log in")
			}
			if db.Deny && db.Master {
				return errors.New("cannot be both deny and master")
			}
			return nil
		},
	}
}

func userdbTable() *Table {
	const n = "userdb"
	return &Table{
		Name: n, File: "11-auth-databases", Roles: RoleAuthd,
		Text: "A database of uid, gid, home and mail settings of users, asked after the password fitted.",
		Fields: databaseFields(n,
			field(n, KindEnum, "driver", "", `"passwd-file", "passwd" (the system's users), or "static": every user has what "fields" says.`, words("passwd-file", "passwd", "static"), required()),
			field(n, KindEnum, "skip", "never", `"found": not asked if an earlier one knew the user; "notfound": not asked if none did.`, words("never", "found", "notfound")),
		),
		check: func(row Row) error {
			db := userdbOf(row)
			if db.Driver == "passwd-file" && db.PasswdFile.Empty() {
				return errors.New(`needs passwd_file_path = "…" for its driver`)
			}
			return nil
		},
	}
}

// SpecialUses are the attributes that a folder can be given: RFC 6154 §2's,
// and RFC 8457's \Important.
func SpecialUses() []string {
	return []string{`\All`, `\Archive`, `\Drafts`, `\Flagged`, `\Important`, `\Junk`, `\Sent`, `\Trash`}
}

func namespaceTable() *Table {
	const n = "namespace"
	const m = "namespace.mailbox"
	return &Table{
		Name: n, File: "15-mailboxes", Roles: RoleWorkers,
		Text: "A part of the folder tree. One of them, with inbox = true, holds INBOX.",
		Fields: append(common(n, `A name of your choice.`),
			field(n, KindEnum, "type", "private", `"private": the user's own folders. "shared": those that other users share with him, below their names (docs/acl.md). "public": those of the one user "owner".`, words("private", "shared", "public")),
			field(n, KindString, "owner", "", `With type = "public": the user whose folders they are. It must be one that a userdb knows; others see of them what his access control lists let them.`, checked(printable)),
			field(n, KindEnum, "seen", "shared", `With type = "shared" or "public": "private" keeps for each user by himself what he has seen; else a message is seen once anybody has seen it.`, words("shared", "private")),
			field(n, KindString, "prefix", "", `What the names of its folders begin with, such as "INBOX." or "Old/"; ends in the separator. A folder belongs to the namespace with the longest prefix that fits.`, checked(printable)),
			field(n, KindString, "separator", "", `The character between parent and child: "." or "/", the same in all namespaces. Empty: ".".`),
			field(n, KindBool, "inbox", false, `INBOX is here. One namespace has it; the mail settings (mail_driver, mail_path and so on) are its own.`),
			field(n, KindBool, "hidden", false, `NAMESPACE does not show it.`),
			field(n, KindEnum, "list", "yes", `"yes": LIST shows its folders, and the name of its prefix even where there are none; "children": the prefix only if there are folders below it; "no".`, words("yes", "no", "children")),
			field(n, KindBool, "subscriptions", true, `Subscriptions of its folders are kept here; else, and always for folders of others, in the nearest namespace above it (whose prefix this one's begins with) that keeps its own.`),
			field(n, KindTemplate, "mail_path", Template{}, `Where its mail lies. Absent: the setting mail_path, in the namespace with inbox = true; every other must have one.`, vars(mailVars...), paths()),
			field(n, KindEnum, "mail_driver", "", `The format of its mail. Empty: the setting mail_driver.`, words("", "maildir", "pack", "mbox")),
			field(n, KindTemplate, "mail_control_path", Template{}, `Where its control files lie. Absent: the setting, in the namespace with inbox = true; in others beside the mail.`, vars(mailVars...), paths()),
			field(n, KindTemplate, "mail_index_path", Template{}, `Where its index files lie. Absent: as mail_control_path.`, vars(mailVars...), paths()),
			field(n, KindTemplate, "mail_alt_path", Template{}, `Where its old mail may lie, with mail_driver = "pack". Absent: the setting, in the namespace with inbox = true; others have none.`, vars(mailVars...), paths()),
			field(n, KindEnum, "mailbox_list_layout", "", `How its folders lie on disk. Empty: the setting mailbox_list_layout.`, words("", "maildir++", "fs")),
		),
		Sub: &Table{
			Name: m, File: "15-mailboxes", Roles: RoleWorkers,
			Text: "A folder that has a special use, or that is made by itself.",
			Fields: append(common(m, `The folder's name, without the namespace's prefix. For the settings that concern only mail in it, "*" stands for anything and "%" for anything on one level.`),
				field(m, KindEnum, "auto", "no", `"create": the folder is there from the user's first login on; "subscribe": and subscribed.`, words("no", "create", "subscribe")),
				field(m, KindWords, "special_use", []string{}, `What clients may use it for.`, words(SpecialUses()...)),
				field(m, KindDuration, "autoexpunge", time.Duration(0), `How long messages stay after they came into the folder; then they are expunged when the user's last session has ended, or once a day. 0: for ever.`, spanDuration(0, 100*365*24*time.Hour)),
				field(m, KindInt, "autoexpunge_max_mails", int64(0), `How many messages stay; the oldest are expunged. 0: all.`, limits(1, 1<<31), unlimited(), unit("messages")),
				field(m, KindBool, "quota_ignore", false, `What is in it does not count, and is not limited.`),
				field(m, KindInt, "quota_storage_percentage", int64(100), `How much of the user's quota may be used before no more is put into this folder, such as 110 for Trash.`, limits(1, 100_000), unit("per cent")),
				field(m, KindSize, "quota_storage_extra", int64(0), `The same as an amount: added to the user's quota for what is put into this folder.`, limits(0, 1<<60)),
			),
		},
		check: checkNamespace,
	}
}

func checkNamespace(row Row) error {
	ns := namespaceOf(row)
	if !slices.Contains([]string{"", ".", "/"}, ns.Separator) {
		return fmt.Errorf("has the separator %q; write \".\" or \"/\"", ns.Separator)
	}
	if ns.Prefix != "" && !strings.HasSuffix(ns.Prefix, ns.SeparatorOrDefault()) {
		return fmt.Errorf("has the prefix %q, which must end in the separator: %q", ns.Prefix, ns.Prefix+ns.SeparatorOrDefault())
	}
	if ns.Foreign() {
		return checkForeign(row, ns)
	}
	for _, name := range []string{"owner", "seen"} {
		if row.Values[name] != nil {
			return fmt.Errorf("has %s, which is for type = \"shared\" and \"public\"; take the line away, or write the type", name)
		}
	}
	for _, m := range ns.Mailboxes {
		if strings.ContainsAny(m.Name, "*%") && (m.Auto != "no" || len(m.SpecialUse) > 0) {
			return fmt.Errorf("has auto or special_use for the folders %q; these need one name without * and %%", m.Name)
		}
	}
	return nil
}

// checkForeign is checkNamespace for what is not the user's own.
func checkForeign(row Row, ns Namespace) error {
	example := "Other Users" + ns.SeparatorOrDefault()
	if ns.Type == "public" {
		example = "Public" + ns.SeparatorOrDefault()
	}
	switch {
	case ns.Prefix == "":
		return fmt.Errorf("is %s and has no prefix; write prefix = %q", ns.Type, example)
	case strings.Contains(ns.Prefix, "%"):
		return fmt.Errorf("has %% in its prefix: the owner's name comes below the prefix by itself; write prefix = %q", example)
	case ns.Type == "public" && ns.Owner == "":
		return errors.New(`is public and has no owner; write owner = "…" with the user whose folders they are`)
	case ns.Type == "shared" && ns.Owner != "":
		return errors.New(`is shared and has an owner; take the line away, or write type = "public" to show the folders of this user alone`)
	case len(ns.Mailboxes) > 0:
		return fmt.Errorf("is %s and has [[namespace.mailbox]] tables; these are for the user's own folders: take them away", ns.Type)
	}
	for _, name := range []string{"inbox", "subscriptions", "mail_path", "mail_driver", "mail_control_path", "mail_index_path", "mail_alt_path", "mailbox_list_layout"} {
		if row.Values[name] != nil {
			return fmt.Errorf("is %s and has %s; where the mail lies is the owner's matter, and subscriptions are kept with the user's own: take the line away", ns.Type, name)
		}
	}
	return nil
}

func serverNameTable() *Table {
	const n = "ssl_server_name"
	return &Table{
		Name: n, File: "12-ssl-names", Roles: RoleMaster | RoleLogin,
		Text: "A certificate for clients that ask for this host name (SNI). Others get ssl_server_cert_file.",
		Fields: append(common(n, `The host name, or "*.example.org" for all names one label below.`),
			field(n, KindPath, "cert_file", "", `Certificate chain in PEM form.`, required()),
			field(n, KindPath, "key_file", "", `Its key in PEM form.`, required()),
			field(n, KindPath, "alt_cert_file", "", `A second certificate with another kind of key.`),
			field(n, KindPath, "alt_key_file", "", `Its key.`),
		),
		check: func(row Row) error {
			if strings.ContainsAny(row.Name, " /:") || strings.Contains(strings.TrimPrefix(row.Name, "*."), "*") {
				return errors.New(`must have a host name as its name, such as "mail.example.org" or "*.example.org"`)
			}
			if (row.Values["alt_cert_file"] == nil) != (row.Values["alt_key_file"] == nil) {
				return errors.New("needs both alt_cert_file and alt_key_file, or neither")
			}
			return nil
		},
	}
}

func mustTemplate(source string, known []string) Template {
	t, err := ParseTemplate(source, known)
	if err != nil {
		panic(err)
	}
	return t
}
