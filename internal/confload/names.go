package confload

import "strings"

// renamed are names of Dovecot (2.3's, and 2.4's where ours differs) with the
// name that the setting has here. The text after a "|" is what changes in the
// value.
func renamed() map[string]string {
	return map[string]string{
		"disable_plaintext_auth":         "auth_allow_cleartext|with the opposite value",
		"auth_default_realm":             "auth_default_domain",
		"auth_worker_max_count":          "auth_hash_process_limit",
		"ssl_cert":                       "ssl_server_cert_file|without the \"<\" before the path",
		"ssl_key":                        "ssl_server_key_file|without the \"<\" before the path",
		"ssl_alt_cert":                   "ssl_server_alt_cert_file|without the \"<\" before the path",
		"ssl_alt_key":                    "ssl_server_alt_key_file|without the \"<\" before the path",
		"ssl_protocols":                  "ssl_min_protocol|with the oldest version, \"TLSv1.2\" or \"TLSv1.3\"",
		"mail_location":                  "mail_driver|and mail_path: \"maildir:~/Maildir\" is mail_driver = \"maildir\" and mail_path = \"~/Maildir\"; INBOX=, CONTROL= and INDEX= are mail_inbox_path, mail_control_path and mail_index_path",
		"mail_debug":                     "log_debug|with a list such as [\"user=ann\"]",
		"verbose_ssl":                    "log_debug|with a list such as [\"remote_ip=192.0.2.7\"]",
		"login_log_format":               "login_log_format_elements|the part before the elements is fixed, since fail2ban reads it",
		"login_processes_count":          "login_process_min_avail",
		"login_max_processes_count":      "login_process_min_avail",
		"login_process_per_connection":   "login_high_security",
		"login_max_connections":          "login_client_limit",
		"max_mail_processes":             "worker_process_limit",
		"default_process_limit":          "worker_process_limit",
		"default_client_limit":           "login_client_limit",
		"default_vsz_limit":              "worker_memory_limit",
		"default_idle_kill":              "worker_idle_kill_interval",
		"default_idle_kill_interval":     "worker_idle_kill_interval",
		"service_process_limit":          "worker_process_limit",
		"service_process_min_avail":      "login_process_min_avail|or worker_process_min_avail",
		"service_client_limit":           "login_client_limit",
		"service_vsz_limit":              "worker_memory_limit",
		"service_idle_kill_interval":     "worker_idle_kill_interval",
		"default_login_user":             "login_user",
		"mail_extra_groups":              "mail_access_groups|as a list",
		"fsync_disable":                  "mail_fsync",
		"mail_server_admin":              "imap_metadata_admin",
		"mail_server_comment":            "imap_metadata_comment",
		"acl_anyone":                     "imap_acl_allow_anyone|true for \"allow\"",
		"shutdown_clients":               "shutdown_timeout|sessions always end with the server, after this time",
		"instance_name":                  "syslog_tag",
		"passdb_default_password_scheme": "[[passdb]] default_password_scheme",
		"default_password_scheme":        "[[passdb]] default_password_scheme",
		"passwd_file_path":               "[[passdb]] passwd_file_path",
		"passdb_driver":                  "[[passdb]] driver",
		"userdb_driver":                  "[[userdb]] driver",
		"userdb_fields":                  "[[userdb]] fields",
		"passdb_fields":                  "[[passdb]] fields",
		"listen":                         "[[listener]] address",
		"protocols":                      "[[listener]] protocol|one listener for each protocol",
		"inet_listener":                  "[[listener]]",
		"separator":                      "[[namespace]] separator",
		"mailbox_special_use":            "[[namespace.mailbox]] special_use",
		"mailbox_auto":                   "[[namespace.mailbox]] auto",
		"local_name":                     "[[ssl_server_name]]",
	}
}

