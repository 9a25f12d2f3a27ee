package worker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/child"
	"rookery/internal/ipc"
	"rookery/internal/ipc/logmsg"
	"rookery/internal/ipc/workermsg"
	"rookery/internal/maillog"
	"rookery/internal/sandbox"
	"rookery/internal/settings"
	"rookery/internal/vfs"
)

// Main runs a program and gives its exit code.
func Main(p Program) int {
	if done, exit := child.MakeDirsMode(os.Args[1:]); done {
		return exit
	}
	if err := run(p); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.Role.Program(), err)
		return 70 // EX_SOFTWARE
	}
	return 0
}

func run(p Program) error {
	env, err := child.Inherit(p.Role)
	if err != nil {
		return err
	}
	set, err := settings.Decode(p.Settings, env.Settings)
	if err != nil {
		return err
	}
	logConn, err := ipc.NewConn(env.Log, logmsg.Protocol, ipc.FromClient)
	if err != nil {
		return err
	}
	ctl, err := ipc.NewConn(env.Control, workermsg.Protocol, ipc.FromClient)
	if err != nil {
		return err
	}
	log := maillog.New(maillog.ToChannel(logConn))
	setDebug(log, strings.Join(set.Value(settings.LogDebug.Decl()).([]string), " "))
	tree, err := vfs.OpenRoot("/")
	if err != nil {
		return err
	}
	boot := tree.BootID() // from /proc, which the sandbox takes away
	tree.Close()
	_ = time.Now().Local().String() // the time zone is read while there is one: From_ lines need it
	changes := &announcer{tell: func() { ctl.Send(&workermsg.Changed{}, -1) }}
	defer changes.end()
	host := &Host{Log: log, bootID: boot, Changed: changes.changed,
		sharing: newSharing(func(m ipc.Message) error { return ctl.Send(m, -1) }, func(text string) { log.Warnf("%s", text) })}
	defer host.sharing.end()
	if err := confine(p, env, ctl, host, set); err != nil {
		if errors.Is(err, io.EOF) {
			return nil // a spare whose master went, or took it away
		}
		return err
	}
	if p.Tool != nil {
		return serveTool(p, host, ctl, env.Tool)
	}
	server, err := p.New(host)
	if err != nil {
		return fmt.Errorf("user %q: %w", host.User.User, err)
	}
	if err := ctl.Send(&workermsg.Ready{}, -1); err != nil {
		return err
	}
	return newLoop(host, p.Protocol, ctl, server).run()
}

func setDebug(log *maillog.Logger, text string) {
	f, err := maillog.ParseFilter(text)
	if err != nil {
		log.Errorf("log_debug: %v", err)
		return
	}
	log.SetDebug(f)
}

// confine learns the user and enters the sandbox; a spare enters in two stages.
func confine(p Program, env *child.Env, ctl *ipc.Conn, host *Host, set *settings.Set) error {
	opts := sandbox.Options{Strict: env.Strict}
	if env.Spare {
		if _, err := sandbox.EnterStage1(p.Sandbox, opts); err != nil {
			return err
		}
		if err := ctl.Send(&workermsg.Ready{Spare: true}, -1); err != nil {
			return err
		}
	}
	roots, user, inbox, err := learnUser(ctl)
	if err != nil {
		return err
	}
	if inbox != nil {
		host.Inbox = inbox
	}
	host.User, host.PrivateUID = user.Record, user.PrivateUID
	if host.Settings, err = set.WithUser(fieldMap(user.Record.Fields)); err != nil {
		return err
	}
	opts.PrivateUID = user.PrivateUID
	for _, r := range roots {
		if r.m.Chroot && opts.Root == 0 {
			if opts.Root, err = unix.FcntlInt(uintptr(r.fd), unix.F_DUPFD_CLOEXEC, 3); err != nil {
				return fmt.Errorf("root %s: %w", r.m.Path, err)
			}
		}
		if r.onlyChroot(roots) {
			unix.Close(r.fd) // the way to the mail, not a place for it
			continue
		}
		opts.Rules = append(opts.Rules, sandbox.Rule{FD: r.fd, Access: sandbox.ReadWrite})
	}
	enter := sandbox.Enter
	if env.Spare {
		enter = sandbox.EnterStage2
	}
	report, err := enter(p.Sandbox, opts)
	if err != nil {
		return err
	}
	if host.Log.Debugging(user.Record.User, "") {
		host.Log.Debugf("sandbox: %s", report)
	}
	return host.openRoots(roots, report.Holds(sandbox.Chroot))
}

type receivedRoot struct {
	m  *workermsg.Root
	fd int
}

// onlyChroot reports whether a root is there for the chroot alone: the mail then
// lies in the others, below it.
func (r receivedRoot) onlyChroot(all []receivedRoot) bool { return r.m.Chroot && len(all) > 1 }

// learnUser waits for the roots and the user.
func learnUser(ctl *ipc.Conn) (roots []receivedRoot, user *workermsg.User, inbox *inbox, err error) {
	for {
		m, fd, err := ctl.Recv()
		if err != nil {
			return nil, nil, nil, err
		}
		switch m := m.(type) {
		case *workermsg.Root:
			roots = append(roots, receivedRoot{m, fd})
		case *workermsg.Inbox:
			if inbox, err = newInbox(fd); err != nil {
				return nil, nil, nil, err
			}
		case *workermsg.User:
			return roots, m, inbox, nil
		case *workermsg.MayExit, *workermsg.Shutdown:
			return nil, nil, nil, io.EOF
		case *workermsg.LogDebug, *workermsg.Wake, *workermsg.SharesChanged:
		default:
			return nil, nil, nil, fmt.Errorf("master sent %T before the user", m)
		}
	}
}

func fieldMap(fields []string) map[string]string {
	m := make(map[string]string, len(fields))
	for _, f := range fields {
		k, v, _ := strings.Cut(f, "=")
		m[k] = v
	}
	return m
}

// openRoots opens the directories again as they are named after the chroot.
func (h *Host) openRoots(roots []receivedRoot, chrooted bool) error {
	top := ""
	for _, r := range roots {
		if r.m.Chroot && chrooted {
			top = r.m.Path
		}
	}
	for _, r := range roots {
		if r.onlyChroot(roots) {
			continue
		}
		name := r.m.Path
		if top != "" {
			name = "/" + strings.TrimPrefix(strings.TrimPrefix(r.m.Path, top), "/")
		}
		fs, err := vfs.OpenRoot(name)
		if err != nil {
			return fmt.Errorf("%s: %w", r.m.Path, err)
		}
		h.roots = append(h.roots, root{path.Clean(r.m.Path), fs.WithBootID(h.bootID)})
	}
	return nil
}
