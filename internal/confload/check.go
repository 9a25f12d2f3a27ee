package confload

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"rookery/internal/settings"
)

// checkAll applies what no single value shows: contradictions, files that must
// be there, permissions. main is the file to name where no line is at fault.
func (l *loader) checkAll(main string) {
	l.contradictions()
	l.listeners(main)
	l.certificates(main)
	l.databases(main)
	l.namespaces(main)
	l.logs()
	l.dangers()
	l.idle()
}

// source is where the setting was written; the whole file if it has its default.
func (l *loader) source(name, main string) Source {
	if s, ok := l.Sources[name]; ok {
		return s
	}
	return Source{File: main}
}

// both gives the place of the one of two settings that was read last, and a
// note on where the other stands.
func (l *loader) both(a, b string) (Source, string) {
	sa, okA := l.Sources[a]
	sb, okB := l.Sources[b]
	switch {
	case !okA:
		return sb, a + " has its default"
	case !okB:
		return sa, b + " has its default"
	case slices.Index(l.Files, sa.File) > slices.Index(l.Files, sb.File) || sa.File == sb.File && sa.Line > sb.Line:
		return sa, b + " stands in " + sb.String()
	}
	return sb, a + " stands in " + sa.String()
}

func (l *loader) contradictions() {
	s := l.Set
	for _, c := range []struct {
		bad        bool
		a, b, text string
	}{
		{settings.SSL.Get(s) == "required" && settings.AuthAllowCleartext.Get(s), "ssl", "auth_allow_cleartext",
			`ssl = "required" and auth_allow_cleartext = true contradict each other; write ssl = "yes", or take auth_allow_cleartext away`},
		{settings.SSLServerAltCertFile.Get(s) != "" && settings.SSLServerAltKeyFile.Get(s) == "", "ssl_server_alt_cert_file", "ssl_server_alt_key_file",
			"ssl_server_alt_cert_file needs ssl_server_alt_key_file beside it"},
		{settings.SSLServerAltCertFile.Get(s) == "" && settings.SSLServerAltKeyFile.Get(s) != "", "ssl_server_alt_key_file", "ssl_server_alt_cert_file",
			"ssl_server_alt_key_file needs ssl_server_alt_cert_file beside it"},
		{settings.POP3DeleteType.Get(s) == "flag" && settings.POP3DeletedFlag.Get(s) == "", "pop3_delete_type", "pop3_deleted_flag",
			`pop3_delete_type = "flag" needs a keyword in pop3_deleted_flag, such as "$POP3Deleted"`},
		{settings.POP3DeleteType.Get(s) == "expunge" && settings.POP3DeletedFlag.Get(s) != "", "pop3_delete_type", "pop3_deleted_flag",
			`pop3_delete_type = "expunge" and pop3_deleted_flag contradict each other; take one away`},
		{settings.LastValidUID.Get(s) != 0 && settings.LastValidUID.Get(s) < settings.FirstValidUID.Get(s), "last_valid_uid", "first_valid_uid",
			"last_valid_uid is below first_valid_uid, so no user is valid; change one"},
		{settings.LastValidGID.Get(s) != 0 && settings.LastValidGID.Get(s) < settings.FirstValidGID.Get(s), "last_valid_gid", "first_valid_gid",
			"last_valid_gid is below first_valid_gid, so no user is valid; change one"},
		{settings.LoginUnauthenticatedClientLimit.Get(s) > settings.LoginClientLimit.Get(s), "login_unauthenticated_client_limit", "login_client_limit",
			"login_unauthenticated_client_limit is above login_client_limit, which counts them too; lower it"},
		{settings.MailUID.Get(s) == "0" || settings.MailUID.Get(s) == "root", "mail_uid", "mail_uid",
			"mail_uid is root's, which is always refused; name another user"},
		{settings.MailGID.Get(s) == "0" || settings.MailGID.Get(s) == "root", "mail_gid", "mail_gid",
			"mail_gid is root's, which is always refused; name another group"},
		{settings.LogPath.Get(s) == "", "log_path", "log_path", `log_path is empty; write "syslog", "stderr" or a path`},
	} {
		if c.bad {
			at, note := l.both(c.a, c.b)
			if c.a == c.b {
				l.errorf(at, "%s", c.text)
				continue
			}
			l.errorf(at, "%s (%s)", c.text, note)
		}
	}
}