// impossible are Dovecot's settings that cannot be had here, with the reason
// and what to do instead.
func impossible() map[string]string {
	const tls = "Go's TLS library "
	return map[string]string{
		"ssl_cipher_suites":                tls + "lets nobody choose among TLS 1.3's suites, all of which are safe; take the line away",
		"ssl_server_dh_file":               tls + "has no finite-field Diffie-Hellman; take the line away, key exchanges are chosen with ssl_curve_list",
		"ssl_dh":                           tls + "has no finite-field Diffie-Hellman; take the line away, key exchanges are chosen with ssl_curve_list",
		"ssl_dh_parameters_length":         tls + "has no finite-field Diffie-Hellman; take the line away",
		"ssl_server_prefer_ciphers":        tls + "orders the suites itself, by the hardware of both ends; take the line away",
		"ssl_prefer_server_ciphers":        tls + "orders the suites itself, by the hardware of both ends; take the line away",
		"ssl_server_key_password":          "a passphrase beside its key protects nothing; take it off the key (openssl pkey -in key.pem -out new.pem) and keep the file root's own",
		"ssl_key_password":                 "a passphrase beside its key protects nothing; take it off the key (openssl pkey -in key.pem -out new.pem) and keep the file root's own",
		"ssl_crypto_device":                tls + "has no engines; take the line away",
		"ssl_options":                      "tickets are ssl_session_tickets, compression does not exist; take the line away",
		"ssl_parameters_regenerate":        "there is nothing to regenerate; take the line away",
		"import_environment":               "processes are started with an empty environment; take the line away",
		"login_chroot":                     "login processes always have an empty root directory; take the line away",
		"valid_chroot_dirs":                "each mail process is confined to its user's folders; take the line away",
		"mail_chroot":                      "each mail process is confined to its user's folders; take the line away",
		"login_process_size":               "a hard limit on address space ends a Go program; use systemd's MemoryMax",
		"mmap_disable":                     "not needed; take the line away",
		"mail_nfs_index":                   "a store on NFS is not supported; take the line away",
		"mail_nfs_storage":                 "a store on NFS is not supported; take the line away",
		"dotlock_use_excl":                 "dotlocks are always made with O_EXCL; take the line away",
		"lock_method":                      "locks are open file description locks, which work beside Dovecot's fcntl; take the line away",
		"pop3_fast_size_lookups":           "sizes must be exact (RFC 1939 §11) and are kept once they are known; take the line away",
		"maildir_stat_dirs":                "folders are told from files without it; take the line away",
		"maildir_very_dirty_syncs":         "changes by other programs are seen without a scan of the folder; take the line away",
		"auth_use_winbind":                 "NTLM is broken and not offered; take the line away",
		"auth_winbind_helper_path":         "NTLM is broken and not offered; take the line away",
		"auth_proxy_self":                  "this server does not proxy logins yet; take the line away",
		"auth_passdb_default_scheme":       "each [[passdb]] has its own default_password_scheme",
		"umask":                            "files of a user are his alone, or have their folder's group and mode; take the line away",
		"dovecot_config_version":           "it belongs to Dovecot; take the line away",
		"dovecot_storage_version":          "it belongs to Dovecot; take the line away",
		"mail_plugins":                     "there are no plugins: what they do is built in or comes later; take the line away",
		"mail_plugin_dir":                  "there are no plugins; take the line away",
		"config_cache_size":                "settings are handed to each process once; take the line away",
		"verbose_proctitle":                "process titles are not changed; see \"rookeryctl who\" and \"rookeryctl status\"",
		"service_count":                    "processes are not counted by requests; for one login process per connection write login_high_security = true",
		"service_restart_request_count":    "processes are not counted by requests; for one login process per connection write login_high_security = true",
		"login_access_sockets":             "use allow_nets in a passdb's fields; take the line away",
		"auth_socket_path":                 "processes talk over descriptors that they inherit; take the line away",
		"disable_plaintext":                "write auth_allow_cleartext, with the opposite value",
		"pop3_reuse_xuidl":                 "a message could choose its own id; take the line away",
		"mail_save_crlf":                   "messages are stored as they come; take the line away",
		"mail_always_cache_fields":         "what clients ask for is kept; take the line away",
		"mail_never_cache_fields":          "what clients ask for is kept; take the line away",
		"mail_cache_fields":                "what clients ask for is kept; take the line away",
		"imap_urlauth_host":                "URLAUTH is not offered: it has had too many holes; take the line away",
		"imap_capability":                  "capabilities follow what works; take the line away",
		"mailbox_list_index":               "always on; take the line away",
		"protocol_imap_mail_plugins":       "there are no plugins; take the line away",
		"stats_writer_socket_path":         "processes talk over descriptors that they inherit; take the line away",
		"auth_realms":                      "only DIGEST-MD5 has realms; use auth_default_domain",
		"imap_metadata":                    "METADATA is always offered; take the line away",
		"mail_attribute_dict":              "annotations are kept beside the mail, in rookery-metadata; take the line away",
		"imap_zlib":                        "COMPRESS is always offered, unless imap_compress_deflate_level is 0; take the line away",
		"imap4rev2_enable":                 "IMAP4rev2 is always offered, and a client that wants it enables it; take the line away",
		"acl_driver":                       "access control lists are kept in dovecot-acl files, as driver vfile does; take the line away",
		"acl_sharing_map":                  "the list of what is shared is kept by itself (rookeryctl shares --rebuild makes it anew); take the line away",
		"acl_shared_dict":                  "the list of what is shared is kept by itself (rookeryctl shares --rebuild makes it anew); take the line away",
		"acl_globals_only":                 "each mailbox has a list of its own; take the line away, and share trees with rookeryctl share",
		"acl_defaults_from_inbox":          "new mailboxes get the list of the one above them, or the one in mail_control_path; take the line away",
		"acl_ignore":                       "lists always count; take the line away",
		"acl_user":                         "somebody else's rights are those of his own login; take the line away",
		"listen_queue":                     "the system's own limit (net.core.somaxconn) counts; take the line away",
		"maildir_empty_new":                "new/ is emptied as its messages lose \\Recent; take the line away",
		"maildir_copy_preserve_filename":   "each copy has its own name; take the line away",
		"maildir_copy_with_hardlinks":      "copies within one store are always hard links; take the line away",
		"mail_temp_scan_interval":          "files in tmp that are older than 36 hours are removed, as the Maildir specification says; take the line away",
		"mail_prefetch_count":              "not needed; take the line away",
		"mail_read_mmaped":                 "not needed; take the line away",
		"pop3_save_uidl":                   "ids do not change, so they need not be saved; take the line away",
		"login_proxy_timeout":              "this server does not proxy logins yet; take the line away",
		"login_proxy_max_disconnect_delay": "this server does not proxy logins yet; take the line away",
	}
}

