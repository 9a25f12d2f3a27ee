// Holder stands in for rookeryctl in a test: it has a user's mail for itself and
// does nothing, until it is killed.
//
//	holder SOCKET NAME USER
//
// It writes a line once the user's sessions have ended. NAME is the user as
// somebody writes it, USER as the server calls him.
package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/ipc"
	"rookery/internal/ipc/ctlmsg"
)

func main() {
	if err := hold(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("held")
	time.Sleep(time.Hour)
}

func hold(socket, name, user string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		return err
	}
	conn, err := ipc.NewConn(fd, ctlmsg.Protocol, ipc.FromClient)
	if err != nil {
		return err
	}
	for _, r := range []*ctlmsg.Request{{Verb: ctlmsg.MailTool, Args: []string{name}}, {Verb: ctlmsg.MailHold, Args: []string{user}}} {
		if err := conn.Send(r, -1); err != nil {
			return err
		}
		m, _, err := conn.Recv() // the channel to the tool stays open until the process ends
		if err != nil {
			return err
		}
		if a := m.(*ctlmsg.Answer); a.Exit != 0 {
			return fmt.Errorf("%s: %s", r.Verb, a.Text)
		}
	}
	return nil
}
