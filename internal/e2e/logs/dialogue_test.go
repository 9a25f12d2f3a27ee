package logs

import (
	"bufio"
	"crypto/hmac"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// talk is one client's connection. What it shows of a password it collects.
type talk struct {
	t      *testing.T
	conn   net.Conn
	r      *bufio.Reader
	tag    int
	shown  []string // SASL messages and digests that were sent, decoded
	banner string
}

// dial connects and reads the greeting; conf is nil without TLS.
func dial(t *testing.T, addr string, conf *tls.Config) *talk {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	c := newTalk(t, conn, conf)
	c.banner = c.line()
	return c
}

func newTalk(t *testing.T, conn net.Conn, conf *tls.Config) *talk {
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	if conf != nil {
		conn = tls.Client(conn, conf)
	}
	return &talk{t: t, conn: conn, r: bufio.NewReader(conn)}
}

func (c *talk) close() { c.conn.Close() }

func (c *talk) write(s string) {
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Errorf("write: %v", err)
	}
}

// line reads one line; "" when the connection has ended.
func (c *talk) line() string {
	line, _ := c.r.ReadString('\n')
	return strings.TrimRight(line, "\r\n")
}

// drain reads until the server closes.
func (c *talk) drain() { io.Copy(io.Discard, c.r); c.conn.Close() }

// imap sends a command and gives the tagged answer.
func (c *talk) imap(format string, args ...any) string {
	c.tag++
	tag := "t" + strconv.Itoa(c.tag)
	c.write(tag + " " + fmt.Sprintf(format, args...) + "\r\n")
	return c.tagged(tag)
}

func (c *talk) tagged(tag string) string {
	for {
		line := c.line()
		if line == "" || strings.HasPrefix(line, tag+" ") || strings.HasPrefix(line, "+") {
			return strings.TrimPrefix(line, tag+" ")
		}
	}
}

// pop sends a command and gives the first line of the answer.
func (c *talk) pop(line string) string {
	c.write(line + "\r\n")
	return c.line()
}

// succeeded tells by the last answer of a login.
func succeeded(answer string) bool {
	return strings.HasPrefix(answer, "OK") || strings.HasPrefix(answer, "+OK")
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func unb64(t *testing.T, s string) string {
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Errorf("challenge %q: %v", s, err)
	}
	return string(raw)
}

// send writes a SASL message and remembers it.
func (c *talk) send(prefix, message string) string {
	c.shown = append(c.shown, message)
	c.write(prefix + b64(message) + "\r\n")
	if c.tag > 0 {
		return c.tagged("t" + strconv.Itoa(c.tag))
	}
	return c.line()
}

// login is one way to log in: it gives the last answer.
type login struct {
	name, service string // of the service "imap" or "pop3"
	method        string // as the log has it
	plain         bool   // the server learns the password
	run           func(c *talk, user, password string) string
}

// logins are all ways that there are.
func logins() []login {
	list := []login{
		{"LOGIN", "imap", "PLAIN", true, func(c *talk, user, password string) string {
			c.tag++
			c.write(fmt.Sprintf("t%d LOGIN {%d}\r\n", c.tag, len(user)))
			c.line()
			c.write(fmt.Sprintf("%s {%d}\r\n", user, len(password)))
			c.line()
			c.write(password + "\r\n")
			return c.tagged("t" + strconv.Itoa(c.tag))
		}},
		{"LOGIN quoted", "imap", "PLAIN", true, func(c *talk, user, password string) string {
			return c.imap(`LOGIN "%s" "%s"`, user, strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(password))
		}},
		{"USER/PASS", "pop3", "PLAIN", true, func(c *talk, user, password string) string {
			c.pop("USER " + user)
			return c.pop("PASS " + password)
		}},
		{"APOP", "pop3", "APOP", false, func(c *talk, user, password string) string {
			stamp := c.banner[strings.IndexByte(c.banner, '<'):]
			sum := md5.Sum([]byte(stamp + password))
			digest := hex.EncodeToString(sum[:])
			c.shown = append(c.shown, digest)
			return c.pop("APOP " + user + " " + digest)
		}},
	}
	for _, service := range []string{"imap", "pop3"} {
		list = append(list, saslLogins(service)...)
	}
	return list
}

func saslLogins(service string) []login {
	word := map[string]string{"imap": "AUTHENTICATE", "pop3": "AUTH"}[service]
	begin := func(c *talk, mech string) string {
		if service == "imap" {
			c.tag++
			c.write(fmt.Sprintf("t%d %s %s\r\n", c.tag, word, mech))
		} else {
			c.write(word + " " + mech + "\r\n")
		}
		return strings.TrimPrefix(c.line(), "+ ")
	}
	return []login{
		{"PLAIN initial response", service, "PLAIN", true, func(c *talk, user, password string) string {
			prefix := word + " PLAIN "
			if service == "imap" {
				c.tag++
				prefix = fmt.Sprintf("t%d %s", c.tag, prefix)
			}
			return c.send(prefix, "\x00"+user+"\x00"+password)
		}},
		{"PLAIN", service, "PLAIN", true, func(c *talk, user, password string) string {
			begin(c, "PLAIN")
			return c.send("", "\x00"+user+"\x00"+password)
		}},
		{"SASL LOGIN", service, "LOGIN", true, func(c *talk, user, password string) string {
			begin(c, "LOGIN")
			c.write(b64(user) + "\r\n")
			c.line()
			return c.send("", password)
		}},
		{"CRAM-MD5", service, "CRAM-MD5", false, func(c *talk, user, password string) string {
			challenge := unb64(c.t, begin(c, "CRAM-MD5"))
			mac := hmac.New(md5.New, []byte(password))
			mac.Write([]byte(challenge))
			digest := hex.EncodeToString(mac.Sum(nil))
			c.shown = append(c.shown, digest)
			return c.send("", user+" "+digest)
		}},
		{"SCRAM-SHA-256", service, "SCRAM-SHA-256", false, func(c *talk, user, password string) string {
			begin(c, "SCRAM-SHA-256")
			return c.scram(user, password)
		}},
	}
}

// scram is RFC 5802's exchange after the mechanism was named.
func (c *talk) scram(user, password string) string {
	bare := "n=" + user + ",r=" + b64(fmt.Sprint(time.Now().UnixNano()))
	first := unb64(c.t, strings.TrimPrefix(c.send("", "n,,"+bare), "+ "))
	field := map[string]string{}
	for _, f := range strings.Split(first, ",") {
		if k, v, ok := strings.Cut(f, "="); ok {
			field[k] = v
		}
	}
	rounds, err := strconv.Atoi(field["i"])
	if err != nil {
		c.t.Errorf("SCRAM: server's first message is %q", first)
		return ""
	}
	salted, err := pbkdf2.Key(sha256.New, password, []byte(unb64(c.t, field["s"])), rounds, 32)
	if err != nil {
		c.t.Fatal(err)
	}
	sum := func(key []byte, text string) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	clientKey := sum(salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	final := "c=biws,r=" + field["r"]
	signature := sum(stored[:], bare+","+first+","+final)
	proof := make([]byte, len(clientKey))
	subtle.XORBytes(proof, clientKey, signature)
	answer := c.send("", final+",p="+base64.StdEncoding.EncodeToString(proof))
	if strings.HasPrefix(answer, "+ ") { // the server's signature
		c.write("\r\n")
		if c.tag > 0 {
			return c.tagged("t" + strconv.Itoa(c.tag))
		}
		return c.line()
	}
	return answer
}