func (l *loader) listeners(main string) {
	list := l.Set.Listeners()
	if len(list) == 0 && !l.anyRowBad() {
		l.errorf(Source{File: main}, "there is no [[listener]], so nobody could connect; add one, or the shipped conf.d/10-master.toml")
	}
	taken := map[string]string{}
	for _, li := range list {
		at := l.Sources["listener/"+li.Name]
		if li.TLS() && settings.SSL.Get(l.Set) == "no" {
			l.errorf(at, "[[listener]] %q needs TLS, but ssl = \"no\" (%s); write ssl = \"yes\", or take the listener away with enabled = false", li.Name, l.source("ssl", main))
		}
		if li.Haproxy && len(settings.HaproxyTrustedNetworks.Get(l.Set)) == 0 {
			l.errorf(at, "[[listener]] %q has haproxy = true, but haproxy_trusted_networks is empty, so it would refuse everybody; name the proxy's network there", li.Name)
		}
		places := []string{li.Path}
		if li.Path == "" {
			places = places[:0]
			for _, a := range li.Addresses {
				places = append(places, fmt.Sprintf("%s port %d", a, li.Port))
			}
		}
		for _, place := range places {
			if other, twice := taken[place]; twice {
				l.errorf(at, "[[listener]] %q has %s, which %q has too; change one", li.Name, place, other)
			}
			taken[place] = li.Name
		}
	}
}

// anyRowBad is true if there were errors: then a missing table may just be a
// wrong one, and saying that it is missing would only confuse.
func (l *loader) anyRowBad() bool { return l.Err() != nil }

func (l *loader) certificates(main string) {
	if settings.SSL.Get(l.Set) == "no" || len(l.Set.Listeners()) == 0 {
		return
	}
	l.pair(l.source("ssl_server_cert_file", main), l.source("ssl_server_key_file", main), "ssl_server_cert_file", "ssl_server_key_file",
		settings.SSLServerCertFile.Get(l.Set), settings.SSLServerKeyFile.Get(l.Set))
	if cert := settings.SSLServerAltCertFile.Get(l.Set); cert != "" && settings.SSLServerAltKeyFile.Get(l.Set) != "" {
		l.pair(l.source("ssl_server_alt_cert_file", main), l.source("ssl_server_alt_key_file", main), "ssl_server_alt_cert_file", "ssl_server_alt_key_file",
			cert, settings.SSLServerAltKeyFile.Get(l.Set))
	}
	for _, n := range l.Set.ServerNames() {
		at := l.Sources["ssl_server_name/"+n.Name]
		l.pair(at, at, "cert_file", "key_file", n.CertFile, n.KeyFile)
		if n.AltCertFile != "" {
			l.pair(at, at, "alt_cert_file", "alt_key_file", n.AltCertFile, n.AltKeyFile)
		}
	}
}

// pair reads a certificate and its key and checks that they belong together.
func (l *loader) pair(certAt, keyAt Source, certName, keyName, cert, key string) {
	const remedy = `; name the right file, or write ssl = "no" to do without TLS`
	certPEM, certErr := l.need(certAt, certName, cert, remedy)
	keyPEM, keyErr := l.need(keyAt, keyName, key, remedy)
	if key != "" && keyErr == nil {
		if mode := l.mode(key); mode&0o007 != 0 {
			l.errorf(keyAt, "%s: everybody on this machine can reach the private key %s (mode %04o); chmod 0600 %s", keyName, key, mode, key)
		}
	}
	if certErr != nil || keyErr != nil {
		return
	}
	if err := CheckPair(certPEM, keyPEM); err != nil {
		l.errorf(certAt, "%s %s and %s %s: %s", certName, cert, keyName, key, err)
	}
}

// need reads a file that must be there.
func (l *loader) need(at Source, setting, name, remedy string) ([]byte, error) {
	if name == "" {
		l.errorf(at, "%s is empty%s", setting, remedy)
		return nil, fs.ErrNotExist
	}
	b, err := l.read(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.errorf(at, "%s: %s does not exist%s", setting, name, remedy)
	case errors.Is(err, fs.ErrPermission):
		l.errorf(at, "%s: %s may not be read by this user; run as root, or let it be read", setting, name)
	case err != nil:
		l.errorf(at, "%s: %s cannot be read (%s)", setting, name, reason(err))
	case len(bytes.TrimSpace(b)) == 0:
		err = errors.New("empty")
		l.errorf(at, "%s: %s is empty", setting, name)
	}
	return b, err
}

