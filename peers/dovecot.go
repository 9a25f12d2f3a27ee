package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// peerUID owns the mail of Dovecot's users: a number that no account has.
const peerUID = 61707

// dovecotConf is Dovecot 2.3's configuration. %[1]s folder, %[2]d port, %[3]d uid.
const dovecotConf = `base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/dovecot.log
instance_name = rookery-peers
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
mail_location = maildir:~/Maildir
mailbox_list_index = yes
mail_max_userip_connections = 1000
mail_attribute_dict = file:%%h/dovecot-attributes
first_valid_uid = 500
namespace inbox {
  inbox = yes
  separator = /
}
passdb {
  driver = static
  args = password=pass
}
userdb {
  driver = static
  args = uid=%[3]d gid=%[3]d home=%[1]s/mail/%%u
}
protocol imap {
  imap_metadata = yes
  imap_idle_notify_interval = 2 mins
}
service imap-login {
  inet_listener imap {
    port = %[2]d
  }
  inet_listener imaps {
    port = 0
  }
}
`

func startDovecot(dir string) (*server, error) {
	mail := filepath.Join(dir, "mail")
	for _, d := range []string{dir, filepath.Join(dir, "run"), filepath.Join(dir, "state"), mail} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	if err := os.Chown(mail, peerUID, peerUID); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "dovecot.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, dovecotConf, dir, port, peerUID), 0o644); err != nil {
		return nil, err
	}
	version, _ := exec.Command("dovecot", "--version").Output()
	s := &server{name: "dovecot", title: "Dovecot " + strings.Fields(string(version) + " ?")[0], address: fmt.Sprintf("127.0.0.1:%d", port), makeUser: func(string) error { return nil }}
	return s, s.start(exec.Command("/usr/sbin/dovecot", "-F", "-c", conf), filepath.Join(dir, "stdout.log"))
}
