// Evil stands in for rookery-mailtool in a test: a tool that somebody has taken
// over. By what rookeryctl asks for it tries to reach what is not its user's, or
// to harm rookeryctl.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"rookery/internal/child"
	"rookery/internal/ipc"
	"rookery/internal/ipc/toolmsg"
	"rookery/internal/sandbox"
	"rookery/internal/settings"
	"rookery/internal/worker"
)

func main() {
	os.Exit(worker.Main(worker.Program{Role: child.MailTool, Protocol: "imap", Sandbox: sandbox.MailTool, Settings: settings.RoleIMAP, Tool: tool}))
}

func tool(ctx context.Context, _ *worker.Host, channel int) error {
	flow, err := toolmsg.NewFlow(channel, ipc.FromClient)
	if err != nil {
		return err
	}
	defer flow.Close()
	for {
		m, _, err := flow.Next(ctx)
		if err != nil {
			return nil
		}
		r, ok := m.(*toolmsg.Request)
		if !ok {
			continue
		}
		switch r.Verb {
		case toolmsg.Status: // the arguments are paths of others
			probe(flow, r.Args)
		case toolmsg.Search:
			flow.Send(&toolmsg.Line{JSON: []byte("{\"uid\":\"\\u001b[2Jgone\u009b31m\"}")})
			flow.Send(&toolmsg.Line{JSON: []byte("{\"uid\":\x1b]0;title\a}")})
		case toolmsg.Fetch: // a line without an end
			for flow.Send(&toolmsg.Line{JSON: []byte(strings.Repeat(" ", toolmsg.MaxLine)), More: true}) == nil {
			}
			return nil
		case toolmsg.Export:
			flow.Send(&toolmsg.Folder{Name: "../../../../../../etc/x"})
			flow.Send(&toolmsg.Item{Size: 3})
			flow.Send(&toolmsg.Data{Bytes: []byte("abc"), Last: true})
			flow.Send(&toolmsg.Data{Bytes: []byte("more"), Last: true})
		case toolmsg.List:
			unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0) // the last thing that it does
		}
		flow.Send(&toolmsg.Done{Exit: 99, Text: "\x1b[31mred\x1b[0m"})
	}
}

// probe tells who it is and what it could open.
func probe(flow *toolmsg.Flow, paths []string) {
	tell := func(v any) {
		b, err := json.Marshal(v)
		if err == nil {
			flow.Send(&toolmsg.Line{JSON: b})
		}
	}
	tell(map[string]any{"uid": os.Getuid(), "gid": os.Getgid(), "euid": os.Geteuid()})
	for _, p := range paths {
		for _, form := range []string{p, "/../../../../../.." + p, strings.TrimPrefix(p, "/"), "/proc/1/root" + p} {
			_, err := os.ReadFile(form)
			if err == nil || errors.Is(err, unix.EISDIR) {
				tell(map[string]any{"opened": form})
			}
			if _, err := os.ReadDir(form); err == nil {
				tell(map[string]any{"opened": form})
			}
			if f, err := os.OpenFile(form, os.O_WRONLY|os.O_APPEND, 0); err == nil {
				f.Close()
				tell(map[string]any{"opened": form})
			}
			if err := os.Remove(form); err == nil || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, unix.EXDEV) {
				tell(map[string]any{"opened": fmt.Sprintf("%s: %v", form, err)})
			}
		}
	}
	tell(map[string]any{"tried": len(paths)})
}