// mode is the permission bits, 0 if they cannot be read.
func (l *loader) mode(name string) fs.FileMode {
	info, err := fs.Stat(l.fsys, inFS(name))
	if err != nil {
		return 0
	}
	return info.Mode().Perm()
}

// checkWritable refuses configuration that everybody can change.
func (l *loader) checkWritable(name string) {
	info, err := fs.Stat(l.fsys, inFS(name))
	if err != nil || info.Mode().Perm()&0o002 == 0 {
		return
	}
	if info.IsDir() && info.Mode()&fs.ModeSticky != 0 {
		return
	}
	l.errorf(Source{File: name}, "everybody on this machine can write it (mode %04o); chmod o-w %s", info.Mode().Perm(), name)
}

func (l *loader) databases(main string) {
	quiet := l.anyRowBad()
	passdbs := l.Set.Passdbs()
	real := slices.ContainsFunc(passdbs, func(p settings.Passdb) bool { return !p.Deny && !p.Master })
	if !real && !quiet && !slices.Contains(settings.AuthMechanisms.Get(l.Set), "anonymous") {
		l.errorf(Source{File: main}, "there is no [[passdb]] with passwords, so nobody could log in; add one, or the shipped conf.d/11-auth-databases.toml")
	}
	if len(l.Set.Userdbs()) == 0 && !quiet {
		l.errorf(Source{File: main}, "there is no [[userdb]], so no user would have a uid and a home; add one, or the shipped conf.d/11-auth-databases.toml")
	}
	for _, p := range passdbs {
		l.passwdFile(l.Sources["passdb/"+p.Name], p.PasswdFile, true)
	}
	for _, u := range l.Set.Userdbs() {
		l.passwdFile(l.Sources["userdb/"+u.Name], u.PasswdFile, false)
	}
}

// passwdFile checks a file whose path holds no variables.
func (l *loader) passwdFile(at Source, t settings.Template, passwords bool) {
	name, err := t.ExpandPath(settings.Vars{})
	if t.Empty() || strings.Contains(t.String(), "%{") {
		return
	}
	if err != nil {
		l.errorf(at, "passwd_file_path: %s", err)
		return
	}
	if _, err := l.need(at, "passwd_file_path", name, "; name the right file"); err != nil && l.mode(name) == 0 {
		return
	}
	switch mode := l.mode(name); {
	case mode&0o002 != 0:
		l.errorf(at, "passwd_file_path: everybody on this machine can write %s (mode %04o); chmod 0640 %s", name, mode, name)
	case passwords && mode&0o004 != 0:
		l.errorf(at, "passwd_file_path: everybody on this machine can read the passwords in %s (mode %04o); chmod 0640 %s, and chgrp it to the group of %s",
			name, mode, name, settings.AuthUser.Get(l.Set))
	}
}

func (l *loader) namespaces(main string) {
	list := l.Set.Namespaces()
	inboxes, prefixes := "", map[string]string{}
	for _, n := range list {
		at := l.Sources["namespace/"+n.Name]
		if n.Inbox && inboxes != "" {
			l.errorf(at, "[[namespace]] %q has inbox = true, but %q has it too; only one can", n.Name, inboxes)
		}
		if n.Inbox {
			inboxes = n.Name
		}
		if other, twice := prefixes[n.Prefix]; twice {
			l.errorf(at, "[[namespace]] %q has the prefix %q, which %q has too; change one", n.Name, n.Prefix, other)
		}
		prefixes[n.Prefix] = n.Name
		if !n.Subscriptions && !keepsFor(list, n) {
			l.errorf(at, "[[namespace]] %q has subscriptions = false, but there is no other namespace that would keep them; take the line away", n.Name)
		}
		if n.SeparatorOrDefault() != list[0].SeparatorOrDefault() {
			l.errorf(at, "[[namespace]] %q has the separator %q, but %q has %q; all must have the same", n.Name, n.SeparatorOrDefault(), list[0].Name, list[0].SeparatorOrDefault())
		}
	}
	l.foreign(list, prefixes)
	l.spacePaths(list)
	if inboxes == "" && !l.anyRowBad() {
		l.errorf(Source{File: main}, "no [[namespace]] has inbox = true, so there would be no INBOX; set it in one")
	}
}

