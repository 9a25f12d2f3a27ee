package rookeryctl

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"rookery/internal/ipc"
	"rookery/internal/ipc/toolmsg"
	"rookery/rookeryctl/internal/control"
	"rookery/rookeryctl/internal/show"
	"rookery/rookeryctl/internal/tool"
)

func (a *app) adoptCommand() *cobra.Command {
	const use = "adopt --dry-run -u USER [--against imaps://HOST]"
	c, f := a.mail(&cobra.Command{Use: use, Short: "Look whether another server's mail store comes out the same here", Args: usage(cobra.NoArgs, "rookeryctl "+use),
		Long: `Look at a user's mail as this server would serve it, where another server has kept
it before: give it a copy. With --against the other server is asked over IMAP, and
each mailbox's UIDVALIDITY, UIDNEXT, UIDs, flags and keywords, and the
subscriptions, are compared; with --against-pop3 the UIDLs of INBOX. The exit code is 65 if a client would notice anything.

The user's password at the other server is asked for, or read from standard input.`})
	dry := c.Flags().BoolP("dry-run", "n", false, "must be given: adopting itself needs no command, the server serves what it finds")
	against := c.Flags().String("against", "", "the other server: imaps://HOST[:PORT], or imap:// for this host alone")
	login := c.Flags().String("against-user", "", "the `NAME` to log in with there, such as user*master (default: the user)")
	insecure := c.Flags().Bool("insecure", false, "do not check the other server's certificate")
	pop3 := c.Flags().String("against-pop3", "", "the other server's POP3 side, to compare the UIDLs of INBOX: pop3s://HOST[:PORT], or pop3:// for this host alone")
	c.RunE = func(*cobra.Command, []string) error {
		if !*dry {
			return control.Errorf(control.ExitUsage, "write --dry-run: there is nothing to do but to look; the server serves a store as it finds it")
		}
		return a.runAdopt(f, []string{*against, *pop3}, *login, *insecure)
	}
	return c
}

