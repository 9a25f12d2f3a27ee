package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
)

// cyrusTree is where scripts/peers unpacks Cyrus: its package cannot be installed beside
// Dovecot's.
const cyrusTree = "/usr/local/lib/rookery-test-tools/cyrus"

// cyrusUser owns Cyrus's files: an account that every system has.
const cyrusUser = "nobody"

// imapdConf is Cyrus 3.6's configuration. %[1]s folder.
const imapdConf = `configdirectory: %[1]s/conf
defaultpartition: default
partition-default: %[1]s/spool
sievedir: %[1]s/sieve
idlesocket: %[1]s/run/idle
lmtpsocket: %[1]s/run/lmtp
notifysocket: %[1]s/run/notify
admins: admin
cyrus_user: nobody
cyrus_group: nogroup
sasl_pwcheck_method: saslauthd
sasl_saslauthd_path: %[1]s/run/mux
sasl_mech_list: PLAIN
allowplaintext: yes
unixhierarchysep: yes
altnamespace: yes
virtdomains: off
conversations: yes
delete_mode: immediate
expunge_mode: delayed
imapidlepoll: 1
maxlogins_per_user: 0
`

// cyrusConf says what runs. %[1]s programs, %[2]s imapd.conf, %[3]d port.
const cyrusConf = `START {
  recover cmd="%[1]s/ctl_cyrusdb -C %[2]s -r"
}
SERVICES {
  imap cmd="%[1]s/imapd -C %[2]s" listen="127.0.0.1:%[3]d" prefork=2 maxchild=200
}
EVENTS {
}
DAEMON {
  idled cmd="%[1]s/idled -C %[2]s -f"
}
`

func startCyrus(dir string) (*server, error) {
	account, err := user.Lookup(cyrusUser)
	if err != nil {
		return nil, err
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	for _, sub := range []string{"", "conf", "spool", "sieve", "run"} {
		path := filepath.Join(dir, sub)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return nil, err
		}
		if err := os.Chown(path, uid, gid); err != nil {
			return nil, err
		}
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &server{name: "cyrus", title: "Cyrus 3.6", address: fmt.Sprintf("127.0.0.1:%d", port)}
	s.makeUser = s.cyrusMailbox
	programs := cyrusTree + "/usr/lib/cyrus/bin"
	conf, services := filepath.Join(dir, "imapd.conf"), filepath.Join(dir, "cyrus.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, imapdConf, dir), 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(services, fmt.Appendf(nil, cyrusConf, programs, conf, port), 0o644); err != nil {
		return nil, err
	}
	end, err := believeAll(filepath.Join(dir, "run", "mux"))
	if err != nil {
		return nil, err
	}
	s.more = append(s.more, end)
	cmd := exec.Command(programs+"/master", "-C", conf, "-M", services, "-p", filepath.Join(dir, "run", "master.pid"))
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+cyrusTree+"/usr/lib/x86_64-linux-gnu:"+cyrusTree+"/usr/lib")
	return s, s.start(cmd, filepath.Join(dir, "stdout.log"))
}

// cyrusMailbox makes a user's INBOX, as the administrator must.
func (s *server) cyrusMailbox(name string) error {
	c, err := s.login("admin")
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Must("CREATE user/" + name)
}

// believeAll answers on a socket as saslauthd does, and takes every password. Cyrus has
// no list of passwords of its own.
func believeAll(path string) (end func(), err error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o777); err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go believe(c)
		}
	}()
	return func() { l.Close() }, nil
}

// believe reads user, password, service and realm, each with its length before it, and
// answers in the same form.
func believe(c net.Conn) {
	defer c.Close()
	for range 4 {
		var n uint16
		if binary.Read(c, binary.BigEndian, &n) != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, c, int64(n)); err != nil {
			return
		}
	}
	answer := "OK"
	_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
}