// laterPrefixes are families of Dovecot's settings whose feature comes with a
// later release.
func laterPrefixes() map[string]string {
	return map[string]string{
		"mailbox_list_utf8": "UTF-8 in folder names on disk", "maildir_broken_filename_sizes": "distrust of the sizes in file names",
		"sieve":       "Sieve",
		"managesieve": "ManageSieve", "lmtp": "LMTP", "lda": "local delivery",
		"imap_hibernate": "hibernation", "fts": "full-text search",
		"ssl_client": "TLS to other servers", "doveadm": "remote administration",
		"stats": "metrics", "metric": "metrics", "auth_policy": "policy servers", "auth_cache": "the authentication cache", "oauth2": "OAuth 2", "auth_gssapi": "GSSAPI",
		"auth_krb5": "GSSAPI", "auth_ssl": "client certificates", "ssl_server_request_client_cert": "client certificates",
		"ssl_verify_client_cert": "client certificates", "ssl_ca": "client certificates", "ssl_server_ca": "client certificates",
		"ssl_cert_username_field": "client certificates", "ssl_server_cert_username_field": "client certificates",
		"imap_literal_minus": "LITERAL-",
		"submission":         "submission", "imapc": "remote stores", "pop3c": "remote stores",
		"login_proxy": "proxying", "plugin": "plugins", "dict": "dictionaries", "recipient_delimiter": "LMTP",
		"postmaster_address": "LMTP", "rejection": "LMTP", "sendmail_path": "LMTP", "mail_crypt": "encryption at rest",
		"mail_ext_attachment": "attachments apart", "mail_attachment": "attachments apart",
	}
}

// later finds the feature that a name belongs to, "" for none.
func later(name string) string {
	best, feature := "", ""
	for prefix, f := range laterPrefixes() {
		if strings.HasPrefix(name, prefix) && len(prefix) > len(best) {
			best, feature = prefix, f
		}
	}
	return feature
}

// fieldHints are names that people may bring from Dovecot into a table.
func fieldHints(table, field string) string {
	hints := map[string]string{
		"passdb.args":                              `write passwd_file_path = "/path", and username_format and default_password_scheme beside it`,
		"userdb.args":                              `write passwd_file_path = "/path", or for driver = "static" fields = { uid = "vmail", gid = "vmail", home = "/srv/mail/%{user}" }`,
		"passdb.default_fields":                    `write fields, with ":default" after the names`,
		"passdb.override_fields":                   `write fields`,
		"userdb.default_fields":                    `write fields, with ":default" after the names`,
		"userdb.override_fields":                   `write fields`,
		"passdb.mechanisms":                        `write mechanisms_filter`,
		"passdb.auth_username_format":              `write username_format`,
		"userdb.auth_username_format":              `write username_format`,
		"listener.ssl":                             `write protocol = "imaps" or "pop3s"`,
		"listener.listen":                          `write address`,
		"listener.inet":                            `write address`,
		"namespace.location":                       `write mail_path`,
		"namespace.ignore_on_failure":              `who cannot be reached is left out by himself; take the line away`,
		"ssl_server_name.ssl_cert":                 `write cert_file`,
		"ssl_server_name.ssl_key":                  `write key_file`,
		"ssl_server_name.ssl_server_cert_file":     `write cert_file`,
		"ssl_server_name.ssl_server_key_file":      `write key_file`,
		"ssl_server_name.ssl_server_alt_cert_file": `write alt_cert_file`,
		"ssl_server_name.ssl_server_alt_key_file":  `write alt_key_file`,
		"namespace.mailbox.autoexpunge":            `automatic expunging comes with a later release; take the line away`,
	}
	return hints[table+"."+field]
}