// runAdopt logs in to the servers of against, IMAP's and POP3's, of which either may
// be "", and has the mail compared with what they tell.
func (a *app) runAdopt(f *mailFlags, against []string, login string, insecure bool) error {
	if login == "" {
		login = f.user
	}
	var where []*url.URL
	for i, text := range against {
		if text == "" {
			continue
		}
		u, err := oldServer(text, [...]string{"imap", "pop3"}[i])
		if err != nil {
			return err
		}
		where = append(where, u)
	}
	var conns []net.Conn
	if len(where) > 0 {
		password, err := a.password(fmt.Sprintf("Password of %s at %s: ", show.Clean(login), show.Clean(where[0].Host)), false)
		if err != nil {
			return err
		}
		for _, u := range where {
			conn, err := logIn(u, login, string(password.Reveal()), insecure)
			if err != nil {
				return clean(err)
			}
			defer conn.Close()
			conns = append(conns, conn)
		}
	}
	var send func(*toolmsg.Flow) error
	if len(conns) > 0 {
		send = func(flow *toolmsg.Flow) error {
			for _, conn := range conns {
				if err := passStream(flow, conn); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return a.withTool(f, func(ctx context.Context, t *tool.Client, sink tool.Sink, _ *meter) error {
		return t.DoWith(ctx, request(toolmsg.Adopt, nil, on("against", against[0] != ""), on("against-pop3", against[1] != "")), sink, send)
	})
}

// dialLimit bounds the way to the other server's OK.
const dialLimit = time.Minute

// oldServer reads --against, or, for another protocol, --against-pop3.
func oldServer(against, protocol string) (*url.URL, error) {
	u, err := url.Parse(against)
	if err != nil || u.Host == "" || u.Scheme != protocol+"s" && u.Scheme != protocol {
		return nil, control.Errorf(control.ExitUsage, "%q: write %ss://HOST or %ss://HOST:PORT", against, protocol, protocol)
	}
	return u, nil
}

// logIn connects to the other server and logs in, so that the process that
// compares sees no password.
func logIn(u *url.URL, user, password string, insecure bool) (net.Conn, error) {
	if strings.ContainsAny(user+password, "\r\n\x00") {
		return nil, control.Errorf(control.ExitUsage, "name and password have no line ends")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"imaps": "993", "imap": "143", "pop3s": "995", "pop3": "110"}[u.Scheme]
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialLimit)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil, control.Errorf(control.ExitUnavailable, "%v", err)
	}
	if ip := conn.RemoteAddr().(*net.TCPAddr).IP; !strings.HasSuffix(u.Scheme, "s") && !ip.IsLoopback() {
		conn.Close()
		return nil, control.Errorf(control.ExitUsage, "%s is another host: a password goes there over %ss:// alone", u.Hostname(), u.Scheme)
	}
	if strings.HasSuffix(u.Scheme, "s") {
		conn = tls.Client(conn, &tls.Config{ServerName: u.Hostname(), InsecureSkipVerify: insecure})
	}
	talk := converse
	if strings.HasPrefix(u.Scheme, "pop3") {
		talk = conversePOP3
	}
	if err := talk(conn, user, password); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// converse takes the greeting and logs in. Lines are read octet by octet: what
// comes behind the OK is the comparer's.
func converse(conn net.Conn, user, password string) error {
	if err := conn.SetDeadline(time.Now().Add(dialLimit)); err != nil {
		return control.Errorf(control.ExitSoftware, "%v", err)
	}
	greeting, err := readLine(conn)
	if err != nil {
		return control.Errorf(control.ExitUnavailable, "the other server: %v", err)
	}
	if !strings.HasPrefix(greeting, "* OK") {
		return control.Errorf(control.ExitUnavailable, "the other server greets with %q", greeting)
	}
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	if _, err := fmt.Fprintf(conn, "r0 LOGIN \"%s\" \"%s\"\r\n", quote.Replace(user), quote.Replace(password)); err != nil {
		return control.Errorf(control.ExitUnavailable, "the other server: %v", err)
	}
	for range 1000 {
		line, err := readLine(conn)
		if err != nil {
			return control.Errorf(control.ExitUnavailable, "the other server: %v", err)
		}
		if rest, ok := strings.CutPrefix(line, "r0 "); ok {
			if !strings.HasPrefix(strings.ToUpper(rest), "OK") {
				return control.Errorf(control.ExitNoPerm, "the other server refuses the login: %s", rest)
			}
			return conn.SetDeadline(time.Time{})
		}
	}
	return control.Errorf(control.ExitUnavailable, "the other server does not answer the login")
}

// conversePOP3 is converse with a POP3 server (RFC 1939 §7).
func conversePOP3(conn net.Conn, user, password string) error {
	if err := conn.SetDeadline(time.Now().Add(dialLimit)); err != nil {
		return control.Errorf(control.ExitSoftware, "%v", err)
	}
	for _, line := range []string{"", "USER " + user + "\r\n", "PASS " + password + "\r\n"} {
		if _, err := io.WriteString(conn, line); err != nil {
			return control.Errorf(control.ExitUnavailable, "the other server: %v", err)
		}
		answer, err := readLine(conn)
		switch {
		case err != nil:
			return control.Errorf(control.ExitUnavailable, "the other server: %v", err)
		case !strings.HasPrefix(answer, "+OK") && line == "":
			return control.Errorf(control.ExitUnavailable, "the other server greets with %q", answer)
		case !strings.HasPrefix(answer, "+OK"):
			return control.Errorf(control.ExitNoPerm, "the other server refuses the login: %s", answer)
		}
	}
	return conn.SetDeadline(time.Time{})
}

func readLine(r io.Reader) (string, error) {
	b := bufio.NewReaderSize(oneByte{r}, 16)
	var line []byte
	for len(line) < 8<<10 {
		c, err := b.ReadByte()
		if err != nil {
			return "", err
		}
		if c == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		line = append(line, c)
	}
	return "", fmt.Errorf("a line of more than %d octets", len(line))
}

// oneByte keeps a reader from reading ahead.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }

// passStream gives the tool one end of a socketpair and relays what it and the
// other server say.
func passStream(flow *toolmsg.Flow, conn net.Conn) error {
	mine, theirs, err := ipc.StreamPair()
	if err != nil {
		return control.Errorf(control.ExitSoftware, "%v", err)
	}
	err = flow.SendFD(&toolmsg.Stream{}, theirs)
	unix.Close(theirs)
	file := os.NewFile(uintptr(mine), "stream")
	if err != nil {
		file.Close()
		return err
	}
	go func() {
		_, _ = io.Copy(conn, file) // its end is the tool's, which tells why
		conn.Close()
		file.Close()
	}()
	go func() {
		_, _ = io.Copy(file, conn)
		if raw, err := file.SyscallConn(); err == nil { // Fd would make it block
			_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_WR) })
		}
	}()
	return nil
}