// foreign checks the namespaces of others' mail beside the user's own.
func (l *loader) foreign(own []settings.Namespace, prefixes map[string]string) {
	shared, owners := "", map[string]string{}
	for _, n := range l.Set.ForeignNamespaces() {
		at := l.Sources["namespace/"+n.Name]
		if n.Type == "shared" && shared != "" {
			l.errorf(at, "[[namespace]] %q is shared, and %q is it too; one shows all that others share: take one away", n.Name, shared)
		}
		if n.Type == "shared" {
			shared = n.Name
		} else if other, twice := owners[n.Owner]; twice {
			l.errorf(at, "[[namespace]] %q has the owner %q, which %q has too; take one away", n.Name, n.Owner, other)
		} else {
			owners[n.Owner] = n.Name
		}
		if other, twice := prefixes[n.Prefix]; twice {
			l.errorf(at, "[[namespace]] %q has the prefix %q, which %q has too; change one", n.Name, n.Prefix, other)
		}
		prefixes[n.Prefix] = n.Name
		if n.SeparatorOrDefault() != own[0].SeparatorOrDefault() {
			l.errorf(at, "[[namespace]] %q has the separator %q, but %q has %q; all must have the same", n.Name, n.SeparatorOrDefault(), own[0].Name, own[0].SeparatorOrDefault())
		}
		if !keepsFor(own, n) {
			l.errorf(at, "[[namespace]] %q: no namespace of the user's own would keep subscriptions of these folders; let one have the prefix \"\" (with hidden = true and list = \"no\" if clients are not to see it)", n.Name)
		}
	}
}

// keepsFor reports whether a namespace above n keeps its subscriptions.
func keepsFor(list []settings.Namespace, n settings.Namespace) bool {
	return slices.ContainsFunc(list, func(o settings.Namespace) bool {
		return o.Name != n.Name && o.Subscriptions && strings.HasPrefix(n.Prefix, o.Prefix)
	})
}

// spacePaths checks that each namespace has a place of its own.
func (l *loader) spacePaths(list []settings.Namespace) {
	taken := map[string]string{}
	for _, n := range list {
		at := l.Sources["namespace/"+n.Name]
		for _, t := range l.Set.SpaceTemplates(n) {
			place := t.String()
			switch other, twice := taken[place]; {
			case t.Name == "mail_path" && place == "" && !n.Inbox:
				l.errorf(at, "[[namespace]] %q has no mail_path, and the setting mail_path is that of the namespace with inbox = true; give it one of its own", n.Name)
			case twice && other != n.Name:
				l.errorf(at, "[[namespace]] %q has the %s %q, where the mail of %q lies; name another place", n.Name, t.Name, place, other)
			case place != "" && t.Name != settings.MailAltPath.Name():
				taken[place] = n.Name
			}
		}
	}
}

// logs checks that the folders of log files are there.
func (l *loader) logs() {
	for _, k := range []settings.Key[string]{settings.LogPath, settings.InfoLogPath, settings.DebugLogPath} {
		name := k.Get(l.Set)
		if !strings.HasPrefix(name, "/") || name == "/dev/stderr" {
			continue
		}
		if info, err := fs.Stat(l.fsys, inFS(path.Dir(name))); err != nil || !info.IsDir() {
			l.errorf(l.Sources[k.Name()], "%s: the folder %s does not exist; make it, or name another", k.Name(), path.Dir(name))
		}
	}
}

// idle warns of settings that do nothing beside others.
func (l *loader) idle() {
	driver := settings.MailDriver.Get(l.Set)
	if method := settings.MailCompressWriteMethod.Get(l.Set); method != "" && driver == "mbox" {
		l.warnf(l.Sources["mail_compress_write_method"], "mail_compress_write_method = %q is for mail_driver = \"maildir\" and \"pack\"; with %q new messages are stored as they come", method, driver)
	}
}

// dangers warns of settings that give passwords away.
func (l *loader) dangers() {
	if p := settings.AuthVerbosePasswords.Get(l.Set); p.Mode != "no" {
		l.warnf(l.Sources["auth_verbose_passwords"], "auth_verbose_passwords = %q writes passwords of failed logins to the log; set it to \"no\" when you are done", p.String())
	}
	if settings.AuthDebugPasswords.Get(l.Set) {
		l.warnf(l.Sources["auth_debug_passwords"], "auth_debug_passwords = true writes passwords and stored hashes to the log; set it to false when you are done")
	}
}
